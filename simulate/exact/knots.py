"""Schedules of batch and learning rate over the progress of a run by their logarithms at knots, and the gradient.

Progress u is the share of the budget that is used up when a step begins. log b and log a are cubic B-splines in
v = 1 - sqrt(1 - u), with :data:`KNOTS` coefficients each: smooth, and with more freedom towards the end, where
rates decay. A step taken at u has the batch b(u) and the rate a(u), and costs what the task says of b(u): so a
batch also moves all later steps. The gradient follows that too, with the adjoint tau_k = d R / d t_k of the time
at which step k begins,

    d R / d log b_k = b_k (partial derivative + tau_{k+1} cost'(b_k)),
    tau_k = tau_{k+1} + ((d R / d log b_k) (log b)'(u_k) + (d R / d log a_k) (log a)'(u_k)) / T.

The last step counts by p^2 (3 - 2 p) of its change, p being the part of it that fits into the budget: no jump and
no kink where one step more does.

Example:
    >>> from simulate.exact.tasks import sobol_tasks
    >>> tasks, batch = sobol_tasks(2), np.array([8.0, 64.0])
    >>> steps, _ = KnotSchedules.constant(tasks, batch, np.array([0.1, 0.2])).timetable()
    >>> bool(np.allclose(steps.batch, batch))
    True
    >>> bool((steps.counts == np.ceil(tasks.budget / tasks.cost(batch))).all())
    True
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulate.exact.dynamics import Dynamics, Steps, final_risk, risk_and_gradients
from simulate.exact.tasks import Resource, Tasks

__all__ = ["KNOTS", "KnotSchedules", "Progress", "fitted", "log_of_remainder"]

Array = NDArray[np.float64]

KNOTS = 18

INTERVALS = KNOTS - 3

STEPS = 3000
"""At equal samples no batch is so small that a run takes more steps."""

LARGEST_LOG_RATE = 20.0
"""No run survives a larger rate; an optimiser may try one."""

ROWS = 96
"""Runs that are swept together: their c at every step is kept."""

TO_WEIGHTS = np.array([[1, 4, 1, 0], [-3, 0, 3, 0], [3, -6, 3, 0], [-1, 3, -3, 1]]) / 6
"""Powers of the place within an interval, times this: the weights of four coefficients."""


@dataclass(frozen=True, eq=False)
class Progress:
    """Where steps are.

    Attributes:
        at: u when each begins, any shape.
        first: the first of its four coefficients, the same shape.
        weights: theirs, [4, ...].
    """

    at: Array
    first: NDArray[np.int64]
    weights: Array

    @classmethod
    def of(cls, at: Array) -> Progress:
        """From progress in [0, 1]."""
        place = INTERVALS * (1 - np.sqrt(np.maximum(1 - at, 1e-12)))
        first = np.minimum(place.astype(int), INTERVALS - 1)
        t = place - first
        return cls(at, first, np.tensordot(TO_WEIGHTS.T, np.array([np.ones_like(t), t, t**2, t**3]), 1))

    def slopes(self) -> Array:
        """d weights / d u, [4, ...]."""
        root = np.sqrt(np.maximum(1 - self.at, 1e-12))
        t = INTERVALS * (1 - root) - self.first
        slopes = np.tensordot(TO_WEIGHTS.T, np.array([np.zeros_like(t), np.ones_like(t), 2 * t, 3 * t**2]), 1)
        return np.asarray(slopes * INTERVALS / (2 * root))

    def of_rows(self, coefficients: Array, weights: Array) -> Array:
        """Of every row [rows] the sum of its coefficients [rows, KNOTS] with these weights [4, rows]."""
        chosen = coefficients[np.arange(len(coefficients)), self.first + np.arange(4)[:, None]]
        return np.asarray((weights * chosen).sum(axis=0))

    def to_coefficients(self, values: Array) -> Array:
        """What derivatives at the steps [steps, rows] are at the coefficients, [rows, KNOTS]."""
        columns = values.shape[1]
        index = (self.first + KNOTS * np.arange(columns)).ravel()
        parts = [np.bincount(index + i, (values * self.weights[i]).ravel(), columns * KNOTS) for i in range(4)]
        return np.asarray(sum(parts)).reshape(columns, KNOTS)


def log_of_remainder() -> Array:
    """Coefficients of log(1 - u), [KNOTS]; at the end, where it is infinite, of a 16th of the last interval."""
    left = 1 - (np.arange(KNOTS) - 1) / INTERVALS
    return 2 * np.log(np.maximum(left, 1 / (4 * INTERVALS)))


def fitted(progress: Array, values: Array) -> Array:
    """Coefficients of a run's batches or rates at these progresses, [steps]; least squares in the logarithm."""
    grid = 1 - (1 - np.linspace(0, 1, 4 * KNOTS)) ** 2
    places = Progress.of(grid)
    design = np.zeros((len(grid), KNOTS))
    for i in range(4):
        design[np.arange(len(grid)), places.first + i] = places.weights[i]
    sampled = np.interp(grid, progress, np.log(np.maximum(values, 1e-12)))
    return np.asarray(np.linalg.lstsq(design, sampled, rcond=None)[0])


