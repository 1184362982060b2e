"""Readers on hostile input: any bytes are read exactly, or refused in words; nothing in the data is run."""

import gzip
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from adabatch.data import text_files
from adabatch.data.corpus import open_corpus
from adabatch.data.documents import read_parts
from adabatch.data.json_lines import JsonLinesSource
from adabatch.data.local_files import NamedFile
from adabatch.data.preparation import prepare
from adabatch.data.text_files import TextSource
from adabatch.data.tokenizer import open_tokenizer
from adabatch.settings import DataSettings

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

hostile = st.one_of(
    st.binary(max_size=60),
    st.text(max_size=40).map(lambda text: text.encode("utf-8", errors="surrogatepass")),
    st.lists(
        st.sampled_from([b"\x00", b"\n", b"\r\n", b"\xff", b"\xe6\x97", b"a", "日".encode()]), max_size=30
    ).map(b"".join),
    st.builds(str.encode, st.text(max_size=20), st.sampled_from(["utf-16", "utf-32", "utf-8-sig"])),
)
"""NUL bytes, invalid UTF-8, characters cut in two, byte-order marks, lines of any kind, nothing at all."""

fractions = st.sampled_from([0.0, 0.05, 0.5, 1.0])


def written(folder: Path, contents: list[bytes], ending: str) -> list[NamedFile]:
    for old in folder.glob(f"*{ending}"):
        old.unlink()
    files = []
    for number, content in enumerate(contents):
        path = folder / f"{number}{ending}"
        path.write_bytes(content)
        files.append(NamedFile(path.name, path))
    return files


# ----------------------------------------------------------------------------------------------------
# Text files.


@quick
@given(
    contents=st.lists(hostile, min_size=1, max_size=5),
    fraction=fractions,
    piece=st.integers(4, 9),
    shards=st.integers(1, 5),
)
@example(contents=[b"\xfe\xff", b"\x00"], fraction=0.0, piece=4, shards=1)
@example(contents=["日本\n語".encode("utf-16"), b"\xef\xbb\xbfab\n"], fraction=0.5, piece=4, shards=3)
@example(contents=["日本\n語".encode("utf-32"), b"\xff\xfea"], fraction=0.05, piece=4, shards=3)
@example(contents=["a\0".encode("utf-16"), b"\xff\xfe"], fraction=0.0, piece=4, shards=2)
@example(contents=["é日\n😀語".encode("utf-16"), b"\xff\xfe"], fraction=0.0, piece=4, shards=2)
def test_every_byte_of_every_text_file_is_read_once(tmp_path, contents, fraction, piece, shards):
    files, texts = written(tmp_path, contents, ".txt"), [as_text(content) for content in contents]
    if refused_when_opened(contents, ".txt", lambda: TextSource(files, fraction)):
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_files, "PIECE", piece)
        source = TextSource(files, fraction)
        if bad := [f"{number}" for number, text in enumerate(texts) if text is None]:
            with pytest.raises(ValueError, match=rf"({'|'.join(bad)})\.txt is not "):
                list(read_parts([*source.parts(False), *source.parts(True)]))
            return
        training, held_out = source.parts(False), source.parts(True)
        trained = [text_of(training, file.path) for file in files]
        for file, text, first in zip(files, texts, trained, strict=True):
            both = sorted((part.start, part.stop) for part in [*training, *held_out] if part.path == file.path)
            assert first + text_of(held_out, file.path) == text.encode()
            assert [start for start, _ in both[1:]] == [stop for _, stop in both[:-1]]
        ends = sum(document.ends for document in read_parts(training))
        assert ends == sum(map(bool, trained))
        dealt = [part for index in range(shards) for part in source.shard(index, shards)]
        assert covered(dealt) == covered(training)
        assert [text_of(dealt, file.path) for file in files] == trained
        assert sum(document.ends for document in read_parts(dealt)) == ends


MARKS = {
    "utf-32": (b"\xff\xfe\0\0", b"\0\0\xfe\xff"),
    "utf-16": (b"\xff\xfe", b"\xfe\xff"),
    "utf-8-sig": (b"\xef\xbb\xbf",),
}
"""The byte-order marks that Python's codecs of these names take off; UTF-16's begins as one of UTF-32 does."""


def announced(content: bytes) -> str:
    """The encoding that a file's first bytes announce."""
    return next((encoding for encoding, marks in MARKS.items() if content.startswith(marks)), "utf-8")


def as_text(content: bytes) -> str | None:
    """What a file says, in the encoding that it announces; None if it is not text, or a PDF document."""
    try:
        text = content.decode(announced(content))
    except UnicodeDecodeError:
        return None
    return None if "\0" in text or content.startswith(b"%PDF-") else text


def refused_when_opened(contents: list[bytes], ending: str, opened: Callable[[], object]) -> bool:
    """Whether one is not text and then refused at once; what announces its encoding is refused when it is read."""
    texts = (as_text(content) if announced(content) == "utf-8" else "" for content in contents)
    if (bad := next((number for number, text in enumerate(texts) if text is None), None)) is None:
        return False
    with pytest.raises(ValueError, match=rf"{bad}\{ending} is (an? |not |gzipped|compressed )"):
        opened()
    return True


