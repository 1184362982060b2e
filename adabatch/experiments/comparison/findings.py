"""What the tables, the figures and comparison.json say of each schedule, computed once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from adabatch.experiments.comparison.hardware import RelativeTime, relative_time, standard_hardware
from adabatch.experiments.comparison.noise import NoiseRange
from adabatch.experiments.comparison.results import Comparison
from adabatch.experiments.intervals import LEVEL, Interval, holm

__all__ = ["CONTRASTS", "Contrast", "Findings"]

CONTRASTS: Mapping[str, Callable[[Comparison, str], Interval | None]] = {
    "gap": Comparison.gap,
    "minus_rates_replayed": Comparison.minus_rates_replayed,
    "minus_batches_replayed": Comparison.minus_batches_replayed,
}
"""What is tested of every schedule that is not constant: all of it is one family."""


@dataclass(frozen=True)
class Contrast:
    """A paired difference of losses.

    Attributes:
        interval: over seeds, without regard to the other contrasts.
        adjusted: p value after Holm over the family; None for a single seed, which cannot be tested.
    """

    interval: Interval
    adjusted: float | None

    @property
    def resolved(self) -> bool:
        """Whether it differs from 0 at the level of the family.

        >>> Contrast(Interval(-0.2, 0.1, 4), 0.03).resolved, Contrast(Interval(-0.2, 0.1, 4), 0.09).resolved
        (True, False)
        """
        return self.adjusted is not None and self.adjusted < 1 - LEVEL


@dataclass(frozen=True)
class Findings:
    """A comparison and what follows from it.

    Attributes:
        comparison: its finished runs.
        contrasts: by schedule that is not constant and name of :data:`CONTRASTS`; None where runs are missing.
        times: over the fastest constant batch's, by schedule and hardware's name; None where runs are missing.
        noise: the noise scales measured, against the constant batches; None if no run measured any.
    """

    comparison: Comparison
    contrasts: Mapping[str, Mapping[str, Contrast | None]]
    times: Mapping[str, Mapping[str, RelativeTime | None]]
    noise: NoiseRange | None

    @classmethod
    def of(cls, comparison: Comparison) -> Findings:
        """From a comparison."""
        hardware = standard_hardware(comparison.base.schedule.initial_batch)
        times = {
            schedule.name: {each.name: relative_time(comparison, schedule.name, each) for each in hardware}
            for schedule in comparison.schedules
        }
        return cls(comparison, contrasts(comparison), times, NoiseRange.of(comparison))


def contrasts(comparison: Comparison) -> dict[str, dict[str, Contrast | None]]:
    """The contrasts of every schedule that is not constant, their p values adjusted together.

    One with a run that diverged counts as p = 1: a family that shrank would make the other claims easier.
    """
    names = [schedule.name for schedule in comparison.schedules if schedule.kind != "constant"]
    found = {name: {what: contrast(comparison, name) for what, contrast in CONTRASTS.items()} for name in names}
    p_values = {
        f"{what} of {name}": 1.0 if interval.p_value is None else interval.p_value
        for name, intervals in found.items()
        for what, interval in intervals.items()
        if interval is not None and interval.count > 1
    }
    adjusted = holm(p_values)
    return {
        name: {
            what: None if interval is None else Contrast(interval, adjusted.get(f"{what} of {name}"))
            for what, interval in intervals.items()
        }
        for name, intervals in found.items()
    }
