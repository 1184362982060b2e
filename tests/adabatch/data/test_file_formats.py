"""What users' corpora come as: compressed, in other encodings, not text at all. Read right, or refused by name."""

import bz2
import gzip
import json
import lzma
import os
import pickle
import tarfile
import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adabatch.data import file_formats
from adabatch.data.corpus import open_corpus
from adabatch.data.documents import read_parts
from adabatch.data.file_formats import COMPRESSED, open_utf8, text_format
from adabatch.data.json_lines import JsonLinesSource
from adabatch.data.local_files import NamedFile, files_in
from adabatch.data.text_files import TextSource
from adabatch.settings import DataSettings


def zstd(data: bytes) -> bytes:
    return pyarrow.compress(data, codec="zstd", asbytes=True)


COMPRESS = {"": bytes, ".gz": gzip.compress, ".zst": zstd, ".bz2": bz2.compress, ".xz": lzma.compress}
TEXT = "".join(f"line {i}: naïve 日本語 😀\n" for i in range(300))
LINES = "".join(
    json.dumps({"text": f"document {i} naïve 😀", "n": i}, ensure_ascii=False) + "\n" for i in range(300)
)
ENCODINGS = ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32", "utf-32-be"]
MARKS = {"utf-16-be": b"\xfe\xff", "utf-32-be": b"\0\0\xfe\xff"}


def encoded(text: str, encoding: str) -> bytes:
    return MARKS.get(encoding, b"") + text.encode(encoding)


def options(tmp_path, name, **changes) -> DataSettings:
    values = {"sequence_length": 16, "cache": str(tmp_path / "cache"), "stream_shards": 1, "shuffle_buffer": 0}
    return DataSettings(str(tmp_path / name), **{**values, **changes})


