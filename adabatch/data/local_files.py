"""Documents of local files: the standard library's source text, text files and JSON lines."""

from __future__ import annotations

import gzip
import hashlib
import json
import sys
import sysconfig
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

from adabatch.data.documents import Document, held_out, held_out_names

__all__ = ["JsonLinesSource", "NamedFile", "TextSource", "files_in", "is_json_lines", "stdlib_files"]

TEXT_SUFFIXES = (".txt", ".text", ".md", ".rst", ".tex", ".py")
JSON_SUFFIXES = (".jsonl", ".json", ".jsonl.gz", ".json.gz")
PIECE = 16 * 2**20  # bytes read at once from a long text file
DIGEST_LIMIT = 64 * 2**20  # files up to this size are fingerprinted by content, larger ones by their times

# What distributions of Python leave out or package apart, and tables of data that are not prose or program.
NOT_EVERYWHERE = {"distutils", "ensurepip", "idlelib", "lib2to3", "tkinter", "turtledemo", "venv"}
NOT_TEXT = {"encodings", "pydoc_data"}
NOT_LIBRARY = {"test", "tests", "idle_test", "site-packages", "dist-packages", "__pycache__"}


class NamedFile(NamedTuple):
    """A file with the name that it has within its corpus, which does not depend on where the corpus lies."""

    name: str
    path: Path


def stdlib_files(folder: Path | None = None) -> list[NamedFile]:
    """The source files of the standard library that every installation has, sorted by name.

    Left out: tests, installed packages, modules that are not in ``sys.stdlib_module_names``, packages that
    some distributions ship apart (such as ``tkinter``), and the tables in ``encodings`` and ``pydoc_data``.

    Args:
        folder: the library's folder; None: that of the running Python.

    Raises:
        ValueError: the folder holds no source text.
    """
    root = folder or Path(sysconfig.get_paths()["stdlib"])
    wanted = set(sys.stdlib_module_names) - NOT_EVERYWHERE - NOT_TEXT
    found = []
    for top in root.iterdir():  # site-packages may be large, so only what is wanted is looked into
        if top.name.removesuffix(".py") in wanted:
            for path in [top] if top.is_file() else top.rglob("*.py"):
                parts = path.relative_to(root).parts
                if not NOT_LIBRARY.intersection(parts):
                    found.append(NamedFile("/".join(parts), path))
    if not found:
        raise ValueError(
            f"no source text of the standard library was found in {root} (some installations ship only "
            "compiled modules); name a text file or a dataset as data instead of 'stdlib'"
        )
    return sorted(found)


def files_in(folder: Path) -> list[NamedFile]:
    """The text and JSON-lines files in a folder and its subfolders, sorted by name; hidden ones are left out.

    Raises:
        ValueError: there are none.
    """
    found = []
    for path in folder.rglob("*"):
        parts = path.relative_to(folder).parts
        hidden = any(part.startswith(".") for part in parts)
        if path.name.lower().endswith(TEXT_SUFFIXES + JSON_SUFFIXES) and not hidden and path.is_file():
            found.append(NamedFile("/".join(parts), path))
    if not found:
        raise ValueError(
            f"the folder {folder} holds no text; files ending in {', '.join(TEXT_SUFFIXES + JSON_SUFFIXES)} "
            "are read from a folder, or Parquet files (a file with another ending can be named itself)"
        )
    return sorted(found)


def is_json_lines(file: NamedFile) -> bool:
    """Whether a file is read as JSON lines, by its ending."""
    return file.path.name.lower().endswith(JSON_SUFFIXES)


class TextSource:
    """Text files, each one document, read as bytes.

    Held out are whole files, chosen by a hash of their names. Where the fraction is less than one file, it is
    the end of each file, from the line that begins there.
    """

    def __init__(self, files: Sequence[NamedFile], validation_fraction: float) -> None:
        self.files, self.fraction = list(files), validation_fraction
        self.held_out = held_out_names([file.name for file in self.files], validation_fraction)

    def documents(self, validation: bool) -> Iterator[Document]:
        """The files of this part, long ones in pieces that end with a line; empty ones are left out."""
        for file in self.files:
            with file.path.open("rb") as handle:
                size = handle.seek(0, 2)
                if self.held_out or not self.fraction:
                    cut = 0 if file.name in self.held_out else size
                else:
                    cut = _line_start(handle, round(size * (1 - self.fraction)), size)
                yield from _pieces(handle, *((cut, size) if validation else (0, cut)))

    def fingerprint(self) -> str:
        """The names and contents of the files and the part held out."""
        return _fingerprint("text", self.files, self.fraction)


