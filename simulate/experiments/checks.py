"""Checks of one theorem each: a measured sum or average, and the theorem's bound on the same constants."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from simulate.noise import Noise
from simulate.objectives import Objective
from simulate.optimizers import Adam, Optimizer
from simulate.outcomes import Kind
from simulate.streams import Array
from simulate.trajectory import Trajectory
from simulate.trajectory import run as run_trajectory
from theory.adam import theorem1
from theory.bound import Bound
from theory.problem import AdamParameters, Problem

__all__ = ["Case", "Check", "seed_mean"]


@dataclass(frozen=True)
class Case:
    """What a check is run on."""

    objective: Objective
    steps: int
    seeds: tuple[int, ...]

    def run(self, noise: Noise, optimizer: Optimizer, **options: Any) -> Trajectory:
        """All seeds, recorded at the last step unless told otherwise; ``options`` as of a trajectory's run."""
        options.setdefault("record_at", [self.steps])
        return run_trajectory(self.objective, noise, optimizer, self.steps, self.seeds, **options)

    @property
    def given(self) -> Problem:
        """L, d, Delta and K, as the theorems take them."""
        return self.objective.problem(self.steps)

    def adam(self, beta1: float, beta2: float, eta: float) -> AdamParameters:
        """Adam at Theorem 1's own step size."""
        adam = AdamParameters(beta1=beta1, beta2=beta2, eta=eta)
        return replace(adam, step_size=float(theorem1.best_step_size(self.given, adam)))

    def run_adam(self, noise: Noise, adam: AdamParameters, **options: Any) -> Trajectory:
        """Adam with these parameters; see :meth:`run`."""
        return self.run(noise, Adam(adam.alpha, adam.beta1, adam.beta2), **options)


@dataclass(frozen=True)
class Check:
    """One theorem.

    Attributes:
        name: for the report.
        statement: what is guaranteed, in words.
        optimizer: whose theorem it is, as in ``--optimizer``.
        theorem: the module of :mod:`theory` that states it.
        compare: measured value and bound.
        kind: of the bound.
        only_on: the one objective it is about; None for any.
    """

    name: str
    statement: str
    optimizer: str
    theorem: str
    compare: Callable[[Case], tuple[float, Bound]]
    kind: Kind = Kind.UPPER
    only_on: Objective | None = None


def seed_mean(values: Array) -> float:
    """Mean over seeds of the last record; NaN, which no comparison survives, if the run did not record it."""
    return float(values[-1].mean())
