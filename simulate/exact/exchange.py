"""Exchange of learning-rate decay for batch growth on one path, with a noise scale as its ceiling.

With the decay p(x) at the batch b0 and the rate a0, the path is sqrt(b) / a = sqrt(b0) / (a0 p) for the
Adam-like step and b / a = b0 / (a0 p) for SGD. A share s of the decay becomes growth: b = b0 p^(-2 s) or b0
p^(-s). A ceiling b <= B / eta^2 (never below b0) on one of the three noise scales B holds the batch back, and
the rate falls by what keeps the path.

Example:
    >>> from simulate.exact.tasks import power_law_tasks
    >>> one = np.ones(1)
    >>> task = power_law_tasks(1.5 * one, 1.5 * one, one, 512 * one, 64 * one, 100, Resource.SAMPLES)
    >>> decay = run_exchange(Dynamics.SGD, task, 8.0, 0.1, share=0.0)
    >>> traded = run_exchange(Dynamics.SGD, task, 8.0, 0.1, share=1.0)
    >>> decay.steps, traded.steps, bool(abs(traded.risk / decay.risk - 1) < 0.03)
    (2048, 1027, True)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adabatch.schedules.exchange import exchanged_batch
from adabatch.schedules.learning_rate import BatchScaling
from simulate.exact.dynamics import Dynamics, step
from simulate.exact.tasks import Resource, Tasks

__all__ = ["EXAMPLES", "LOW_NOISE", "Exchanged", "best_rate", "example_task", "run_exchange"]

LEAST = 1e-3
"""p falls to this at least, so that the batch stays finite."""

EXAMPLES = {"hard": (0.15, 1.0), "mid": (0.35, 0.3), "easy": (0.8, 1.0), "low noise": (0.35, 0.01)}
"""Source exponent and label noise of lambda_i = i^-1.5, lambda_i c_i = i^-(1.5 source + 1), i up to 300."""

LOW_NOISE = "low noise"


@dataclass(frozen=True)
class Exchanged:
    """A run.

    Attributes:
        risk: R at the end.
        steps: number of steps.
        largest: the largest batch.
        held: the share of the steps that the ceiling held back.
        scale: the trace's noise scale at the end.
    """

    risk: float
    steps: int
    largest: float
    held: float
    scale: float


def example_task(name: str, samples: float = 2.0**15) -> Tasks:
    """One of :data:`EXAMPLES`, mode by mode; its risk at the start is not 1 but the sum of the energies."""
    from theory.schedules.second_moments import Regression

    source, noise = EXAMPLES[name]
    index = np.arange(1.0, 301)
    eigenvalues, energy = index**-1.5, index ** -(1.5 * source + 1)
    problem = Regression(eigenvalues[None], np.array([noise]), np.ones(300))
    return Tasks(problem, (energy / eigenvalues)[None], np.array([samples]), np.array([2.0]), Resource.SAMPLES)


def run_exchange(
    method: Dynamics,
    task: Tasks,
    batch: float,
    rate: float,
    share: float,
    eta: float | None = None,
    scale: str = "trace",
) -> Exchanged:
    """Linear decay by the samples of one task, of which a share is exchanged for batch growth.

    Args:
        method: what makes a step.
        task: one row, with a budget of samples.
        batch: b0.
        rate: a0.
        share: s in [0, 1].
        eta: of the ceiling; None: there is none.
        scale: ``trace``, ``l1`` or ``weighted``.
    """
    scaling = BatchScaling("sqrt" if method is Dynamics.ADAM_LIKE else "linear")
    errors, budget, used, held, largest, steps = task.errors, float(task.budget[0]), 0.0, 0, batch, 0
    while used < budget - 1e-9:
        left = max(1 - used / budget, LEAST)
        wanted = exchanged_batch(batch, left, share / scaling.exponent)
        now = wanted
        if eta is not None:
            now = min(now, max(batch, float(task.problem.noise_scales(errors)[scale][0]) / eta**2))
            held += now < wanted
        now = min(now, max(budget - used, 1.0))
        taken = rate * left * scaling.factor(now / batch)
        errors = step(method, task.problem, errors, np.array([taken]), np.array([now]), np.ones(1))
        used, steps, largest = used + now, steps + 1, max(largest, now)
    risk = float(task.problem.risk(errors)[0])
    return Exchanged(risk, steps, largest, held / steps, float(task.problem.noise_scales(errors)["trace"][0]))


def best_rate(method: Dynamics, task: Tasks, batch: float) -> float:
    """a0 on a grid of powers of 2, for linear decay at a constant batch."""
    top = 1 / float(task.problem.eigenvalues.sum()) if method is Dynamics.SGD else 0.25
    rates: list[float] = (top * 2.0 ** -np.arange(0.0, 8.0)).tolist()
    return min(rates, key=lambda rate: run_exchange(method, task, batch, rate, share=0.0).risk)
