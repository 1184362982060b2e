"""Theorems 1 and 2 on the grid: objective x noise x variant of Adam x setting x v_0 x step size x K.

Every case compares the mean over seeds of sum_k ||G_k||_1 with both theorems' bounds, told the same constants:
L, d, Delta, ||G_1||_1, v_0, the betas, eta and the step size. A negative control divides the same bounds
by 20, which must be caught.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any

import numpy as np

from simulate.experiments.adam.theorems import BOUNDS, own_rows
from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result, Table
from simulate.experiments.rows import (
    AS_PUBLISHED,
    AdamSetting,
    Row,
    Variant,
    chosen_objectives,
    chosen_settings,
    mean_over_seeds,
    run_rows,
)
from simulate.experiments.settings import Settings
from simulate.objectives import OBJECTIVES, Objective
from simulate.outcomes import Expectation, Kind, Outcome, at_most
from simulate.text import counted

__all__ = ["WEAKENED", "chosen_adam_settings", "run"]

WEAKENED = 20.0
"""The negative control divides the bounds by this."""

VARIANTS = (
    AS_PUBLISHED,
    Variant("bias correction, epsilon 1e-8", epsilon=1e-8, bias_correction=True),
    Variant("epsilon 1e-3", epsilon=1e-3),
)
INITIAL_SECOND_MOMENTS = (0.0, 1e-4, 1.0)


def run(settings: Settings, pieces: Pieces) -> Result:
    """The whole grid."""
    objectives, adam_settings = chosen_objectives(settings), chosen_adam_settings(settings)
    noises = settings.by_level(
        ("gaussian",),
        ("gaussian", "cantelli"),
        ("gaussian", "cantelli", "rademacher", "rare-spike", "skewed", "adversarial"),
    )
    steps = settings.steps or settings.by_level(256, 512, 1024)
    seeds = settings.seeds or settings.by_level(4, 3, 8)
    batches = [(o, n, v) for o in objectives for n in noises for v in VARIANTS]
    others = settings.by_level(
        ("cantelli", "adversarial"), ("rademacher", "rare-spike", "skewed", "adversarial"), ()
    )
    batches += [(objectives[0], noise, VARIANTS[0]) for noise in others]
    if any(setting.eta == 0 for setting in adam_settings):  # which leaves an adversary nothing to choose
        batches = [batch for batch in batches if batch[1] != "adversarial"]
    grids = {name: _grid(name, adam_settings, steps, settings) for name in objectives}
    chosen = settings.run_seeds(seeds)
    cases = pieces.each(batches, lambda batch: _cases(grids[batch[0]], *batch[1:], steps, chosen))
    return _result(Table.of_rows(chain.from_iterable(cases)), _control_cases(settings), steps, seeds)


def chosen_adam_settings(settings: Settings) -> tuple[AdamSetting, ...]:
    """Of the chosen settings, those of the chosen optimizers: RMSProp is Adam with beta1 = 0. Often empty.

    Raises:
        ValueError: if what was asked for, ``--optimizer rmsprop`` and a positive ``--beta1``, contradicts itself.
    """
    chosen = chosen_settings(settings)
    wanted = settings.optimizers or ("adam", "rmsprop")
    if "rmsprop" in settings.optimizers and settings.beta1:
        raise ValueError(
            f"rmsprop has no momentum: --beta1 must be 0, not {settings.beta1:g}, or give --optimizer adam instead"
        )
    if "adam" in wanted:
        return chosen
    return tuple(setting for setting in chosen if setting.beta1 == 0) if "rmsprop" in wanted else ()


@dataclass(frozen=True)
class _Grid:
    """Rows of one objective, and the step sizes that each theorem would choose.

    Attributes:
        name: of the objective in the registry.
        objective: of the runs.
        rows: settings with step size and v_0.
        own: a theorem's own step size for a setting that it covers.
    """

    name: str
    objective: Objective
    rows: Sequence[Row]
    own: Mapping[tuple[str, AdamSetting], float]


def _grid(name: str, adam_settings: Sequence[AdamSetting], steps: int, settings: Settings) -> _Grid:
    """Every setting with step sizes around each theorem's own that covers it."""
    factors = settings.by_level((0.01, 1.0, 100.0), (0.01, 0.1, 1.0, 10.0, 100.0), (0.01, 0.1, 1.0, 10.0, 100.0))
    objective, rows = OBJECTIVES[name](), []
    own: dict[tuple[str, AdamSetting], float] = {}
    for theorem in BOUNDS:
        for row in own_rows(theorem, objective, adam_settings, steps):
            own[theorem, row.setting] = row.step_size
            rows += [Row(row.setting, row.step_size * f, v0) for f in factors for v0 in INITIAL_SECOND_MOMENTS]
    return _Grid(name, objective, rows, own)


