"""Bound over measured sum as a map over (beta1, 1 - beta2) and over (beta1, eta), for both theorems.

Every point is a run at the theorem's own step size. Points outside a theorem's condition stay empty: the figure
draws the conditions over them, the published theorem's among them.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from simulate.experiments.adam.theorems import BOUNDS, measured_sums, own_rows
from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result, Table
from simulate.experiments.rows import AdamSetting
from simulate.experiments.settings import Settings
from simulate.objectives import OBJECTIVES
from simulate.outcomes import Kind, Outcome, at_most
from simulate.text import counted

__all__ = ["run"]

OBJECTIVE = "pseudo-huber"
ETA, BETA2 = 0.2, 0.95
V0 = 1e-4


def run(settings: Settings, pieces: Pieces) -> Result:
    """Both planes for both theorems."""
    points, steps = settings.by_level(9, 14, 32), settings.by_level(256, 512, 4096)
    seeds = settings.run_seeds(settings.by_level(1, 1, 4))
    maps = [(plane, theorem) for plane in ("betas", "eta") for theorem in BOUNDS]
    found = pieces.each(maps, lambda each: _map(*each, _plane(each[0], points), seeds, steps))
    result = Table.of_rows(chain.from_iterable(found))
    return Result(
        name="ratio-map",
        title="Where the theorems apply, and how far they are from measured sums",
        summary=(
            f"{OBJECTIVE}, Gaussian noise, v_0 = {V0:g}, K = {steps}, each theorem at its own step size; "
            f"{counted(len(seeds), 'seed')} per point."
        ),
        outcomes=[_outcome(theorem, result) for theorem in BOUNDS],
        theorems=("theory.adam.theorem1", "theory.adam_sharp.theorem2", "theory.audit.published_adam"),
        tables={"ratio_map": result},
    )


def _plane(plane: str, points: int) -> list[tuple[AdamSetting, float, float]]:
    """Settings with the coordinate on the vertical axis and the one that is fixed."""
    beta1 = np.linspace(0.0, 0.98, points)
    if plane == "betas":
        gaps = np.geomspace(1e-4, 0.5, points)
        grid = [(AdamSetting(float(b), float(1 - gap), ETA), float(gap), ETA) for b in beta1 for gap in gaps]
    else:
        etas = np.linspace(0.02, 1.0, points)
        grid = [(AdamSetting(float(b), BETA2, float(eta)), float(eta), BETA2) for b in beta1 for eta in etas]
    return [point for point in grid if point[0].beta1 ** 2 < 0.999 * point[0].beta2]


def _map(
    plane: str,
    theorem: str,
    grid: Sequence[tuple[AdamSetting, float, float]],
    seeds: Sequence[int],
    steps: int,
) -> list[dict[str, object]]:
    objective = OBJECTIVES[OBJECTIVE]()
    rows = own_rows(theorem, objective, (setting for setting, _, _ in grid), steps, V0)
    measured, bound = np.full((2, len(grid)), np.nan)
    covered = [setting.covered_by(theorem) for setting, _, _ in grid]
    measured[covered] = measured_sums(objective, rows, seeds, steps)
    bound[covered] = BOUNDS[theorem](objective, rows, [steps])[:, 0]
    return [
        {
            "plane": plane,
            "theorem": theorem,
            "beta1": setting.beta1,
            "y": y,
            "fixed": fixed,
            "measured": measured[i],
            "bound": bound[i],
            "ratio": bound[i] / measured[i],
        }
        for i, (setting, y, fixed) in enumerate(grid)
    ]


def _outcome(name: str, table: Table) -> Outcome:
    rows = [row for row in table.where(theorem=name).rows() if np.isfinite(row["bound"])]
    ratios = sorted(row["ratio"] for row in rows)
    return Outcome(
        name=f"{name} on the maps",
        statement=f"{name}'s bound holds wherever its condition does, at its own step size.",
        asserted=at_most(rows, "{plane}: beta1 = {beta1:.3g}, y = {y:.3g}"),
        kind=Kind.UPPER,
        note=f"bound / measured: least {ratios[0]:.2f}, median {ratios[len(ratios) // 2]:.3g}.",
    )
