"""Time on simulated hardware: what a schedule takes, over what constant batches take to the same loss."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike
from scipy.interpolate import PchipInterpolator

from adabatch.experiments.comparison.results import Comparison
from adabatch.experiments.intervals import mean_interval

__all__ = ["Bound", "Hardware", "RelativeTime", "relative_time", "standard_hardware"]

Bound = Literal["exact", "at least", "at most"]
"""Whether the ratio is meant or a bound on it: the constant batches' times are known within their budgets only."""


@dataclass(frozen=True)
class Hardware:
    """How long steps take, in units of the time that a step takes however small its batch.

    Attributes:
        name: in tables.
        saturation: B_sat, the batch at which samples take as long as the step itself.
        roofline: whether a step takes max(1, b / B_sat), else 1 + b / B_sat.

    >>> Hardware("B_sat 16", 16).time([16, 32]), Hardware("roofline 16", 16, roofline=True).time([8, 32])
    (5.0, 3.0)
    """

    name: str
    saturation: float
    roofline: bool = False

    def time(self, batch_sizes: ArrayLike) -> float:
        """Of steps with these batches, in samples of full length."""
        relative = np.asarray(batch_sizes) / self.saturation
        return float((np.maximum(1, relative) if self.roofline else 1 + relative).sum())


def standard_hardware(first_batch: int) -> list[Hardware]:
    """From hardware on which samples cost to hardware on which steps cost, and a roofline between them.

    >>> [hardware.name for hardware in standard_hardware(16)]
    ['B_sat 16', 'B_sat 64', 'B_sat 256', 'roofline 64']
    """
    saturations = [first_batch * times for times in (1, 4, 16)]
    linear = [Hardware(f"B_sat {saturation}", saturation) for saturation in saturations]
    return [*linear, Hardware(f"roofline {saturations[1]}", saturations[1], roofline=True)]


@dataclass(frozen=True)
class RelativeTime:
    """A schedule's time over the least time in which a constant batch reaches the same loss.

    Attributes:
        ratio: geometric mean over seeds; below 1 the schedule is faster.
        low: lower end of its interval; 0 for one seed, and where only an upper bound is known.
        high: upper end; infinite for one seed, and where only a lower bound is known.
        seeds: their number: those on which all constant batches have other budgets too.
        bound: whether the ratio is meant, or a bound on it.
    """

    ratio: float
    low: float
    high: float
    seeds: int
    bound: Bound = "exact"


def relative_time(comparison: Comparison, schedule: str, hardware: Hardware) -> RelativeTime | None:
    """A schedule's time over the least in which any constant batch, at any of its budgets, reaches the same loss.

    What a constant batch needs for a loss is interpolated between its runs of a half to twice the samples, seed by
    seed. Where none reaches it with the most samples, the ratio is an upper bound. It is a lower bound where a
    constant batch might be faster than the fastest one known: because it reached the loss with the fewest samples
    already, or because it missed the loss with the most, in less time. The fastest constant batch is found for
    each seed again, which favours the constant batches slightly.

    Args:
        comparison: with the budgets of the constant schedules.
        schedule: its name.
        hardware: that is simulated.

    Returns:
        None without a seed of which all these runs are finished, where the schedule diverged, and where some seeds
        give lower and others upper bounds.
    """
    logs: list[float] = []
    bounds: set[Bound] = set()
    for seed, run in comparison.results.get(schedule, {}).items():
        if not math.isfinite(run.final_loss):
            return None
        if curves := _curves(comparison, seed, hardware):
            least, bound = _least_time(curves, run.final_loss)
            logs.append(math.log(hardware.time(run.loads) / least))
            bounds |= {bound}
    if not logs or {"at least", "at most"} <= bounds:
        return None
    interval = mean_interval(logs)
    ratio, low, high = map(math.exp, (interval.mean, interval.low, interval.high))
    if "at least" in bounds:
        return RelativeTime(ratio, low, math.inf, len(logs), "at least")
    if "at most" in bounds:
        return RelativeTime(ratio, 0.0, high, len(logs), "at most")
    return RelativeTime(ratio, low, high, len(logs))


Curve = Sequence[tuple[float, float]]
"""(time, loss) of a constant batch's runs: more time, less loss."""


def _curves(comparison: Comparison, seed: int, hardware: Hardware) -> list[Curve]:
    """Of every constant batch; none where one of their runs is missing, since the best may be among those."""
    curves = []
    for constant in comparison.constants:
        budgets = comparison.budgets.get(constant.name, {})
        by_budget = [comparison.results.get(constant.name, {}), *budgets.values()]
        if not budgets or any(seed not in by_seed for by_seed in by_budget):
            return []
        runs = [by_seed[seed] for by_seed in by_budget]
        curve = _falling([(hardware.time(run.loads), run.final_loss) for run in runs])
        curves += [curve] if curve else []
    return curves


def _falling(points: Curve) -> Curve:
    """In the order of time, without what took more time than a run of less loss, and without infinite losses."""
    falling: list[tuple[float, float]] = []
    least = math.inf
    for time, loss in sorted(points):
        if loss < least:
            falling.append((time, loss))
            least = loss
    return falling


def _least_time(curves: Sequence[Curve], loss: float) -> tuple[float, Bound]:
    """In which a constant batch reaches a loss, and what that makes of the ratio to it."""
    reaching = [curve for curve in curves if curve[-1][1] <= loss]
    if not reaching:
        return min(curve[-1][0] for curve in curves), "at most"
    least = min(_time_to(curve, loss) for curve in reaching)
    with_fewer_samples = any(curve[0][1] < loss for curve in curves)
    with_more_samples = any(curve[-1][1] > loss and curve[-1][0] < least for curve in curves)
    return least, "at least" if with_fewer_samples or with_more_samples else "exact"


def _time_to(curve: Curve, loss: float) -> float:
    """The time by monotone cubics, its logarithm in the loss; the shortest run's where that is below the loss."""
    times, losses = zip(*reversed(curve), strict=True)
    if loss in losses or loss > losses[-1]:
        return float(times[losses.index(min(loss, losses[-1]))])
    return math.exp(float(PchipInterpolator(losses, np.log(times))(loss)))
