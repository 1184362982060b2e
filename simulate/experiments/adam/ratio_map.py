"""Bound over measured sum as a map over (beta1, 1 - beta2) and over (beta1, eta), for both theorems.

Every point is a run at the theorem's own step size. Points outside a theorem's condition stay empty: the figure
draws the conditions over them, the published theorem's among them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from simulate.experiments.adam.theorems import own_step_sizes, theorem_1_bounds, theorem_2_bounds
from simulate.experiments.result import Result, Table
from simulate.experiments.rows import AdamSetting, Instance, Row, mean_over_seeds, run_rows
from simulate.experiments.settings import Advance, Settings
from simulate.outcomes import Assertion, Expectation, Kind, Outcome

__all__ = ["run"]

OBJECTIVE = "pseudo-huber"
ETA, BETA2 = 0.2, 0.95
V0 = 1e-4
THEOREMS = {1: ("Theorem 1", theorem_1_bounds), 2: ("Theorem 2", theorem_2_bounds)}


def run(settings: Settings, advance: Advance) -> Result:
    """Both planes for both theorems."""
    points, steps = settings.by_level(9, 14, 32), settings.by_level(256, 512, 4096)
    seeds = range(settings.seed, settings.seed + settings.by_level(1, 1, 4))
    problem, table = Instance.named(OBJECTIVE), []
    for plane in ("betas", "eta"):
        grid = _plane(plane, points)
        for theorem in THEOREMS:
            table += _map(problem, plane, theorem, grid, seeds, steps)
            advance(1 / 4)
    result = Table.of_rows(table)
    return Result(
        name="ratio-map",
        title="Where the theorems apply, and how far they are from measured sums",
        summary=(
            f"{OBJECTIVE}, Gaussian noise, v_0 = {V0:g}, K = {steps}, each theorem at its own step size; "
            f"{len(seeds)} seeds per point."
        ),
        outcomes=[_outcome(name, result) for name, _ in THEOREMS.values()],
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
    problem: Instance,
    plane: str,
    theorem: int,
    grid: Sequence[tuple[AdamSetting, float, float]],
    seeds: Sequence[int],
    steps: int,
) -> list[dict[str, object]]:
    name, bounds_of = THEOREMS[theorem]
    covered = [s.theorem_1_applies if theorem == 1 else s.theorem_2_applies for s, _, _ in grid]
    inside = [setting for (setting, _, _), applies in zip(grid, covered, strict=True) if applies]
    own = own_step_sizes(theorem, problem, inside, steps)
    rows = [Row(setting, float(alpha), V0) for setting, alpha in zip(inside, own, strict=True)]
    trajectory = run_rows(problem.objective, "gaussian", rows, seeds, steps, [steps])
    measured = np.full(len(grid), np.nan)
    bound = np.full(len(grid), np.nan)
    measured[covered] = mean_over_seeds(trajectory.l1_sum, len(seeds))[:, 0]
    bound[covered] = bounds_of(problem, rows, [steps])[:, 0]
    return [
        {
            "plane": plane,
            "theorem": name,
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
        expected=Expectation.HOLDS,
        asserted=[
            Assertion(f"{r['plane']}: beta1 = {r['beta1']:.3g}, y = {r['y']:.3g}", r["measured"], "<=", r["bound"])
            for r in rows
        ],
        kind=Kind.UPPER,
        note=f"bound / measured: least {ratios[0]:.2f}, median {ratios[len(ratios) // 2]:.3g}.",
    )
