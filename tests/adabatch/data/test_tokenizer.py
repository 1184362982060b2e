"""Tokenizers: bytes, tokenizers' JSON files and transformers' folders, against the slow way round."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

from adabatch.data.corpus import open_corpus
from adabatch.data.local_files import stdlib_files
from adabatch.data.text_files import TextSource
from adabatch.data.tokenizer import open_tokenizer
from adabatch.settings import DataSettings

TEXTS = [f"def function_{i}(x): return x + {i}\n" * (i % 5) + "naïve €\n" for i in range(60)]


def byte_level_bpe(specials: list[str]) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=specials,
        show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(TEXTS, trainer)
    return tokenizer


@pytest.fixture
def json_file(tmp_path):
    path = tmp_path / "tokenizer.json"
    byte_level_bpe(["<|endoftext|>", "<pad>"]).save(str(path))
    return path


@pytest.fixture
def transformers_folder(tmp_path, json_file):
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path / "saved"
    PreTrainedTokenizerFast(
        tokenizer_file=str(json_file), eos_token="<pad>", bos_token="<|endoftext|>"
    ).save_pretrained(str(folder))
    return folder


@given(st.binary(max_size=50))
def test_bytes_are_their_own_tokens(text):
    tokenizer = open_tokenizer("bytes")
    tokens = tokenizer.encode([text, b""])
    assert tokens[0].tolist() == list(text)
    assert tokens[1].tolist() == []
    assert tokenizer.decode([*tokens[0], tokenizer.end_of_document, 263]) == text.decode(errors="replace")


def write_texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for i, text in enumerate(TEXTS):
        (folder / f"{i:02}.txt").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", ["json", "transformers"])
@pytest.mark.parametrize("end", [None, "<pad>"])
def test_the_corpus_of_a_subword_tokenizer(tmp_path, json_file, transformers_folder, kind, end):
    name = str(json_file if kind == "json" else transformers_folder)
    folder = write_texts(tmp_path)
    settings = DataSettings(
        str(folder), sequence_length=8, tokenizer=name, end_of_document=end, cache=str(tmp_path / "cache")
    )
    corpus = open_corpus(settings)
    plain = Tokenizer.from_file(str(json_file))
    end_token = plain.token_to_id("<pad>" if end or kind == "transformers" else "<|endoftext|>")
    held_out = TextSource(_named(folder), 0.05).held_out
    expected = []
    for i, text in enumerate(TEXTS):
        if f"{i:02}.txt" not in held_out:
            expected += [*plain.encode(text, add_special_tokens=False).ids, end_token]
    samples = corpus.train._samples
    assert samples.reshape(-1).tolist() == expected[: samples.size]
    assert len(expected) - samples.size < 8
    assert corpus.vocabulary_size == 320 == corpus.tokenizer.size
    assert corpus.tokenizer.decode(plain.encode(TEXTS[3]).ids) == TEXTS[3]


def _named(folder):
    from adabatch.data.local_files import files_in

    return files_in(folder)[0]


def test_truncation_and_padding_saved_with_a_tokenizer_are_not_applied(tmp_path, json_file):
    tokenizer = Tokenizer.from_file(str(json_file))
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=10)
    tokenizer.save(str(tmp_path / "truncating.json"))
    tokens = open_tokenizer(str(tmp_path / "truncating.json")).encode([b"def function", b"x" * 50])
    assert [t.tolist() for t in tokens] == [
        t.tolist() for t in open_tokenizer(str(json_file)).encode([b"def function", b"x" * 50])
    ]
    assert len(tokens[1]) > 3


def test_special_tokens_in_the_template_are_not_added(tmp_path, json_file):
    from tokenizers.processors import TemplateProcessing

    tokenizer = Tokenizer.from_file(str(json_file))
    tokenizer.post_processor = TemplateProcessing(single="<pad> $A", special_tokens=[("<pad>", 1)])
    tokenizer.save(str(tmp_path / "template.json"))
    assert 1 not in open_tokenizer(str(tmp_path / "template.json")).encode([b"abc"])[0]


def test_a_tokenizer_without_an_end_needs_one_named(tmp_path):
    path = tmp_path / "tokenizer.json"
    byte_level_bpe(["<stop>"]).save(str(path))
    with pytest.raises(ValueError, match=r"names no end-of-sequence token .*--end-of-document"):
        open_tokenizer(str(path))
    with pytest.raises(ValueError, match="--end-of-document is '<halt>', which is not a token"):
        open_tokenizer(str(path), "<halt>")
    assert open_tokenizer(str(path), "<stop>").end_of_document == 0


def test_the_fingerprint_is_that_of_the_definition(tmp_path, json_file):
    first, again = open_tokenizer(str(json_file)), open_tokenizer(str(json_file))
    again.encode([b"text"])
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != open_tokenizer(str(json_file), "<pad>").fingerprint
    definition = json.loads(json_file.read_text())
    definition["model"]["merges"].pop()
    json_file.write_text(json.dumps(definition))
    assert first.fingerprint != open_tokenizer(str(json_file)).fingerprint


@pytest.mark.parametrize(("size", "width"), [(2**16, 2), (2**16 + 1, 4)])
def test_large_vocabularies_are_stored_wider(tmp_path, size, width):
    vocabulary = {f"w{i}": i for i in range(size - 1)} | {"<eos>": size - 1}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="w0"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.save(str(tmp_path / "words.json"))
    words = [0, 5, size - 2, size - 3]
    (tmp_path / "a.txt").write_text(" ".join(f"w{i}" for i in words))
    settings = DataSettings(
        str(tmp_path / "a.txt"),
        sequence_length=5,
        tokenizer=str(tmp_path / "words.json"),
        validation_fraction=0.0,
        cache=str(tmp_path / "cache"),
    )
    corpus = open_corpus(settings)
    assert corpus.train.take([0]).tolist() == [[*words, size - 1]]
    assert (corpus.folder / "train.tokens").stat().st_size == 5 * width
    assert corpus.vocabulary_size % 8 == 0
    assert 0 <= corpus.vocabulary_size - size < 8


def test_the_standard_library_with_a_subword_tokenizer(json_file):
    text = stdlib_files()[10].path.read_bytes()
    tokenizer = open_tokenizer(str(json_file))
    tokens = tokenizer.encode([text])[0]
    assert tokenizer.decode(tokens) == text.decode()
    assert isinstance(tokens, np.ndarray)
