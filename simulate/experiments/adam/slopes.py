"""Measured rates: the slope of the average gradient norm over K, at the step size sqrt(Delta / (L d K)).

Every K is a run of its own, since the step size depends on K. No slope is asserted where a run is pre-asymptotic:
where K is not beyond a few hundred steps and the square of the second moment's memory 1/(1 - beta2), or where the
average gradient norm of the longest run is still near that of the start. The verdicts say which those are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from simulate.experiments.adam.bounds import chosen_adam_settings
from simulate.experiments.adam.theorems import BOUNDS
from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result, Table
from simulate.experiments.rows import AdamSetting, Row, by_seed, chosen_objectives, run_rows
from simulate.experiments.settings import Settings
from simulate.objectives import OBJECTIVES
from simulate.optimizers import Adam
from simulate.outcomes import Assertion, Outcome
from simulate.rates import Slope, is_pre_asymptotic, log_log_slope
from simulate.streams import Array
from simulate.text import counted

__all__ = ["LEAST_STEPS", "SQUARED_MEMORIES", "Curve", "run"]

SQUARED_MEMORIES = 2.0
"""A slope is fitted where K is at least this many squares of the second moment's memory 1/(1 - beta2).

At this step size a run descends in about sqrt(K) steps. Unless that is beyond the memory, v still holds the
gradients of the start when the descent is over, and the slope swings before it settles at -1/2: at betas
(.9, .99), eta .2 it is -.64 from K = 512 to 1024, -.31 at 8192 and -.45 at 131072.
"""

LEAST_STEPS = 512
"""And at least this: below, the first descent makes up most of the average."""

STEEPEST, FLATTEST = -0.9, -0.4
"""Where the slopes of the levels' own settings lie. Of a setting that was asked for (it may be next to what the
theorems admit) only a fall is asserted."""


@dataclass(frozen=True)
class Curve:
    """Average gradient norms of one objective and setting.

    Attributes:
        objective: its name.
        setting: of Adam.
        steps: the K, ascending.
        averages: (1/K) sum_k ||G_k||_1, shape [K, seeds].
        initial: ||G_1||_1.
        bounds: both theorems' bounds on the average, shape [2, K]; NaN where a theorem does not apply.
    """

    objective: str
    setting: AdamSetting
    steps: tuple[int, ...]
    averages: Array
    initial: float
    bounds: Array

    @property
    def fitted(self) -> list[int]:
        """The records that are long enough for a slope."""
        least = max(LEAST_STEPS, SQUARED_MEMORIES / (1 - self.setting.beta2) ** 2)
        return [i for i, steps in enumerate(self.steps) if steps >= least]

    @property
    def pre_asymptotic(self) -> bool:
        """Whether no slope can be asserted: fewer than three long records, or hardly any progress."""
        return len(self.fitted) < 3 or is_pre_asymptotic(self.averages, self.initial)

    @cached_property
    def slope(self) -> Slope:
        """With a 95% interval; over all records if the run is pre-asymptotic."""
        chosen = list(range(len(self.steps))) if self.pre_asymptotic else self.fitted
        return log_log_slope(np.array(self.steps)[chosen], self.averages[chosen])


def run(settings: Settings, pieces: Pieces) -> Result:
    """All curves; the settings are the level's that Theorem 2 or 1 covers."""
    largest = settings.steps or settings.by_level(4096, 8192, 32_768)
    horizons = tuple(k for k in (largest // 16, largest // 8, largest // 4, largest // 2, largest) if k >= 1)
    seeds = settings.run_seeds(settings.seeds or settings.by_level(4, 8, 16))
    names, adam_settings = chosen_objectives(settings), chosen_adam_settings(settings)
    points = pieces.each(
        [(name, steps) for name in names for steps in horizons],
        lambda at: _point(*at, adam_settings, seeds),
        weight=lambda at: at[1],
    )
    curves = []
    for i, name in enumerate(names):
        curves += _curves(name, adam_settings, horizons, points[i * len(horizons) : (i + 1) * len(horizons)])
    return Result(
        name="slopes",
        title="Measured rates",
        summary=(
            f"Gaussian noise, v_0 = 0, alpha = sqrt(Delta/(L d K)), K = {horizons[0]} to {horizons[-1]}, "
            f"{counted(len(seeds), 'seed')}. "
            f"Pre-asymptotic, so that no slope is asserted: {_pre_asymptotic(curves)}."
        ),
        outcomes=_outcomes(curves, own_setting={settings.beta1, settings.beta2, settings.eta} != {None}),
        theorems=("theory.adam.theorem1", "theory.adam_sharp.theorem2"),
        tables={
            "convergence": Table.of_rows(row for curve in curves for row in _rows(curve)),
            "slopes": _slopes(curves),
        },
        unchecked=_unchecked(curves),
    )


def _point(
    name: str, steps: int, adam_settings: Sequence[AdamSetting], seeds: Sequence[int]
) -> tuple[Array, Array]:
    """Averages [settings, seeds] and bounds on them [2, settings] after ``steps`` steps."""
    objective = OBJECTIVES[name]()
    rows = [Row(setting, Adam.natural_step_size(objective.problem(steps))) for setting in adam_settings]
    trajectory = run_rows(objective, "gaussian", rows, seeds, steps, [steps])
    bounds = np.array([bound(objective, rows, [steps])[:, 0] for bound in BOUNDS.values()])
    return by_seed(trajectory.average_l1, len(seeds))[:, 0], bounds / steps


def _curves(
    name: str,
    adam_settings: Sequence[AdamSetting],
    horizons: tuple[int, ...],
    points: Sequence[tuple[Array, Array]],
) -> list[Curve]:
    """One for each setting, from the points of all K."""
    measured, bounds = (np.array(values) for values in zip(*points, strict=True))
    initial = OBJECTIVES[name]().problem(1).first_gradient_norm
    return [
        Curve(name, setting, horizons, measured[:, i], initial, bounds[:, :, i].T)
        for i, setting in enumerate(adam_settings)
    ]


def _rows(curve: Curve) -> list[dict[str, object]]:
    return [
        {
            "objective": curve.objective,
            "setting": curve.setting.label,
            "K": steps,
            "mean": float(curve.averages[i].mean()),
            "low": float(np.quantile(curve.averages[i], 0.1)),
            "high": float(np.quantile(curve.averages[i], 0.9)),
            "theorem_1": float(curve.bounds[0, i]),
            "theorem_2": float(curve.bounds[1, i]),
        }
        for i, steps in enumerate(curve.steps)
    ]


def _slopes(curves: Sequence[Curve]) -> Table:
    return Table.of_rows(
        {
            "objective": curve.objective,
            "setting": curve.setting.label,
            **vars(curve.slope),
            "pre_asymptotic": curve.pre_asymptotic,
        }
        for curve in curves
    )


def _pre_asymptotic(curves: Sequence[Curve]) -> str:
    flagged: dict[str, list[str]] = {}
    for curve in curves:
        if curve.pre_asymptotic:
            flagged.setdefault(curve.setting.label, []).append(curve.objective)
    return "; ".join(f"{label} on {', '.join(names)}" for label, names in flagged.items()) or "none"


def _unchecked(curves: Sequence[Curve]) -> str:
    """Of which objectives no slope is asserted."""
    names = dict.fromkeys(curve.objective for curve in curves)
    for curve in curves:
        if not curve.pre_asymptotic:
            names.pop(curve.objective, None)
    return f"no slope on {', '.join(names)}, where runs are too short; take more --steps" if names else ""


def _outcomes(curves: Sequence[Curve], own_setting: bool = False) -> list[Outcome]:
    """One verdict per objective, on the slopes that are asserted; none where all its runs are pre-asymptotic."""
    outcomes = []
    for name in dict.fromkeys(curve.objective for curve in curves):
        asserted = [curve for curve in curves if curve.objective == name and not curve.pre_asymptotic]
        if asserted:
            outcomes.append(_outcome(name, asserted, (-np.inf, 0.0) if own_setting else (STEEPEST, FLATTEST)))
    return outcomes


def _outcome(name: str, curves: Sequence[Curve], limits: tuple[float, float] = (STEEPEST, FLATTEST)) -> Outcome:
    flattest = max(curves, key=lambda curve: curve.slope.value)
    comparisons = []
    for curve in curves:
        label, slope = curve.setting.label, curve.slope
        comparisons.append(Assertion(f"upper end of the slope, {label}", slope.high, "<=", limits[1]))
        comparisons.append(Assertion(f"lower end of the slope, {label}", slope.low, ">=", limits[0]))
    return Outcome(
        name=f"Rate on {name}",
        statement=f"The slope of the average gradient norm over K lies between {limits[0]:g} and {limits[1]:g}.",
        asserted=comparisons,
        slope=flattest.slope,
        note="; ".join(f"{curve.setting.label}: {curve.slope}" for curve in curves) + ".",
    )
