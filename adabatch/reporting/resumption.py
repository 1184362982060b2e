"""The records of a run that resumes: whether they are those that its checkpoint knows, and which of them stay.

A checkpoint keeps the size and the SHA-256 of ``metrics.jsonl`` as it was. If the file still begins so, nothing is
missing, doubled, out of order or of another run. What follows is of steps after the checkpoint, which the run will
take again: it is cut, a last line that was cut short with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from adabatch.reporting.metrics import Record, record_lines

__all__ = ["describe_records", "problem_with_records"]

Line = tuple[bytes, Record | None]


def describe_records(path: Path) -> dict[str, Any]:
    """Size and hash of a ``metrics.jsonl``, for a checkpoint; of one that cannot be read as of an empty one."""
    try:
        content = path.read_bytes()
    except OSError:  # moved, deleted or replaced while the run trains
        content = b""
    return {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}


def problem_with_records(path: Path, step: int, known: Mapping[str, Any], elsewhere: bool = False) -> str | None:
    """What is wrong with the records of a run that resumes, or None.

    Args:
        path: ``metrics.jsonl``; it may be absent.
        step: of the checkpoint.
        known: what the checkpoint knows of them, see :func:`describe_records`.
        elsewhere: the checkpoint lies in another run's folder: without records, this run begins after that step.
    """
    content = path.read_bytes() if path.is_file() else b""
    size = known.get("bytes", 0)
    beginning, lines = content[:size], list(record_lines(content))
    records = [record for _, record in lines if record is not None and record["step"] <= step]
    if size and hashlib.sha256(beginning).hexdigest() == known.get("sha256"):
        added = len(records) - sum(record is not None for _, record in record_lines(beginning))
        steps = [record["step"] for record in records]
        if added and any(after != before + 1 for before, after in pairwise(steps)):
            return f"holds records of steps up to {step} once more behind those of the checkpoint"
        return None
    if not records and (elsewhere or not size):
        return None
    problem = _damage(lines, step) or _disorder(records, step)
    if problem is None and "sha256" in known and size:
        return "holds the records of another run, or was edited"
    return problem


def _damage(lines: Sequence[Line], step: int) -> str | None:
    """The first line that is not a record, unless it stands behind the record of the step."""
    for number, (_, record) in enumerate(lines, start=1):
        if record is None:
            return f"is damaged: line {number} is not a record"
        if record["step"] >= step:
            return None
    return None


def _disorder(records: Sequence[Record], step: int) -> str | None:
    """Where the records up to a step are not one for each step, in order."""
    if not records:
        return f"lacks the records of steps 1 to {step}"
    if records[0]["step"] > 1:
        return f"lacks the records of steps 1 to {records[0]['step'] - 1}"
    for before, after in pairwise(records):
        if after["step"] == before["step"]:
            return f"holds step {after['step']} twice"
        if after["step"] < before["step"]:
            return f"is out of order: step {after['step']} follows step {before['step']}"
        if after["step"] > before["step"] + 1:
            return f"lacks the records of steps {before['step'] + 1} to {after['step'] - 1}"
    if records[-1]["step"] < step:
        return f"lacks the records of steps {records[-1]['step'] + 1} to {step}"
    return None
