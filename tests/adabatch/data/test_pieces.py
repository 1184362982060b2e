"""A long text that is tokenized in pieces decodes to what it does as a whole, for every kind of tokenizer."""

import json
import re

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from adabatch.data.documents import CONTEXT, Document, cut_document, read_parts
from adabatch.data.local_files import NamedFile
from adabatch.data.tasks import encode_documents
from adabatch.data.text_files import TextSource
from adabatch.data.tokenizer import ByteTokenizer, TextTokenizer, open_tokenizer

SENTENCE = "the naïve café of Zürich said: 日本語 is 12345 or 0x7f; don't «quote» it\n\tindented  twice 😀🎉"
WORDS = re.split(" ", SENTENCE)
SAMPLE = [" ".join(WORDS[i:] + WORDS[:i]) * 3 for i in range(len(WORDS))]
END = "<eos>"


def trained(tokenizer: Tokenizer, kind, **options) -> Tokenizer:
    tokenizer.train_from_iterator(SAMPLE, kind(special_tokens=["<unk>", END], show_progress=False, **options))
    return tokenizer


def byte_level(add_prefix_space=False, regex=None) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    level = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=regex is None)
    split = [pre_tokenizers.Split(Regex(regex), "isolated")] if regex else []
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*split, level])
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    return trained(tokenizer, trainers.BpeTrainer, vocab_size=400, initial_alphabet=alphabet)


def metaspace(model, kind, scheme, **options) -> Tokenizer:
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme=scheme, split=options.pop("split", True))
    tokenizer.decoder = decoders.Metaspace(prepend_scheme=scheme)
    return trained(tokenizer, kind, **options)


def like_llama_2() -> Tokenizer:
    """A space put before the text, none of it cut into words, bytes for what is unknown."""
    base = metaspace(models.BPE(), trainers.BpeTrainer, "always", vocab_size=300)
    vocabulary = dict(base.get_vocab())
    vocabulary |= {f"<0x{byte:02X}>": len(vocabulary) + byte for byte in range(256)}
    merges = [tuple(pair) for pair in json.loads(base.to_str())["model"]["merges"]]
    tokenizer = Tokenizer(models.BPE(vocabulary, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    return tokenizer


def word_pieces() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="<unk>"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece(cleanup=False)
    return trained(tokenizer, trainers.WordPieceTrainer, vocab_size=200)


def word_level(unknown="<unk>") -> Tokenizer:
    tokenizer = Tokenizer(models.WordLevel(unk_token=unknown))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return trained(tokenizer, trainers.WordLevelTrainer)


KINDS = {
    "byte level": byte_level,
    "byte level, space before": lambda: byte_level(add_prefix_space=True),
    "byte level, digits by three": lambda: byte_level(
        regex=r"\p{N}{1,3}| ?\p{L}+|\s+(?!\S)|\s+| ?[^\s\p{L}\p{N}]+"
    ),
    "BPE, space before the first word": lambda: metaspace(
        models.BPE(unk_token="<unk>"), trainers.BpeTrainer, "first", vocab_size=300
    ),
    "BPE, not cut into words": lambda: metaspace(
        models.BPE(unk_token="<unk>"), trainers.BpeTrainer, "always", vocab_size=300, split=False
    ),
    "like Llama 2": like_llama_2,
    "unigram": lambda: metaspace(
        models.Unigram(), trainers.UnigramTrainer, "always", vocab_size=300, unk_token="<unk>"
    ),
    "word pieces": word_pieces,
    "words": word_level,
}


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request) -> TextTokenizer:
    return TextTokenizer(request.param, KINDS[request.param](), END)


texts = st.lists(
    st.sampled_from([*WORDS, "\n", "\n\n", "  ", "x" * 40, "7" * 50, "ab" * 30, "日" * 30]),
    min_size=1,
    max_size=60,
).flatmap(lambda words: st.sampled_from([" ", "", "\n"]).map(lambda space: space.join(words)))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=texts, size=st.integers(16, 200), cut=st.integers(4, 400))
@example(text="abc " * 800 + "7" * 3000 + " abc" * 800, size=1000, cut=5000)
def test_pieces_decode_to_the_whole(tokenizer, tmp_path, text, size, cut):
    (whole,) = tokenizer.encode([text.encode()])
    document = Document(text.encode())
    pieces = list(cut_document(document, size, CONTEXT))
    assert b"".join(piece.text for piece in pieces) == document.text
    tokens = encode_documents(pieces, tokenizer)
    assert tokens[-1] == tokenizer.end_of_document
    assert tokenizer.decode(tokens[:-1]) == tokenizer.decode(whole)
    if "7" * 51 not in text:
        assert tokens[:-1].tolist() == whole.tolist()


def test_a_file_that_several_processes_or_shards_share(tokenizer, tmp_path, monkeypatch):
    """Ranges cut without knowing the tokenizer, each read in pieces of its own."""
    monkeypatch.setattr("adabatch.data.text_files.PIECE", 700)
    monkeypatch.setattr("adabatch.data.text_files.PART", 2000)
    text = "".join(SAMPLE * 2)
    path = tmp_path / "a.txt"
    path.write_bytes(text.encode())
    (whole,) = tokenizer.encode([text.encode()])
    source = TextSource([NamedFile("a.txt", path)], 0.0)
    assert len(source.parts(False)) > 3
    for parts in (source.parts(False), [part for i in range(5) for part in source.shard(i, 5)]):
        tokens = encode_documents(list(read_parts(parts)), tokenizer)
        assert tokenizer.decode(tokens[:-1]) == tokenizer.decode(whole)


def test_without_the_text_around_it_a_piece_is_another(monkeypatch):
    """The negative control: what the context is for."""
    tokenizer = TextTokenizer("unigram", KINDS["unigram"](), END)
    text = "don't «quote» it" * 30
    pieces = [Document(piece.text, piece.ends) for piece in cut_document(Document(text.encode()), 50, CONTEXT)]
    tokens = encode_documents(pieces, tokenizer)[:-1]
    assert tokenizer.decode(tokens) != tokenizer.decode(tokenizer.encode([text.encode()])[0])


def test_bytes_stay_where_they_are():
    pieces = list(cut_document(Document("日本\n語".encode() * 50), 10, CONTEXT))
    assert encode_documents(pieces, ByteTokenizer()).tolist() == [*("日本\n語".encode() * 50), 256]


def test_words_without_a_token_for_the_unknown(tmp_path):
    tokenizer = Tokenizer(models.WordLevel({"known": 0, END: 1}))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "words.json"))
    with pytest.raises(
        ValueError, match=r"words\.json cannot encode the data .*take one that has a token for unk"
    ):
        open_tokenizer(str(tmp_path / "words.json"), END).encode([b"known unknown"])
