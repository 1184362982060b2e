"""Whether a run may resume from a checkpoint with these settings."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from adabatch.checkpoints.errors import AgreedError
from adabatch.checkpoints.folders import PROGRESS, read_json
from adabatch.settings import Settings, from_saved, to_saved

__all__ = ["CHANGEABLE", "check_compatible", "saved_progress"]

CHANGEABLE_SECTIONS = ("parallel", "run")
"""Where a run computes, how fast, and what it writes: free to change on resuming, except for FIXED."""

FIXED = frozenset({"precision", "samples"})
"""Settings of these sections that change the numbers (the learning rate ends with the budget of samples)."""

CHANGEABLE = frozenset({"micro_batch", "max_micro_batch", "cache", "processes"})
"""Settings of the other sections that may change."""

Difference = tuple[str, Any, Any]


def saved_progress(path: Path) -> dict[str, Any]:
    """The progress saved with a checkpoint: counters, schedule, settings, versions.

    Raises:
        ValueError: if it is damaged.
    """
    progress = read_json(path / PROGRESS)
    if not isinstance(progress, dict):
        raise ValueError(f"{path / PROGRESS} is damaged")
    return progress


def check_compatible(path: Path, settings: Settings, corpus: Mapping[str, Any]) -> None:
    """Refuse to resume from a checkpoint with settings that would make it another run.

    Args:
        path: the checkpoint.
        settings: the present ones; ``allow`` names settings that may differ.
        corpus: :meth:`adabatch.data.corpus.Corpus.describe` of the present one.

    Raises:
        AgreedError: with a table of the differences.
    """
    progress = saved_progress(path)
    found = differences(from_saved(progress["settings"], f"the checkpoint {path}"), settings)
    if not found:  # the data under the same name may be others
        then, now = (_digest(description["train"]) for description in (progress["corpus"], corpus))
        found = [] if then == now else [("data", f"contents {then}", f"contents {now}")]
    refused = [difference for difference in found if difference[0] not in settings.run.allow]
    if refused:
        allow = " ".join(f"--allow {name}" for name, _, _ in refused)
        raise AgreedError(
            f"the checkpoint {path} was written with different settings; resuming would not continue the same run:"
            f"\n{_table(refused)}\n"
            f"use the original settings (--config with that run's config.toml), or accept the changes with {allow}"
        )


def differences(saved: Settings, settings: Settings) -> list[Difference]:
    """The settings that change the meaning of a run and differ: name, saved value, present value.

    >>> from adabatch.settings import load_settings
    >>> differences(load_settings(overrides={"seed": 1, "ranks": 4}), Settings())
    [('seed', 1, 0)]
    """
    then, now = to_saved(saved), to_saved(settings)
    return [
        (name, then[section][name], value)
        for section, values in now.items()
        for name, value in values.items()
        if then[section][name] != value
        and (name in FIXED if section in CHANGEABLE_SECTIONS else name not in CHANGEABLE)
    ]


def _digest(description: Any) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:12]


def _table(rows: list[Difference]) -> str:
    cells = [("setting", "saved", "now"), *[(name, str(then), str(now)) for name, then, now in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells
    )
