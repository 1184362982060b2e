"""Files and folders that are either whole or not there, and folders that one process at a time works in."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["exclusive", "rename_folder", "synchronise", "write_whole"]


def write_whole(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, synchronise it to disk and rename it."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        synchronise(file)
    temporary.replace(path)


def synchronise(file: BinaryIO) -> None:
    """Have all that was written to an open file on disk."""
    file.flush()
    os.fsync(file.fileno())


def rename_folder(folder: Path, name: Path) -> None:
    """Give a finished folder its name, with all of it on disk."""
    _synchronise_folder(folder)
    folder.rename(name)
    _synchronise_folder(name.parent)


def _synchronise_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def exclusive(folder: Path) -> Iterator[None]:
    """Make the folder if need be and work in it alone; others that ask for it wait.

    The operating system ends the lock with the process, however that ends.
    """
    while True:
        folder.mkdir(exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_at(descriptor, folder):
                yield
                return
        finally:
            os.close(descriptor)


def _is_at(descriptor: int, folder: Path) -> bool:
    """Whether the open folder still has this name: who had it locked before may have removed it."""
    try:
        return os.path.samestat(os.fstat(descriptor), folder.stat())
    except FileNotFoundError:
        return False