class JsonLinesSource:
    """Files with one JSON object a line (gzipped if they end in .gz), whose field is a document's text.

    Held out are the documents chosen by a hash of their file's name and line number.
    """

    def __init__(self, files: Sequence[NamedFile], field: str, validation_fraction: float) -> None:
        self.files, self.field, self.fraction = list(files), field, validation_fraction

    def documents(self, validation: bool) -> Iterator[Document]:
        """The documents of this part; blank lines and empty texts are left out.

        Raises:
            ValueError: a line is no JSON object, or its field is missing or no text, or a .gz file is not gzipped.
        """
        if self.fraction == (0 if validation else 1):
            return
        for file in self.files:
            for number, line in enumerate(_lines(file.path), 1):
                if line.strip() and held_out(f"{file.name}:{number}", self.fraction) == validation:
                    text = self._text(line, f"{file.path}, line {number}")
                    if text:
                        yield Document(text)

    def _text(self, line: bytes, where: str) -> bytes:
        try:
            record = json.loads(line)
        except ValueError as error:  # JSON or UTF-8
            reason = getattr(error, "msg", error)  # without "line 1", which is not the file's
            raise ValueError(f"{where}: not valid JSON ({reason}); each line must hold one JSON object") from error
        if not isinstance(record, dict):
            raise ValueError(f"{where}: a {type(record).__name__}; each line must hold one JSON object")
        if not isinstance(record.get(self.field), str):
            found = "holds no text" if self.field in record else "is missing"
            raise ValueError(
                f"{where}: the field {self.field!r} {found}; the object's fields are "
                f"{', '.join(map(repr, record)) or 'none'}: set text_field to the one with the text"
            )
        return str(record[self.field]).encode("utf-8", errors="replace")

    def fingerprint(self) -> str:
        """The names and contents of the files, the field and the part held out."""
        return _fingerprint(f"json {self.field}", self.files, self.fraction)


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as handle:
            yield from handle
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path} is damaged or not gzipped ({error}); name a file that gunzip can read"
        ) from error


def _line_start(handle: BinaryIO, offset: int, size: int) -> int:
    """The first line that begins after this offset, or the offset itself (at a character) if none does."""
    handle.seek(offset)
    handle.readline()
    if handle.tell() < size:
        return handle.tell()
    handle.seek(offset)
    following = handle.read(3)
    return offset + len(following) - len(following.lstrip(bytes(range(0x80, 0xC0))))


def _pieces(handle: BinaryIO, start: int, stop: int) -> Iterator[Document]:
    """The bytes [start, stop) of a file as one document, in pieces that end with a line if they can."""
    handle.seek(start)
    while start < stop:
        piece = handle.read(min(PIECE, stop - start))
        if not piece:
            raise ValueError(f"{handle.name} became shorter while it was read; prepare the corpus again")
        if start + len(piece) < stop:
            piece = piece[: piece.rfind(b"\n") + 1] or piece
            handle.seek(start + len(piece))
        start += len(piece)
        yield Document(piece, ends=start == stop)


def _fingerprint(kind: str, files: Sequence[NamedFile], fraction: float) -> str:
    digest = hashlib.sha256(f"{kind} {fraction!r}".encode())
    for file in files:
        digest.update(f"\0{file.name}\0{_file_digest(file.path)}".encode("utf-8", errors="surrogateescape"))
    return digest.hexdigest()


def _file_digest(path: Path) -> str:
    """The hash of a file's content, or for a large one its size and time of change."""
    status = path.stat()
    if status.st_size > DIGEST_LIMIT:
        return f"{status.st_size} {status.st_mtime_ns}"
    return hashlib.sha256(path.read_bytes()).hexdigest()
