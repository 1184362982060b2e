"""Replay: the batch sizes of another run, by the samples seen."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.schedules.base import BatchSizeSchedule
from adabatch.schedules.rounding import Rounding

__all__ = ["Replay"]


class Replay(BatchSizeSchedule):
    """What another run used at the same number of samples seen; beyond its end, its last batch.

    With the same rounding the sequence is the other run's own. It separates what a schedule does from how it came
    about: an adaptive run's batches on another seed know nothing of that seed's gradients.

    Args:
        batch_sizes: the other run's, one a step.
        rounding: see :class:`~adabatch.schedules.base.BatchSizeSchedule`.

    Raises:
        ValueError: for no batch sizes, or one below 1.

    >>> Replay([4, 4, 8]).update()
    4
    """

    def __init__(self, batch_sizes: Sequence[int], rounding: Rounding | int = 1) -> None:
        if not batch_sizes or min(batch_sizes) < 1:
            raise ValueError(
                "a replay needs the batch sizes of at least one step, all of them at least 1: name a run with "
                "complete metrics (--replay-run)"
            )
        super().__init__(batch_sizes[0], max(batch_sizes), rounding)
        self.batch_sizes = tuple(batch_sizes)
        self.ends = list(accumulate(batch_sizes))

    @classmethod
    def of_records(cls, records: Sequence[Mapping[str, Any]], rounding: Rounding | int = 1) -> Replay:
        """The replay of a run's metrics (:func:`adabatch.reporting.metrics.read_metrics`).

        Raises:
            ValueError: if there are none.
        """
        return cls([record.get("batch_size", 0) for record in records], rounding)

    def _propose(self, moments: GradientMoments | None) -> int:
        step = bisect_right(self.ends, self.samples + self.batch_size)
        return self.batch_sizes[min(step, len(self.batch_sizes) - 1)]
