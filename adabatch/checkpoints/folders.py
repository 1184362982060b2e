"""The folders of checkpoints: their names, what marks one as complete, what shows that one is damaged.

``checkpoints/step-00000100/`` holds the tensors (``*.distcp`` with ``tensors.json``), ``progress.json``, a file
for each rank, and ``complete.json``: size and SHA-256 of all of them, written last.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adabatch.files import checksum, free_name, remove_by_name, rename_folder, sync, temporary_names, write_json

__all__ = [
    "BEST",
    "CHECKPOINTS",
    "CONTENTS",
    "COSTS",
    "LOSS",
    "MARKER",
    "PROGRESS",
    "best_checkpoint",
    "checkpoint_step",
    "complete_checkpoints",
    "find_checkpoint",
    "lowest_loss",
    "named_checkpoint",
    "newest_first",
    "plain_name",
    "problem_with",
    "prune",
    "put_in_place",
    "quarantine",
    "rank_file",
    "read_json",
    "remove_checkpoint",
    "remove_checkpoints",
    "step_folder",
    "write_marker",
]

PROGRESS, MARKER, CONTENTS = "progress.json", "complete.json", "tensors.json"

COSTS = "costs.jsonl"
"""Next to the checkpoints: what each save cost."""

LOSS = "validation_loss"
"""In a checkpoint's progress: the validation loss after its step; null where that was not validated."""

CHECKPOINTS, BEST = "checkpoints", "best"
"""The folder of a run's checkpoints, and what stands there for the one with the lowest validation loss."""

TEMPORARY, QUARANTINED = ".tmp", "quarantined-"
"""What the name of a folder ends with until it is whole, and begins with when the run cannot resume from it."""

OWN_FILES = "|".join(
    [*map(temporary_names, (PROGRESS, MARKER, CONTENTS)), r"rank-\d{5,}\.json(\.\d+\.tmp)?", r"__\d+_\d+\.distcp"]
)
"""The names of the files that a save writes into a checkpoint's folder."""


def step_folder(folder: Path, step: int) -> Path:
    """Where the checkpoint of a step lies."""
    return folder / f"step-{step:08d}"


def rank_file(path: Path, rank: int) -> Path:
    """What only this rank knows: its random states and its position in the data."""
    return path / f"rank-{rank:05d}.json"


def newest_first(folder: Path) -> list[Path]:
    """All folders of checkpoints, complete or not, newest first."""
    return sorted(_named(folder, r"step-[0-9]+"), key=checkpoint_step, reverse=True)


def _named(folder: Path, names: str) -> Iterator[Path]:
    """The folders below this one with such names."""
    return (path for path in folder.glob("*step-*") if re.fullmatch(names, path.name) and path.is_dir())


def checkpoint_step(path: Path) -> int:
    """The step that a checkpoint was written after.

    >>> checkpoint_step(Path("runs/train/checkpoints/step-00000100"))
    100
    """
    return int(path.name.removeprefix("step-"))


