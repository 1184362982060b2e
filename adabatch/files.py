"""Files that survive a crash of the machine: synced to the disk, under a temporary name until they are whole."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

__all__ = [
    "checksum",
    "free_name",
    "keep_copy",
    "new_file",
    "remove_by_name",
    "rename_folder",
    "sync",
    "temporary_names",
    "write_json",
    "write_text",
    "write_whole",
]


NO_SYNC = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF})
"""How file systems answer that cannot sync a file or a folder."""


def sync(path: Path) -> None:
    """Wait until a file's bytes, or a folder's names, are on the disk, where the file system can tell."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except PermissionError:
        if path.is_dir():  # one that may be written and not be listed
            return
        raise
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
    finally:
        os.close(descriptor)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is whole or absent, whenever the machine stops."""
    with new_file(path) as file:
        file.write(data)
    sync(path.parent)


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes this name at the end, when it is on the disk.

    Until then its name is one that nobody can foresee, and no file or link that is there is opened: others may
    write in the folder.
    """
    temporary = path.with_name(f"{path.name}.{secrets.randbits(63)}.tmp")
    try:
        with temporary.open("xb") as file:
            yield file
        sync(temporary)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Write text as :func:`write_whole` does, in UTF-8."""
    write_whole(path, text.encode())


def write_json(path: Path, content: Any) -> None:
    """Write JSON as :func:`write_whole` does. Floats survive exactly."""
    write_text(path, json.dumps(content, indent=1))


def rename_folder(folder: Path, name: Path) -> None:
    """Give a folder of files that are on the disk its name."""
    sync(folder)
    folder.rename(name)
    sync(name.parent)


def temporary_names(name: str) -> str:
    """A pattern of the name of a file and of those that :func:`write_whole` may leave behind when it is killed.

    >>> re.fullmatch(temporary_names("a.json"), "a.json.17.tmp") is not None
    True
    """
    return rf"{re.escape(name)}(\.\d+\.tmp)?"


def remove_by_name(folder: Path, names: str) -> None:
    """Delete the files of a folder with these names, and the folder itself if it holds nothing else then.

    What lies in folders below it stays, and so does a link to the folder.

    Args:
        folder: which may not exist.
        names: a regular expression for whole names.
    """
    if not folder.is_dir():
        return
    for path in list(folder.iterdir()):
        if re.fullmatch(names, path.name) and (path.is_symlink() or not path.is_dir()):
            path.unlink()
    with suppress(OSError):  # something else is in it, or it is a link, or a mounted disk
        folder.rmdir()


def free_name(path: Path) -> Path:
    """The path, or if something is there, the first of ``path-2``, ``path-3``, ... that is free."""
    number, free = 1, path
    while os.path.lexists(free):
        number += 1
        free = path.with_name(f"{path.name}-{number}")
    return free


def keep_copy(path: Path) -> Path:
    """Copy a file that will be replaced to the first of ``path.before``, ``path.before-2``, ... that is free."""
    copy = free_name(path.with_name(f"{path.name}.before"))
    shutil.copy2(path, copy)
    return copy


def checksum(path: Path) -> dict[str, Any]:
    """A file's size and SHA-256.

    >>> import tempfile
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     checksum(Path(file.name))["bytes"]
    0
    """
    with path.open("rb") as file:
        return {"sha256": hashlib.file_digest(file, "sha256").hexdigest(), "bytes": file.tell()}
