"""Folders that one process at a time works in."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

__all__ = ["exclusive"]


@contextmanager
def exclusive(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Make the folder if need be and work in it exclusively.

    The lock is a file next to the folder (its name and ``.lock``) that names the holder. The operating system
    releases it with the process, however that ends. The holder may remove the folder.

    Args:
        folder: to work in.
        wait: wait for another holder, which is named on standard error, rather than refuse.

    Raises:
        ValueError: another process holds it, and it is not to be waited for.
        OSError: the folder or its lock cannot be written.
    """
    file = folder.with_name(f"{folder.name}.lock")
    lock = FileLock(file)
    try:
        lock.acquire(blocking=False)
    except Timeout:
        holder = f"{_holder(file)} is at work in {folder}"
        if not wait:
            raise ValueError(f"{holder}: wait for it, or name another folder") from None
        print(f"waiting: {holder}", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        file.write_text(f"process {os.getpid()} on {socket.gethostname()}")
        folder.mkdir(exist_ok=True)
        yield
    finally:
        # Before the release: a waiting process then finds its file without a name, and tries again.
        file.unlink(missing_ok=True)
        lock.release()


def _holder(file: Path) -> str:
    """Who holds the lock; it may just have taken or released it."""
    with suppress(FileNotFoundError):
        return file.read_text() or "another process"
    return "another process"
