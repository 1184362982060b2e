"""One setting for all tasks: batch rules in the exact dynamics against constant batches tuned for each task.

``python benchmarks/exact_rules.py 24`` prints exact_rules.txt: 24 fresh tasks (Sobol points of another seed than
any that a setting was chosen on; 96 without the number). Rules are told noisy moments of the step before; the
learning rate falls linearly from the best of four peaks for each rule and task. The reference is the constant
batch with its rate and the power of its decay tuned for each task and budget; times are those at equal risk.
"""

from __future__ import annotations

import sys

import numpy as np

from simulate.exact.contest import RULES, contest
from simulate.exact.dynamics import Dynamics
from simulate.exact.knots import KnotSchedules
from simulate.exact.optimum import DECAY, optimize, start
from simulate.exact.survey import budget_for
from simulate.exact.tasks import sobol_tasks

TASKS, SEED = 96, 2
BUDGETS = (0.5, 1.0, 2.0)
RATES = {Dynamics.SGD: [1.6, 1.2, 0.8, 0.4], Dynamics.ADAM_LIKE: [0.16, 0.08, 0.04, 0.02]}


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else TASKS
    print("python", *sys.argv, "\n")
    tasks = sobol_tasks(count, SEED)
    print(f"{'':<16}{'mean':>8}{'90%':>8}{'worst':>8}    time over the best constant, {count} tasks")
    for method in Dynamics:
        middle = optimize(method, tasks, DECAY, start(method, tasks), iterations=20).schedules
        reference = [
            optimize(method, tasks.at(range(count), budget), DECAY, _longer(middle, budget), iterations=8).risk
            for budget in BUDGETS
        ]
        curve = np.stack(reference, axis=1)
        print(method)
        noise = np.random.default_rng(SEED)
        for name, risks in contest(method, tasks, RULES, RATES[method], noise).items():
            ratios = 1 / budget_for(BUDGETS, curve, risks)
            print(
                f"  {name:<14}{ratios.mean():8.2f}{np.quantile(ratios, 0.9):8.2f}{ratios.max():8.2f}", flush=True
            )


def _longer(schedules: KnotSchedules, budget: float) -> KnotSchedules:
    rows = range(len(schedules.tasks))
    return KnotSchedules(schedules.tasks.at(rows, budget), schedules.log_batch, schedules.log_rate)


if __name__ == "__main__":
    main()
