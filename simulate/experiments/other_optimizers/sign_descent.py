"""The limit in which Theorem 1 is sharp: sign descent (beta1 = 0, beta2 -> 0, eta = 0) on a quadratic."""

from __future__ import annotations

from simulate.experiments.adam.theorems import BOUNDS, own_rows
from simulate.experiments.result import Result, Table
from simulate.experiments.rows import AdamSetting
from simulate.experiments.settings import Advance, Settings
from simulate.noise import NOISES
from simulate.objectives import Quadratic
from simulate.optimizers import RMSProp
from simulate.outcomes import Assertion, Kind, Outcome, at_most
from simulate.trajectory import run as run_trajectory

__all__ = ["run"]

SETTING = AdamSetting(0.0, 1e-8, 0.0)


def run(settings: Settings, advance: Advance) -> Result:
    """Deterministic runs at the theorem's own step size, one for each K."""
    horizons = settings.by_level((10, 100, 1000), (10, 100, 1000), (10, 100, 1000, 10_000))
    objective = Quadratic(condition=1.0)
    rows = []
    for steps in horizons:
        own = own_rows("Theorem 1", objective, [SETTING], steps)
        optimizer = RMSProp(own[0].step_size, SETTING.beta2)
        trajectory = run_trajectory(objective, NOISES["none"](), optimizer, steps, 1, [steps])
        bound = float(BOUNDS["Theorem 1"](objective, own, [steps])[0, 0])
        measured = float(trajectory.l1_sum[0, 0])
        rows.append({"K": steps, "measured": measured, "theorem_1": bound, "ratio": bound / measured})
        advance(1 / len(horizons))
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