@dataclass(frozen=True, eq=False)
class KnotSchedules:
    """A schedule for every task.

    Attributes:
        tasks: one per row.
        log_batch: coefficients of log b, [rows, KNOTS]; kept within :meth:`bounds`.
        log_rate: coefficients of log a, [rows, KNOTS].
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
        """Of log b, [rows, 1]: a sample (at equal samples :data:`STEPS` steps) to eight steps or 2^20 samples."""
        tasks, low, high = self.tasks, np.zeros(len(self.tasks)), np.full(len(self.tasks), 20 * np.log(2))
        if tasks.resource is Resource.SAMPLES:
            low, high = np.log(np.maximum(1, tasks.budget / STEPS)), np.log(tasks.budget / 8)
        elif tasks.resource is not Resource.STEPS:
            high = np.log(tasks.saturation * tasks.budget / 8)
        return low[:, None], high[:, None]

    def timetable(self) -> tuple[Steps, Progress]:
        """The steps that the budgets have room for."""
        tasks, log_batch = self.tasks, np.clip(self.log_batch, *self.bounds())
        budget, used = tasks.budget, np.zeros(len(tasks))
        columns: list[tuple[Array, Array, Array, Array]] = []
        while True:
            left = budget - used
            under_way = left > 1e-12 * budget
            if not under_way.any():
                break
            progress = Progress.of(np.minimum(used / budget, 1.0))
            batch = np.exp(progress.of_rows(log_batch, progress.weights))
            rate = np.exp(np.minimum(progress.of_rows(self.log_rate, progress.weights), LARGEST_LOG_RATE))
            cost = tasks.cost(batch)
            fraction = np.where(under_way, _counted(np.minimum(1.0, left / cost)), 0.0)
            columns.append((batch, rate, fraction, progress.at))
            used = used + cost
        batches, rates, fractions, starts = (np.array(column) for column in zip(*columns, strict=True))
        return Steps(batches, rates, fractions), Progress.of(starts)

    def risk(self, method: Dynamics) -> Array:
        """R at the end, [rows]."""
        return final_risk(method, self.tasks, self.timetable()[0])

    def risk_and_gradients(self, method: Dynamics) -> tuple[Array, Array, Array]:
        """R at the end [rows], and its derivatives in both rows of coefficients, each [rows, KNOTS]."""
        rows = np.argsort(self.tasks.duration, kind="stable")
        risk, by_batch, by_rate = np.empty(len(rows)), np.empty_like(self.log_batch), np.empty_like(self.log_rate)
        for first in range(0, len(rows), ROWS):
            part = rows[first : first + ROWS]
            chosen = KnotSchedules(self.tasks.at(part), self.log_batch[part], self.log_rate[part])
            risk[part], by_batch[part], by_rate[part] = chosen._risk_and_gradients(method)
        return risk, by_batch, by_rate

    def _risk_and_gradients(self, method: Dynamics) -> tuple[Array, Array, Array]:
        steps, progress = self.timetable()
        found = risk_and_gradients(method, self.tasks, steps)
        low, high = self.bounds()
        within = (low <= self.log_batch) & (self.log_batch <= high)
        with np.errstate(over="ignore", invalid="ignore"):  # of a run that diverges
            by_batch, by_rate = self._through_time(steps, progress, found.batch, found.rate, found.fraction)
            return found.risk, progress.to_coefficients(by_batch) * within, progress.to_coefficients(by_rate)

    def _through_time(
        self, steps: Steps, progress: Progress, batch: Array, rate: Array, fraction: Array
    ) -> tuple[Array, Array]:
        """d R / d log b_k and d R / d log a_k, with what a step's cost does to the times of later ones."""
        tasks, log_batch = self.tasks, np.clip(self.log_batch, *self.bounds())
        cost, marginal = tasks.cost(steps.batch), tasks.marginal_cost(steps.batch)
        part = np.minimum(1.0, (1 - progress.at) * tasks.budget / cost)
        last = steps.counts - 1
        by_batch, by_rate = steps.batch * batch, steps.rate * rate
        later = np.zeros(len(tasks))  # d R / d t of the next step
        slopes = progress.slopes()
        for k in range(len(batch) - 1, -1, -1):
            here = Progress(progress.at[k], progress.first[k], progress.weights[:, k])
            by_part = np.where(last == k, 6 * part[k] * (1 - part[k]) * fraction[k], 0.0) / cost[k]
            by_batch[k] += steps.batch[k] * marginal[k] * (later - by_part * part[k])
            moved = by_batch[k] * here.of_rows(log_batch, slopes[:, k])
            moved += by_rate[k] * here.of_rows(self.log_rate, slopes[:, k])
            later = np.where(k <= last, later + moved / tasks.budget - by_part, 0.0)
        return by_batch, by_rate


def _counted(part: Array) -> Array:
    """By how much a step counts of which this part fits into the budget."""
    return part**2 * (3 - 2 * part)
