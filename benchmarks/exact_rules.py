"""One setting for all tasks: batch rules in the exact dynamics against constant batches tuned for each task.

``python benchmarks/exact_rules.py`` prints exact_rules.txt (half an hour of a core): 96 fresh tasks (Sobol points
of another seed than any that a setting was chosen on). Rules are told noisy moments of the step before. Every
rule, and the constant batch that it is compared with, has the best peak rate for each task, on the same path: one
that stays, or one that falls linearly to 0. Times are those at equal risk.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adabatch.schedules import BatchSizeSchedule
from adabatch.schedules import Constant as ConstantBatch
from adabatch.schedules.learning_rate import LearningRate
from adabatch.schedules.paths import Constant, LearningRatePath, Linear
from simulate.exact.contest import RULES, Build, contest
from simulate.exact.dynamics import Dynamics
from simulate.exact.knots import KnotSchedules
from simulate.exact.optimum import CONSTANT, LINEAR_DECAY, Family, optimize, start
from simulate.exact.survey import budget_for
from simulate.exact.tasks import Tasks, sobol_tasks

Array = NDArray[np.float64]

TASKS, SEED = 96, 2
BUDGETS = (0.35, 0.6, 1.0, 1.7, 2.9)
RATES = {
    Dynamics.SGD: [2 * 2 ** (-i / 3) for i in range(18)],
    Dynamics.ADAM_LIKE: [1.28 * 2 ** (-i / 2) for i in range(23)],
}
PATHS: Mapping[str, tuple[LearningRatePath, Family]] = {
    "a rate that stays": (Constant(), CONSTANT),
    "a rate that falls linearly to 0": (Linear(), LINEAR_DECAY),
}
PRESCRIBED = ("seesaw", "exchange 1/2", "exchange 1")
"""Rules that need a rate that falls."""


@dataclass(frozen=True, eq=False)
class Reference:
    """The constant batch tuned for each task: its batch [tasks], and its risk at the budgets [tasks, budgets]."""

    batch: Array
    risks: Array


def reference(method: Dynamics, tasks: Tasks, family: Family) -> Reference:
    """Batch and peak rate by L-BFGS, at every budget."""
    middle = optimize(method, tasks, family, start(method, tasks), iterations=25).schedules
    risks = []
    for budget in BUDGETS:
        longer = tasks.at(range(len(tasks)), budget)
        begin = KnotSchedules(longer, middle.log_batch, middle.log_rate)
        risks.append(optimize(method, longer, family, begin, iterations=10).risk)
    return Reference(np.exp(middle.log_batch[:, 0]), np.stack(risks, axis=1))


def tuned(batches: Array) -> Build:
    """The reference as a rule: what it is off by is the harness's error."""

    def build(tasks: Tasks, row: int, rates: LearningRate) -> BatchSizeSchedule:
        return ConstantBatch(max(2, round(float(batches[row]))))

    return build


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else TASKS
    print("python", *sys.argv, "\n")
    print(f"time over that of the constant batch tuned for each task, {count} tasks\n")
    tasks = sobol_tasks(count, SEED)
    for method in Dynamics:
        for name, (path, family) in PATHS.items():
            found = reference(method, tasks, family)
            relative = np.quantile(found.batch / tasks.saturation, [0.1, 0.5, 0.9])
            print(f"{f'{method}, {name}':<44}{'mean':>8}{'90%':>8}{'worst':>8}")
            print(f"  its batch over B_sat (10, 50, 90%): {', '.join(f'{x:.2f}' for x in relative)}")
            rules = {"constant, tuned": tuned(found.batch), **RULES}
            if family is CONSTANT:
                rules = {rule: build for rule, build in rules.items() if rule not in PRESCRIBED}
            noise = np.random.default_rng(SEED)
            for rule, risks in contest(method, tasks, rules, RATES[method], noise, [path]).items():
                ratios = 1 / budget_for(BUDGETS, found.risks, risks)
                columns = ratios.mean(), np.quantile(ratios, 0.9), ratios.max()
                print(f"  {rule:<42}{''.join(f'{x:8.2f}' for x in columns)}", flush=True)


if __name__ == "__main__":
    main()
