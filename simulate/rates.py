"""Rates of recorded runs: log-log slopes with confidence intervals.

The statistic is that of the mean over seeds, since the theorems bound expectations. To first order a seed adds the
sum of its records over their means, weighted as in the slope: one number per seed, which keeps the correlation
between its records, and whose mean has a t interval.

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
from scipy.stats import t as student

from simulate.streams import Array

__all__ = ["Slope", "is_pre_asymptotic", "log_log_slope", "mean_reach"]


@dataclass(frozen=True)
class Slope:
    """A log-log slope with a confidence interval.

    Attributes:
        value: the estimate from all seeds.
        low: lower end of the interval.
        high: upper end; of one seed nothing is known of the spread, and the interval is a point.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """For example ``-0.52 [-0.55, -0.49]``."""
        return f"{self.value:.2f} [{self.low:.2f}, {self.high:.2f}]"


def log_log_slope(steps: ArrayLike, values: ArrayLike, level: float = 0.95) -> Slope:
    """Least-squares slope of log(mean over seeds) against log K, with its t interval.

    The records may come from one run recorded at several K, or from runs of their own for each K where the step
    size depends on K.

    Args:
        steps: the K, shape [records], at least two different ones.
        values: positive numbers, shape [records, seeds].
        level: nominal coverage of the interval.

    Raises:
        ValueError: for values that are not positive and finite, or fewer than two different K.
    """
    table, logs = np.asarray(values, dtype=float), np.log(np.asarray(steps, dtype=float))
    if not (np.isfinite(table) & (table > 0)).all():
        raise ValueError("values must be positive and finite")
    if len(set(logs)) < 2:
        raise ValueError("a slope needs at least two different K")
    centred, means = logs - logs.mean(), table.mean(axis=1)
    weights = centred / (centred @ centred)
    value, shares = float(weights @ np.log(means)), weights @ (table / means[:, None])
    reach = mean_reach(shares, level) if len(shares) > 1 else 0.0
    return Slope(value, value - reach, value + reach)


def mean_reach(values: Array, level: float) -> float:
    """Half of the t interval of a mean, of shape [seeds]; infinite for one value.

    >>> round(mean_reach(np.array([0.0, 2.0]), 0.5), 9)
    1.0
    """
    if len(values) < 2:
        return float("inf")
    return float(student.isf((1 - level) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))


def is_pre_asymptotic(average: Array, initial: float, fraction: float = 0.5) -> bool:
    """Whether the runs have hardly begun: the longest's average gradient norm is still near the first norm.

    There the average over K shows where the run started and not how fast it converges, and no slope should be
    asserted.

    Args:
        average: (1/K) sum_k ||G_k||, shape [records, seeds], ascending in K.
        initial: ||G_1|| in the same norm.
        fraction: pre-asymptotic while the last average exceeds this fraction of ``initial``.

    >>> is_pre_asymptotic(np.array([[1.0], [0.9]]), 1.0), is_pre_asymptotic(np.array([[1.0], [0.2]]), 1.0)
    (True, False)
    """
    return bool(average[-1].mean() > fraction * initial)
