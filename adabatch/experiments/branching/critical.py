"""The local critical batch: the largest one at which the loss stays within a tolerance of the smallest one's.

Branches of a checkpoint train the same samples with k times the batch. Their losses are averaged over a window at
the end and compared with those of the smallest k, seed by seed: D_k. Over a grid of k the critical one is where
D_k first passes the tolerance, between two k of the grid by a straight line in log k.

How sure it is: D_k has a Student's t interval, with the deviation of the residuals that neither seed nor k
explains (a two-way layout: seeds are blocks), and is decided where that lies on one side of the tolerance. Of
several comparisons one is more often wrong than each: so k is beyond the tolerance only where all larger ones are
too. In this fixed sequence, from the largest k down, an error anywhere is as rare as in a single comparison
(Maurer, Hothorn and Lehmacher, 1995). The critical k has an interval from a bootstrap that draws seeds with
replacement, and one of three windows, joined with where the ends of the intervals of D_k pass the tolerance.

References:
    Merrill et al., arXiv 2505.23971 (branches, sqrt(k) times the learning rate, a tolerance on the smoothed loss).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata, t

__all__ = [
    "WINDOWS",
    "CriticalBatch",
    "Tracking",
    "critical_batch",
    "first_crossing",
    "rank_correlation",
    "tracking",
    "window_loss",
]

WINDOWS = (1 / 8, 1 / 4, 1 / 2)
"""Shares of a branch at its end over which the loss is averaged; the middle one gives the estimate."""

LEVEL = 0.9
"""Nominal coverage of all intervals."""

DRAWS = 2000

FEWEST_POINTS = 3
"""Of fewer points no rank correlation is given."""

Kind = Literal["resolved", "at least", "unresolved"]

Floats = npt.NDArray[np.float64]


def window_loss(ends: np.ndarray, losses: np.ndarray, start: float, stop: float) -> float:
    """The mean loss over the samples from ``start`` to ``stop``; a step counts by its samples there.

    Args:
        ends: samples seen at the end of each step, ascending, the last at least ``stop``; shape [steps].
        losses: of each step, shape [steps].
        start: of the window, in samples.
        stop: of the window.

    >>> window_loss(np.array([4, 8, 12]), np.array([9.0, 2.0, 1.0]), 6, 10)
    1.5
    """
    weights = np.clip(np.minimum(ends, stop) - np.maximum(np.append(0, ends[:-1]), start), 0, None)
    used = weights > 0
    return float(weights[used] @ losses[used] / weights[used].sum())


def first_crossing(factors: Sequence[float], differences: npt.ArrayLike, tolerance: float) -> Floats:
    """The k at which D_k first passes the tolerance, by lines in log k; infinite where it never does.

    Args:
        factors: k, ascending.
        differences: D_k, that of the first one 0; shape [..., factors].
        tolerance: > 0.

    Returns:
        Shape [...].

    >>> first_crossing([1, 2, 4], [[0.0, 0.0, 0.02], [0.0, 0.0, 0.0]], 0.01).round(3).tolist()
    [2.828, inf]
    """
    values, k = np.asarray(differences, dtype=float), np.asarray(factors, dtype=float)
    beyond = values[..., 1:] > tolerance
    number = beyond.argmax(axis=-1)
    before, after = (np.take_along_axis(values, number[..., None] + n, axis=-1)[..., 0] for n in (0, 1))
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):  # where none is beyond
        share = (tolerance - before) / (after - before)
        crossing = k[number] * (k[number + 1] / k[number]) ** share
    return np.asarray(np.where(beyond.any(axis=-1), crossing, math.inf))


@dataclass(frozen=True)
class CriticalBatch:
    """What the branches of a checkpoint say.

    Attributes:
        batch: that of the run, k = 1.
        factors: k, ascending.
        differences: D_k in nats, that of the first one 0; infinite where a branch diverged.
        half_widths: of their 90% intervals; infinite for a single seed, which does not show the spread.
        tolerance: on D_k.
        kind: ``resolved`` where the largest k is beyond the tolerance, ``at least`` where all are within, else
            ``unresolved``.
        factor: the critical k; infinite for ``at least``, NaN if unresolved.
        low: end of the interval of the critical k.
        high: the other end, infinite where it is beyond the largest k.
        draws: critical k of the bootstrap.
    """

    batch: int
    factors: tuple[float, ...]
    differences: tuple[float, ...]
    half_widths: tuple[float, ...]
    tolerance: float
    kind: Kind
    factor: float
    low: float
    high: float
    draws: np.ndarray = field(repr=False, compare=False)

    @property
    def value(self) -> float:
        """The critical batch, in samples."""
        return self.batch * self.factor

    @property
    def largest_within(self) -> float:
        """The largest k before the first whose D_k passes the tolerance, as in the paper."""
        beyond = (number for number, each in enumerate(self.differences) if each > self.tolerance)
        return self.factors[next(beyond, len(self.factors)) - 1]

    def verdict(self, number: int) -> str:
        """Of one k: ``within`` the tolerance, ``beyond`` it as all larger ones are, or ``unresolved``."""
        lower = [each - half for each, half in zip(self.differences, self.half_widths, strict=True)]
        if number == 0 or self.differences[number] + self.half_widths[number] <= self.tolerance:
            return "within"
        return "beyond" if min(lower[number:]) > self.tolerance else "unresolved"


def critical_batch(
    losses: np.ndarray, factors: Sequence[float], batch: int, tolerance: float, seed: int = 0
) -> CriticalBatch:
    """The critical batch of a checkpoint.

    Args:
        losses: averaged over each window of :data:`WINDOWS`, shape [windows, factors, seeds]; infinite where a
            branch diverged.
        factors: k, ascending, two or more.
        batch: that of the run.
        tolerance: > 0, in nats.
        seed: of the bootstrap.
    """
    draws = _draws(losses, factors, tolerance, np.random.default_rng(seed))
    main = losses[len(losses) // 2]
    with np.errstate(invalid="ignore"):  # infinity minus infinity
        differences = (main - main[0]).mean(axis=1)
    half_widths = np.where(np.isfinite(main).all(axis=1), _half_width(main), 0.0)
    half_widths[0] = 0.0
    low, high = np.quantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], method="closest_observation")
    # Of few seeds the bootstrap is too narrow: what the intervals of all D_k allow belongs to it too.
    low = min(low, float(first_crossing(factors, differences + half_widths, tolerance)))
    lower = np.minimum.accumulate((differences - half_widths)[::-1])[::-1]  # beyond where all larger ones are
    high = max(high, float(first_crossing(factors, lower, tolerance)))
    found = CriticalBatch(
        batch=batch,
        factors=tuple(map(float, factors)),
        differences=tuple(map(float, differences)),
        half_widths=tuple(map(float, half_widths)),
        tolerance=tolerance,
        kind="unresolved",
        factor=math.nan,
        low=float(low),
        high=float(high),
        draws=draws,
    )
    verdicts = [found.verdict(number) for number in range(len(factors))]
    if not np.isfinite(main[0]).all() or ("beyond" not in verdicts and "unresolved" in verdicts):
        return found
    kind: Kind = "resolved" if "beyond" in verdicts else "at least"
    return replace(found, kind=kind, factor=float(first_crossing(factors, differences, tolerance)))


def _half_width(losses: np.ndarray) -> float:
    """Of the interval of a difference of two factors' means over seeds; of losses [factors, seeds].

    sqrt(2 s^2 / n) times Student's t, s^2 the mean square of what neither factor nor seed explains.
    """
    finite = losses[np.isfinite(losses).all(axis=1)]
    factors, seeds = finite.shape
    freedom = (factors - 1) * (seeds - 1)
    if freedom <= 0:
        return math.inf
    residuals = finite - finite.mean(axis=0) - finite.mean(axis=1, keepdims=True) + finite.mean()
    variance = float((residuals**2).sum()) / freedom
    return float(t.ppf((1 + LEVEL) / 2, freedom)) * math.sqrt(2 * variance / seeds)


def _draws(
    losses: np.ndarray, factors: Sequence[float], tolerance: float, random: np.random.Generator
) -> np.ndarray:
    """Critical factors of seeds drawn with replacement, each time with one of the windows. [draws]."""
    windows, _, seeds = losses.shape
    window = random.integers(windows, size=DRAWS)
    chosen = random.integers(seeds, size=(DRAWS, seeds))
    with np.errstate(invalid="ignore"):
        paired = losses - losses[:, :1]
        means = paired[window[:, None], :, chosen].mean(axis=1)
    return first_crossing(factors, means, tolerance)


@dataclass(frozen=True)
class Tracking:
    """How a statistic follows the critical batch over the points of a run.

    Attributes:
        points: at which both are known.
        correlation: of their ranks (Spearman); NaN of fewer than three points, or where either is constant.
        low: of its interval, from the bootstrap of the critical batches.
        high: of it.
        ratio: critical batch over statistic, geometric mean over the points where both are finite; NaN of none.
        spread: the largest such ratio over the smallest.
    """

    points: int
    correlation: float
    low: float
    high: float
    ratio: float
    spread: float


def tracking(statistic: Sequence[float], critical: Sequence[CriticalBatch]) -> Tracking:
    """Rank correlation and ratio of a statistic and the critical batch, over the points of a run.

    Args:
        statistic: at each point, in samples; NaN where it was not measured, infinite where noise hides the
            gradient.
        critical: of each point. Those that are not resolved are left out; ``at least`` ranks above all others.
    """
    known = [
        (value, each)
        for value, each in zip(statistic, critical, strict=True)
        if each.kind != "unresolved" and not math.isnan(value)
    ]
    values = np.array([value for value, _ in known])
    ratios = [each.value / value for value, each in known if math.isfinite(each.value) and math.isfinite(value)]
    correlation = low = high = math.nan
    if len(known) >= FEWEST_POINTS:
        correlation = float(rank_correlation(values, np.array([each.value for _, each in known])))
        drawn = rank_correlation(values, np.stack([each.batch * each.draws for _, each in known], axis=1))
        if not math.isnan(correlation):
            low, high = np.nanquantile(drawn, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Tracking(
        points=len(known),
        correlation=correlation,
        low=float(low),
        high=float(high),
        ratio=math.exp(float(np.mean(np.log(ratios)))) if ratios else math.nan,
        spread=max(ratios) / min(ratios) if ratios else math.nan,
    )


def rank_correlation(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Spearman's; equal values share a rank, infinite ones are the largest. NaN where either is constant.

    Args:
        first: shape [points].
        second: shape [..., points].

    Returns:
        Shape [...].

    >>> float(rank_correlation(np.array([1.0, 2.0, 9.0]), np.array([4.0, 7.0, np.inf])))
    1.0
    """
    one, other = (rankdata(each, axis=-1) - (each.shape[-1] + 1) / 2 for each in (first, second))
    with np.errstate(invalid="ignore"):
        return np.asarray(other @ one / np.sqrt((one @ one) * (other**2).sum(axis=-1)))