def complete_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints that are marked complete, oldest first."""
    return [path for path in reversed(newest_first(folder)) if (path / MARKER).is_file()]


def _loss(path: Path) -> float:
    """The validation loss that a checkpoint knows; infinity for none."""
    try:
        loss = read_json(path / PROGRESS).get(LOSS)
    except (ValueError, AttributeError, OSError):
        return math.inf
    return float(loss) if isinstance(loss, int | float) and math.isfinite(loss) else math.inf


def best_checkpoint(folder: Path) -> Path | None:
    """The complete checkpoint with the lowest validation loss, of equals the earliest; None if none has one.

    Each holds its own loss: whenever a run is killed, no list of them can be out of step with them.
    """
    best = min(complete_checkpoints(folder), key=_loss, default=None)
    return None if best is None or _loss(best) == math.inf else best


def lowest_loss(folder: Path) -> float:
    """The validation loss of :func:`best_checkpoint`; infinity without one."""
    best = best_checkpoint(folder)
    return math.inf if best is None else _loss(best)


def named_checkpoint(path: Path) -> Path:
    """The folder that is meant: of ``RUN/checkpoints/best`` that of the best checkpoint.

    Raises:
        ValueError: no checkpoint there knows its validation loss.
    """
    if (path.parent.name, path.name) != (CHECKPOINTS, BEST) or path.exists():
        return path
    best = best_checkpoint(path.parent)
    if best is None:
        raise ValueError(
            f"no complete checkpoint in {path.parent} was saved after a step that was validated: train with "
            "--keep-best, or name a checkpoint by its folder"
        )
    return best


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
    path = named_checkpoint(Path(resume))
    if not (path / MARKER).is_file():
        newest = next(reversed(complete_checkpoints(path) or complete_checkpoints(path / CHECKPOINTS)), None)
        example = f"its newest, {newest}" if newest else "a folder such as runs/train/checkpoints/step-00000100"
        raise ValueError(f"no complete checkpoint at {path}: name {example}, or take --resume auto")
    return path


def prune(folder: Path, keep: int, keep_best: bool = False) -> None:
    """Delete all but the newest complete checkpoints, and what saves that were cut short have left behind.

    Args:
        folder: the run's ``checkpoints`` folder.
        keep: how many to keep; 0 keeps all.
        keep_best: keep the best one too.
    """
    complete = complete_checkpoints(folder)
    best = best_checkpoint(folder) if keep_best else None
    surplus = [path for path in complete[:-keep] if path != best] if keep else []
    cut_short = [
        path for path in newest_first(folder) if complete and path not in complete and path < complete[-1]
    ]
    for path in [*surplus, *cut_short, *_named(folder, rf"step-[0-9]+{TEMPORARY}")]:
        remove_checkpoint(path)


def quarantine(folder: Path, after_step: int = -1, replace: bool = True) -> list[Path]:
    """Take checkpoints of later steps out of the way of a run that does not resume from them.

    They are damaged, or belong to a future that the run will not take, or to an earlier run: complete ones are
    renamed, others deleted.

    Args:
        folder: the run's ``checkpoints`` folder.
        after_step: those of later steps; all by default.
        replace: delete what was renamed so before.

    Returns:
        The checkpoints under their new names.
    """
    renamed = []
    for path in newest_first(folder):
        if checkpoint_step(path) <= after_step:
            continue
        if not (path / MARKER).is_file():
            remove_checkpoint(path)
            continue
        name = path.with_name(QUARANTINED + path.name)
        if replace:
            remove_checkpoint(name)
        renamed.append(path.rename(free_name(name)))
    return renamed


def put_in_place(temporary: Path, path: Path) -> None:
    """Give a folder with a checkpoint's files, all but the marker, its name; what somebody put there stays."""
    if path.is_symlink():
        path.rename(free_name(path.with_name(QUARANTINED + path.name)))
    if not path.exists():
        rename_folder(temporary, path)
        return
    for file in temporary.iterdir():
        os.replace(file, path / file.name)
    sync(path)
    temporary.rmdir()


def remove_checkpoint(path: Path) -> None:
    """Delete the files of a checkpoint, the marker first, and its folder unless it holds something else.

    A link to a checkpoint stays, and with it what somebody keeps elsewhere.
    """
    if path.is_symlink():
        return
    if (path / MARKER).exists():  # first: a deletion cut short leaves nothing that looks whole
        (path / MARKER).unlink()
        sync(path)
    remove_by_name(path, OWN_FILES)


def remove_checkpoints(folder: Path) -> None:
    """Delete all that saves wrote into a run's ``checkpoints`` folder, and the folder unless something is left."""
    for path in _named(folder, rf"({QUARANTINED})?step-[0-9]+({TEMPORARY}|-[0-9]+)?"):
        remove_checkpoint(path)
    remove_by_name(folder, re.escape(COSTS))
