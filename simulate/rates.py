"""Rates and ratios of recorded runs: log-log slopes with bootstrap confidence intervals, bound over measured.

Seeds are resampled as a whole, so that the correlation between the records of a seed is kept. The statistic is
that of the mean over seeds, since the theorems bound expectations.

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

__all__ = ["Interval", "bound_ratio", "is_pre_asymptotic", "local_slopes", "log_log_slope", "mean_interval"]


@dataclass(frozen=True)
class Interval:
    """An estimate with its percentile bootstrap interval over seeds.

    Attributes:
        value: the estimate from all seeds.
        low: lower end, at most ``value``.
        high: upper end, at least ``value``; for one seed nothing can be resampled, and the interval is a point.
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

    The records may come from one run recorded at several K, or from runs of their own for each K where the step
    size depends on K.

    Args:
        steps: the K, shape [records], at least two different ones.
        values: positive numbers, shape [records, seeds] or, for one seed, [records].
        level: nominal coverage of the interval.
        resamples: bootstrap resamples.
        seed: of the bootstrap.

    Raises:
        ValueError: for values that are not positive and finite, or fewer than two different K.
    """
    table, weights = _table(values), _slope_weights(steps)
    if len(table) != len(weights):
        raise ValueError(f"{len(weights)} values of K, but {len(table)} records")
    resampled = np.log(_resampled_means(table, resamples, seed)) @ weights
    return _interval(float(np.log(table.mean(axis=1)) @ weights), resampled, level)


def local_slopes(steps: ArrayLike, values: ArrayLike) -> Array:
    """Slopes between neighbouring records of log(mean over seeds) against log K, shape [records - 1].

    >>> local_slopes([1, 4, 16], [[8.0], [4.0], [1.0]]).round(6).tolist()
    [-0.5, -1.0]
    """
    means = _table(values).mean(axis=1)
    return np.asarray(np.diff(np.log(means)) / np.diff(np.log(np.asarray(steps, dtype=float))))


def is_pre_asymptotic(average: ArrayLike, initial: float, fraction: float = 0.5) -> bool:
    """Whether the runs have hardly begun: the longest's average gradient norm is still near the first norm.

    There the average over K says where the run started and not how fast it converges, and no slope should be
    asserted.

    Args:
        average: (1/K) sum_k ||G_k||, shape [records] or [records, seeds], ascending in K.
        initial: ||G_1|| in the same norm.
        fraction: pre-asymptotic while the last average exceeds this fraction of ``initial``.

    >>> is_pre_asymptotic([1.0, 0.9], initial=1.0), is_pre_asymptotic([1.0, 0.2], initial=1.0)
    (True, False)
    """
    return bool(_table(average)[-1].mean() > fraction * initial)


def mean_interval(values: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0) -> list[Interval]:
    """Mean over seeds of each record, with bootstrap intervals.

    Args:
        values: shape [records, seeds].
        level: nominal coverage.
        resamples: bootstrap resamples.
        seed: of the bootstrap.
    """
    table = np.asarray(values, dtype=float)
    return _intervals(table.mean(axis=1), _resampled_means(table, resamples, seed), level)


def bound_ratio(
    bound: ArrayLike, measured: ArrayLike, level: float = 0.95, resamples: int = 2000, seed: int = 0
) -> list[Interval]:
    """bound / (mean over seeds of measured), a record at a time, with bootstrap intervals.

    A bound is contradicted where ``high`` is below 1, and held up by the data where ``low`` is above 1.

    Args:
        bound: shape [records] or a number.
        measured: positive, shape [records, seeds] or, for one seed, [records].
        level: nominal coverage.
        resamples: bootstrap resamples.
        seed: of the bootstrap.

    Raises:
        ValueError: for measured values that are not positive and finite.

    >>> bound_ratio([3.0], [[1.0, 2.0]])[0].value
    2.0
    """
    table = _table(measured)
    bounds = np.broadcast_to(np.asarray(bound, dtype=float), len(table))
    resampled = bounds / _resampled_means(table, resamples, seed)
    return _intervals(bounds / table.mean(axis=1), resampled, level)


def _table(values: ArrayLike) -> Array:
    """Positive numbers as [records, seeds]."""
    table = np.asarray(values, dtype=float)
    if table.ndim == 1:
        table = table[:, None]
    if not (np.isfinite(table) & (table > 0)).all():
        raise ValueError("values must be positive and finite")
    return table


def _slope_weights(steps: ArrayLike) -> Array:
    """The weights whose product with log values is the least-squares slope."""
    logs = np.log(np.asarray(steps, dtype=float))
    centred = logs - logs.mean()
    total = float(centred @ centred)
    if total <= 0:
        raise ValueError("a slope needs at least two different K")
    return np.asarray(centred / total)


def _resampled_means(table: Array, resamples: int, seed: int) -> Array:
    """Means over seeds drawn with replacement, [resamples, records]."""
    seeds = table.shape[1]
    counts = np.random.default_rng(seed).multinomial(seeds, np.full(seeds, 1.0 / seeds), size=resamples)
    return np.asarray((counts / seeds) @ table.T)


def _interval(value: float, resampled: Array, level: float) -> Interval:
    if not 0 < level < 1:
        raise ValueError(f"level must lie in (0, 1), not {level}")
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return Interval(value, min(float(low), value), max(float(high), value), level)


def _intervals(values: Array, resampled: Array, level: float) -> list[Interval]:
    """One interval a record, from values [records] and resampled values [resamples, records]."""
    return [_interval(float(value), column, level) for value, column in zip(values, resampled.T, strict=True)]
