"""What ranks that followed the batch took, next to what the most of them would have taken throughout."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from adabatch.reporting.metrics import Record, step_seconds
from adabatch.schedules.step_times import StepTimes

__all__ = ["rank_summary"]


def rank_summary(records: Sequence[Record]) -> dict[str, Any]:
    """Numbers of ranks, rank-hours (GPU-hours, where each rank has a GPU) and seconds; nothing of a fixed number.

    A step on b samples by J ranks takes about t0 + t1 b / J. The line is fitted to the run's own steps, and gives
    for those on fewer ranks what the most would have taken; without a fit there is no comparison. Pauses, from the
    last step of some ranks to the first of the next ones, count for the run.

    >>> def step(batch, ranks):
    ...     return {"batch_size": batch, "ranks": ranks, "seconds": 1.0 + batch / ranks}
    >>> run = [step(8, 1), step(8, 1), step(8, 1), step(16, 1), step(16, 1), *[step(16, 4) for _ in range(9)]]
    >>> for name, value in rank_summary(run).items():
    ...     print(name, value if isinstance(value, str) else round(value, 4))
    ranks 1, 4
    rank-hours 0.0669
    seconds in pauses 0.0
    rank-hours, 4 ranks throughout (estimate) 0.0711
    seconds in steps, 4 ranks throughout (estimate) 64.0
    """
    numbers = sorted({record["ranks"] for record in records if record.get("ranks")})
    if len(numbers) < 2 or not all(record.get("ranks") for record in records):
        return {}
    most = numbers[-1]
    pauses = [float(record.get("pause_seconds") or 0.0) for record in records]
    spent = sum(
        (step_seconds(record) + pause) * record["ranks"] for record, pause in zip(records, pauses, strict=True)
    )
    found = {
        "ranks": ", ".join(map(str, numbers)),
        "rank-hours": spent / 3600,
        "seconds in pauses": sum(pauses),
    }
    seconds = _seconds_of(most, records)
    if seconds is not None:
        throughout = f"{most} ranks throughout (estimate)"
        found |= {f"rank-hours, {throughout}": most * seconds / 3600, f"seconds in steps, {throughout}": seconds}
    return found


def _seconds_of(ranks: int, records: Sequence[Record]) -> float | None:
    """Of all steps on this many ranks, by the line for those on fewer; None without one."""
    times = StepTimes()
    for record in records:
        times.add(step_seconds(record), record["batch_size"] // record["ranks"], length=_length(record))
    lines = {length: times.fit(length=length) for length in set(map(_length, records))}
    total = 0.0
    for record in records:
        line = lines[_length(record)]
        if record["ranks"] == ranks:
            total += step_seconds(record)
        elif line is None:
            return None
        else:
            total += line.seconds(record["batch_size"] / ranks)
    return total


def _length(record: Record) -> int:
    return int(record.get("sequence_length") or 0)
