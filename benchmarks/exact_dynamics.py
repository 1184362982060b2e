"""The exact dynamics checked: speed, sampled runs, the adjoint, and the optimum next to every rule.

``python benchmarks/exact_dynamics.py`` prints exact_dynamics.txt but for the seconds, which depend on the machine.
"""

from __future__ import annotations

import sys
import time

import numpy as np

from simulate.exact.contest import RULES, run_contest
from simulate.exact.dynamics import Dynamics, Steps, final_risk, risk_and_gradients
from simulate.exact.optimum import BOTH, RATE_SCHEDULE, optimize, start
from simulate.exact.sampled import sampled_risks
from simulate.exact.tasks import power_law_tasks, sobol_tasks

PEAK = {Dynamics.SGD: 0.4, Dynamics.ADAM_LIKE: 0.04}


def speed() -> None:
    tasks, chosen = sobol_tasks(64), dict(list(RULES.items())[:12])
    for method in Dynamics:
        started = time.process_time()
        run = run_contest(method, tasks, chosen, [PEAK[method]], np.random.default_rng(0))
        seconds = time.process_time() - started
        print(f"{method}: 64 tasks x {len(chosen)} rules, {run.steps.sum():,} steps: {seconds:.1f} s of one core")


def sampling() -> None:
    tasks = power_law_tasks(
        np.array([1.2, 1.6, 2.1]),
        np.array([1.2, 1.8, 1.5]),
        np.array([1.0, 0.1, 0.01]),
        np.full(3, 100.0),
        np.full(3, 8.0),
        dimension=40,
    )
    batch = np.repeat(np.geomspace(2, 64, 60)[:, None], 3, axis=1)
    steps = Steps(batch, np.full_like(batch, 0.1), np.ones_like(batch))
    for method in Dynamics:
        risks = sampled_risks(method, tasks, steps, 2000, np.random.default_rng(1))
        error = risks.std(axis=1) / np.sqrt(risks.shape[1])
        off = (risks.mean(axis=1) - final_risk(method, tasks, steps)) / error
        print(f"{method}: sampled minus exact, in standard errors: " + " ".join(f"{x:+.2f}" for x in off))


def adjoint() -> None:
    tasks = sobol_tasks(8)
    rng = np.random.default_rng(2)
    batch = np.exp(rng.uniform(0, 5, (200, 8)))
    steps = Steps(batch, rng.uniform(0.01, 0.05, batch.shape), np.ones_like(batch))
    for method in Dynamics:
        found, worst = risk_and_gradients(method, tasks, steps), 0.0
        for _ in range(20):
            along = rng.standard_normal((2, *batch.shape))

            def risk(move: float, along: np.ndarray = along, method: Dynamics = method) -> np.ndarray:
                moved = steps.batch * np.exp(move * along[0]), steps.rate * np.exp(move * along[1])
                return final_risk(method, tasks, Steps(*moved, steps.fraction))

            width = 1e-3
            difference = (risk(-2 * width) - 8 * risk(-width) + 8 * risk(width) - risk(2 * width)) / (12 * width)
            exact = (found.batch * steps.batch * along[0] + found.rate * steps.rate * along[1]).sum(axis=0)
            worst = max(worst, float(np.abs(difference / exact - 1).max()))
        print(f"{method}: adjoint against differences, 200 steps: off by at most {worst:.1e}")


def optimum() -> None:
    tasks = sobol_tasks(12, seed=1).at(range(12), 0.25)
    for method in Dynamics:
        rates = [PEAK[method] * factor for factor in (0.5, 1, 2)]
        run = run_contest(method, tasks, RULES, rates)
        risks = run.risk.reshape(len(RULES), len(tasks), len(rates))
        best = risks.min(axis=(0, 2))
        flat = risks.transpose(1, 0, 2).reshape(len(tasks), -1).argmin(axis=1)
        rule, peak = flat // len(rates), flat % len(rates)
        rows = (rule * len(tasks) + np.arange(len(tasks))) * len(rates) + peak
        from_rules = run.schedules(rows.tolist())
        constant = optimize(method, tasks, RATE_SCHEDULE, start(method, tasks), iterations=30)
        both = optimize(method, tasks, BOTH, constant.schedules, from_rules, iterations=40)
        ratios = both.risk / best
        print(
            f"{method}: risk of the optimum over that of the best of {len(RULES)} rules x {len(rates)} rates, "
            f"12 tasks: mean {ratios.mean():.3f}, largest {ratios.max():.3f}"
        )


def main() -> None:
    print("python", *sys.argv, "\n")
    speed()
    sampling()
    adjoint()
    optimum()


if __name__ == "__main__":
    main()
