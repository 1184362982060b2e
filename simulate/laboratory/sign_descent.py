"""The limit in which Theorem 1 is sharp: sign descent (beta1 = 0, beta2 -> 0, eta = 0) on a quadratic."""

from __future__ import annotations

from simulate.experiments.adam.theorems import own_rows
from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result, Table
from simulate.experiments.rows import AdamSetting
from simulate.experiments.settings import Settings
from simulate.laboratory.study import Study
from simulate.laboratory.theorems import Theorem1
from simulate.noise import NOISES
from simulate.objectives import Quadratic
from simulate.optimizers import RMSProp
from simulate.outcomes import Assertion, Kind, Outcome, at_most

__all__ = ["run"]

SETTING = AdamSetting(0.0, 1e-8, 0.0)


def run(settings: Settings, pieces: Pieces) -> Result:
    """Deterministic runs at the theorem's own step size, one for each K."""
    horizons = settings.by_level((10, 100, 1000), (10, 100, 1000), (10, 100, 1000, 10_000))
    objective = Quadratic(condition=1.0)
    rows = pieces.each(horizons, lambda steps: _row(objective, steps))
    return Result(
        name="sign-descent",
        title="Theorem 1 is sharp in the limit of sign descent",
        summary=(
            f"Quadratic, d = {objective.dimension}, beta1 = 0, beta2 = {SETTING.beta2:g}, no noise, "
            "alpha = sqrt(Delta/(K L d Gamma))."
        ),
        outcomes=(
            Outcome(
                name="Theorem 1, sign descent",
                statement="The bound over the measured sum lies in [1, 1.1], and tends to 1.",
                asserted=at_most(rows, "K = {K}", "theorem_1"),
                supporting=[
                    *(Assertion(f"bound / sum, K = {r['K']}", r["ratio"], "<=", 1.1) for r in rows),
                    Assertion("last ratio against the first", rows[-1]["ratio"], "<=", rows[0]["ratio"]),
                ],
                kind=Kind.TIGHT,
                note="bound / measured: " + ", ".join(f"{r['ratio']:.3f} (K = {r['K']})" for r in rows) + ".",
            ),
        ),
        theorems=("theory.adam.theorem1",),
        tables={"sign_descent": Table.of_rows(rows)},
    )


def _row(objective: Quadratic, steps: int) -> dict[str, float]:
    """The study at Theorem 1's own step size."""
    (own,) = own_rows("Theorem 1", objective, [SETTING], steps)
    study = Study(objective, NOISES["none"](), RMSProp(own.step_size, SETTING.beta2), Theorem1(), steps, (0,))
    (row,) = study.run((steps,), checked=False).table.rows()
    return {"K": steps, "measured": row["measured"], "theorem_1": row["value"], "ratio": row["ratio"]}
