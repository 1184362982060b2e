"""Which settings name files and folders, and where a relative path begins.

A path on the command line begins at the working directory, one in a settings file at the folder of that file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["HELD_OUT", "PATHS", "absolute", "expand_user", "named_set", "names_a_file", "split_share", "with_home"]

_DATA = frozenset({"stdlib", "site-packages"})

HELD_OUT = "held-out"
"""In `validation_data`: the part held out of `data`."""

PATHS: Mapping[str, frozenset[str]] = {
    "data": _DATA,
    "validation_data": _DATA | {HELD_OUT},
    "tokenizer": frozenset({"bytes", "bpe"}),
    "model": frozenset(
        {"nano", "tiny", "demo", "mini", "llama-34m", "microllama-300m", "tinyllama-1.1b", "openllama-3b"}
        | {"llama2-7b", "llama2-13b", "llama2-70b", "smollm2-135m", "gpt2", "qwen3-0.6b", "gemma-2b", "olmo2-1b"}
        | {"mistral-7b"}
    ),
    "init_from": frozenset({""}),
    "replay_run": frozenset({""}),
    "lr_replay": frozenset({""}),
    "cache": frozenset(),
    "output": frozenset(),
    "resume": frozenset({"never", "auto"}),
}
"""The settings that are paths, each with the words that it takes in place of a path."""

HUB = frozenset({"data", "validation_data", "tokenizer"})
"""Settings that may also name something on the Hugging Face Hub."""

_SHARE = re.compile(r"(.+):([-+]?[.,]?\d[\d.,%eE+-]*)", re.DOTALL)  # 0,7 and 70% too, to be refused as shares
_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
_FILE_NAME = re.compile(
    r"\.(txt|text|md|rst|tex|py|jsonl?|ndjson|gz|zst|bz2|xz|zip|tar|parquet|arrow|csv|tsv|bin)$", re.IGNORECASE
)


_NAMED_SET = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)=(.+)")


def named_set(entry: str, folder: Path | None = None) -> tuple[str, str]:
    """The name of a validation set and its data; no name where the entry has none, or is itself a file's name.

    Args:
        entry: of `validation_data`, such as ``code=a.txt``.
        folder: where relative paths begin; None: the working directory.

    >>> named_set("code=a.txt"), named_set("a.txt")
    (('code', 'a.txt'), ('', 'a.txt'))
    """
    parts = _NAMED_SET.fullmatch(entry)
    if parts is None or os.path.lexists((folder or Path()) / entry):
        return "", entry
    return parts[1], parts[2]


def names_a_file(name: str) -> bool:
    """Whether this can only be a file or folder: nothing on the Hugging Face Hub is called so.

    >>> names_a_file("corpus/part-1.txt"), names_a_file("../corpus"), names_a_file("allenai/c4")
    (True, True, False)
    """
    return _FILE_NAME.search(name) is not None or _HUB_NAME.fullmatch(name) is None


def split_share(name: str, folder: Path = Path()) -> tuple[str, str]:
    """A name of data without its share in a mixture, which follows the last colon, and that share; empty: none.

    What exists under the very name has none.

    Args:
        name: as given.
        folder: where a relative path begins.

    >>> split_share("a.jsonl:0.7"), split_share("a.jsonl")
    (('a.jsonl', '0.7'), ('a.jsonl', ''))
    """
    found = _SHARE.fullmatch(name)
    return (found[1], found[2]) if found and not os.path.lexists(folder / name) else (name, "")


def expand_user(name: str) -> Path:
    """The path of this name, with ``~`` as the home folder; what exists under the very name is left as it is.

    Raises:
        ValueError: there is no such user, or this one has no home folder.

    >>> expand_user("corpus/~a.txt")
    PosixPath('corpus/~a.txt')
    """
    path = os.path.expanduser(name)
    if path.startswith("~") and not os.path.lexists(path):
        raise ValueError(f"{name} begins at a home folder that is not known here: give a path without '~'")
    return Path(path)


def with_home(name: str, value: Any) -> Any:
    """A setting's value with ``~`` at the beginning of its paths replaced by a home folder.

    >>> with_home("text_field", "~nobody/x")
    '~nobody/x'
    """
    if isinstance(value, tuple):
        return tuple(with_home(name, item) for item in value)
    if name not in PATHS or not isinstance(value, str):
        return value
    label, path = named_set(value) if name == "validation_data" else ("", value)
    if path[:1] != "~":
        return value
    return f"{label}={expand_user(path)}" if label else str(expand_user(path))


def absolute(name: str, value: Any, folder: Path) -> Any:
    """A setting's value with its paths absolute; other settings and words such as ``stdlib`` stay as they are.

    A name that the Hub may have as well is a path where there is such a file or folder.

    Args:
        name: of the setting.
        value: of the setting.
        folder: where relative paths begin.

    >>> absolute("output", "runs/../train", Path("/srv")), absolute("data", ("stdlib", "a.txt"), Path("/srv"))
    ('/srv/train', ('stdlib', '/srv/a.txt'))
    """
    if name not in PATHS or value is None:
        return value
    if not isinstance(value, str):
        return tuple(absolute(name, item, folder) for item in value)
    if name == "data" and (parts := split_share(value, folder))[1]:
        return f"{absolute(name, parts[0], folder)}:{parts[1]}"
    label, value = named_set(value, folder) if name == "validation_data" else ("", value)
    found = _absolute(name, value, folder)
    return f"{label}={found}" if label else found


def _absolute(name: str, value: str, folder: Path) -> str:
    path = os.path.abspath(folder / expand_user(value))
    may_be_on_hub = name in HUB and not names_a_file(value) and not os.path.exists(path)
    # A folder of this name in the working directory alone is not what the file means: the path is refused later.
    return value if value in PATHS[name] or (may_be_on_hub and not os.path.exists(value)) else path
