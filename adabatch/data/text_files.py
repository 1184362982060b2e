"""Text files as documents: each file is one."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import BinaryIO

from adabatch.data.documents import (
    CONTEXT,
    CONTINUATION,
    PIECE,
    Document,
    Place,
    deal,
    head,
    held_out_names,
    name_hash,
    tail,
    whole_characters,
)
from adabatch.data.file_formats import PLAIN, TextFormat, first_bad_byte, length_of, open_utf8, text_error
from adabatch.data.local_files import FileSource, NamedFile

__all__ = ["TextRange", "TextSource"]

PART = 16 * 2**20  # bytes of it that are one part of its source


@dataclass(frozen=True)
class TextRange:
    """The text [start, stop) of a document in a file, or of its pieces every `modulus`-th.

    A place is the offset of the next piece (in the text as UTF-8) and, of some of the pieces, its number.
    """

    path: Path
    start: int
    stop: int | None
    """None: the end of a file that cannot be read from anywhere."""
    document: tuple[int, int | None]
    """Where the document begins and ends."""
    format: TextFormat = PLAIN
    modulus: int = 1
    residue: int = 0

    @property
    def size(self) -> int:
        """Bytes in the range; of a file that must be read through, the file's."""
        return self.path.stat().st_size if self.stop is None else self.stop - self.start

    def read(self, place: Place = ()) -> Iterator[tuple[Document, Place]]:
        """The text in pieces that end with a line if they can, and never within a character.

        Raises:
            ValueError: the file has become shorter, is damaged, or does not hold text.
        """
        offset, number = (*place, 0)[:2] if place else (self.start, 0)
        first, last = self.document
        begin = max(first, offset - CONTEXT)
        with closing(open_utf8(self.path, self.format, begin)) as handle:
            before, ahead = handle.read(offset - begin), b""
            while self.stop is None or offset < self.stop:
                wanted = PIECE + CONTEXT if last is None else min(PIECE + CONTEXT, last - offset)
                ahead += handle.read(wanted - len(ahead))
                if last is not None and len(ahead) < wanted:
                    raise ValueError(f"{self.path} became shorter while it was read; prepare the corpus again")
                if not ahead:
                    return
                piece = self._piece(ahead, offset)
                whole = offset + len(piece) == (last if last is not None else offset + len(ahead))
                text = Document(piece, whole, tail(before), head(ahead[len(piece) :]))
                before, ahead = (before + piece)[-CONTEXT:], ahead[len(piece) :]
                offset, number = offset + len(piece), number + 1
                if (number - 1) % self.modulus == self.residue:
                    yield text, (offset,) if self.modulus == 1 else (offset, number)

    def _piece(self, ahead: bytes, offset: int) -> bytes:
        """The piece at this offset, of the text from there on that was read already."""
        piece = ahead[:PIECE] if self.stop is None else ahead[: min(PIECE, self.stop - offset)]
        if len(piece) < len(ahead) and offset + len(piece) != self.stop:
            piece = piece[: piece.rfind(b"\n") + 1] or whole_characters(piece)
        bad = first_bad_byte(piece)
        if bad is not None:
            raise ValueError(text_error(self.path, piece, bad, offset))
        return piece


