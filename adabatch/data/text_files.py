"""Text files as documents: each file is one, read as bytes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import BinaryIO

from adabatch.data.documents import Document, Place, held_out_names, name_hash
from adabatch.data.local_files import FileSource, NamedFile

__all__ = ["TextRange", "TextSource"]

PIECE = 2**20  # bytes of a long text file that are read and tokenized at once
PART = 16 * 2**20  # bytes of it that are one part of its source


@dataclass(frozen=True)
class TextRange:
    """The bytes [start, stop) of a file. Its places are offsets in the file."""

    path: Path
    start: int
    stop: int
    ends: bool = True
    """Whether the document ends at `stop`."""

    @property
    def size(self) -> int:
        """Bytes in the range."""
        return self.stop - self.start

    def read(self, place: Place = ()) -> Iterator[tuple[Document, Place]]:
        """The bytes in pieces that end with a line if they can.

        Raises:
            ValueError: the file has become shorter.
        """
        offset = place[0] if place else self.start
        with self.path.open("rb") as handle:
            while offset < self.stop:
                handle.seek(offset)
                piece = handle.read(min(PIECE, self.stop - offset))
                if not piece:
                    raise ValueError(f"{self.path} became shorter while it was read; prepare the corpus again")
                if offset + len(piece) < self.stop:
                    piece = piece[: piece.rfind(b"\n") + 1] or piece
                offset += len(piece)
                yield Document(piece, ends=self.ends and offset == self.stop), (offset,)


class TextSource(FileSource):
    """Text files, each one document.

    Held out are whole files, chosen by a hash of their names. Where the fraction is less than one file, it is
    the end of each file, from the line that begins there.
    """

    def __init__(self, files: Sequence[NamedFile], validation_fraction: float) -> None:
        super().__init__("text", files, validation_fraction)
        self.held_out = held_out_names([file.name for file in self.files], validation_fraction)

    def parts(self, validation: bool) -> list[TextRange]:
        """The files of this part; long ones are cut at line starts, so that several processes share them."""
        return [
            part
            for file in self.files
            for whole in [self._range(file, validation)]
            for part in _cut(whole, range(whole.start + PART, whole.stop, PART))
        ]

    def shard(self, index: int, count: int) -> list[TextRange]:
        """The training files in the order of their names' hashes, one after another, cut into equal ranges."""
        ranges, ends = self._shuffled
        total = ends[-1] if ends else 0
        first, last = (self._cut_near(total * i // count) for i in (index, index + 1))
        chosen = []
        for whole, end in zip(ranges, ends, strict=True):
            begin = end - whole.size
            start, stop = max(first, begin), min(last, end)
            if start < stop:
                start, stop = whole.start + start - begin, whole.start + stop - begin
                chosen.append(TextRange(whole.path, start, stop, ends=stop == whole.stop))
        return chosen

    @cached_property
    def _shuffled(self) -> tuple[list[TextRange], list[int]]:
        """The training range of every file, in the order of the names' hashes, and the sums of their sizes."""
        files = sorted(self.files, key=lambda file: (name_hash(file.name), file.name))
        ranges = [self._range(file, validation=False) for file in files]
        return ranges, list(accumulate(each.size for each in ranges))

    def _cut_near(self, offset: int) -> int:
        """A place to cut all training files together at, near this offset: between files or lines."""
        ranges, ends = self._shuffled
        number = bisect_right(ends, offset)
        if number == len(ranges) or offset == ends[number] - ranges[number].size:
            return offset
        whole = ranges[number]
        shift = ends[number] - whole.stop
        with whole.path.open("rb") as handle:
            return line_end(handle, offset - shift, whole.stop) + shift

    def _range(self, file: NamedFile, validation: bool) -> TextRange:
        """What of a file is for training or for validation."""
        with file.path.open("rb") as handle:
            size = handle.seek(0, 2)
            if self.held_out or not self.fraction:
                cut = 0 if file.name in self.held_out else size
            else:
                near = round(size * (1 - self.fraction))
                cut = line_end(handle, near, size)
                if cut == size:  # no line begins after it
                    cut = character_start(handle, near, size)
        return TextRange(file.path, cut, size) if validation else TextRange(file.path, 0, cut)


def line_end(handle: BinaryIO, offset: int, stop: int) -> int:
    """The end of the line at this offset, at most `stop`; within a line too long to hold, the offset itself."""
    handle.seek(offset)
    line = handle.readline(PIECE)
    if line.endswith(b"\n") or len(line) < PIECE:
        return min(handle.tell(), stop)
    return character_start(handle, offset, stop)


def character_start(handle: BinaryIO, offset: int, stop: int) -> int:
    """The first UTF-8 character that begins at this offset or after it."""
    handle.seek(offset)
    following = handle.read(3)
    return min(offset + len(following) - len(following.lstrip(bytes(range(0x80, 0xC0)))), stop)


def _cut(whole: TextRange, offsets: range) -> list[TextRange]:
    """A range cut at the line starts after these offsets; nothing if it is empty."""
    bounds = [whole.start]
    if offsets:
        with whole.path.open("rb") as handle:
            bounds += [line_end(handle, offset, whole.stop) for offset in offsets]
    bounds.append(whole.stop)
    return [
        TextRange(whole.path, start, stop, ends=stop == whole.stop)
        for start, stop in pairwise(bounds)
        if start < stop
    ]
