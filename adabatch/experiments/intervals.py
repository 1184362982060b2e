"""Means over seeds with Student's t intervals, and paired differences.

Runs of equal seed share their initial weights and the order of their samples, so that differences between two
schedules are taken seed by seed: what the seeds have in common cancels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from scipy.stats import sem, t

__all__ = ["LEVEL", "Interval", "mean_interval", "paired_difference"]

LEVEL = 0.95
"""Nominal coverage of the intervals."""


@dataclass(frozen=True)
class Interval:
    """A mean with its two-sided t interval.

    Attributes:
        mean: over seeds.
        half_width: of the interval; infinite for a single seed, which does not show the spread.
        count: of seeds.
    """

    mean: float
    half_width: float
    count: int

    @property
    def low(self) -> float:
        """Lower end."""
        return self.mean - self.half_width

    @property
    def high(self) -> float:
        """Upper end."""
        return self.mean + self.half_width

    @property
    def excludes_zero(self) -> bool:
        """Whether the interval lies on one side of 0."""
        return self.low > 0 or self.high < 0


def mean_interval(values: Sequence[float]) -> Interval:
    """mean +- t_{n-1, 0.975} s / sqrt(n) of n >= 1 values, with the n-1 sample deviation s.

    >>> interval = mean_interval([1.0, 2.0, 3.0])
    >>> interval.mean, round(interval.half_width, 4)    # 4.3027 / sqrt(3)
    (2.0, 2.4841)
    """
    count = len(values)
    with np.errstate(invalid="ignore"):  # a run that diverged: its loss is infinite
        half = float(t.ppf((1 + LEVEL) / 2, count - 1) * sem(values)) if count > 1 else math.inf
    return Interval(fmean(values), half, count)


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Interval | None:
    """The mean of first - second over the seeds that both have, with its interval; None without such a seed.

    >>> paired_difference({0: 1.0, 1: 2.0}, {0: 0.5, 1: 1.5, 2: 9.0}).mean
    0.5
    """
    seeds = sorted(first.keys() & second.keys())
    return mean_interval([first[seed] - second[seed] for seed in seeds]) if seeds else None
