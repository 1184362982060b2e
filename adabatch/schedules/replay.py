"""Replay: the batch sizes of another run, by the samples seen."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adabatch.schedules.base import BatchSizeSchedule, Decision
from adabatch.schedules.registry import RunContext, register

if TYPE_CHECKING:  # numpy, which the command's options need not wait for
    from adabatch.moments.gradient_moments import GradientMoments

__all__ = ["Replay", "ReplayOptions"]


@dataclass(frozen=True)
class ReplayOptions:
    """Options of a replay."""

    replay_run: str = ""
    """replay: the folder of the other run, or its metrics.jsonl."""


@register("replay", ReplayOptions)
class Replay(BatchSizeSchedule):
    """What another run used at the same number of samples seen; beyond its end, its last batch.

    With the same rounding the sequence is the other run's own. It separates what a schedule does from how it came
    about: an adaptive run's batches on another seed know nothing of that seed's gradients.

    Args:
        batch_sizes: the other run's, one per step.
        multiple_of: see :class:`~adabatch.schedules.base.BatchSizeSchedule`.

    Raises:
        ValueError: for no batch sizes, or one below 1.

    >>> Replay([4, 4, 8]).update().batch_size
    4
    """

    def __init__(self, batch_sizes: Sequence[int], multiple_of: int = 1) -> None:
        if not batch_sizes or min(batch_sizes) < 1:
            raise ValueError(
                "a replay needs the batch sizes of at least one step, all of them at least 1: name a run with "
                "complete metrics (--replay-run)"
            )
        super().__init__(batch_sizes[0], max(batch_sizes), multiple_of)
        self.batch_sizes = tuple(batch_sizes)
        self.ends = list(accumulate(batch_sizes))

    @classmethod
    def of_records(cls, records: Sequence[Mapping[str, Any]]) -> Replay:
        """The replay of a run's metrics (:func:`adabatch.reporting.metrics.read_metrics`).

        Raises:
            ValueError: if there are none.
        """
        return cls([record.get("batch_size", 0) for record in records])

    @classmethod
    def from_settings(cls, settings: Any, context: RunContext) -> Replay:
        """From a run's settings."""
        if not settings.replay_run:
            raise ValueError("a replay needs the run whose batch sizes it takes: give its folder (--replay-run)")
        return cls.of_records(context.read_records(Path(settings.replay_run)))

    def _decide(self, moments: GradientMoments | None) -> Decision:
        step = bisect_right(self.ends, self.seen)
        proposal = self.batch_sizes[min(step, len(self.batch_sizes) - 1)]
        return Decision(proposal, proposal)
