"""Bytes of tokens: those of a text add up to its own."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from adabatch.data.token_bytes import token_bytes
from adabatch.data.tokenizer import open_tokenizer


@pytest.fixture(scope="module")
def subwords(tmp_path_factory):
    """The file of a byte-level BPE with an added token that is text; tokenizers with the bytes of their tokens."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer, backend.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=290, special_tokens=["</s>"], initial_alphabet=alphabet)
    backend.train_from_iterator(["return 2 * naïve\n"] * 9, trainer)
    backend.add_tokens(["é€"])
    path = tmp_path_factory.mktemp("subwords") / "tokenizer.json"
    backend.save(str(path))
    opened = [open_tokenizer(str(path)), open_tokenizer("bytes")]
    return path, [(tokenizer, token_bytes(tokenizer)) for tokenizer in opened]


@settings(max_examples=100)
@given(text=st.text() | st.just("a</s>é€ naïve return"))
def test_the_bytes_of_a_text_are_those_of_its_tokens(subwords, text):
    for tokenizer, lengths in subwords[1]:
        assert lengths[tokenizer.end_of_document] == 0
        assert lengths[tokenizer.encode([text.encode()])[0]].sum() == len(text.encode())


@pytest.mark.parametrize(
    "changed",
    [
        {"normalizer": {"type": "Lowercase"}},
        {
            "pre_tokenizer": {
                "type": "ByteLevel",
                "add_prefix_space": True,
                "trim_offsets": True,
                "use_regex": True,
            }
        },
        {"decoder": {"type": "Fuse"}},
    ],
)
def test_where_a_token_alone_does_not_tell_nothing_is_counted(subwords, tmp_path, changed):
    (tmp_path / "other.json").write_text(json.dumps(json.loads(subwords[0].read_text()) | changed))
    assert token_bytes(open_tokenizer(str(tmp_path / "other.json"))) is None
