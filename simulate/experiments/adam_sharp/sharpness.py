"""How far Theorem 2 is from measured sums at the betas that people use, at its own step size."""

from __future__ import annotations

from simulate.experiments.adam.theorems import own_step_sizes, theorem_1_bounds, theorem_2_bounds
from simulate.experiments.result import Result, Table
from simulate.experiments.rows import AdamSetting, Instance, Row, mean_over_seeds, run_rows
from simulate.experiments.settings import Advance, Settings
from simulate.outcomes import Assertion, Expectation, Kind, Outcome

__all__ = ["WITHIN", "run"]

WITHIN = 15.0
V0 = 1e-4
SETTINGS = (AdamSetting(0.9, 0.95, 0.2), AdamSetting(0.9, 0.95, 0.5), AdamSetting(0.9, 0.999, 0.2))
OBJECTIVES = ("pseudo-huber", "quadratic", "rastrigin")


def run(settings: Settings, advance: Advance) -> Result:
    """Three settings on three objectives."""
    steps, seeds = settings.by_level(4096, 4096, 32_768), settings.by_level(2, 4, 32)
    rows = []
    for name in OBJECTIVES:
        rows += _objective(name, steps, range(settings.seed, settings.seed + seeds))
        advance(1 / len(OBJECTIVES))
    table = Table.of_rows(rows)
    return Result(
        name="sharpness",
        title="Theorem 2 at its own step size",
        summary=(
            f"Gaussian noise, v_0 = {V0:g}, K = {steps}, {seeds} seeds. "
            "Theorem 1 at the same step size for comparison."
        ),
        outcomes=[_outcome(setting, table) for setting in SETTINGS],
        tables={"sharpness": table},
    )


def _objective(name: str, steps: int, seeds: range) -> list[dict[str, object]]:
    problem = Instance.named(name)
    own = own_step_sizes(2, problem, SETTINGS, steps)
    rows = [Row(setting, float(alpha), V0) for setting, alpha in zip(SETTINGS, own, strict=True)]
    trajectory = run_rows(problem.objective, "gaussian", rows, seeds, steps, [steps])
    measured = mean_over_seeds(trajectory.l1_sum, len(seeds))
    first = theorem_1_bounds(problem, rows, [steps])
    second = theorem_2_bounds(problem, rows, [steps])
    return [
        {
            "objective": name,
            "setting": row.setting.label,
            "step_size": row.step_size,
            "K": steps,
            "measured": measured[i, 0],
            "theorem_1": first[i, 0],
            "theorem_2": second[i, 0],
            "ratio": second[i, 0] / measured[i, 0],
        }
        for i, row in enumerate(rows)
    ]


def _outcome(setting: AdamSetting, table: Table) -> Outcome:
    rows = table.where(setting=setting.label).rows()
    return Outcome(
        name=f"Theorem 2 at {setting.label}",
        statement=f"Theorem 2's bound holds, and is within a factor of {WITHIN:g} of the measured sum.",
        expected=Expectation.HOLDS,
        asserted=[
            Assertion(f"{row['objective']}, the sum", row["measured"], "<=", row["theorem_2"]) for row in rows
        ],
        supporting=[Assertion(f"{row['objective']}, bound / sum", row["ratio"], "<=", WITHIN) for row in rows],
        kind=Kind.UPPER,
        note="bound / measured: " + ", ".join(f"{row['ratio']:.1f} ({row['objective']})" for row in rows) + ".",
    )
