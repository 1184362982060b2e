"""What a file holds, by its ending and by its first bytes: text, compressed or not, or something to refuse."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

__all__ = [
    "COMPRESSED",
    "JSON",
    "PLAIN",
    "TEXT",
    "TextFormat",
    "ending",
    "first_bad_byte",
    "length_of",
    "open_utf8",
    "text_error",
    "text_format",
]

TEXT = (".txt", ".text", ".md", ".rst", ".tex", ".py")
JSON = (".jsonl", ".ndjson", ".json")
HEAD = 2**16  # bytes that are looked at before a file is accepted
CHUNK = 2**18  # bytes that are decompressed at once


def _open_zstd(path: Path) -> Any:
    try:
        import pyarrow
    except ImportError:
        raise ValueError(
            f"{path} is read with the package pyarrow, which is missing: pip install pyarrow"
        ) from None
    return pyarrow.input_stream(path.open("rb"), compression="zstd")


class Compression(NamedTuple):
    """A way to compress files."""

    name: str
    magic: bytes
    """With which each of its files begins."""
    open: Callable[[Path], Any]
    tool: str
    """The command that unpacks it."""


COMPRESSED = {
    ".gz": Compression("gzipped", b"\x1f\x8b", gzip.open, "gunzip"),
    ".zst": Compression("compressed by zstd", b"\x28\xb5\x2f\xfd", _open_zstd, "unzstd"),
    ".bz2": Compression("compressed by bzip2", b"BZh", bz2.open, "bunzip2"),
    ".xz": Compression("compressed by xz", b"\xfd7zXZ\0", lzma.open, "unxz"),
}
DAMAGED = (OSError, EOFError, zlib.error, lzma.LZMAError)
"""What reading a damaged one raises."""

ZSTD_SKIPPED = b"\x2a\x4d\x18"
"""Bytes 1 to 3 of a frame with which parallel zstd begins."""

BINARY = (
    (0, b"PK\x03\x04", "a ZIP archive"),
    (257, b"ustar", "a tar archive"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (0, b"Rar!", "a RAR archive"),
    (0, b"\x04\x22\x4d\x18", "compressed by lz4"),
    (0, b"PAR1", "a Parquet file"),
    (0, b"ARROW1", "an Arrow file"),
    (0, b"\x89PNG", "a PNG image"),
    (0, b"\xff\xd8\xff", "a JPEG image"),
    (0, b"GIF8", "a GIF image"),
    (0, b"%PDF-", "a PDF document"),
    (0, b"\x7fELF", "an ELF program"),
    (0, b"\x89HDF", "an HDF5 file"),
    (0, b"\x93NUMPY", "a NumPy array"),
    (0, b"SQLite format 3\0", "an SQLite database"),
    *((0, bytes([0x80, protocol]), "a pickle") for protocol in range(2, 6)),
)
"""Files that are not text: where their first bytes lie, the bytes, and what they are."""

TABLE = (
    "a table: write its column of text as JSON lines or Parquet, for example with pandas.read_csv(...)"
    ".to_json(..., orient='records', lines=True)"
)
ARCHIVE = "an archive: unpack it and name the folder of its files"
NOT_TEXT = "not a text file: write its text as JSON lines or Parquet"
REFUSED = {
    **dict.fromkeys((".csv", ".tsv"), TABLE),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".tbz2", ".txz", ".7z", ".rar"), ARCHIVE),
    **dict.fromkeys((".arrow", ".feather", ".orc", ".avro", ".xlsx", ".pkl", ".pickle", ".npy", ".npz"), NOT_TEXT),
    **dict.fromkeys((".pt", ".bin", ".safetensors", ".h5"), NOT_TEXT),
}
"""Endings of files that are refused, with what they are and what to do."""

MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
"""Byte-order marks (UTF-16's begins as one of UTF-32 does), with the encodings that they announce."""


@dataclass(frozen=True)
class TextFormat:
    """How the text of a file is encoded."""

    compression: str | None = None
    """An ending from :data:`COMPRESSED`."""
    encoding: str = "utf-8"
    start: int = 0
    """Bytes of the byte-order mark before the text."""

    @property
    def seekable(self) -> bool:
        """Whether the file holds plain UTF-8, which can be read from anywhere."""
        return self.compression is None and self.encoding == "utf-8"


PLAIN = TextFormat()


def ending(name: str) -> str:
    """The ending that says what a file holds, in lower case, without that of its compression.

    >>> ending("a.JSONL.zst"), ending("notes"), ending("b.txt")
    ('.jsonl', '', '.txt')
    """
    path = Path(name.lower())
    return Path(path.stem).suffix if path.suffix in COMPRESSED else path.suffix


def text_format(path: Path) -> TextFormat:
    """How the text of this file is encoded.

    Raises:
        ValueError: it does not hold text, by its ending or by its first bytes, or cannot be read.
    """
    suffix = path.suffix.lower()
    compression = COMPRESSED.get(suffix)
    advice = REFUSED.get(suffix) or (compression and REFUSED.get(ending(path.name)))
    if advice:
        raise ValueError(f"{path} is {advice}")
    with path.open("rb") as handle:
        head = handle.read(HEAD)
    if not head:
        return PLAIN
    if compression is None:
        return _encoding(path, head, None)
    if not head.startswith(compression.magic) and not (suffix == ".zst" and head[1:4] == ZSTD_SKIPPED):
        raise ValueError(_damaged(path, compression, "it begins otherwise"))
    with open_utf8(path, TextFormat(suffix)) as handle:
        return _encoding(path, handle.read(HEAD), suffix)


def open_utf8(path: Path, how: TextFormat, offset: int = 0) -> BinaryIO:
    """The text of a file as UTF-8, from this offset of it on, to be read forwards.

    Offsets count the bytes of the UTF-8 text, without a byte-order mark; of a file that can be read from anywhere
    they are offsets in the file.

    Raises:
        ValueError: (while reading) the file is damaged, or not in the encoding that it announces.
    """
    if how.seekable:
        handle = path.open("rb")
        handle.seek(offset)
        return handle
    stream = io.BufferedReader(_Decoded(path, how), CHUNK)
    left = offset
    while left and (skipped := len(stream.read(min(left, CHUNK)))):
        left -= skipped
    return stream


class _Decoded(io.RawIOBase):
    """A file's text as UTF-8: decompressed and decoded piece by piece."""

    def __init__(self, path: Path, how: TextFormat) -> None:
        self._path, self._how = path, how
        self._compression = COMPRESSED.get(how.compression or "")
        self._raw = path.open("rb") if self._compression is None else self._compression.open(path)
        self._decoder = codecs.getincrementaldecoder(how.encoding)() if how.encoding != "utf-8" else None
        self._ready, self._read = memoryview(b""), 0
        if how.start:
            self._take(how.start)

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._take(CHUNK)
            self._ready = memoryview(data if self._decoder is None else self._decode(data))
            if not data:
                break
        count = min(len(buffer), len(self._ready))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _take(self, size: int) -> bytes:
        try:
            data = bytes(self._raw.read(size))
        except DAMAGED as error:
            if self._compression is None:
                raise
            raise ValueError(_damaged(self._path, self._compression, str(error))) from error
        self._read += len(data)
        return data

    def _decode(self, data: bytes) -> bytes:
        assert self._decoder is not None
        before = self._read - len(data)
        try:
            return self._decoder.decode(data, final=not data).encode()
        except UnicodeError as error:
            raise ValueError(
                f"{self._path} is not valid {self._how.encoding.upper()} near byte {before}, as which it "
                f"begins ({error.args[-1]}): write it as UTF-8"
            ) from error


def _damaged(path: Path, compression: Compression, reason: str) -> str:
    reason = (reason.strip().splitlines() or ["it ends too early"])[0].rstrip(".")
    return f"{path} is damaged or not {compression.name} ({reason}); name a file that {compression.tool} can read"


def _encoding(path: Path, head: bytes, compression: str | None) -> TextFormat:
    """How the text that begins like this is encoded."""
    for mark, encoding in MARKS:
        if head.startswith(mark):
            return TextFormat(compression, encoding, len(mark))
    place = first_bad_byte(head, more=len(head) == HEAD)
    if place is not None or head.startswith(b"%PDF-"):
        raise ValueError(_known_binary(path, head) or text_error(path, head, place or 0))
    return TextFormat(compression)


def _known_binary(path: Path, head: bytes) -> str | None:
    """What to say of a file that is not text, if its first bytes say what it is."""
    for suffix, compression in COMPRESSED.items():
        if head.startswith(compression.magic):
            return (
                f"{path} is {compression.name}, not text: rename it so that its name says what it holds and "
                f"ends in {suffix} (such as {path.stem}.jsonl{suffix}), or unpack it with {compression.tool}"
            )
    for offset, magic, what in BINARY:
        if head[offset : offset + len(magic)] == magic:
            advice = "rename it so that it ends in .parquet" if magic == b"PAR1" else "name a file with text"
            return f"{path} is {what}, not text: {advice}"
    return None


def first_bad_byte(text: bytes, *, more: bool = False) -> int | None:
    r"""Where bytes stop being UTF-8 text, at the first NUL or invalid byte; None if all are.

    Args:
        text: the bytes.
        more: others follow, so that the last character may be cut.

    >>> first_bad_byte("é".encode()[:1]), first_bad_byte("é".encode()[:1], more=True), first_bad_byte(b"a\0")
    (0, None, 1)
    """
    nul = text.find(0)
    try:
        codecs.getincrementaldecoder("utf-8")().decode(text, final=not more)
    except UnicodeDecodeError as error:
        return error.start if nul < 0 else min(nul, error.start)
    return None if nul < 0 else nul


def text_error(path: Path, text: bytes, place: int, offset: int = 0) -> str:
    """Why bytes are not text: invalid UTF-8 or a NUL byte.

    Args:
        path: their file.
        text: the bytes.
        place: of the first that cannot be text.
        offset: of `text` in the file.
    """
    if text[place] == 0:
        return (
            f"{path} is not text: byte {offset + place} is 0, as in binary files and in UTF-16 without a "
            "byte-order mark; name a file with text, or write it as UTF-8 (iconv -f utf-16le -t utf-8)"
        )
    return (
        f"{path} is not UTF-8: byte {offset + place} is 0x{text[place]:02x}; write it as UTF-8 (for example "
        "iconv -f latin1 -t utf-8), or name a file with text"
    )


def length_of(path: Path, how: TextFormat) -> int:
    """Bytes of the text as UTF-8; a file that cannot be read from anywhere is read through."""
    if how.seekable:
        return path.stat().st_size
    size = 0
    with closing(open_utf8(path, how)) as handle:
        while piece := handle.read(CHUNK):
            size += len(piece)
    return size
