"""The best schedules there are: batch and learning rate of every task by L-BFGS over the logarithms at the knots.

A family says what may vary: a constant batch or a schedule, a constant rate, a power of what is left, or a
schedule. Every family starts from the best that a smaller one found, and from schedules that are handed in
(those of rules), so that the optimum is not worse than they are. It is a local optimum, which no test can tell
from the global one.

Example:
    >>> from simulate.exact.tasks import sobol_tasks
    >>> tasks = sobol_tasks(2, seed=5)
    >>> constant = optimize(Dynamics.ADAM_LIKE, tasks, CONSTANT, start(Dynamics.ADAM_LIKE, tasks), iterations=5)
    >>> both = optimize(Dynamics.ADAM_LIKE, tasks, BOTH, constant.schedules, iterations=5)
    >>> bool((both.risk < constant.risk).all())
    True
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulate.exact.dynamics import Dynamics
from simulate.exact.knots import KNOTS, KnotSchedules, log_of_remainder
from simulate.exact.tasks import Tasks

__all__ = [
    "BATCH_SCHEDULE",
    "BOTH",
    "CONSTANT",
    "DECAY",
    "LINEAR_DECAY",
    "RATE_SCHEDULE",
    "Family",
    "Optimum",
    "minimize_rows",
    "optimize",
    "start",
]

Array = NDArray[np.float64]

CONSTANT_PATH = np.ones((KNOTS, 1))
ANY_PATH = np.eye(KNOTS)
DECAY_PATH = np.stack([np.ones(KNOTS), log_of_remainder()], axis=1)


DIVERGED = 1e6
"""Of a risk that is 1 at the start: its gradient says nothing."""


@dataclass(frozen=True, eq=False)
class Family:
    """Which schedules are allowed: log b and log a at the knots as linear combinations of columns.

    Attributes:
        name: for tables.
        batch: [KNOTS, parameters of the batch].
        rate: [KNOTS, parameters of the rate].
        fall: what log a falls by in any case, [KNOTS].
    """

    name: str
    batch: Array
    rate: Array
    fall: Array = field(default_factory=lambda: np.zeros(KNOTS))

    def parameters(self, schedules: KnotSchedules) -> Array:
        """Those of the nearest schedules of this family (least squares), [rows, parameters]."""
        fits = [
            np.linalg.lstsq(columns, values.T, rcond=None)[0].T
            for columns, values in (
                (self.batch, schedules.log_batch),
                (self.rate, schedules.log_rate - self.fall),
            )
        ]
        return np.concatenate(fits, axis=1)

    def schedules(self, tasks: Tasks, parameters: Array) -> KnotSchedules:
        """The schedules of these parameters, [rows, parameters]."""
        split = self.batch.shape[1]
        log_rate = parameters[:, split:] @ self.rate.T + self.fall
        return KnotSchedules(tasks, parameters[:, :split] @ self.batch.T, log_rate)


CONSTANT = Family("constant batch, constant rate", CONSTANT_PATH, CONSTANT_PATH)
LINEAR_DECAY = Family("constant batch, linear decay", CONSTANT_PATH, CONSTANT_PATH, log_of_remainder())
DECAY = Family("constant batch, power decay", CONSTANT_PATH, DECAY_PATH)
RATE_SCHEDULE = Family("constant batch, best rate schedule", CONSTANT_PATH, ANY_PATH)
BATCH_SCHEDULE = Family("best batch schedule, constant rate", ANY_PATH, CONSTANT_PATH)
BOTH = Family("best batch and rate schedules", ANY_PATH, ANY_PATH)


@dataclass(frozen=True, eq=False)
class Optimum:
    """The best schedules found.

    Attributes:
        schedules: one per row.
        risk: R at the end, [rows].
    """

    schedules: KnotSchedules
    risk: Array


def start(method: Dynamics, tasks: Tasks) -> KnotSchedules:
    """The best of a coarse grid: constant batches, linear decay of the rate."""
    batches = tasks.saturation * 4.0 ** np.arange(-2, 3)[:, None]
    rates = 4.0 ** -np.arange(0.0 if method is Dynamics.SGD else 1.0, 7.0)
    best = None
    for batch in batches:
        for rate in rates:
            constant = KnotSchedules.constant(tasks, batch, np.full(len(tasks), rate))
            best = _better(
                method, best, KnotSchedules(tasks, constant.log_batch, constant.log_rate + DECAY_PATH[:, 1])
            )
    assert best is not None
    return best[0]


def optimize(
    method: Dynamics, tasks: Tasks, family: Family, *starts: KnotSchedules, iterations: int = 60
) -> Optimum:
    """The best schedules of a family, by L-BFGS on log R.

    Args:
        method: what makes a step.
        tasks: one per row.
        family: what may vary.
        starts: schedules of the same rows; each row is optimised from each of them, and the best end counts.
        iterations: of L-BFGS.
    """
    count = len(tasks)

    def objective(rows: Sequence[int], parameters: Array) -> tuple[Array, Array]:
        chosen = family.schedules(tasks.at(np.asarray(rows) % count), parameters)
        risk, by_batch, by_rate = chosen.risk_and_gradients(method)
        with np.errstate(invalid="ignore"):
            gradient = np.concatenate([by_batch @ family.batch, by_rate @ family.rate], axis=1) / risk[:, None]
        usable = np.isfinite(gradient).all(axis=1) & (risk < DIVERGED)
        return np.where(usable, np.log(risk), 50.0), np.where(usable[:, None], gradient, 0.0)

    begins = [family.parameters(schedules) for schedules in starts]
    ends = np.split(minimize_rows(objective, np.concatenate(begins), iterations), len(starts))
    best = None
    for parameters in (*begins, *ends):
        best = _better(method, best, family.schedules(tasks, parameters))
    assert best is not None
    return Optimum(*best)


def _better(
    method: Dynamics, best: tuple[KnotSchedules, Array] | None, other: KnotSchedules
) -> tuple[KnotSchedules, Array]:
    """Row by row the schedules with the smaller risk."""
    risk = other.risk(method)
    if best is None:
        return other, risk
    wins = risk < best[1]
    batch = np.where(wins[:, None], other.log_batch, best[0].log_batch)
    rate = np.where(wins[:, None], other.log_rate, best[0].log_rate)
    return KnotSchedules(other.tasks, batch, rate), np.where(wins, risk, best[1])


def minimize_rows(
    objective: Callable[[Sequence[int], Array], tuple[Array, Array]], starts: Array, iterations: int
) -> Array:
    """Minimise many functions at once with scipy's L-BFGS-B, evaluating them together.

    Each row's minimiser runs in a thread of its own and waits until all of them have asked for a value: one call
    of the objective then answers them all. A row's result does not depend on the others.

    Args:
        objective: from row numbers [n] and points [n, parameters], values [n] and gradients [n, parameters].
        starts: [rows, parameters].
        iterations: at most, of each row.

    Returns:
        The points found, [rows, parameters].

    >>> minimize_rows(lambda rows, x: (((x - 1) ** 2).sum(axis=1), 2 * (x - 1)), np.zeros((3, 2)), 20).round(6)
    array([[1., 1.],
           [1., 1.],
           [1., 1.]])
    """
    from scipy.optimize import minimize

    asked: queue.Queue[tuple[int, Array | BaseException | None]] = queue.Queue()
    answers: list[queue.Queue[tuple[float, Array]]] = [queue.Queue() for _ in starts]
    found = np.array(starts)

    def one_row(row: int) -> None:
        def value_and_gradient(point: Array) -> tuple[float, Array]:
            asked.put((row, point.copy()))
            return answers[row].get()

        try:
            result = minimize(
                value_and_gradient, starts[row], jac=True, method="L-BFGS-B", options={"maxiter": iterations}
            )
            found[row] = result.x
            asked.put((row, None))
        except BaseException as error:
            asked.put((row, error))

    under_way = set(range(len(starts)))
    for row in under_way:
        threading.Thread(target=one_row, args=(row,), daemon=True).start()
    waiting: dict[int, Array] = {}
    while under_way:
        row, message = asked.get()
        if isinstance(message, BaseException):
            raise message
        if message is None:
            under_way.discard(row)
        else:
            waiting[row] = message
        if waiting and len(waiting) == len(under_way):
            rows = sorted(waiting)
            values, gradients = objective(rows, np.array([waiting[row] for row in rows]))
            waiting = {}
            for row, value, gradient in zip(rows, values, gradients, strict=True):
                answers[row].put((float(value), gradient))
    return found
