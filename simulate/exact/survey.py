"""What schedules are worth where they are tuned for each task: times at equal risk, relative to a constant batch.

The reference is the constant batch whose rate falls as a power of what is left of the budget, both tuned, at
several budgets. A family that ends at the risk R in the budget T is worth the budget in which the reference ends
at R: its relative time is T over that (log R is interpolated linearly in log T). The saving of a batch schedule
is found in the same way from the constant batch with its best rate schedule: 1 - T / T'.

Example:
    >>> from simulate.exact.tasks import sobol_tasks
    >>> tasks = sobol_tasks(2).at(range(2), 0.1)
    >>> found = survey(Dynamics.ADAM_LIKE, tasks, iterations=4)
    >>> list(found.relative) == [family.name for family in (CONSTANT, BATCH_SCHEDULE, RATE_SCHEDULE, BOTH)]
    True
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.noise_scale import noise_scale
from adabatch.moments.worth import evenness, mean_noise_scale, progress, schedule_over_constant
from simulate.exact.dynamics import Dynamics, step
from simulate.exact.knots import KnotSchedules, fitted
from simulate.exact.optimum import (
    BATCH_SCHEDULE,
    BOTH,
    CONSTANT,
    DECAY,
    RATE_SCHEDULE,
    Family,
    Optimum,
    optimize,
    start,
)
from simulate.exact.tasks import Tasks

__all__ = ["Survey", "along", "budget_for", "survey"]

Array = NDArray[np.float64]

BUDGETS = (0.5, 0.75, 1.0, 1.4, 2.0)
"""Of the reference, in units of a task's own."""

NEAR = (1.0, 1.2, 1.5)
"""Of the constant batch with its best rate schedule."""

FURTHEST = 100.0
"""How far beyond a family's budgets :func:`budget_for` goes: where risk hardly falls, its slope tells nothing."""

TOGETHER = 32
"""Tasks that are optimised together: their runs are kept in memory."""


@dataclass(frozen=True, eq=False)
class Survey:
    """Of every task; arrays of shape [tasks].

    Attributes:
        relative: time relative to the reference, by family.
        over_rates: time of both schedules relative to the constant batch with its best rate schedule.
        rho: mean B_noise / B_sat over the progress of the latter.
        s: mean sqrt(B_noise) / sqrt(mean B_noise) over it.
        risks: at the end, by family.
    """

    relative: Mapping[str, Array]
    over_rates: Array
    rho: Array
    s: Array
    risks: Mapping[str, Array]

    @property
    def saving(self) -> Array:
        """The share of the time that the best batch schedule saves."""
        return 1 - self.over_rates

    @property
    def predicted(self) -> Array:
        """The most that it can save in McCandlish's model, from rho and s alone."""
        return np.asarray(1 - schedule_over_constant(self.rho, self.s))


