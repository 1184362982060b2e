"""Folders that one process at a time works in.

The operating system releases a lock with the process that holds it, however that ends. Some file systems (NFS
without its lock service) have no such locks: there the file itself is the lock, and names the process that made
it. Of a process of the same host it is known, by its number and its start, whether it has ended; of one on another
host it is not, and the message names the file to delete.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout

__all__ = ["LOCK", "exclusive", "is_occupied", "occupied"]

LOCK = "adabatch.lock"
"""The file in a folder that stays: who is at work in it."""

NO_LOCKS = frozenset({errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EINVAL, errno.ENOLCK})
"""How file systems answer that have no flock."""

SETTLE = 0.5
"""Seconds in which a holder that is just leaving has left, and what a dead one left behind is cleared away."""


@contextmanager
def exclusive(folder: Path, *, wait: bool = True) -> Iterator[None]:
    """Make the folder if need be and work in it exclusively; the holder may remove the folder.

    The lock is a file next to the folder (its name and ``.lock``) that names the holder.

    Args:
        folder: to work in.
        wait: wait for another holder, which is named on standard error, rather than refuse.

    Raises:
        ValueError: another process holds it, and it is not to be waited for.
        OSError: the folder or its lock cannot be written.
    """
    with _held(folder.with_name(f"{folder.name}.lock"), folder, wait):
        folder.mkdir(exist_ok=True)
        yield


@contextmanager
def occupied(folder: Path) -> Iterator[None]:
    """Make the folder, with those above it, and work in it exclusively; the folder stays.

    The lock is the file ``adabatch.lock`` in the folder, so that it is one for all links to the folder. A folder
    that was made for nothing is removed again.

    Raises:
        ValueError: another process is at work in it.
        OSError: the folder or its lock cannot be written.
    """
    made = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _held(folder / LOCK, folder, wait=False):
            yield
    finally:
        if made:
            with suppress(OSError):  # something is in it
                folder.rmdir()


def is_occupied(folder: Path) -> bool:
    """Whether a process is at work in the folder, in :func:`occupied`; nothing is written.

    >>> with tempfile.TemporaryDirectory() as folder, occupied(Path(folder)):
    ...     is_occupied(Path(folder))
    True
    """
    try:
        with (folder / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, *NO_LOCKS):  # held, or the file itself is the lock
            return True
        raise
    return False


@contextmanager
def _held(file: Path, folder: Path, wait: bool) -> Iterator[None]:
    """Hold the lock of a folder, which is this file."""
    lock = _lock(file, folder)
    try:
        lock.acquire(timeout=0 if wait else SETTLE, poll_interval=0.05)
    except Timeout:
        at_work = f"{_holder(file)} is at work in {folder}"
        if not wait:
            raise ValueError(f"{at_work}: wait for it, or name another folder{_advice(lock, file)}") from None
        print(f"waiting: {at_work}{_advice(lock, file)}", file=sys.stderr, flush=True)
        lock.acquire()
    try:
        if not isinstance(lock, SoftFileLock):  # which has named its holder
            file.write_text(f"{os.getpid()}\n{socket.gethostname()}\n")
        yield
    finally:
        if not isinstance(lock, SoftFileLock):
            # Before the release: a waiting process then finds its file without a name, and tries again.
            file.unlink(missing_ok=True)
        lock.release()


def _lock(file: Path, folder: Path) -> BaseFileLock:
    """The kind of lock that the file system of the file has; the weaker kind is said to be in use."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=file.parent) as probe:
        try:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            print(f"note: the file system of {folder} has no locks; {file} stands for one", file=sys.stderr)
            return SoftFileLock(file)
    return FileLock(file, fallback_to_soft=False)


def _advice(lock: BaseFileLock, file: Path) -> str:
    """What to do about a lock that nobody but the user can know to be left over."""
    if not isinstance(lock, SoftFileLock):
        return ""
    return f"; if that process has ended, delete {file}"


def _holder(file: Path) -> str:
    """Who holds the lock; it may just have taken or released it."""
    with suppress(OSError, ValueError):
        process, host, *_ = file.read_text().split()
        return f"process {int(process)} on {host.partition('?pidns-')[0]}"  # a container's mark follows its name
    return "another process"
