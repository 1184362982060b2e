"""Folders that one process at a time works in."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["exclusive"]


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Make the folder if need be and work in it alone; others that ask for it wait.

    Who works in it may remove it. The operating system ends the lock with the process, however that ends.

    Raises:
        FileNotFoundError: the folder above it does not exist, or a link to nothing has its name.
        NotADirectoryError: a file has this name.
    """
    while True:
        descriptor = _opened(folder)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(descriptor, folder):
                yield
                return
        finally:
            os.close(descriptor)


def _opened(folder: Path) -> int:
    """A descriptor of the folder, made if need be; whoever has it locked may remove it at any moment."""
    while True:
        with suppress(FileExistsError):  # exist_ok=True looks a second time and fails if it is gone by then
            folder.mkdir()
        try:
            return os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except FileNotFoundError:
            if folder.is_symlink() or not folder.parent.is_dir():
                raise


def _is_at(descriptor: int, folder: Path) -> bool:
    """Whether the open folder still has this name: who had it locked before may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False