def _cases(grid: _Grid, noise: str, variant: Variant, steps: int, seeds: Sequence[int]) -> list[dict[str, Any]]:
    """One record per row, recorded K and theorem that applies."""
    objective = grid.objective
    trajectory = run_rows(objective, noise, grid.rows, seeds, steps, [max(1, steps // 16), steps], variant)
    measured = mean_over_seeds(trajectory.l1_sum, len(seeds))
    bounds = {theorem: bound(objective, grid.rows, trajectory.steps, variant) for theorem, bound in BOUNDS.items()}
    return [
        {
            "objective": grid.name,
            "noise": noise,
            "variant": variant.name,
            "setting": row.setting.label,
            "v0": row.v0,
            "step_size": row.step_size,
            "step_factor": row.step_size / grid.own[theorem, row.setting],
            "K": k,
            "theorem": theorem,
            "measured": measured[i, j],
            "bound": bound[i, j],
            "ratio": bound[i, j] / measured[i, j],
        }
        for i, row in enumerate(grid.rows)
        for j, k in enumerate(trajectory.steps)
        for theorem, bound in bounds.items()
        if np.isfinite(bound[i, j])
    ]


def _control_cases(settings: Settings) -> list[dict[str, Any]]:
    """Cases with both bounds within 20 of the sum, added to every grid: dividing the bounds by 20 must show."""
    grid = _grid("pseudo-huber", [AdamSetting(0.0, 0.9, 0.5)], 256, settings)
    return _cases(grid, "gaussian", VARIANTS[0], 256, settings.run_seeds(4))


def _result(table: Table, control: Sequence[dict[str, Any]], steps: int, seeds: int) -> Result:
    outcomes = []
    for theorem in table.values("theorem"):
        rows = table.where(theorem=theorem).rows()
        weakened = [case | {"bound": case["bound"] / WEAKENED} for case in (*rows, *control)]
        outcomes.append(_outcome(theorem, rows))
        control_outcome = _outcome(theorem, [case for case in weakened if case["theorem"] == theorem])
        outcomes.append(
            replace(
                control_outcome,
                name=f"{theorem} / {WEAKENED:g}",
                statement=control_outcome.statement.rstrip(".") + f" divided by {WEAKENED:g}.",
                expected=Expectation.CONTROL,
            )
        )
    return Result(
        name="bounds",
        title="Theorems 1 and 2 on the grid",
        summary=(
            f"{len(table)} cases: {', '.join(table.values('objective'))}; "
            f"noise {', '.join(table.values('noise'))}; Adam {', '.join(table.values('variant'))}; "
            "v_0 in {0, 1e-4, 1}; step sizes from 0.01 to 100 times the theorems' own; "
            f"K up to {steps}; means over {counted(seeds, 'seed')}. Theorem 2 has no bias correction. "
            f"Smallest bound / measured: {_smallest(table)}."
        ),
        outcomes=outcomes,
        theorems=("theory.adam.theorem1", "theory.adam_sharp.theorem2", "theory.adam.variants"),
        tables={"ratios": table},
    )


def _smallest(table: Table) -> str:
    """Of each theorem, the ratio of the case nearest to a violation."""
    theorems: list[str] = table.values("theorem")
    return ", ".join(f"{table.where(theorem=t)['ratio'].min():.2f} ({t})" for t in theorems)


def _outcome(theorem: str, rows: Sequence[dict[str, Any]]) -> Outcome:
    label = "{objective}, {noise}, {variant}, {setting}, v0 = {v0:g}, alpha = {step_size:.3g}, K = {K}"
    return Outcome(
        name=f"{theorem} on the grid",
        statement=f"Σ E‖∇L(w_k)‖₁ is at most the bound of {theorem}.",
        asserted=at_most(rows, label),
        kind=Kind.UPPER,
    )
