"""Many settings of Adam in one batch: every row of a run has its own betas, eta, step size, v_0 and seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulate.experiments.settings import Settings
from simulate.noise import NOISES
from simulate.objectives import OBJECTIVES, Objective
from simulate.optimizers import Adam
from simulate.trajectory import Trajectory, run
from theory.guarantee import applicable, require_applicable
from theory.problem import Problem as BoundProblem

__all__ = [
    "AdamSetting",
    "Problem",
    "Row",
    "by_seed",
    "chosen_objectives",
    "chosen_settings",
    "mean_over_seeds",
    "run_rows",
]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class AdamSetting:
    """The betas of Adam and the eta of the coordinate-wise norm test.

    >>> setting = AdamSetting(0.9, 0.95, 0.5)
    >>> setting.label, setting.theorem_1_applies, setting.theorem_2_applies
    ('(0.9, 0.95), eta 0.5', False, True)
    """

    beta1: float
    beta2: float
    eta: float

    @property
    def label(self) -> str:
        """For tables and legends."""
        return f"({self.beta1:g}, {self.beta2:g}), eta {self.eta:g}"

    @property
    def theorem_1_applies(self) -> bool:
        """eta^2 < 1 - beta1/sqrt(beta2)."""
        return bool(applicable(self.beta1, self.beta2, self.eta)[0])

    @property
    def theorem_2_applies(self) -> bool:
        """eta^2 (r + sqrt(1 + eta^2)) < 1 (eta < 1 for beta1 = 0)."""
        return bool(applicable(self.beta1, self.beta2, self.eta)[1])


QUICK = (AdamSetting(0.0, 0.9, 0.5), AdamSetting(0.9, 0.95, 0.2), AdamSetting(0.9, 0.95, 0.5))
DEFAULT = (
    AdamSetting(0.0, 0.9, 0.5),
    AdamSetting(0.5, 0.9, 0.4),
    AdamSetting(0.9, 0.95, 0.2),
    AdamSetting(0.9, 0.95, 0.5),
    AdamSetting(0.9, 0.999, 0.2),
)
FULL = (*DEFAULT, AdamSetting(0.0, 0.5, 0.7), AdamSetting(0.0, 0.999, 0.9), AdamSetting(0.99, 0.999, 0.1))


def chosen_settings(settings: Settings) -> tuple[AdamSetting, ...]:
    """The level's settings, or the one that was asked for, its missing parts taken from (0.9, 0.95), eta 0.2.

    Raises:
        HypothesisError: if neither theorem covers what was asked for; it names the nearest admissible eta.
    """
    given = {name: value for name in ("beta1", "beta2", "eta") if (value := getattr(settings, name)) is not None}
    if not given:
        return settings.by_level(QUICK, DEFAULT, FULL)
    setting = replace(AdamSetting(0.9, 0.95, 0.2), **given)
    require_applicable(setting.beta1, setting.beta2, setting.eta)
    return (setting,)


def chosen_objectives(settings: Settings) -> tuple[str, ...]:
    """The level's objectives, or those that were asked for.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    quick = ("geman-mcclure", "rastrigin", "pseudo-huber")
    default = (*quick, "xy-chain", "regression", "network")
    full = (*default, "noisy-regression", "quadratic")
    names = settings.objectives or settings.by_level(quick, default, full)
    for name in names:
        _ = OBJECTIVES[name]
    return names


@dataclass(frozen=True)
class Problem:
    """An objective with the constants that the theorems are told, at its own starting point.

    >>> problem = Problem.named("quadratic")
    >>> problem.smoothness, problem.dimension, round(problem.initial_gap, 3)
    (1.0, 10, 2.043)
    """

    objective: Objective
    initial_gap: float
    gradient_l1: float

    @classmethod
    def named(cls, name: str) -> Problem:
        """From :data:`simulate.objectives.OBJECTIVES`, with its default parameters."""
        return cls.of(OBJECTIVES[name]())

    @classmethod
    def of(cls, objective: Objective) -> Problem:
        """Delta and ||G_1||_1 evaluated at the objective's start."""
        start = objective.start()[None]
        gap = float(objective.value(start)[0] - objective.infimum)
        return cls(objective, gap, float(np.abs(objective.gradient(start)).sum()))

    @property
    def smoothness(self) -> float:
        """L."""
        return self.objective.smoothness

    @property
    def dimension(self) -> int:
        """d."""
        return self.objective.dimension

    def over(self, steps: Any) -> BoundProblem:
        """What the theorems are told, for this number (or array) of steps."""
        return BoundProblem(
            smoothness=self.smoothness,
            dimension=self.dimension,
            initial_gap=self.initial_gap,
            steps=steps,
            initial_gradient_norm=self.gradient_l1,
        )


@dataclass(frozen=True)
class Row:
    """One configuration; it is run once for each seed."""

    setting: AdamSetting
    step_size: float
    v0: float = 0.0


def run_rows(
    objective: Objective,
    noise: str,
    rows: Sequence[Row],
    seeds: Sequence[int],
    steps: int,
    record_at: Iterable[int],
    *,
    epsilon: float = 0.0,
    bias_correction: bool = False,
) -> Trajectory:
    """All rows with all seeds in one batch, row by row: the order that :func:`mean_over_seeds` undoes."""

    def column(values: Iterable[float]) -> Array:
        return np.repeat(np.array(list(values), dtype=float), len(seeds))[:, None]

    optimizer = Adam(
        column(row.step_size for row in rows),
        column(row.setting.beta1 for row in rows),
        column(row.setting.beta2 for row in rows),
        epsilon=epsilon,
        bias_correction=bias_correction,
        initial_second_moment=column(row.v0 for row in rows),
    )
    law = NOISES[noise](eta=column(row.setting.eta for row in rows))
    return run(objective, law, optimizer, steps, list(seeds) * len(rows), list(record_at))


def mean_over_seeds(values: Array, seeds: int) -> Array:
    """[records, rows * seeds] -> [rows, records]."""
    return np.asarray(by_seed(values, seeds).mean(axis=-1))


def by_seed(values: Array, seeds: int) -> Array:
    """[records, rows * seeds] -> [rows, records, seeds]."""
    regrouped: Array = values.reshape(len(values), -1, seeds).transpose(1, 0, 2)
    return regrouped
