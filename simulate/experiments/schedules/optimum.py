"""Batch rules with one setting for all tasks, next to schedules that are optimal for each of them."""

from __future__ import annotations

from simulate.exact.contest import RULES
from simulate.exact.dynamics import Dynamics
from simulate.exact.plane import over_optimum
from simulate.exact.tasks import sobol_tasks
from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result, Table
from simulate.experiments.settings import Settings
from simulate.outcomes import Assertion, Expectation, Outcome

__all__ = ["run"]

CHOSEN = ("constant 1", "constant 4", "ramp", "seesaw", "exchange 1", "norm test 1", "goodput 1.4", "goodput 2")


def run(settings: Settings, pieces: Pieces) -> Result:
    """Both methods on the same tasks."""
    count, duration = settings.by_level(3, 8, 32), settings.by_level(0.06, 0.1, 0.3)
    iterations = settings.by_level(12, 25, 50)
    tasks = sobol_tasks(count, settings.seed).at(range(count), duration)
    rules = {name: RULES[name] for name in CHOSEN}
    rows, rule_claims, constant_claims = [], [], []
    methods = tuple(Dynamics)
    risks = pieces.each(methods, lambda method: over_optimum(method, tasks, rules, iterations, seed=settings.seed))
    for method, found in zip(methods, risks, strict=True):
        for row in range(count):
            for i, name in enumerate(CHOSEN):
                ratio = float(found.rules[i, row])
                rows.append({"method": str(method), "task": row, "rule": name, "ratio": ratio})
                rule_claims.append(Assertion(f"{method}, task {row}, {name}", 1 / ratio, "<=", 1.01))
            worse = float(found.constant[row])
            constant_claims.append(Assertion(f"{method}, task {row}", worse, "<=", 1.01))
    return Result(
        name="optimum",
        title="Batch rules against the optimum",
        summary=(
            f"{count} power-law tasks at equal time t0 + t1 b, exact second moments; the trainer's own rules with "
            "noisy moments, each with the best of several rates, against the best batches and rates of each task."
        ),
        outcomes=(
            Outcome(
                "No rule beats the optimum",
                "The optimum's risk is at most 1% above that of every rule on every task.",
                rule_claims,
            ),
            Outcome(
                "Constants against the optimum",
                "The best constant batch at its best constant rate is within 1% of the optimum.",
                constant_claims,
                expected=Expectation.CONTROL,
            ),
        ),
        tables={"rules_and_optimum": Table.of_rows(rows)},
    )
