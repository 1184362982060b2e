"""Means over seeds with Student's t intervals, paired differences, and what many of them at once may claim.

Runs of equal seed share their initial weights and the order of their samples, so that differences between two
schedules are taken seed by seed: what the seeds have in common cancels.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import stdtr, stdtrit  # scipy.stats, which has them too, takes ten times as long to import

__all__ = ["LEVEL", "Interval", "holm", "mean_interval", "paired_difference", "ratio_interval", "seeds_needed"]

LEVEL = 0.95
"""Nominal coverage of the intervals."""

MOST_SEEDS = 1_000_000
"""Larger numbers of seeds are not reported."""


@dataclass(frozen=True)
class Interval:
    """A mean with its two-sided t interval.

    Attributes:
        mean: over seeds.
        half_width: of the interval; infinite for a single seed, which does not show the spread, and where a run
            diverged.
        count: of seeds.

    >>> interval = mean_interval([0.1, 0.2, 0.3])
    >>> interval.low < 0 < interval.high, round(interval.p_value, 4)
    (True, 0.0742)
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
    def standard_error(self) -> float | None:
        """s / sqrt(n) of the mean; None where the half width is infinite."""
        return self.half_width / _quantile(self.count) if math.isfinite(self.half_width) else None

    @property
    def p_value(self) -> float | None:
        """Of the two-sided t test that the mean is 0; None without a standard error."""
        error = self.standard_error
        if error is None:
            return None
        if error == 0:
            return float(self.mean == 0)
        return float(2 * stdtr(self.count - 1, -abs(self.mean) / error))


def mean_interval(values: Sequence[float]) -> Interval:
    """mean +- t_{n-1, 0.975} s / sqrt(n) of n >= 1 values, with the n-1 sample deviation s.

    >>> interval = mean_interval([1.0, 2.0, 3.0])
    >>> interval.mean, round(interval.half_width, 4)    # 4.3027 / sqrt(3)
    (2.0, 2.4841)
    """
    count = len(values)
    if not all(map(math.isfinite, values)):  # a run that diverged: its loss is infinite
        return Interval(sum(values) / count, math.inf, count)
    half = _quantile(count) * float(np.std(values, ddof=1)) / math.sqrt(count) if count > 1 else math.inf
    return Interval(fmean(values), half, count)


def ratio_interval(totals: ArrayLike, sizes: ArrayLike) -> Interval:
    """sum(totals) / sum(sizes) of n >= 1 units, with its t interval by linearisation.

    R of the ratio, the residuals totals - R sizes have the mean 0; over the mean size they stand for the values of
    :func:`mean_interval`, which this is where all sizes are 1 (Cochran, Sampling Techniques, 2.11).

    Args:
        totals: of each unit, such as its nats, shape [n].
        sizes: of each unit, such as its bytes, shape [n]; above 0 in all.

    >>> interval = ratio_interval([2.0, 4.0], [1.0, 1.0])
    >>> interval.mean, interval.half_width == mean_interval([2.0, 4.0]).half_width
    (3.0, True)
    """
    x, size = np.asarray(totals, dtype=float), np.asarray(sizes, dtype=float)
    ratio = float(x.sum() / size.sum())
    return replace(mean_interval(((x - ratio * size) / size.mean()).tolist()), mean=ratio)


def paired_difference(first: Mapping[int, float], second: Mapping[int, float]) -> Interval | None:
    """The mean of first - second over the seeds that both have, with its interval; None without such a seed.

    >>> paired_difference({0: 1.0, 1: 2.0}, {0: 0.5, 1: 1.5, 2: 9.0}).mean
    0.5
    """
    seeds = sorted(first.keys() & second.keys())
    return mean_interval([first[seed] - second[seed] for seed in seeds]) if seeds else None


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """The p values of a family of comparisons, adjusted for their number by Holm's method.

    The smallest of m is multiplied by m, the next one by m - 1 and so on, and none is below the one before. Of
    comparisons that differ in nothing, any at all then falls below 5% at most once in twenty families.

    Args:
        p_values: of all comparisons of a family, whether they look promising or not.

    Returns:
        The adjusted ones, in the same order; a comparison is significant at 5% where its own is at most .05.

    >>> holm({"a": 0.02, "b": 0.3, "c": 0.04})
    {'a': 0.06, 'b': 0.3, 'c': 0.08}
    """
    adjusted, largest = {}, 0.0
    for before, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - before) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def seeds_needed(interval: Interval, half_width: float = 0.01) -> int | None:
    """How many seeds make the interval as narrow as wanted, if their spread is that of the seeds so far.

    Args:
        interval: of the seeds so far.
        half_width: that is wanted, in the interval's units.

    Returns:
        The smallest n of at least 2 with t_{n-1, 0.975} s / sqrt(n) <= half_width; None where one seed or a run
        that diverged does not show the spread, and above :data:`MOST_SEEDS`.

    Raises:
        ValueError: for a half width that is not above 0.

    >>> seeds_needed(mean_interval([1.0, 2.0, 3.0]), 0.5)
    18
    """
    if not half_width > 0:
        raise ValueError(f"half_width must be above 0, but is {half_width}: give the half width that is wanted")
    error = interval.standard_error
    if error is None:
        return None
    deviation = error * math.sqrt(interval.count)

    def suffices(count: int) -> bool:
        return _quantile(count) * deviation / math.sqrt(count) <= half_width

    found = 2 + bisect_left(range(2, MOST_SEEDS + 1), True, key=suffices)
    return found if found <= MOST_SEEDS else None


def _quantile(count: int) -> float:
    """t_{n-1, 0.975}."""
    return float(stdtrit(count - 1, (1 + LEVEL) / 2))