class TextSource(FileSource):
    """Text files, each one document.

    Held out are whole files, chosen by a hash of their names. Where the fraction is less than one file, it is
    the end of each file, from the line that begins there.
    """

    def __init__(self, files: Sequence[NamedFile], validation_fraction: float) -> None:
        super().__init__("text", files, validation_fraction)
        self.held_out = held_out_names([file.name for file in self.files], validation_fraction)
        self._cuts: dict[NamedFile, tuple[int, int]] = {}

    def parts(self, validation: bool) -> list[TextRange]:
        """The files of this part; long ones are cut at line starts, so that several processes share them."""
        return [part for file in self.files for part in _cut(self._range(file, validation))]

    def shard(self, index: int, count: int) -> list[TextRange]:
        """The training files in the order of their names' hashes, one after another, cut into equal ranges.

        Of files that can only be read from their start, the share of pieces that is dealt to this shard.
        """
        ranges, ends = self._shuffled
        total = ends[-1] if ends else 0
        first, last = (self._cut_near(total * i // count) for i in (index, index + 1))
        chosen = []
        for whole, end in zip(ranges, ends, strict=True):
            begin = end - whole.size
            start, stop = max(first, begin), min(last, end)
            if start < stop:
                start, stop = whole.start + start - begin, whole.start + stop - begin
                chosen.append(replace(whole, start=start, stop=stop))
        through = [self._range(file, validation=False) for file in self.files if not self.formats[file].seekable]
        through = [whole for whole in through if whole.stop is None or whole.stop > whole.start]
        for number, modulus, residue in deal([str(whole.path.name) for whole in through], index, count):
            chosen.append(replace(through[number], modulus=modulus, residue=residue))
        return chosen

    @cached_property
    def _shuffled(self) -> tuple[list[TextRange], list[int]]:
        """The training range of every file that can be read from anywhere, by the names' hashes; sums of sizes."""
        files = sorted(self.files, key=lambda file: (name_hash(file.name), file.name))
        ranges = [self._range(file, validation=False) for file in files if self.formats[file].seekable]
        return ranges, list(accumulate(each.size for each in ranges))

    def _cut_near(self, offset: int) -> int:
        """A place to cut all training files together at, near this offset: between files or lines."""
        ranges, ends = self._shuffled
        number = bisect_right(ends, offset)
        if number == len(ranges) or offset == ends[number] - ranges[number].size:
            return offset
        whole = ranges[number]
        shift = ends[number] - _stop(whole)
        with whole.path.open("rb") as handle:
            return line_end(handle, offset - shift, _stop(whole)) + shift

    def _range(self, file: NamedFile, validation: bool) -> TextRange:
        """What of a file is for training or for validation."""
        how = self.formats[file]
        begin = how.start if how.seekable else 0
        if self.held_out or self.fraction in (0, 1):
            stop = file.path.stat().st_size if how.seekable else None
            mine = validation == (file.name in self.held_out)
            start, stop = (begin, stop) if mine else (begin, begin)
        else:
            cut, end = self._end_of_training(file)
            start, stop = (cut, end) if validation else (begin, cut)
        return TextRange(file.path, start, stop, (start, stop), how)

    def _end_of_training(self, file: NamedFile) -> tuple[int, int]:
        """Where the training part of a file ends that is shared with validation, and where the file does."""
        if file in self._cuts:
            return self._cuts[file]
        how = self.formats[file]
        size, begin = length_of(file.path, how), how.start if how.seekable else 0
        near = begin + round((size - begin) * (1 - self.fraction))
        with closing(open_utf8(file.path, how, near)) as handle:
            line = handle.readline(PIECE)
        cut = near + len(line)
        if cut == size or not line.endswith(b"\n"):  # no line begins after it, or none that can be held
            cut = near + len(line[:3]) - len(line[:3].lstrip(CONTINUATION))
        self._cuts[file] = cut, size
        return cut, size


def line_end(handle: BinaryIO, offset: int, stop: int) -> int:
    """The end of the line at this offset, at most `stop`; within a line too long to hold, the next character."""
    handle.seek(offset)
    line = handle.readline(PIECE)
    if line.endswith(b"\n") or len(line) < PIECE:
        return min(handle.tell(), stop)
    return min(offset + len(line[:3]) - len(line[:3].lstrip(CONTINUATION)), stop)


def _cut(whole: TextRange) -> list[TextRange]:
    """A range cut at the line starts after every `PART` bytes; nothing if it is empty."""
    if not whole.format.seekable:
        return [whole] if whole.stop is None or whole.start < whole.stop else []
    bounds = [whole.start]
    if offsets := range(whole.start + PART, _stop(whole), PART):
        with whole.path.open("rb") as handle:
            bounds += [line_end(handle, offset, _stop(whole)) for offset in offsets]
    bounds.append(_stop(whole))
    return [replace(whole, start=start, stop=stop) for start, stop in pairwise(bounds) if start < stop]


def _stop(part: TextRange) -> int:
    assert part.stop is not None  # of files that can be read from anywhere it is known
    return part.stop
