"""What a user reads where the operating system refuses a file: one line that names the option it came from."""

from __future__ import annotations

import difflib
import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = ["Named", "did_you_mean", "named_paths", "one_line", "refusal_of", "refusing_os_errors"]

Named = Sequence[tuple[str, str]]
"""Files and folders, each after the option, argument or variable that names it."""

REASONS = {
    errno.EACCES: "may not be read or written by this user",
    errno.EPERM: "may not be read or written by this user",
    errno.EROFS: "is on a file system that is read-only",
    errno.ENOENT: "does not exist or cannot be made",
    errno.ENOTDIR: "is below a file, where a folder is needed",
    errno.EISDIR: "is a folder, where a file is needed",
    errno.EEXIST: "exists and is not a folder",
    errno.ENAMETOOLONG: "has too long a name (file systems take 255 bytes)",
    errno.ELOOP: "is a link that leads to itself",
    errno.ENOSPC: "is on a disk without space",
    errno.EDQUOT: "is on a disk where this user's quota is used up",
}
"""What is the matter with a path, by the number of the error."""


@contextmanager
def refusing_os_errors(named: Named) -> Iterator[None]:
    """Turn the operating system's errors into refusals; a pipe whose reader has gone is not one.

    Args:
        named: what the user named.

    Raises:
        ValueError: which file, what is the matter with it, and what to do.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ValueError(refusal_of(error, named)) from error


def refusal_of(error: OSError, named: Named) -> str:
    """The message.

    >>> error = FileNotFoundError(errno.ENOENT, "No such file or directory", "/proc/run")
    >>> refusal_of(error, [("--output", "/proc/run/a")])
    '/proc/run does not exist or cannot be made: name another --output than /proc/run/a'
    """
    reason = error.strerror or str(error) or type(error).__name__
    named_in_it = (path for path in (error.filename2, error.filename) if isinstance(path, str | bytes | Path))
    paths = [Path(os.fsdecode(path)) for path in named_in_it]
    if not paths:
        options = " or ".join(option for option, _ in named) or "place"
        return (
            f"a file cannot be read or written ({reason}): check space and permissions, or name another {options}"
        )
    path = next((path for path in paths if _nearest(path, named)), paths[-1])
    matter = REASONS.get(error.errno or 0, f"cannot be read or written ({reason})")
    nearest = _nearest(path, named)
    todo = "name another {} than {}".format(*nearest) if nearest else "change that, or name another place"
    return f"{_shortened(str(path))} {matter}: {_shortened(todo)}"


def _nearest(path: Path, named: Named) -> tuple[str, str] | None:
    """What names this path, a folder that holds it, or something in it; of several the nearest."""
    wanted, distances = Path(os.path.abspath(path)), {}
    for option, value in named:
        given = Path(os.path.abspath(value))
        if wanted.is_relative_to(given) or given.is_relative_to(wanted):
            distances[option, value] = abs(len(wanted.parts) - len(given.parts))
    return min(distances, key=distances.__getitem__, default=None)


def named_paths(values: Iterable[tuple[str, Any]]) -> Named:
    """The paths among the values of options, which may be lists of them.

    >>> named_paths([("--output", Path("runs/a")), ("--seed", 3), ("--data", ["a.txt"])])
    [('--output', 'runs/a'), ('--data', 'a.txt')]
    """
    flat = (
        (option, part)
        for option, value in values
        for part in (value if isinstance(value, list | tuple) else [value])
    )
    return [(option, str(part)) for option, part in flat if isinstance(part, str | Path)]


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The end of a message about a name that is not known: the nearest one that is, if any is near.

    >>> did_you_mean("etta", ["ema", "eta"]), did_you_mean("x", ["eta"])
    ('; did you mean eta?', '')
    """
    near = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _shortened(text: str) -> str:
    return text if len(text) <= 300 else f"{text[:200]}... ({len(text)} characters)"


def one_line(text: str) -> str:
    r"""A message that may have several lines, in one.

    >>> one_line("no such file:\n  a.txt")
    'no such file: a.txt'
    """
    return " ".join(line.strip() for line in text.splitlines())
