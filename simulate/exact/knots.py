"""Schedules of batch and learning rate over the progress of a run, log-linear between knots, and their gradient.

Progress u is the share of the budget that is used up when a step begins. A step taken at u has the batch b(u) and
the rate a(u), and costs what the task says of b(u): so a batch also moves all later steps. The gradient follows that
too: with the adjoint tau_k = d R / d t_k of the time at which step k begins,

    tau_k = tau_{k+1} + (d R / d log b_k) (log b)'(u_k) / T + (d R / d log a_k) (log a)'(u_k) / T,
    d R / d log b_k = b_k (partial derivative + tau_{k+1} cost'(b_k)).

Example:
    >>> from simulate.exact.tasks import sobol_tasks
    >>> schedules = KnotSchedules.constant(sobol_tasks(2), np.array([8.0, 8.0]), np.array([0.1, 0.1]))
    >>> steps, _ = schedules.timetable()
    >>> bool(np.allclose(steps.fraction.sum(axis=0) * schedules.tasks.cost(np.array([8.0, 8.0])),
    ...                  schedules.tasks.budget))
    True
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulate.exact.dynamics import Method, Steps, final_risk, risk_and_gradients
from simulate.exact.tasks import Resource, Tasks

__all__ = ["KNOTS", "POSITIONS", "KnotSchedules", "at_knots"]

Array = NDArray[np.float64]

KNOTS = 18

POSITIONS: Array = 1 - (1 - np.linspace(0, 1, KNOTS)) ** 2
"""Progress at the knots: closer to each other towards the end, where learning rates decay."""

STEPS = 3000
"""At equal samples no batch is so small that a run takes more steps."""

ROWS = 96
"""Runs that are swept together: their c at every step is kept."""


@dataclass(frozen=True, eq=False)
class Progress:
    """Of every step, [steps, rows]: the progress at which it begins, the knot before it and the weight of the next."""

    at: Array
    knot: NDArray[np.int64]
    weight: Array


@dataclass(frozen=True, eq=False)
class KnotSchedules:
    """A schedule for every task.

    Attributes:
        tasks: one per row.
        log_batch: at the knots, [rows, KNOTS]; kept within :meth:`bounds`.
        log_rate: at the knots, [rows, KNOTS].
    """

    tasks: Tasks
    log_batch: Array
    log_rate: Array

    @classmethod
    def constant(cls, tasks: Tasks, batch: Array, rate: Array) -> KnotSchedules:
        """Constant batches and rates, [rows]."""
        ones = np.ones(KNOTS)
        return cls(tasks, np.log(batch)[:, None] * ones, np.log(rate)[:, None] * ones)

    def bounds(self) -> tuple[Array, Array]:
        """Of log b: one sample (at equal samples, :data:`STEPS` steps), and eight steps or 2^20 samples, [rows, 1]."""
        tasks, low, high = self.tasks, np.zeros(len(self.tasks)), np.full(len(self.tasks), 20 * np.log(2))
        if tasks.resource is Resource.SAMPLES:
            low, high = np.log(np.maximum(1, tasks.budget / STEPS)), np.log(tasks.budget / 8)
        elif tasks.resource is not Resource.STEPS:
            high = np.log(tasks.saturation * tasks.budget / 8)
        return low[:, None], high[:, None]

    def timetable(self) -> tuple[Steps, Progress]:
        """The steps that the budgets have room for."""
        tasks, rows = self.tasks, np.arange(len(self.tasks))
        log_batch = np.clip(self.log_batch, *self.bounds())
        batches, rates, fractions, starts, knots, weights = [], [], [], [], [], []
        used = np.zeros(len(tasks))
        budget = tasks.budget
        while True:
            progress = np.minimum(used / budget, 1.0)
            left = 1 - progress
            if (left < 1e-12).all():
                break
            knot = np.minimum(((KNOTS - 1) * (1 - np.sqrt(left))).astype(int), KNOTS - 2)
            weight = (progress - POSITIONS[knot]) / (POSITIONS[knot + 1] - POSITIONS[knot])
            batch = np.exp(log_batch[rows, knot] * (1 - weight) + log_batch[rows, knot + 1] * weight)
            rate = np.exp(self.log_rate[rows, knot] * (1 - weight) + self.log_rate[rows, knot + 1] * weight)
            cost = tasks.cost(batch)
            fraction = np.where(left < 1e-12, 0.0, _smooth(np.minimum(1.0, (budget - used) / cost)))
            for values, value in (
                (batches, batch),
                (rates, rate),
                (fractions, fraction),
                (starts, progress),
                (knots, knot),
                (weights, weight),
            ):
                values.append(value)  # type: ignore[attr-defined]
            used = used + cost
        steps = Steps(np.array(batches), np.array(rates), np.array(fractions))
        return steps, Progress(np.array(starts), np.array(knots), np.array(weights))

    def risk(self, method: Method) -> Array:
        """R at the end, [rows]."""
        return final_risk(method, self.tasks, self.timetable()[0])

    def risk_and_gradients(self, method: Method) -> tuple[Array, Array, Array]:
        """R at the end [rows], and its derivatives in log b and log a at the knots, each [rows, KNOTS]."""
        rows = np.argsort(self.tasks.duration, kind="stable")
        risk, by_batch, by_rate = np.empty(len(rows)), np.empty_like(self.log_batch), np.empty_like(self.log_rate)
        for first in range(0, len(rows), ROWS):
            part = rows[first : first + ROWS]
            chosen = KnotSchedules(self.tasks.at(part), self.log_batch[part], self.log_rate[part])
            risk[part], by_batch[part], by_rate[part] = chosen._risk_and_gradients(method)
        return risk, by_batch, by_rate

    def _risk_and_gradients(self, method: Method) -> tuple[Array, Array, Array]:
        steps, progress = self.timetable()
        found = risk_and_gradients(method, self.tasks, steps)
        with np.errstate(over="ignore", invalid="ignore"):
            by_batch, by_rate = self._through_time(steps, progress, found.batch, found.rate, found.fraction)
        low, high = self.bounds()
        by_knot = _to_knots(by_batch, progress) * ((low <= self.log_batch) & (self.log_batch <= high))
        return found.risk, by_knot, _to_knots(by_rate, progress)

    def _through_time(
        self, steps: Steps, progress: Progress, batch: Array, rate: Array, fraction: Array
    ) -> tuple[Array, Array]:
        """d R / d log b_k and d R / d log a_k, with what a step's cost does to the times of later ones."""
        tasks, rows = self.tasks, np.arange(len(self.tasks))
        log_batch = np.clip(self.log_batch, *self.bounds())
        widths = np.diff(POSITIONS)
        cost, marginal = tasks.cost(steps.batch), tasks.marginal_cost(steps.batch)
        last = steps.counts - 1
        room = np.minimum(1.0, (1 - progress.at) * tasks.budget / cost)
        by_batch, by_rate = steps.batch * batch, steps.rate * rate
        later = np.zeros(len(tasks))  # d R / d t of the next step
        for k in range(len(batch) - 1, -1, -1):
            knot, part = progress.knot[k], room[k]
            in_part = np.where(last == k, 6 * part * (1 - part) * fraction[k] / cost[k], 0.0)
            by_batch[k] += steps.batch[k] * marginal[k] * (later - in_part * part)
            slope_b = (log_batch[rows, knot + 1] - log_batch[rows, knot]) / widths[knot]
            slope_a = (self.log_rate[rows, knot + 1] - self.log_rate[rows, knot]) / widths[knot]
            moved = (by_batch[k] * slope_b + by_rate[k] * slope_a) / tasks.budget - in_part
            later = np.where(k <= last, later + moved, 0.0)
        return by_batch, by_rate


def _smooth(part: Array) -> Array:
    """By how much the last step counts, of which this part fits: smooth where one step more fits."""
    return part**2 * (3 - 2 * part)


def _to_knots(values: Array, progress: Progress) -> Array:
    """What every step adds to the two knots around it, [rows, KNOTS]."""
    columns = values.shape[1]
    index = progress.knot + KNOTS * np.arange(columns)
    summed = np.bincount(index.ravel(), (values * (1 - progress.weight)).ravel(), columns * KNOTS)
    summed += np.bincount(index.ravel() + 1, (values * progress.weight).ravel(), columns * KNOTS)
    return summed.reshape(columns, KNOTS)


def at_knots(progress: Array, values: Array) -> Array:
    """A run's batches or rates, recorded at these progresses, as logarithms at the knots."""
    return np.interp(POSITIONS, progress, np.log(values))
