"""The cache of prepared data: where it is, whose its files are, and whether they are still what was prepared.

The folder may be shared, and then others can put files of their own into it. What is opened must be a file and not
a link, belong to this user, or to another one where not everybody can write, and hold the tokens whose hash is in
``corpus.json``. The hash of a file is computed once: ``checked/`` keeps, for each user, with which size, times
and inode it was right.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from contextlib import suppress
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from adabatch.files import write_json
from adabatch.ranges import option_of
from adabatch.refusals import Named, named_paths
from adabatch.settings.data import DEFAULT_CACHE, DataSettings
from adabatch.settings.paths import PATHS, expand_user

__all__ = [
    "cache_folder",
    "check_owner",
    "map_tokens",
    "named_by",
    "open_owned",
    "refuse_others",
    "remember_checked",
]

ADVICE = "set --cache or ADABATCH_CACHE to a folder of your own"


def cache_folder(settings: DataSettings) -> Path:
    """The folder of prepared data, which need not be there yet.

    Raises:
        ValueError: it would be in a home folder, and there is none.
    """
    name = settings.cache or os.environ.get("ADABATCH_CACHE")
    try:
        return expand_user(name or DEFAULT_CACHE)
    except ValueError:
        if name:
            raise
        raise ValueError(f"this user has no home folder for the cache of prepared data; {ADVICE}") from None


def named_by(settings: DataSettings) -> Named:
    """The files and folders that the settings name, for :func:`adabatch.refusals.refusing_os_errors`."""
    given = [(option_of(name), getattr(settings, name)) for name in PATHS if hasattr(settings, name)]
    given += [("--data", ingredient.name) for ingredient in settings.mixture]
    sets = [(option_of("validation_data"), data) for data in settings.validation_sets().values()]
    return named_paths([("--cache or ADABATCH_CACHE", cache_folder(settings)), *given, *sets])


def check_owner(path: Path, kind: int = stat.S_IFREG, state: os.stat_result | None = None) -> None:
    """See to it that a file (or a folder: ``stat.S_IFDIR``) of the cache cannot have been put there by anybody.

    Raises:
        ValueError: it is a link or of another kind, everybody can write it, or it is another user's in a folder in
            which everybody can write.
        OSError: it is not there.
    """
    state = state or path.lstat()
    if stat.S_IFMT(state.st_mode) != kind:
        expected = "folder" if kind == stat.S_IFDIR else "file"
        raise ValueError(f"{path} is not a {expected}; delete it, or {ADVICE}")
    foreign = state.st_uid not in (os.geteuid(), 0)
    if foreign and path.parent.stat().st_mode & stat.S_IWOTH:
        raise ValueError(f"{path} belongs to user {state.st_uid}, in a folder where everybody can write; {ADVICE}")
    if state.st_mode & stat.S_IWOTH and not state.st_mode & stat.S_ISVTX:
        raise ValueError(f"everybody can write {path}; delete it to prepare it again, or {ADVICE}")


def refuse_others(path: Path) -> None:
    """Take from everybody else the right to write a file or folder of this user, which a umask of 0 gives."""
    mode = path.lstat().st_mode
    if mode & stat.S_IWOTH and not stat.S_ISLNK(mode):
        path.chmod(stat.S_IMODE(mode) & ~stat.S_IWOTH)


def open_owned(path: Path) -> BufferedReader:
    """Open a file of the cache that :func:`check_owner` accepts, and no link in its place.

    Raises:
        ValueError: it is not accepted.
        OSError: it cannot be read.
    """
    if path.is_symlink():
        check_owner(path)
    handle = os.fdopen(os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0)), "rb")
    try:
        check_owner(path, state=os.fstat(handle.fileno()))
    except BaseException:
        handle.close()
        raise
    return handle


def map_tokens(path: Path, dtype: np.dtype[Any], size: int, sha256: str) -> npt.NDArray[Any]:
    """The tokens in a file of a prepared corpus, mapped into memory, if they are those that were prepared.

    Args:
        path: the file, in the corpus's folder.
        dtype: of a token.
        size: tokens in it.
        sha256: of the file.

    Raises:
        ValueError: they are others.
    """
    try:
        with open_owned(path) as handle:
            state = _state(handle)
            whole = state[0] == size * dtype.itemsize
            if whole and _checked(path) != [*state, sha256]:
                whole = hashlib.file_digest(handle, "sha256").hexdigest() == sha256
                if whole:
                    remember_checked(path, sha256)
                handle.seek(0)
            if whole and size:
                try:
                    return np.memmap(handle, dtype=dtype, mode="r", shape=(size,))
                except OSError:  # the file system cannot map files
                    return np.fromfile(handle, dtype=dtype)
    except FileNotFoundError:
        whole = False
    if not whole:
        folder = path.parent
        raise ValueError(
            f"{path} should hold the {size} tokens that were prepared and does not; delete {folder} to prepare it "
            "again"
        )
    return np.empty(0, dtype=dtype)


def _state(handle: BufferedReader) -> list[int]:
    """What changes with a file's content: its size, its times and its inode."""
    state = os.fstat(handle.fileno())
    return [state.st_size, state.st_mtime_ns, state.st_ctime_ns, state.st_ino]


def _record(path: Path) -> Path:
    """Where it is kept with which state this user found a file of tokens right."""
    cache = path.parent.parent.parent
    return cache / "checked" / f"{path.parent.name}-{path.stem}-{os.geteuid()}.json"


def _checked(path: Path) -> list[Any] | None:
    with suppress(OSError, ValueError), open_owned(_record(path)) as handle:
        if os.fstat(handle.fileno()).st_uid == os.geteuid():
            found = json.loads(handle.read())
            return found if isinstance(found, list) else None
    return None


def remember_checked(path: Path, sha256: str) -> None:
    """Keep that a file of tokens has this hash, as long as its state does not change; nothing where that fails."""
    with suppress(OSError, ValueError):
        record = _record(path)
        record.parent.mkdir(mode=0o775, exist_ok=True)
        check_owner(record.parent, stat.S_IFDIR)
        with open_owned(path) as handle:
            write_json(record, [*_state(handle), sha256])
