"""Files with one JSON object per line, compressed or not, as documents."""

from __future__ import annotations

import json
from codecs import BOM_UTF8
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import pairwise
from typing import BinaryIO

from adabatch.data.documents import Document, Place, deal, held_out
from adabatch.data.file_formats import JSON, PLAIN, TextFormat, ending, open_utf8
from adabatch.data.local_files import FileSource, NamedFile

__all__ = ["JsonLines", "JsonLinesSource", "is_json_lines"]

PART = 16 * 2**20  # bytes of a plain file that are one part of its source


def is_json_lines(file: NamedFile) -> bool:
    """Whether a file is read as JSON lines, by its ending."""
    return ending(file.path.name) in JSON


@dataclass(frozen=True)
class JsonLines:
    """The lines of a file that begin in [start, stop), of these every `modulus`-th, and of these one side.

    A place is the offset of the next line (in the text as UTF-8) and its number from `start`.
    """

    file: NamedFile
    field: str
    fraction: float
    validation: bool
    """Which side: the lines held out, or the others."""
    start: int = 0
    stop: int | None = None
    modulus: int = 1
    residue: int = 0
    format: TextFormat = PLAIN

    @property
    def size(self) -> int:
        """Bytes of the file in this range."""
        return (self.file.path.stat().st_size if self.stop is None else self.stop) - self.start

    def read(self, place: Place = ()) -> Iterator[tuple[Document, Place]]:
        """The texts of the lines; blank lines and empty texts are left out, nulls are missing documents.

        Raises:
            ValueError: a line is not a JSON object, its field is missing or not text, or a file is damaged.
        """
        offset, number = place or (self.start, 0)
        for line in self._lines(offset, self.stop):
            begin, offset = offset, offset + len(line)
            mine = number % self.modulus == self.residue
            number += 1
            if begin == 0:
                line = line.removeprefix(BOM_UTF8)  # before a blank line too, which is none to read
            if mine and line.strip() and held_out(f"{self.file.name}:{begin}", self.fraction) == self.validation:
                text = self._text(line, begin)
                if text is None:
                    yield Document(b"", missing=True), (offset, number)
                elif text:
                    yield Document(text), (offset, number)

    def _text(self, line: bytes, offset: int) -> bytes | None:
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:  # JSON or UTF-8
            reason = getattr(error, "msg", error)  # without "line 1", which is not the file's
            raise ValueError(
                f"{self._where(offset)}: not valid JSON ({reason}); each line must hold one JSON object"
            ) from error
        if not isinstance(record, dict):
            raise ValueError(
                f"{self._where(offset)}: a {type(record).__name__}; each line must hold one JSON object"
            )
        text, known = record.get(self.field), self.field in record
        if known and text is None:
            return None
        if not isinstance(text, str):
            found = f"holds no text but a value of type {type(text).__name__}" if known else "is missing"
            raise ValueError(
                f"{self._where(offset)}: the field {self.field!r} {found}; the object's fields are "
                f"{', '.join(map(repr, record)) or 'none'}: name the one with the text (--text-field)"
            )
        return text.encode("utf-8", errors="replace")

    def _where(self, offset: int) -> str:
        """The file and the line's number, counted only where there is something to complain of."""
        number = 1
        for line in self._lines(0, offset):
            number += line.endswith(b"\n")
        return f"{self.file.path}, line {number}"

    def _lines(self, start: int, stop: int | None) -> Iterator[bytes]:
        """The lines that begin in [start, stop)."""
        with closing(open_utf8(self.file.path, self.format, start)) as handle:
            while stop is None or start < stop:
                line = handle.readline()
                if not line:
                    if stop is not None:
                        path = self.file.path
                        raise ValueError(f"{path} became shorter while it was read; prepare the corpus again")
                    return
                start += len(line)
                yield line


class JsonLinesSource(FileSource):
    """Files with one JSON object per line, whose field is a document's text.

    Held out are the documents chosen by a hash of their file's name and the offset at which their line begins.
    """

    def __init__(self, files: Sequence[NamedFile], field: str, validation_fraction: float) -> None:
        super().__init__(f"json {field}", files, validation_fraction)
        self.field = field

    def parts(self, validation: bool) -> list[JsonLines]:
        """The files in their order, those of plain UTF-8 in ranges that several processes can share."""
        if self.fraction == (0 if validation else 1):
            return []
        parts = []
        for file in self.files:
            how = self.formats[file]
            if not how.seekable:
                parts.append(JsonLines(file, self.field, self.fraction, validation, format=how))
            else:
                size = file.path.stat().st_size
                bounds = [*range(0, size, PART), size]
                parts += self._ranges(file, bounds, validation)
        return parts

    def shard(self, index: int, count: int) -> list[JsonLines]:
        """An equal range of each plain file; of the others the share that is dealt to this shard."""
        parts = []
        for file in self.files:
            if self.formats[file].seekable:
                size = file.path.stat().st_size
                parts += self._ranges(file, [size * index // count, size * (index + 1) // count], False)
        through = [file for file in self.files if not self.formats[file].seekable]
        for number, modulus, residue in deal([file.name for file in through], index, count):
            file, one = through[number], {"modulus": modulus, "residue": residue}
            parts.append(JsonLines(file, self.field, self.fraction, False, format=self.formats[file], **one))
        return parts

    def _ranges(self, file: NamedFile, bounds: Sequence[int], validation: bool) -> list[JsonLines]:
        """The lines that begin between neighbouring bounds."""
        with file.path.open("rb") as handle:
            starts = [_line_at_or_after(handle, bound) for bound in bounds]
        return [
            JsonLines(file, self.field, self.fraction, validation, start, stop)
            for start, stop in pairwise(starts)
            if start < stop
        ]


def _line_at_or_after(handle: BinaryIO, offset: int) -> int:
    if offset:
        handle.seek(offset - 1)
        handle.readline()
    return handle.tell() if offset else 0
