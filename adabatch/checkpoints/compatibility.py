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

__all__ = ["CHANGEABLE", "RECORDS", "check_compatible", "damaged", "saved_progress"]

CHANGEABLE_SECTIONS = ("parallel", "run", "hardware")
"""Where a run computes, how fast, and what it writes: free to change on resuming, except for FIXED."""

FIXED = frozenset({"precision", "samples"})
"""Settings of these sections that change the numbers (the learning rate ends with the budget of samples)."""

CHANGEABLE = frozenset({"micro_batch", "max_micro_batch", "cache", "processes", "repeat_sources"})
"""Settings of the other sections that may change."""

RECORDS = "records"
"""What ``--allow`` takes next to settings: records that are not those of the checkpoint."""

CONTENTS = ("data", "data_config", "text_field", "split", "validation_data", "validation_fraction")
TOKENS = (*CONTENTS, "tokenizer", "vocabulary_size", "end_of_document")
PREPARED = (*TOKENS, "streaming")

DEPENDS_ON = {
    "part": (),
    "streaming": ("streaming",),
    "sources": CONTENTS,
    "shares": CONTENTS,
    "tokenizer": TOKENS,
    "tokens": PREPARED,
    "bytes": PREPARED,
    "sha256": PREPARED,
    "samples": (*PREPARED, "sequence_length"),
}
"""What a description of the data says, and the settings that it depends on; anything else is itself a setting."""

KEYS = {"step": int, "samples": int, "schedule": dict, "settings": dict, "corpus": dict, "world_size": int}
"""What a run needs of a checkpoint's progress."""

Difference = tuple[str, Any, Any]


def saved_progress(path: Path) -> dict[str, Any]:
    """The progress saved with a checkpoint: counters, schedule, settings, versions.

    Raises:
        ValueError: if it is damaged, or lacks something.
    """
    progress = read_json(path / PROGRESS)
    if not isinstance(progress, dict):
        raise damaged(path, "not an object")
    for name, kind in KEYS.items():
        if type(progress.get(name)) is not kind:
            raise damaged(path, f"no {name}")
    if not all(isinstance(section, dict) for section in progress["settings"].values()):
        raise damaged(path, "settings without sections")
    corpus = progress["corpus"]
    try:
        known = isinstance(corpus["train"]["tokenizer"]["fingerprint"], str)
        known = known and isinstance(corpus["vocabulary_size"], int)
    except (LookupError, TypeError):
        known = False
    if not known:
        raise damaged(path, "no description of the corpus")
    return progress


def damaged(path: Path, problem: str) -> AgreedError:
    """The error of a checkpoint whose progress is not what it should be; every rank finds it."""
    return AgreedError(
        f"{path / PROGRESS} is damaged, or of another version ({problem}): resume from another checkpoint "
        "(--resume PATH), or start again with --resume never --overwrite"
    )


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
    found += _other_contents(progress["corpus"]["train"], corpus["train"], {name for name, _, _ in found})
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


def _other_contents(then: Mapping[str, Any], now: Mapping[str, Any], changed: set[str]) -> list[Difference]:
    """Data or a tokenizer that differ under the same name, as far as no changed setting is the reason.

    The hash of the tokens decides, and that of the files only where the tokens must differ: the files of one data
    set may be kept in several ways.

    >>> saved, present = {"tokens": 3, "sources": ["a"]}, {"tokens": 3, "sources": ["b"]}
    >>> _other_contents(saved, present, set())
    []
    >>> [name for name, _, _ in _other_contents(saved, present, {"tokenizer"})]
    ['data']
    """
    names = {name for name in then.keys() | now.keys() if not changed.intersection(DEPENDS_ON.get(name, (name,)))}
    if "tokens" in names or ("sources" in names and not ("sources" in then and "sources" in now)):
        names.discard("sources")
    found: list[Difference] = []
    for setting, chosen in (("tokenizer", names & {"tokenizer"}), ("data", names - {"tokenizer"})):
        old, new = ({name: described.get(name) for name in sorted(chosen)} for described in (then, now))
        if old != new and not (setting == "data" and found):  # other tokenizers make other tokens
            found.append((setting, f"contents {_digest(old)}", f"contents {_digest(new)}"))
    return found


def _digest(description: Any) -> str:
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:12]


def _table(rows: list[Difference]) -> str:
    cells = [("setting", "saved", "now"), *[(name, str(then), str(now)) for name, then, now in rows]]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    return "\n".join(
        "  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in cells
    )
