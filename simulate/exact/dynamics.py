"""Runs of many tasks at once with given batches and learning rates, and the gradient of what is left at the end.

Every row is a run of its own. Step k takes the batch b_k and the rate a_k; the last one may count by a fraction
f of its change, where the budget ends within it: c' = c + f (step(c) - c). Then the final risk has no jump where
a step more fits into the budget.

:func:`risk_and_gradients` sweeps forward, keeps all c, and sweeps back with the adjoint p_i = d R / d c_i. For
SGD, with z_i = a lambda_i and m_i coordinates in mode i,

    p_i <- p_i (1 - 2 z_i + z_i^2 (1 + 1/b)) + lambda_i m_i (a^2 / b) sum_j p_j lambda_j,

and for the Adam-like step, with s_i = E[g_i^2]^(-1/2) and q_i = p_i a lambda_i c_i s_i^3 (the derivative by E
g_i^2),

    p_i <- p_i (1 - 2 a lambda_i s_i) + q_i lambda_i^2 (1 + 1/b) + lambda_i m_i sum_j q_j lambda_j / b.

Example:
    >>> from simulate.exact.tasks import sobol_tasks
    >>> tasks = sobol_tasks(2)
    >>> steps = Steps(np.full((5, 2), 8.0), np.full((5, 2), 0.1), np.ones((5, 2)))
    >>> found = risk_and_gradients(Dynamics.ADAM_LIKE, tasks, steps)
    >>> found.batch.shape, bool((found.batch < 0).all()), bool((found.risk < 1).all())
    ((5, 2), True, True)
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from simulate.exact.tasks import Tasks
from theory.schedules.second_moments import Regression, gradient_second_moment

__all__ = ["Dynamics", "Gradients", "Steps", "final_risk", "risk_and_gradients", "step"]

Array = NDArray[np.float64]

LARGEST = 1e30
"""A run that diverges stays here, so that nothing overflows."""


class Dynamics(StrEnum):
    """What makes a step."""

    SGD = "sgd"
    ADAM_LIKE = "adam-like"


@dataclass(frozen=True, eq=False)
class Steps:
    """What the steps of the runs are; all of shape [steps, rows].

    Attributes:
        batch: b_k > 0; anything where the fraction is 0.
        rate: a_k.
        fraction: 1, for the last step of a row the part of it that counts, then 0.
    """

    batch: Array
    rate: Array
    fraction: Array

    @property
    def counts(self) -> NDArray[np.int64]:
        """Steps of each row."""
        return np.asarray((self.fraction > 0).sum(axis=0))


@dataclass(frozen=True, eq=False)
class Gradients:
    """Final risks and their derivatives.

    Attributes:
        risk: R at the end, [rows].
        batch: d R / d b_k, [steps, rows].
        rate: d R / d a_k, [steps, rows].
        fraction: d R / d f_k, [steps, rows].
    """

    risk: Array
    batch: Array
    rate: Array
    fraction: Array


def step(
    method: Dynamics, problem: Regression, errors: Array, rate: Array, batch: Array, fraction: Array
) -> Array:
    """c after a step of which a fraction counts; rate, batch and fraction of shape [rows]."""
    move = problem.sgd if method is Dynamics.SGD else problem.adam_like
    after = move(errors, rate, batch)
    return np.minimum(errors + fraction[:, None] * (after - errors), LARGEST)


def final_risk(method: Dynamics, tasks: Tasks, steps: Steps) -> Array:
    """R at the end of every row, [rows]."""
    errors, _ = _forward(method, _by_length(tasks, steps), keep=False)
    risks = np.empty(len(tasks))
    risks[_order(steps)] = errors
    return risks


def risk_and_gradients(method: Dynamics, tasks: Tasks, steps: Steps) -> Gradients:
    """R at the end of every row, and its derivatives in every batch, rate and fraction."""
    order = _order(steps)
    sorted_runs = _by_length(tasks, steps)
    risks, history = _forward(method, sorted_runs, keep=True)
    found = _backward(method, sorted_runs, history)
    back = np.argsort(order)
    return Gradients(risks[back], *(values[:, back] for values in found))


def _order(steps: Steps) -> NDArray[np.int64]:
    """Rows from the longest to the shortest, so that those under way are the first ones."""
    return np.argsort(-steps.counts, kind="stable")


def _by_length(tasks: Tasks, steps: Steps) -> tuple[Tasks, Steps, NDArray[np.int64]]:
    """Both in that order, and how many rows are under way at every step."""
    order = _order(steps)
    ordered = Steps(steps.batch[:, order], steps.rate[:, order], steps.fraction[:, order])
    active = (ordered.fraction > 0).sum(axis=1)
    return tasks.at(order), ordered, np.asarray(active)


def _first(problem: Regression, rows: int) -> Regression:
    return Regression(problem.eigenvalues[:rows], problem.noise[:rows], problem.multiplicities)


def _forward(
    method: Dynamics, runs: tuple[Tasks, Steps, NDArray[np.int64]], keep: bool
) -> tuple[Array, list[Array]]:
    """Final risks, and c before every step for the rows under way."""
    tasks, steps, active = runs
    errors, history = tasks.errors.copy(), []
    problem, rows = tasks.problem, len(tasks)
    for k, count in enumerate(active):
        if count != rows:
            problem, rows = _first(tasks.problem, int(count)), int(count)
        if not rows:
            break
        before = errors[:rows].copy() if keep else errors[:rows]
        if keep:
            history.append(before)
        errors[:rows] = step(
            method, problem, before, steps.rate[k, :rows], steps.batch[k, :rows], steps.fraction[k, :rows]
        )
    return tasks.problem.risk(errors), history


def _backward(
    method: Dynamics, runs: tuple[Tasks, Steps, NDArray[np.int64]], history: list[Array]
) -> tuple[Array, Array, Array]:
    tasks, steps, _ = runs
    adjoint = tasks.problem.eigenvalues * tasks.problem.multiplicities
    by_batch, by_rate, by_fraction = (np.zeros_like(steps.batch) for _ in range(3))
    backward = _sgd_backward if method is Dynamics.SGD else _adam_like_backward
    with np.errstate(over="ignore", invalid="ignore"):  # of a run that diverges: its caller looks at the risk
        for k in range(len(history) - 1, -1, -1):
            errors = history[k]
            rows = len(errors)
            problem = tasks.problem if rows == len(tasks) else _first(tasks.problem, rows)
            rate, batch, fraction = (values[k, :rows] for values in (steps.rate, steps.batch, steps.fraction))
            after = step(method, problem, errors, rate, batch, np.ones(rows))
            by_fraction[k, :rows] = (adjoint[:rows] * (after - errors)).sum(axis=1)
            moved = adjoint[:rows] * fraction[:, None]
            before, by_batch[k, :rows], by_rate[k, :rows] = backward(problem, errors, rate, batch, moved)
            adjoint[:rows] = before + (adjoint[:rows] - moved)
    return by_batch, by_rate, by_fraction


def _sgd_backward(
    problem: Regression, errors: Array, rate: Array, batch: Array, adjoint: Array
) -> tuple[Array, Array, Array]:
    """The adjoint before a step of SGD, and the derivatives in its batch and rate."""
    lam, a, b = problem.eigenvalues, rate[:, None], batch[:, None]
    level = problem.noise_level(errors)
    z = a * lam
    along = (adjoint * lam).sum(axis=1)
    before = adjoint * (1 - 2 * z + z**2 * (1 + 1 / b))
    before += lam * problem.multiplicities * (rate**2 / batch * along)[:, None]
    by_batch = -((adjoint * errors * z**2).sum(axis=1) + rate**2 * level * along) / batch**2
    by_rate = (adjoint * errors * lam * (2 * z * (1 + 1 / b) - 2)).sum(axis=1) + 2 * rate / batch * level * along
    return before, by_batch, by_rate


def _adam_like_backward(
    problem: Regression, errors: Array, rate: Array, batch: Array, adjoint: Array
) -> tuple[Array, Array, Array]:
    """The adjoint before an Adam-like step, and the derivatives in its batch and rate."""
    lam, a, b = problem.eigenvalues, rate[:, None], batch[:, None]
    level = problem.noise_level(errors)[:, None]
    second = gradient_second_moment(lam, errors, level, b)
    scale = lam / np.sqrt(second)
    by_second = adjoint * a * scale * errors / second
    along = (by_second * lam).sum(axis=1) / batch
    before = adjoint * (1 - 2 * a * scale) + by_second * lam**2 * (1 + 1 / b)
    before += lam * problem.multiplicities * along[:, None]
    by_batch = -(by_second * (lam**2 * errors + lam * level)).sum(axis=1) / batch**2
    by_rate = (adjoint * (2 * a - 2 * scale * errors)).sum(axis=1)
    return before, by_batch, by_rate