def tokens_of(corpus, count: int) -> list[int]:
    if corpus.train.length is not None:
        return np.asarray(corpus.train._samples).reshape(-1).tolist()
    return corpus.train.take(range(count)).reshape(-1).tolist()


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_text_in_any_encoding_and_compression(tmp_path, encoding, compression, streaming):
    (tmp_path / f"a.txt{compression}").write_bytes(COMPRESS[compression](encoded(TEXT, encoding)))
    expected = [*TEXT.encode(), 256]
    expected = expected[: len(expected) // 16 * 16]
    chosen = options(tmp_path, f"a.txt{compression}", streaming=streaming, validation_fraction=0.0)
    assert tokens_of(open_corpus(chosen), len(expected) // 16) == expected


@pytest.mark.parametrize("name", ["a.jsonl", "a.ndjson", "a.json", "A.JSONL"])
@pytest.mark.parametrize("compression", COMPRESS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_json_lines_in_any_encoding_and_compression(tmp_path, name, encoding, compression):
    path = tmp_path / (name + compression)
    path.write_bytes(COMPRESS[compression](encoded(LINES, encoding)))
    documents = [f"document {i} naïve 😀".encode() for i in range(300)]
    for shards in (1, 3):
        source = JsonLinesSource([NamedFile(path.name, path)], "text", 0.0)
        read = [d.text for index in range(shards) for d in read_parts(source.shard(index, shards))]
        assert sorted(read) == sorted(documents)
    corpus = open_corpus(options(tmp_path, path.name, validation_fraction=0.0))
    expected = [token for document in documents for token in [*document, 256]]
    assert tokens_of(corpus, 0) == expected[: len(expected) // 16 * 16]


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    compression=st.sampled_from([".gz", ".zst", ".bz2", ".xz"]),
    fraction=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
    shards=st.integers(1, 5),
    piece=st.integers(4, 500),
    lines=st.lists(st.text("ab é😀", max_size=30), max_size=40),
)
def test_compressed_text_is_shared_out_as_plain_text_is(tmp_path, compression, fraction, shards, piece, lines):
    """The same held-out end, everything exactly once in the shards, and the same from any place on."""
    text = "\n".join(lines).encode()
    plain, packed = tmp_path / "a.txt", tmp_path / f"a.txt{compression}"
    plain.write_bytes(text)
    packed.write_bytes(COMPRESS[compression](text))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adabatch.data.text_files.PIECE", piece)
        ours, theirs = (TextSource([NamedFile("a.txt", path)], fraction) for path in (packed, plain))
        for validation in (False, True):
            mine, wanted = (b"".join(d.text for d in read_parts(s.parts(validation))) for s in (ours, theirs))
            assert mine == wanted
        dealt = [part for index in range(shards) for part in ours.shard(index, shards)]
        pieces = sorted((place, document) for part in dealt for document, place in part.read())
        assert b"".join(document.text for _, document in pieces) == b"".join(
            d.text for d in read_parts(theirs.parts(False))
        )
        for part in dealt:
            whole = list(part.read())
            for number, (_, place) in enumerate(whole[:5]):
                assert list(part.read(place)) == whole[number + 1 :]


@pytest.mark.parametrize("compression", [".gz", ".zst", ".bz2", ".xz"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "something else"])
def test_damaged_compressed_files_are_one_line(tmp_path, compression, damage):
    if (compression, damage) == (".zst", "flipped"):
        pytest.skip("pyarrow writes no checksum")
    data = COMPRESS[compression](os.urandom(50_000).hex().encode())
    damaged = {
        "cut": data[:-20],
        "flipped": data[:9000] + bytes(byte ^ 255 for byte in data[9000:9100]) + data[9100:],
        "something else": b"plain text",
    }[damage]
    (tmp_path / f"a.txt{compression}").write_bytes(damaged)
    kind = COMPRESSED[compression]
    with pytest.raises(
        ValueError, match=rf"a\.txt\{compression} is (damaged or not {kind.name} \(|not ).*"
    ) as error:
        open_corpus(options(tmp_path, f"a.txt{compression}", validation_fraction=0.0))
    assert "\n" not in str(error.value)


def test_memory_stays_bounded(tmp_path):
    """64 MB of zeros' worth of text, compressed to a few kB, is not held at once."""
    import tracemalloc

    path = tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(b"a line of text\n" * (2**26 // 15), compresslevel=1))
    tracemalloc.start()
    size = sum(len(document.text) for document in read_parts(TextSource([NamedFile("a", path)], 0.0).parts(False)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert size == 2**26 // 15 * 15
    assert peak < 2**24


def binaries(tmp_path) -> dict[str, bytes]:
    with tarfile.open(tmp_path / "tar", "w") as archive:
        archive.add(__file__, "a.txt")
    with zipfile.ZipFile(tmp_path / "zip", "w") as archive:
        archive.write(__file__, "a.txt")
    np.save(tmp_path / "array.npy", np.arange(9))
    table = pyarrow.table({"text": ["a", "b"]})
    pyarrow.parquet.write_table(table, tmp_path / "rows")
    png = b"\x89PNG\r\n\x1a\n" + bytes(range(256))
    read = {name: (tmp_path / name).read_bytes() for name in ("tar", "zip", "array.npy", "rows")}
    return {
        "a tar archive": read["tar"],
        "a ZIP archive": read["zip"],
        "a NumPy array": read["array.npy"],
        "a Parquet file": read["rows"],
        "a pickle": pickle.dumps({"text": "abc" * 50}),
        "a PNG image": png,
        "an ELF program": b"\x7fELF\x02\x01\x01" + bytes(100),
        "gzipped": gzip.compress(TEXT.encode()),
        "compressed by zstd": zstd(TEXT.encode()),
        "not UTF-8: byte 3 is 0xe9": "caf\xe9 au lait".encode("latin-1"),
        "not UTF-8: byte 0 is 0x93": "“quoted”".encode("cp1252"),
        "not text: byte 1 is 0": "UTF-16 without a mark".encode("utf-16-le"),
        "not text: byte 2 is 0": b"ab\0",
    }


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a", "a.txt.gz", "folder/a.txt"])
def test_what_is_not_text_is_refused_by_name(tmp_path, name, streaming):
    (tmp_path / "folder").mkdir()
    for what, content in binaries(tmp_path).items():
        path = tmp_path / name
        path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
        data = "folder" if name.startswith("folder") else name
        with pytest.raises(ValueError, match=f"{path} is {what}") as error:
            open_corpus(options(tmp_path, data, streaming=streaming))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("a.csv", "a table: write its column of text as JSON lines or Parquet"),
        ("a.tsv.gz", "a table"),
        ("a.zip", "an archive: unpack it"),
        ("a.tar.gz", "an archive: unpack it"),
        ("a.safetensors", "not a text file"),
        ("a.PKL", "not a text file"),
    ],
)
def test_endings_that_are_refused(tmp_path, name, advice):
    (tmp_path / name).write_text("text,label\na,1\n")
    with pytest.raises(ValueError, match=f"{name} is {advice}"):
        open_corpus(options(tmp_path, name))


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("bad", [b"\xff", b"\0", "é".encode()[:1]])
def test_far_into_a_file(tmp_path, bad, streaming):
    """Beyond what is looked at first; the place is the file's, and no tokens are kept."""
    (tmp_path / "a.txt").write_bytes(b"0123456789abcde\n" * 10_000 + bad + b"\n" + b"more text\n" * 10_000)
    with pytest.raises(ValueError, match=r"a\.txt is not (text|UTF-8): byte 160000 is 0"):
        open_corpus(options(tmp_path, "a.txt", streaming=streaming)).train.take(range(20_000))
    assert not list((tmp_path / "cache" / "corpora").glob("[!u]*/train.tokens")) or streaming


def test_a_missing_package_is_named(tmp_path, monkeypatch):
    (tmp_path / "a.txt.zst").write_bytes(zstd(b"text"))
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ValueError, match=r"a\.txt\.zst is read with the package pyarrow, which is missing: pip"):
        text_format(tmp_path / "a.txt.zst")


@pytest.mark.parametrize("offset", [0, 1, 5000, 6000, 10**6])
@pytest.mark.parametrize("compression", COMPRESS)
def test_reading_from_an_offset(tmp_path, compression, offset):
    path = tmp_path / f"a{compression}"
    path.write_bytes(COMPRESS[compression](TEXT.encode()))
    with open_utf8(path, text_format(path), offset) as handle:
        assert handle.read() == TEXT.encode()[offset:]


def test_several_compressed_parts_in_one_file(tmp_path):
    for ending, compress in COMPRESS.items():
        path = tmp_path / f"a{ending}"
        path.write_bytes(compress(b"one ") + compress(b"two"))
        with open_utf8(path, text_format(path)) as handle:
            assert handle.read() == b"one two"
    assert set(COMPRESS) == {"", *file_formats.COMPRESSED}


def test_what_is_left_out_of_a_folder_is_named(tmp_path):
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    for name in ("a.txt", "sub/b.jsonl.zst", ".hidden.txt", "table.csv", "sub/picture.png"):
        (data / name).write_text("text")
    (data / ".git").mkdir()
    (data / ".git" / "c.txt").write_text("text")
    (data / "link").symlink_to(tmp_path / "elsewhere")
    (data / "gone.txt").symlink_to(tmp_path / "nothing")
    (data / "to a file.txt").symlink_to(data / "a.txt")
    os.mkfifo(data / "pipe.txt")
    found, left_out = files_in(data)
    assert [file.name for file in found] == ["a.txt", "sub/b.jsonl.zst", "to a file.txt"]
    assert left_out == [
        ".git (hidden)",
        ".hidden.txt (hidden)",
        "gone.txt (a link to nothing)",
        "link (a link to a folder)",
        "pipe.txt (not a file)",
        "sub/picture.png (its ending)",
        "table.csv (its ending)",
    ]
    (data / "sub" / "b.jsonl.zst").unlink()
    with pytest.warns(UserWarning, match=r"left out of .*data: \.git \(hidden\), .* and 2 more"):
        open_corpus(options(tmp_path, "data", sequence_length=2, validation_fraction=0.0))


@pytest.mark.parametrize(
    "name", ["a[1].txt", "a*.jsonl", "a?{b}.txt.gz", "[b]/a.txt", "a[1].parquet", "[c]*/rows"]
)
def test_names_with_glob_characters_are_names(tmp_path, name):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if name.endswith("rows"):
        path.mkdir()
    line = json.dumps({"text": TEXT}) + "\n" if "json" in name else TEXT
    if name.endswith(("parquet", "rows")):
        table = pyarrow.table({"text": [TEXT]})
        pyarrow.parquet.write_table(table, path / "a[2].parquet" if name.endswith("rows") else path)
    else:
        path.write_bytes(gzip.compress(line.encode()) if name.endswith("gz") else line.encode())
    (tmp_path / "a1.txt").write_text("another")
    (tmp_path / "a1.parquet").write_text("another")
    expected = [*TEXT.encode(), 256]
    for streaming in (False, True):
        corpus = open_corpus(options(tmp_path, name, streaming=streaming, validation_fraction=0.0))
        assert tokens_of(corpus, len(expected) // 16) == expected[: len(expected) // 16 * 16]
