"""A file of lines that grows while a run trains, and survives a full disk, and being moved or deleted."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from adabatch.files import write_whole

__all__ = ["LineFile"]


NEWLINE = b"\n"


class LineFile:
    r"""Appends whole lines to a file that exists; what fails is tried again with the next line.

    Where the file is gone from its place, it is written there again with all lines so far, which the open file
    still holds.

    Args:
        path: of the file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "lines")
    ...     path.touch()
    ...     lines = LineFile(path)
    ...     lines.append("one")
    ...     path.unlink()
    ...     lines.append("two")
    ...     path.read_text(), lines.close()
    ('one\ntwo\n', [])
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = _opened(path)
        self._pending = b""
        self._failure: OSError | None = None

    def append(self, line: str) -> None:
        """Append a line, with those that could not be written before."""
        self._pending += line.encode() + NEWLINE
        self._try_to_write()

    def _try_to_write(self) -> None:
        for attempt in (self._put_back, self._write_pending):
            try:
                attempt()
            except OSError as error:
                self._failure = error

    def _write_pending(self) -> None:
        while self._pending:
            self._pending = self._pending[os.write(self._descriptor, self._pending) :]

    def _in_place(self) -> bool:
        try:
            there, own = os.stat(self.path), os.fstat(self._descriptor)
        except OSError:
            return False
        return os.path.samestat(there, own)

    def _put_back(self) -> None:
        """Write the file again from what this one holds, if it has lost its name."""
        if self._in_place():
            return
        size = os.fstat(self._descriptor).st_size
        with open(self._descriptor, "rb", closefd=False) as old:
            old.seek(0)
            lines = old.read(size)
        write_whole(self.path, lines)
        descriptor = _opened(self.path)
        os.close(self._descriptor)
        self._descriptor = descriptor

    def close(self) -> list[str]:
        """Close the file; a sentence if lines are missing."""
        self._try_to_write()
        lost = "" if self._in_place() else "its lines"
        if self._pending:
            lost = f"the last {self._pending.count(NEWLINE)} lines"
        with suppress(OSError):
            os.close(self._descriptor)
        return [f"{lost} could not be written to {self.path} ({self._failure})"] if lost else []


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
