"""Late switch: one batch for most of the samples, a larger one for the rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from adabatch.ranges import Range
from adabatch.schedules.base import NeverGrowsError
from adabatch.schedules.registry import RunContext, register
from adabatch.schedules.stagewise import Stagewise

__all__ = ["Late", "LateOptions"]


@dataclass(frozen=True)
class LateOptions:
    """Options of the late switch."""

    switch_at: Annotated[float, Range(0, 1, above=True, below=True)] = 0.75
    """late: the fraction of the samples after which the batch is the larger one."""
    switch_batch: Annotated[int, Range(1, 2**24, zero="not given")] = 0
    """late: the larger batch."""


@register("late", LateOptions)
class Late(Stagewise):
    """One switch from the first batch to a larger one, late in the run (arXiv 2602.14208 switches at 75%).

    Args:
        initial: first batch.
        switch_batch: of the steps that begin after the switch.
        switch_at: in (0, 1), the fraction of ``total_samples`` at which it comes.
        total_samples: the budget.
        multiple_of: see :class:`~adabatch.schedules.base.BatchSizeSchedule`.

    Raises:
        ValueError: for a second batch that is not above the first, a switch that is not within the budget, or one
            after which no step begins.

    >>> schedule = Late(4, 8, 0.75, total_samples=32)
    >>> [schedule.update().batch_size for _ in range(7)]
    [4, 4, 4, 4, 4, 8, 8]
    """

    def __init__(
        self, initial: int, switch_batch: int, switch_at: float, total_samples: int, multiple_of: int = 1
    ) -> None:
        if switch_batch <= initial:
            given = f"it is {switch_batch}: raise" if switch_batch else "it was not given: give"
            raise ValueError(
                f"a late switch is to a batch above the first one, {initial}, but {given} --switch-batch"
            )
        Range(0, 1, above=True, below=True, advice="it is a fraction of the budget (--switch-at)").require(
            switch_at, "the late switch"
        )
        super().__init__([initial, switch_batch], [switch_at, 1 - switch_at], total_samples, multiple_of)
        switch = self.ends[0]
        if -(-switch // initial) * initial >= total_samples:
            raise NeverGrowsError(
                f"no step begins between the switch at {switch} samples and the end of the budget of "
                f"{total_samples}: steps of {initial} go past it; lower --switch-at or --initial-batch, or raise "
                "--samples"
            )

    @classmethod
    def from_settings(cls, settings: Any, context: RunContext) -> Late:
        """From a run's settings."""
        return cls(settings.initial_batch, settings.switch_batch, settings.switch_at, context.samples)
