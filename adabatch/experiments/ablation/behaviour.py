"""What a run's batch did: it jumped to the largest, never grew, or adapted."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from itertools import pairwise

from adabatch.reporting.metrics import Record

__all__ = ["AT_ONCE", "FEW_INCREASES", "Behaviour", "behaviour", "reached_at"]

AT_ONCE = 0.05
"""A largest batch reached within this share of the samples is reached at once."""

FEW_INCREASES = 2
"""A largest batch reached by at most this many increases is jumped to, whenever that happens."""


class Behaviour(StrEnum):
    """How the batch went.

    Attributes:
        JUMPS: to the largest batch within the first 5% of the samples, or by at most two increases.
        CONSTANT: still the first batch at the end.
        ADAPTS: anything between.
    """

    JUMPS = "jumps"
    CONSTANT = "never grows"
    ADAPTS = "adapts"


def behaviour(records: Sequence[Record], maximum: int) -> Behaviour:
    """What the batch of a run did.

    Args:
        records: of every step.
        maximum: the largest batch allowed; rounding may go beyond it.

    >>> sizes = lambda *batches: [{"batch_size": b, "samples": 100 * (i + 1)} for i, b in enumerate(batches)]
    >>> [str(behaviour(sizes(*batches), 64)) for batches in ((16, 16, 16), (16, 64, 64), (16, 20, 28, 64))]
    ['never grows', 'jumps', 'adapts']
    """
    sizes = [int(record["batch_size"]) for record in records]
    if max(sizes) == sizes[0]:
        return Behaviour.CONSTANT
    reached = reached_at(records, maximum)
    increases = sum(a < b for a, b in pairwise(sizes))
    jumped = reached is not None and (reached <= AT_ONCE or increases <= FEW_INCREASES)
    return Behaviour.JUMPS if jumped else Behaviour.ADAPTS


def reached_at(records: Sequence[Record], maximum: int) -> float | None:
    """The share of the samples seen before the first step at the largest batch; None if there was none."""
    for record in records:
        if record["batch_size"] >= maximum:
            return float((record["samples"] - record["batch_size"]) / records[-1]["samples"])
    return None
