"""Many settings of Adam in one batch: every row of a run has its own betas, eta, step size, v_0 and seed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from simulate.experiments.settings import Settings
from simulate.noise import NOISES
from simulate.objectives import OBJECTIVES, Objective
from simulate.optimizers import Adam
from simulate.streams import Array
from simulate.trajectory import Trajectory, run
from theory.guarantee import applicable, require_applicable

__all__ = [
    "AS_PUBLISHED",
    "THEOREMS",
    "AdamSetting",
    "Row",
    "Variant",
    "by_seed",
    "chosen_objectives",
    "chosen_settings",
    "mean_over_seeds",
    "run_rows",
]

THEOREMS = ("Theorem 1", "Theorem 2")
"""Both theorems on Adam."""


@dataclass(frozen=True)
class AdamSetting:
    """The betas of Adam and the eta of the coordinate-wise norm test.

    >>> setting = AdamSetting(0.9, 0.95, 0.5)
    >>> setting.label, [theorem for theorem in THEOREMS if setting.covered_by(theorem)]
    ('(0.9, 0.95), eta 0.5', ['Theorem 2'])
    """

    beta1: float
    beta2: float
    eta: float

    @property
    def label(self) -> str:
        """For tables and legends."""
        return f"({self.beta1:g}, {self.beta2:g}), eta {self.eta:g}"

    def covered_by(self, theorem: str) -> bool:
        """Whether Theorem 1, eta^2 < 1 - beta1/sqrt(beta2), or Theorem 2, Lambda eta^2 < h, applies."""
        return _covered(self)[THEOREMS.index(theorem)]


@cache
def _covered(setting: AdamSetting) -> tuple[bool, bool]:
    first, second = applicable(setting.beta1, setting.beta2, setting.eta)
    return bool(first), bool(second)


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

    Of RMSProp alone a missing beta1 is 0.

    Raises:
        HypothesisError: if neither theorem covers what was asked for; it names the nearest admissible eta.
    """
    asked = {"beta1": settings.beta1, "beta2": settings.beta2, "eta": settings.eta}
    given = {name: value for name, value in asked.items() if value is not None}
    if not given:
        return settings.by_level(QUICK, DEFAULT, FULL)
    without_momentum = "rmsprop" in settings.optimizers and "adam" not in settings.optimizers
    setting = replace(AdamSetting(0.0 if without_momentum else 0.9, 0.95, 0.2), **given)
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
    names = tuple(dict.fromkeys(settings.objectives)) or settings.by_level(quick, default, full)
    for name in names:
        _ = OBJECTIVES[name]
    return names


@dataclass(frozen=True)
class Variant:
    """Adam as in (6), or as it is run."""

    name: str
    epsilon: float = 0.0
    bias_correction: bool = False


AS_PUBLISHED = Variant("as in (6)")


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
    variant: Variant = AS_PUBLISHED,
) -> Trajectory:
    """All rows with all seeds in one batch, row by row: the order that :func:`mean_over_seeds` undoes."""

    def column(values: Iterable[float]) -> Array:
        return np.repeat(np.array(list(values), dtype=float), len(seeds))[:, None]

    optimizer = Adam(
        column(row.step_size for row in rows),
        column(row.setting.beta1 for row in rows),
        column(row.setting.beta2 for row in rows),
        epsilon=variant.epsilon,
        bias_correction=variant.bias_correction,
        initial_second_moment=column(row.v0 for row in rows),
    )
    law = NOISES[noise](eta=column(row.setting.eta for row in rows))
    return run(objective, law, optimizer, steps, list(seeds) * len(rows), list(record_at))


def mean_over_seeds(values: Array, seeds: int) -> Array:
    """[records, rows * seeds] -> [rows, records]."""
    return np.asarray(by_seed(values, seeds).mean(axis=-1))


def by_seed(values: Array, seeds: int) -> Array:
    """[records, rows * seeds] -> [rows, records, seeds]."""
    return values.reshape(len(values), -1, seeds).transpose(1, 0, 2)
