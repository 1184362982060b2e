"""The folders of checkpoints: their names, what marks one as complete, what shows that one is damaged.

``checkpoints/step-00000100/`` holds the tensors (``*.distcp`` with ``tensors.json``), ``progress.json``, a file
for each rank, and ``complete.json``: size and SHA-256 of all of them, written last.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

from adabatch.files import checksum, sync, write_json

__all__ = [
    "MARKER",
    "PROGRESS",
    "checkpoint_step",
    "complete_checkpoints",
    "find_checkpoint",
    "newest_first",
    "plain_name",
    "problem_with",
    "prune",
    "quarantine",
    "rank_file",
    "read_json",
    "step_folder",
    "write_marker",
]

PROGRESS, MARKER = "progress.json", "complete.json"


def step_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:08d}"


def rank_file(path: Path, rank: int) -> Path:
    """What only this rank knows: its random states and its position in the data."""
    return path / f"rank-{rank:05d}.json"


def newest_first(folder: Path) -> list[Path]:
    """All folders of checkpoints, complete or not, newest first."""
    named = [path for path in folder.glob("step-*") if path.name.removeprefix("step-").isdigit()]
    return sorted(named, key=checkpoint_step, reverse=True)


def checkpoint_step(path: Path) -> int:
    """The step that a checkpoint was written after.

    >>> checkpoint_step(Path("runs/train/checkpoints/step-00000100"))
    100
    """
    return int(path.name.removeprefix("step-"))


def complete_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints that are marked complete, oldest first."""
    return [path for path in reversed(newest_first(folder)) if (path / MARKER).is_file()]


def plain_name(name: Any) -> str:
    """A file's name as it may stand in a checkpoint: it names a file of the folder itself, nothing outside.

    Raises:
        ValueError: for anything else, such as ``../x`` or ``/etc/x``.

    >>> plain_name("__0_0.distcp")
    '__0_0.distcp'
    """
    if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise ValueError(f"{name!r} is not a name that a checkpoint may contain")
    return name


def read_json(path: Path) -> Any:
    """A JSON file of a checkpoint.

    Raises:
        ValueError: if it is absent, a link, or not JSON.
    """
    if path.is_symlink() or not path.is_file():
        raise ValueError(f"{path.name} is missing")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
        raise ValueError(f"{path.name} is damaged (not JSON)") from None


def write_marker(path: Path, files: dict[str, dict[str, Any]]) -> None:
    """Mark a checkpoint as complete, with the checksums of its files."""
    write_json(path / MARKER, {"files": files})


def problem_with(path: Path, share: int = 0, shares: int = 1) -> str | None:
    """What is wrong with a checkpoint, or None if it is intact.

    Args:
        path: its folder.
        share: check only each file whose number, divided by ``shares``, leaves this remainder, so that ranks can
            share the reading.
        shares: see there.
    """
    try:
        marker = read_json(path / MARKER)
        files = marker.get("files") if isinstance(marker, dict) else None
        if not isinstance(files, dict) or PROGRESS not in files:
            return f"{MARKER} is damaged (no list of files)"
        for name, expected in sorted(files.items())[share::shares]:
            file = path / plain_name(name)
            if file.is_symlink() or not file.is_file():
                return f"{name} is missing"
            found = checksum(file)
            if found["bytes"] != expected.get("bytes"):
                return f"{name} has {found['bytes']} bytes in place of {expected.get('bytes')}"
            if found != expected:
                return f"{name} is damaged (its checksum differs)"
    except (ValueError, AttributeError, OSError) as error:
        return f"{error}"
    return None


def find_checkpoint(resume: str, folder: Path) -> Path | None:
    """The newest checkpoint that ``--resume auto|PATH|never`` means and that is marked complete, or None.

    :func:`problem_with`, which reads all of it, finds whether it is intact.

    Raises:
        ValueError: if a path is given that is not a complete checkpoint.
    """
    if resume == "never":
        return None
    if resume == "auto":
        return next(reversed(complete_checkpoints(folder)), None)
    path = Path(resume)
    if not (path / MARKER).is_file():
        raise ValueError(
            f"no complete checkpoint at {path}: name a folder such as runs/train/checkpoints/step-00000100, or "
            "take --resume auto"
        )
    return path


def prune(folder: Path, keep: int) -> None:
    """Delete all but the newest complete checkpoints, and what saves that were cut short have left behind.

    Args:
        folder: the run's ``checkpoints`` folder.
        keep: how many to keep; 0 keeps all.
    """
    complete = complete_checkpoints(folder)
    surplus = complete[:-keep] if keep else []
    cut_short = [
        path for path in newest_first(folder) if complete and path not in complete and path < complete[-1]
    ]
    for path in [*surplus, *cut_short, *folder.glob("step-*.tmp")]:
        _delete(path)


def quarantine(folder: Path, after_step: int) -> None:
    """Take checkpoints of later steps out of the way of a run that resumes from an earlier one.

    They are damaged, or belong to a future that the run will not take: complete ones are renamed, others deleted.
    """
    for path in newest_first(folder):
        if checkpoint_step(path) > after_step:
            if (path / MARKER).is_file():
                quarantined = path.with_name(f"quarantined-{path.name}")
                shutil.rmtree(quarantined, ignore_errors=True)
                path.rename(quarantined)
            else:
                _delete(path)


def _delete(path: Path) -> None:
    if (path / MARKER).exists():  # first: a deletion cut short leaves nothing that looks whole
        (path / MARKER).unlink()
        sync(path)
    shutil.rmtree(path)
