"""The trainer's own batch rules in the exact dynamics: the same objects, told the moments of every step.

A rule is told tr Sigma and ||g||^2 of the step it chose, as a run's n groups of samples give them: in
expectation, or with the noise that they have in a run. With the coordinates' variances V_i, d = (sum V_i)^2 /
sum V_i^2 effective coordinates, and q = chi^2(b) / b for the size of the batch's residuals, which all
coordinates share,

    trace:          tr Sigma q chi^2((n - 1) d) / ((n - 1) d),
    squared norm:   ||G||^2 + 2 sqrt(sum V_i G_i^2 / b) xi + (tr Sigma / b) q chi^2(d) / d.

The decision is on the next batch, so that B_noise lags by a step, or by what a rule averages over.

Rates follow the share of the budget that is used, which is what a run with a time limit can do; rules that
prescribe their own follow samples, as in a run. At equal samples the last batch is cut to what is left,
elsewhere the last step counts by a fraction (:mod:`simulate.exact.dynamics`).

Example:
    >>> from adabatch.schedules import Constant
    >>> from simulate.exact.tasks import sobol_tasks
    >>> tasks = sobol_tasks(2)
    >>> run = run_rules(Dynamics.SGD, tasks, [Constant(8), Constant(64)], [fixed_rate(0.1)] * 2)
    >>> bool((run.risk < 1).all()), bool((run.samples == run.steps * np.array([8, 64])).all())
    (True, True)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.schedules import BatchSizeSchedule
from adabatch.schedules.learning_rate import BatchScaling, LearningRate
from adabatch.schedules.paths import Constant, LearningRatePath
from simulate.exact.dynamics import Dynamics, step
from simulate.exact.knots import KnotSchedules, fitted
from simulate.exact.tasks import Resource, Tasks
from theory.schedules.second_moments import Regression

__all__ = ["HORIZON", "RuleRuns", "budget_in_samples", "exact_moments", "fixed_rate", "run_rules"]

Array = NDArray[np.float64]

GROUPS = 8
"""Groups of a step's samples, where it has as many."""

HORIZON = 10**9
"""The budget in the unit of a rule's learning rates, where it is not counted in samples."""


@dataclass(frozen=True, eq=False)
class RuleRuns:
    """What came out, per row.

    Attributes:
        risk: R at the end.
        steps: number of steps, the last one counted whole.
        samples: of all steps.
        progress: per row, of every step: the share of the budget used when it begins.
        batch: per row, of every step.
        rate: per row, of every step.
        tasks: as they were run.
    """

    risk: Array
    steps: NDArray[np.int64]
    samples: Array
    progress: list[list[float]]
    batch: list[list[float]]
    rate: list[list[float]]
    tasks: Tasks

    def schedules(self, rows: Sequence[int]) -> KnotSchedules:
        """These rows' batches and rates at the knots, to start an optimum from."""
        batches = [fitted(np.array(self.progress[row]), np.array(self.batch[row])) for row in rows]
        rates = [fitted(np.array(self.progress[row]), np.array(self.rate[row])) for row in rows]
        return KnotSchedules(self.tasks.at(rows), np.array(batches), np.array(rates))


def fixed_rate(
    peak: float,
    scaling: str = "none",
    reference: int = 1,
    path: LearningRatePath | None = None,
    samples: int = HORIZON,
) -> LearningRate:
    """A learning rate without warm-up.

    Args:
        peak: at the reference batch.
        scaling: ``none``, ``sqrt`` or ``linear``.
        reference: the batch that the peak belongs to.
        path: what it does over the budget; None: it stays.
        samples: the budget, for rules that prescribe their own rates.
    """
    return LearningRate(peak, 0.0, 0, samples, BatchScaling(scaling, reference), path or Constant())