def text_of(parts, path: Path) -> bytes:
    """What is read of a file, its pieces in the order of their places."""
    pieces = [piece for part in parts if part.path == path for piece in part.read()]
    return b"".join(document.text for document, _ in sorted(pieces, key=lambda piece: piece[1][0]))


def covered(parts) -> Counter:
    """How often each byte is read of each file that can be read from anywhere."""
    return Counter((p.path, offset) for p in parts if p.format.seekable for offset in range(p.start, p.stop))


@pytest.mark.parametrize("name", ["long.txt", "long.jsonl"])
def test_one_huge_line(tmp_path, name):
    text = b"abcdefg " * (18 * 2**17)  # 18 MiB, more than is read at once
    content = text if name.endswith("txt") else b'{"text": "' + text + b'"}\n'
    (tmp_path / name).write_bytes(content)
    data = DataSettings(
        data=str(tmp_path / name), cache=str(tmp_path / "cache"), validation_fraction=0.0, sequence_length=64
    )
    tokens = np.fromfile(prepare(data) / "train.tokens", dtype="<u2")
    assert len(tokens) == len(text) + 1
    assert tokens[-1] == 256
    assert tokens[:-1].astype(np.uint8).tobytes() == text


# ----------------------------------------------------------------------------------------------------
# JSON lines.

nested = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
)
good_lines = st.builds(
    lambda text, more: json.dumps({**more, "text": text}).encode(),
    st.text(max_size=12),
    st.dictionaries(st.text(max_size=3), nested, max_size=2),
)
lines = st.one_of(
    good_lines,
    good_lines,
    good_lines,
    st.sampled_from([b"", b"  ", b"\r", b"{}", b"null", b'{"text": "\\ud800"}']),
)
bad_lines = st.one_of(
    hostile.map(lambda content: content.replace(b"\n", b"")), nested.map(lambda v: json.dumps(v).encode())
)


def texts_of(content: bytes) -> list[bytes] | None:
    """The texts of a file's lines, by other code; None if one of them is not an object with a text."""
    texts = []
    if (text := as_text(content)) is None:
        return None
    for line in text.encode().split(b"\n"):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError):
            return None
        if not isinstance(record, dict) or not isinstance(record.get("text", 0), str | None):
            return None
        if record["text"]:
            texts.append(record["text"].encode("utf-8", errors="replace"))
    return texts


def read_or_refused(parts) -> list[bytes] | None:
    try:
        return [document.text for document in read_parts(parts) if not document.missing]
    except ValueError as error:
        refusal = str(error)
    assert "line " in refusal or "is not valid UTF-" in refusal
    return None


@quick
@given(
    contents=st.lists(
        st.lists(st.one_of(lines, lines, lines, bad_lines), max_size=6).map(b"\n".join), min_size=1, max_size=3
    ),
    fraction=fractions,
    shards=st.integers(1, 5),
)
@example(contents=[b"[" * 100_000], fraction=0.0, shards=1)
@example(contents=[b'{"text": ' + b"9" * 5000 + b"}"], fraction=0.0, shards=1)
@example(contents=['{"text": "日本"}\n\n{"text": "語"}'.encode("utf-16")], fraction=0.5, shards=3)
@example(contents=[b'\xef\xbb\xbf\n{"text": "a"}', b"\xfe\xff"], fraction=0.0, shards=2)
@example(contents=[b"\xfe\xff\x00"], fraction=0.05, shards=1)
def test_json_lines_are_read_once_or_refused(tmp_path, contents, fraction, shards):
    files = written(tmp_path, contents, ".jsonl")
    if refused_when_opened(contents, ".jsonl", lambda: JsonLinesSource(files, "text", fraction)):
        return
    source = JsonLinesSource(files, "text", fraction)
    expected = [texts_of(content) for content in contents]
    sides = [read_or_refused(source.parts(validation)) for validation in (False, True)]
    dealt = read_or_refused(part for index in range(shards) for part in source.shard(index, shards))
    if None not in expected:
        assert Counter(sides[0] + sides[1]) == Counter(text for texts in expected for text in texts)
        assert Counter(dealt) == Counter(sides[0])
    else:
        assert None in sides


