"""Goodput with sampled gradients and real Adam (both averages, bias corrections) against constant batches.

``python benchmarks/sampled_rules.py`` prints sampled_rules.txt: 18 power-law regressions (Sobol points of another
seed than the settings were chosen on), gradients drawn with their exact law, moments from eight groups as a run
has them, t0 and t1 given. For every task the constant batch and its peak rate, and the peak rate of goodput, are
the best of grids on other replicas than those of the result. The rate follows the batch by the square root. Times
are those at equal risk.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from adabatch.schedules import BatchSizeSchedule, Constant, Goodput
from adabatch.schedules.paths import Constant as ConstantPath
from adabatch.schedules.paths import LearningRatePath, Linear
from adabatch.schedules.step_times import StepTime
from simulate.exact.sampled import Adam, group_moments, sampled_gradients
from simulate.exact.survey import budget_for
from simulate.exact.tasks import Tasks, sobol_tasks

Array = NDArray[np.float64]

TASKS, SEED, REPLICAS, GROUPS = 18, 5, 8, 8
BUDGETS = (0.6, 1.0, 1.7)
BATCHES = [2.0**k for k in range(-1, 6)]
RATES = [0.32 * 2.0**-k for k in range(9)]
KAPPAS = (1.4, 2.0)
PATHS: dict[str, LearningRatePath] = {"a rate that stays": ConstantPath(), "a rate that falls to 0": Linear()}


def risk(
    task: Tasks, build: Callable[[], BatchSizeSchedule], peak: float, path: LearningRatePath, seed: int
) -> float:
    """Mean final risk of sampled runs, each with a rule of its own."""
    rng, counts = np.random.default_rng(seed), np.asarray(task.problem.multiplicities)
    eigenvalues = np.repeat(task.problem.eigenvalues[0], counts)
    errors = rng.standard_normal((REPLICAS, len(eigenvalues))) * np.sqrt(np.repeat(task.errors[0], counts))
    rules, adam = [build() for _ in range(REPLICAS)], Adam(errors.shape)
    saturation, budget = float(task.saturation[0]), float(task.budget[0])
    used, noise = np.zeros(REPLICAS), np.full(REPLICAS, task.problem.noise[0])
    measuring = any(rule.needs_moments for rule in rules)
    while (used < budget).any():
        batch = np.array([float(rule.batch_size) for rule in rules])
        cost = np.where(used < budget, 1 + batch / saturation, 0.0)
        stop = np.minimum(used + cost, budget)
        level = [path.integral(b) - path.integral(a) for a, b in zip(used / budget, stop / budget, strict=True)]
        moved = np.array(level) * budget / np.maximum(cost, 1e-300)  # mean rate, for the part within the budget
        gradients = sampled_gradients(rng, eigenvalues, errors, noise, batch, GROUPS if measuring else 1)
        direction = adam.direction(gradients.mean(axis=1))
        errors -= (peak * np.sqrt(batch / saturation) * np.where(cost > 0, moved, 0.0))[:, None] * direction
        for rule, rows, size in zip(rules, gradients, batch, strict=True):
            rule.update(group_moments(rows, float(size)) if measuring else None)
        used = used + cost
    final = (eigenvalues * errors**2).sum(axis=1)
    return float(np.mean(np.where(np.isfinite(final), np.minimum(final, 1e6), 1e6)))


def constant(task: Tasks, factor: float) -> Callable[[], BatchSizeSchedule]:
    """A constant batch in units of B_sat."""
    return lambda: Constant(max(2, round(factor * float(task.saturation[0]))))


def goodput(task: Tasks, kappa: float) -> Callable[[], BatchSizeSchedule]:
    """With t0 and t1 known, from B_sat / 2 on, at most a hundredth of the budget."""
    saturation = float(task.saturation[0])
    low = max(GROUPS, round(saturation / 2))
    high = max(low, round(float(task.duration[0]) * saturation / 100))
    return lambda: Goodput(low, high, StepTime(1.0, 1 / saturation), kappa)


def best(values: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """Batch or kappa, and rate, with the least risk."""
    return min(values, key=lambda value: value[2])[:2]


def ratios(task: Tasks, path: LearningRatePath) -> tuple[list[float], float]:
    """Of every kappa the time over that of the best constant batch, and that batch in units of B_sat."""
    coarse = [(b, a, risk(task, constant(task, b), a, path, 0)) for b in BATCHES for a in RATES[::2]]
    batch, rate = best(coarse)
    near = [rate * 2.0**k for k in (-1, 0, 1)]
    around = [(batch * 2.0 ** (k / 2), a) for k in (-1, 0, 1) for a in near]
    batch, rate = best([(b, a, risk(task, constant(task, b), a, path, 1)) for b, a in around])
    curve = []
    for budget in BUDGETS:
        longer = task.at([0], budget)
        tried = [(batch, a, risk(longer, constant(task, batch), a, path, 1)) for a in near]
        curve.append(risk(longer, constant(task, batch), best(tried)[1], path, 2))
    found = []
    for kappa in KAPPAS:
        tried = [(kappa, a, risk(task, goodput(task, kappa), a, path, 1)) for a in RATES]
        chosen = best(tried)[1]
        wanted = np.array([risk(task, goodput(task, kappa), chosen, path, 2)])
        found.append(float(1 / budget_for(BUDGETS, np.array([curve]), wanted)[0]))
    return found, batch


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else TASKS
    print("python", *sys.argv, "\n")
    tasks = sobol_tasks(count, SEED)
    print(f"time over that of the best constant batch, {count} tasks, {REPLICAS} replicas")
    for name, path in PATHS.items():
        rows = [ratios(tasks.at([row], 0.5), path) for row in range(count)]
        print(f"{name}; best constant batch over B_sat: {np.median([row[1] for row in rows]):.2g} (median)")
        print(f"  {'':<14}{'mean':>8}{'90%':>8}{'worst':>8}")
        for place, kappa in enumerate(KAPPAS):
            values = np.array([row[0][place] for row in rows])
            columns = values.mean(), np.quantile(values, 0.9), values.max()
            print(f"  goodput {kappa:<6g}{''.join(f'{x:8.2f}' for x in columns)}", flush=True)


if __name__ == "__main__":
    main()
