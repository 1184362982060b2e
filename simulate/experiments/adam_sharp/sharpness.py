"""How far Theorem 2 is from measured sums at the betas that people use, at its own step size."""

from __future__ import annotations

from itertools import chain

from simulate.experiments.adam.theorems import BOUNDS, measured_sums, own_rows
from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result, Table
from simulate.experiments.rows import AdamSetting
from simulate.experiments.settings import Settings
from simulate.objectives import OBJECTIVES
from simulate.outcomes import Assertion, Kind, Outcome, at_most
from simulate.text import counted

__all__ = ["WITHIN", "run"]

WITHIN = 9.0
V0 = 1e-4
SETTINGS = (AdamSetting(0.9, 0.95, 0.2), AdamSetting(0.9, 0.95, 0.5), AdamSetting(0.9, 0.999, 0.2))
SHOWN = ("pseudo-huber", "quadratic", "rastrigin")


def run(settings: Settings, pieces: Pieces) -> Result:
    """Three settings on three objectives."""
    steps, seeds = settings.by_level(4096, 4096, 32_768), settings.by_level(2, 4, 32)
    chosen = settings.run_seeds(seeds)
    table = Table.of_rows(chain.from_iterable(pieces.each(SHOWN, lambda name: _objective(name, steps, chosen))))
    return Result(
        name="sharpness",
        title="Theorem 2 at its own step size",
        summary=(
            f"Gaussian noise, v_0 = {V0:g}, K = {steps}, {counted(seeds, 'seed')}. "
            "Theorem 1 at the same step size for comparison."
        ),
        outcomes=[_outcome(setting, table) for setting in SETTINGS],
        theorems=("theory.adam_sharp.theorem2", "theory.adam.theorem1"),
        tables={"sharpness": table},
    )


def _objective(name: str, steps: int, seeds: range) -> list[dict[str, object]]:
    objective = OBJECTIVES[name]()
    rows = own_rows("Theorem 2", objective, SETTINGS, steps, V0)
    measured = measured_sums(objective, rows, seeds, steps)
    first, second = (bound(objective, rows, [steps])[:, 0] for bound in BOUNDS.values())
    return [
        {
            "objective": name,
            "setting": row.setting.label,
            "step_size": row.step_size,
            "K": steps,
            "measured": measured[i],
            "theorem_1": first[i],
            "theorem_2": second[i],
            "ratio": second[i] / measured[i],
        }
        for i, row in enumerate(rows)
    ]


def _outcome(setting: AdamSetting, table: Table) -> Outcome:
    rows = table.where(setting=setting.label).rows()
    return Outcome(
        name=f"Theorem 2 at {setting.label}",
        statement=f"Theorem 2's bound holds, and is within a factor of {WITHIN:g} of the measured sum.",
        asserted=at_most(rows, "{objective}, the sum", "theorem_2"),
        supporting=[Assertion(f"{row['objective']}, bound / sum", row["ratio"], "<=", WITHIN) for row in rows],
        kind=Kind.UPPER,
        note="bound / measured: " + ", ".join(f"{row['ratio']:.1f} ({row['objective']})" for row in rows) + ".",
    )