@quick
@given(content=hostile, kept=st.integers(0, 100), tail=st.binary(max_size=5))
def test_damaged_gzip_files_are_refused_in_words(tmp_path, content, kept, tail):
    whole = gzip.compress(json.dumps({"text": content.decode("latin-1")}).encode() + b"\n")
    damaged = whole[: len(whole) * kept // 100] + tail
    files = written(tmp_path, [damaged], ".jsonl.gz")
    whole_text = content.decode("latin-1").encode()
    try:
        read = [document.text for document in read_parts(JsonLinesSource(files, "text", 0.0).parts(False))]
    except ValueError as error:
        refusal = str(error)
    else:
        assert read == [whole_text] * bool(whole_text and damaged.strip(b"\x00"))
        return
    assert "0.jsonl.gz" in refusal


# ----------------------------------------------------------------------------------------------------
# A whole corpus.


def prepared(folder: Path, **changes) -> DataSettings:
    return DataSettings(
        data=str(folder / "data"), cache=str(folder / "cache"), **{"sequence_length": 4, **changes}
    )


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.txt").write_bytes(b"twelve bytes" * 20)
    return tmp_path


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(contents=st.lists(hostile, min_size=1, max_size=3))
@example(contents=[b"\xfe\xff", b"\x00"])
@example(contents=["日本".encode("utf-16"), b"\xff\xfe", b"\xef\xbb\xbfa", b""])
@example(contents=[b"\xff\xfea"])
def test_prepared_tokens_are_the_bytes(folder, contents):
    written(folder / "data", contents, ".txt")
    texts = [as_text(content) for content in contents]
    if None in texts:
        with pytest.raises(ValueError, match=r"\.txt is (an? |not |gzipped|compressed )"):
            prepare(prepared(folder, validation_fraction=0.0))
        return
    place = prepare(prepared(folder, validation_fraction=0.0))
    tokens = np.fromfile(place / "train.tokens", dtype="<u2")
    assert tokens.tolist() == [token for text in filter(None, texts) for token in [*text.encode(), 256]]


def test_a_file_that_is_cut_while_it_is_read(folder, monkeypatch):
    monkeypatch.setattr(text_files, "PIECE", 24)
    (part, *_) = TextSource([NamedFile("a.txt", folder / "data" / "a.txt")], 0.0).parts(False)[-1:]
    (folder / "data" / "a.txt").write_bytes(b"short")
    with pytest.raises(ValueError, match=r"a\.txt became shorter while it was read"):
        list(part.read())


def appended(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" and more")


def replaced(path: Path) -> None:
    path.write_bytes(path.read_bytes().upper())


def cut(path: Path) -> None:
    path.write_bytes(b"cut")


@pytest.mark.parametrize("change", [appended, replaced, cut, Path.unlink])
def test_a_file_that_changes_while_it_is_prepared(folder, change):
    path = folder / "data" / "a.txt"
    with pytest.raises(ValueError, match=r"changed while it was prepared|cannot be read"):
        prepare(prepared(folder, validation_fraction=0.0), lambda *_: change(path))
    assert not list((folder / "cache" / "corpora").iterdir())


@pytest.fixture
def described(folder):
    """A prepared corpus and the path of its description."""
    return folder, prepare(prepared(folder)) / "corpus.json"


@quick
@given(
    content=st.one_of(
        st.binary(max_size=40),
        nested.map(lambda value: json.dumps(value).encode()),
        st.fixed_dictionaries(
            {"dtype": nested | st.sampled_from(["<u2", "O", "<f8", "V2", "<u2,<u2"])},
            optional={
                "tokenizer": nested,
                "parts": st.dictionaries(
                    st.sampled_from(["train", "validation", "../train"]),
                    st.dictionaries(st.sampled_from(["tokens", "bytes", "sha256"]), nested, max_size=3),
                ),
            },
        ).map(lambda value: json.dumps(value).encode()),
    )
)
def test_a_description_that_is_damaged_or_hostile(described, content):
    folder, description = described
    description.write_bytes(content)
    with pytest.raises(ValueError, match=r"delete .* to prepare it again|less than one sequence"):
        open_corpus(prepared(folder), description.parent)


def test_a_record_of_work_that_is_damaged_is_done_again(folder):
    settings = prepared(folder)
    whole = prepare(settings)
    tokens = (whole / "train.tokens").read_bytes()
    unfinished = whole.with_name(f"unfinished-{whole.name}")
    whole.rename(unfinished)
    for name in ("train-000000.done", "validation-000000.done", "train-000000.json", "validation-000000.json"):
        (unfinished / name).write_bytes(b'{"tokens": [')
    assert (prepare(settings) / "train.tokens").read_bytes() == tokens


# ----------------------------------------------------------------------------------------------------
# Tokenizers.


@quick
@given(content=st.one_of(st.binary(max_size=60), nested.map(lambda value: json.dumps(value).encode())))
@example(content=b"[" * 100_000)
@example(content=json.dumps({"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}).encode())
@example(content=json.dumps({"model": {"type": "WordLevel", "vocab": {}, "unk_token": "a"}}).encode())
def test_any_file_as_a_tokenizer(tmp_path, content):
    (tmp_path / "tokenizer.json").write_bytes(content)
    with pytest.raises(ValueError, match="tokenizer"):
        open_tokenizer(str(tmp_path / "tokenizer.json"))


def test_code_that_comes_with_a_tokenizer_is_not_run(tmp_path):
    folder, trace = tmp_path / "tokenizer", tmp_path / "trace"
    folder.mkdir()
    (folder / "evil.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass Evil: ...\n")
    configuration = {"tokenizer_class": "Evil", "auto_map": {"AutoTokenizer": ["evil.Evil", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(configuration))
    (folder / "config.json").write_text(json.dumps({"auto_map": {"AutoConfig": "evil.Evil"}}))
    with pytest.raises(ValueError, match="could not be loaded"):
        open_tokenizer(str(folder))
    assert not trace.exists()