def survey(
    method: Dynamics, tasks: Tasks, iterations: int = 60, advance: Callable[[float], None] = lambda fraction: None
) -> Survey:
    """Optimise all families on all tasks.

    Args:
        method: what makes a step.
        tasks: one per row.
        iterations: of L-BFGS.
        advance: told which fraction of the work is done.
    """
    order = np.argsort(tasks.duration, kind="stable")
    parts = np.array_split(order, -(-len(tasks) // TOGETHER))
    surveys = []
    for part in parts:
        surveys.append(_survey(method, tasks.at(part), iterations))
        advance(len(part) / len(tasks))
    back = np.argsort(np.concatenate(parts))

    def joined(parts: list[Array]) -> Array:
        return np.concatenate(parts)[back]

    return Survey(
        {name: joined([found.relative[name] for found in surveys]) for name in surveys[0].relative},
        joined([found.over_rates for found in surveys]),
        joined([found.rho for found in surveys]),
        joined([found.s for found in surveys]),
        {name: joined([found.risks[name] for found in surveys]) for name in surveys[0].risks},
    )


def _survey(method: Dynamics, tasks: Tasks, iterations: int) -> Survey:
    rows = range(len(tasks))

    def at_budgets(family: Family, budgets: tuple[float, ...], begin: KnotSchedules) -> list[Optimum]:
        found = []
        for budget in budgets:
            longer = tasks.at(rows, budget)
            same = KnotSchedules(longer, begin.log_batch, begin.log_rate)
            found.append(optimize(method, longer, family, same, iterations=iterations))
        return found

    middle = optimize(method, tasks, DECAY, start(method, tasks), iterations=iterations)
    reference = at_budgets(DECAY, BUDGETS, middle.schedules)
    best_rates = at_budgets(RATE_SCHEDULE, NEAR, middle.schedules)
    rates = best_rates[0]
    constant = optimize(method, tasks, CONSTANT, middle.schedules, iterations=iterations)
    batches = optimize(
        method, tasks, BATCH_SCHEDULE, constant.schedules, _following(method, constant), iterations=iterations
    )
    both = optimize(method, tasks, BOTH, rates.schedules, _following(method, rates), iterations=iterations)
    families = {family.name: found for family, found in _named(constant, batches, rates, both)}
    reference_risks = np.stack([found.risk for found in reference], axis=1)
    relative = {name: 1 / budget_for(BUDGETS, reference_risks, f.risk) for name, f in families.items()}
    near = np.stack([found.risk for found in best_rates], axis=1)
    rho, s = zip(*(_shape(run, saturation) for run, saturation in _runs(method, rates)), strict=True)
    return Survey(
        relative,
        1 / budget_for(NEAR, near, both.risk),
        np.array(rho),
        np.array(s),
        {name: found.risk for name, found in families.items()}
        | {DECAY.name: reference_risks[:, BUDGETS.index(1)]},
    )


def _named(*found: Optimum) -> list[tuple[Family, Optimum]]:
    return list(zip((CONSTANT, BATCH_SCHEDULE, RATE_SCHEDULE, BOTH), found, strict=True))


def budget_for(budgets: tuple[float, ...], risks: Array, wanted: Array) -> Array:
    """The budget in which a family ends at a risk, [rows].

    Beyond its ends by the slope of the nearest piece, and by a factor of at most :data:`FURTHEST`.

    Args:
        budgets: ascending.
        risks: at those, [rows, budgets]; small rises that an optimiser left count as falling.
        wanted: [rows].

    >>> budget_for((1.0, 2.0), np.array([[0.4, 0.1]]), np.array([0.2]))
    array([1.41421356])
    """
    x, found = np.log(np.array(budgets)), np.empty(len(wanted))
    for row, (curve, target) in enumerate(zip(np.log(risks), np.log(wanted), strict=True)):
        falling = np.minimum.accumulate(curve) - 1e-9 * np.arange(len(x))
        piece = int(np.clip(np.searchsorted(-falling, -target) - 1, 0, len(x) - 2))
        slope = (x[piece + 1] - x[piece]) / (falling[piece + 1] - falling[piece])
        found[row] = x[piece] + slope * (target - falling[piece])
    return np.exp(np.clip(found, x[0] - np.log(FURTHEST), x[-1] + np.log(FURTHEST)))


@dataclass(frozen=True, eq=False)
class Along:
    """A run's steps: progress at which each begins, batch and B_noise before it, [steps]."""

    at: Array
    batch: Array
    scale: Array


def along(method: Dynamics, schedules: KnotSchedules) -> list[Along]:
    """The runs of schedules, one per row, with the trace's noise scale before every step."""
    tasks = schedules.tasks
    steps, places = schedules.timetable()
    errors, scales = tasks.errors, []
    for k in range(len(steps.batch)):
        scales.append(noise_scale(tasks.problem.trace(errors), tasks.problem.squared_norm(errors)))
        errors = step(method, tasks.problem, errors, steps.rate[k], steps.batch[k], steps.fraction[k])
    stacked = np.array(scales)
    counts = steps.counts
    return [
        Along(places.at[:n, row], steps.batch[:n, row], stacked[:n, row]) for row, n in enumerate(counts.tolist())
    ]


def _runs(method: Dynamics, found: Optimum) -> list[tuple[Along, float]]:
    saturations = found.schedules.tasks.saturation.tolist()
    return list(zip(along(method, found.schedules), saturations, strict=True))


def _shape(run: Along, saturation: float) -> tuple[float, float]:
    """rho and s, over the progress that McCandlish's model says a run made."""
    weights = progress(run.batch, run.scale)
    return mean_noise_scale(run.scale, weights) / saturation, evenness(run.scale, weights)


def _following(method: Dynamics, found: Optimum) -> KnotSchedules:
    """The same with batches in proportion to sqrt(B_noise), at the same mean of the logarithm."""
    logs = np.array([fitted(run.at, np.sqrt(run.scale)) for run, _ in _runs(method, found)])
    schedules = found.schedules
    level = schedules.log_batch.mean(axis=1, keepdims=True) - logs.mean(axis=1, keepdims=True)
    return KnotSchedules(schedules.tasks, logs + level, schedules.log_rate)