def run_rules(
    method: Dynamics,
    tasks: Tasks,
    rules: Sequence[BatchSizeSchedule],
    rates: Sequence[LearningRate],
    noise: np.random.Generator | None = None,
) -> RuleRuns:
    """Run a rule on every row until its budget is spent.

    Args:
        method: what makes a step.
        tasks: one per row.
        rules: fresh ones, one per row.
        rates: one per row.
        noise: of the moments; None: their expectations.
    """
    rows = len(tasks)
    risk, errors = np.empty(rows), tasks.errors.copy()
    progress: list[list[float]] = [[] for _ in range(rows)]
    batches: list[list[float]] = [[] for _ in range(rows)]
    used_rates: list[list[float]] = [[] for _ in range(rows)]
    used, alive, running = np.zeros(rows), np.arange(rows), tasks
    while len(alive):
        budget = running.budget
        left = budget - used
        now = alive.tolist()
        batch = np.array([float(rules[row].batch_size) for row in now])
        if tasks.resource is Resource.SAMPLES:
            batch = np.minimum(batch, left)
        cost = running.cost(batch)
        start, stop = used / budget, np.minimum((used + cost) / budget, 1.0)
        rate = np.array(
            [_rate(rules[row], rates[row], *at) for row, *at in zip(now, start, stop, batch, strict=True)]
        )
        for values, new in ((progress, start), (batches, batch), (used_rates, rate)):
            for row, value in zip(now, new.tolist(), strict=True):
                values[row].append(value)
        before = errors
        errors = step(method, running.problem, before, rate, batch, np.minimum(1.0, left / cost))
        used = used + cost
        ended = used >= budget * (1 - 1e-12)
        deciding = np.flatnonzero(~ended)
        _decide([rules[row] for row in alive[deciding].tolist()], running.problem, before, batch, deciding, noise)
        if ended.any():
            risk[alive[ended]] = running.problem.risk(errors)[ended]
            alive, used, errors = alive[~ended], used[~ended], errors[~ended]
            running = tasks.at(alive)
    samples = np.array([sum(batch) for batch in batches])
    return RuleRuns(risk, np.array([len(b) for b in batches]), samples, progress, batches, used_rates, tasks)


def _rate(rule: BatchSizeSchedule, rates: LearningRate, start: float, stop: float, batch: float) -> float:
    if rule.learning_rate_scaling:  # its own rates, by samples
        return rule.rate_of_step(rates, rule.samples, int(batch))
    total = rates.total_samples
    return rates.mean(start * total, stop * total) * rates.scaling.factor(batch)


def _decide(
    rules: Sequence[BatchSizeSchedule],
    problem: Regression,
    errors: Array,
    batch: Array,
    rows: NDArray[np.int64],
    noise: np.random.Generator | None,
) -> None:
    """Tell the rules of these rows about their step."""
    moments: Callable[[int], GradientMoments | None] = lambda row: None  # noqa: E731
    if any(rule.needs_moments for rule in rules):
        moments = exact_moments(problem, errors, batch, noise)
    for rule, row in zip(rules, rows, strict=True):
        rule.update(moments(row) if rule.needs_moments else None)


def exact_moments(
    problem: Regression, errors: Array, batch: Array, noise: np.random.Generator | None = None
) -> Callable[[int], GradientMoments]:
    """The moments of a step, by row: of batches [rows] in groups.

    Args:
        problem: with one row per run.
        errors: c_i, [rows, modes].
        batch: b, [rows].
        noise: None gives expectations.
    """
    groups = np.clip(batch, 2, GROUPS).astype(int)
    size = batch / groups
    trace, squared = problem.trace(errors), problem.squared_norm(errors)
    norm = squared + trace / batch
    if noise is not None:
        variances = problem.variances(errors)
        counts = problem.multiplicities
        effective = trace**2 / (counts * variances**2).sum(axis=1)
        along = (counts * variances * problem.squared_gradients(errors)).sum(axis=1)
        residuals = noise.chisquare(batch) / batch
        norm = squared + 2 * np.sqrt(along / batch) * noise.standard_normal(len(batch))
        norm = np.maximum(norm + trace / batch * residuals * noise.chisquare(effective) / effective, 1e-300)
        freedom = (groups - 1) * effective
        trace = trace * residuals * noise.chisquare(freedom) / freedom
    sums = groups * norm + (groups - 1) * trace / size

    def of_row(row: int) -> GradientMoments:
        return GradientMoments(int(groups[row]), float(size[row]), float(sums[row]), float(norm[row]))

    return of_row


def budget_in_samples(tasks: Tasks, row: int, build: Callable[[int], BatchSizeSchedule]) -> int:
    """The samples that a rule sees within a task's budget, where it needs to know them beforehand.

    Args:
        tasks: with budgets of any resource.
        row: which task.
        build: the rule from its budget in samples; it must not look at gradients.
    """
    task = tasks.at([row])
    budget = float(task.budget[0])
    samples = budget * float(task.saturation[0]) / 2
    for _ in range(6):
        rule, used = build(max(1, round(samples))), 0.0
        while rule.samples < samples:
            used += float(task.cost(np.array([float(rule.batch_size)]))[0])
            rule.update()
        if abs(used / budget - 1) < 1e-3:
            break
        samples *= budget / used
    return max(1, round(samples))
