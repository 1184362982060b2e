"""Rates and ratios of recorded runs: log-log slopes with bootstrap confidence intervals, bound over measured.

Example:
    >>> steps = np.array([256.0, 1024.0, 4096.0, 16384.0])
    >>> noise = np.exp(0.1 * np.random.default_rng(0).standard_normal((4, 32)))
    >>> slope = log_log_slope(steps, steps[:, None] ** -0.5 * noise)
    >>> slope.low < -0.5 < slope.high, round(slope.value, 1)
    (True, -0.5)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from simulate.streams import Array

__all__ = ["Interval", "bound_ratio", "is_pre_asymptotic", "local_slopes", "log_log_slope"]


@dataclass(frozen=True)
class Interval:
    """An estimate with its percentile bootstrap interval over seeds.

    Attributes:
        value: the estimate from all seeds.
        low: lower end.
        high: upper end; equal to ``low`` and ``value`` for one seed, of which nothing can be resampled.
        level: the nominal coverage.
    """

    value: float
    low: float
    high: float
    level: float


def log_log_slope(
    steps: ArrayLike, values: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Interval:
    """Least-squares slope of log(mean over seeds) against log K.

    The records may come from one run recorded at several K or from runs of their own for each K (a step size
    that depends on K); seeds are resampled as a whole, so that the correlation between records of a seed is kept.

    Args:
        steps: the K, shape [records], at least two different ones.
        values: positive numbers, shape [records, seeds].
        level: nominal coverage of the interval.
        resamples: bootstrap resamples.
        seed: of the bootstrap.

    Raises:
        ValueError: for values that are not positive and finite, or fewer than two different K.
    """
    raise NotImplementedError


def local_slopes(steps: ArrayLike, values: ArrayLike) -> Array:
    """Slopes between neighbouring records of log(mean over seeds) against log K, shape [records - 1]."""
    raise NotImplementedError


def is_pre_asymptotic(average: ArrayLike, initial: float, fraction: float = 0.5) -> bool:
    """Whether the runs have hardly begun: the average gradient norm over the longest is still near the first.

    Args:
        average: mean over seeds of (1/K) sum_k ||G_k||, shape [records], ascending in K.
        initial: ||G_1||.
        fraction: pre-asymptotic while the last average exceeds this fraction of ``initial``.
    """
    raise NotImplementedError


def bound_ratio(
    bound: ArrayLike, measured: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> list[Interval]:
    """bound / (mean over seeds of measured), a record at a time, with bootstrap intervals.

    Args:
        bound: shape [records] or a number.
        measured: shape [records, seeds].
        level: nominal coverage.
        resamples: bootstrap resamples.
        seed: of the bootstrap.
    """
    raise NotImplementedError
