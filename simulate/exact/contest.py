"""Batch rules with one setting for all tasks, run side by side on many of them.

Batches are given in units of B_sat, as somebody who knows the machine and not the task would. Learning rates fall
over the budget from a peak that belongs to B_sat; for the Adam-like step they follow the batch by the square
root, for SGD, whose best rates are near the edge of stability for every batch, they do not. Peak and path
are given, or the best of a grid for every rule and task.

Example:
    >>> from simulate.exact.tasks import sobol_tasks
    >>> tasks = sobol_tasks(2).at(range(2), 0.1)
    >>> found = contest(Dynamics.SGD, tasks, {name: RULES[name] for name in ("constant 1", "norm test 1")}, [0.2])
    >>> found["norm test 1"].shape
    (2,)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from adabatch.schedules import BatchSizeSchedule, Constant, LinearRamp, NormTest, Stagewise
from adabatch.schedules.exchange import Exchange, Seesaw
from adabatch.schedules.goodput import Goodput
from adabatch.schedules.late import Late
from adabatch.schedules.learning_rate import LearningRate
from adabatch.schedules.paths import LearningRatePath, Linear
from adabatch.schedules.step_times import StepTime
from simulate.exact.dynamics import Dynamics
from simulate.exact.rules import RuleRuns, budget_in_samples, fixed_rate, run_rules
from simulate.exact.tasks import Tasks

__all__ = ["RULES", "Build", "contest", "peaks", "run_contest"]

Array = NDArray[np.float64]

Build = Callable[[Tasks, int, LearningRate], BatchSizeSchedule]
"""A rule for a row of tasks; the rates are that row's, over its budget in samples where the rule must know it."""

GROWTH = 16
"""Rules that grow the batch may reach this many B_sat."""


def _batch(tasks: Tasks, row: int, factor: float) -> int:
    return max(2, round(factor * float(tasks.saturation[row])))


def _constant(factor: float) -> Build:
    return lambda tasks, row, rates: Constant(_batch(tasks, row, factor))


def _norm_test(eta: float) -> Build:
    def build(tasks: Tasks, row: int, rates: LearningRate) -> BatchSizeSchedule:
        low, high = _batch(tasks, row, 0.5), _batch(tasks, row, GROWTH)
        return NormTest(eta, low, high, estimator="debiased", max_growth=2.0, ema=0.9)

    return build


def _goodput(kappa: float) -> Build:
    def build(tasks: Tasks, row: int, rates: LearningRate) -> BatchSizeSchedule:
        saturation, low = float(tasks.saturation[row]), _batch(tasks, row, 0.5)
        high = max(low, round(float(tasks.duration[row]) * saturation / 100))
        return Goodput(low, high, StepTime(1.0, 1 / saturation), kappa)

    return build


def _late(tasks: Tasks, row: int, rates: LearningRate) -> BatchSizeSchedule:
    return Late(_batch(tasks, row, 1), _batch(tasks, row, 3), 0.75, rates.total_samples)


def _ramp(tasks: Tasks, row: int, rates: LearningRate) -> BatchSizeSchedule:
    return LinearRamp(_batch(tasks, row, 0.5), _batch(tasks, row, 4), rates.total_samples)


def _stagewise(tasks: Tasks, row: int, rates: LearningRate) -> BatchSizeSchedule:
    sizes = [_batch(tasks, row, factor) for factor in (0.5, 1, 2)]
    return Stagewise(sizes, [0.025, 0.025, 0.95], rates.total_samples)


def _seesaw(tasks: Tasks, row: int, rates: LearningRate) -> BatchSizeSchedule:
    return Seesaw(_batch(tasks, row, 1), _batch(tasks, row, GROWTH), rates)


def _exchange(share: float) -> Build:
    def build(tasks: Tasks, row: int, rates: LearningRate) -> BatchSizeSchedule:
        low, high = _batch(tasks, row, 1), _batch(tasks, row, GROWTH)
        return Exchange(low, high, rates, share, "sqrt" if rates.scaling.exponent else "linear")

    return build


RULES: dict[str, Build] = {
    **{f"constant {factor:g}": _constant(factor) for factor in (1, 2, 4)},
    "ramp": _ramp,
    "stagewise": _stagewise,
    "seesaw": _seesaw,
    "exchange 1/2": _exchange(0.5),
    "exchange 1": _exchange(1.0),
    "late": _late,
    **{f"norm test {eta:g}": _norm_test(eta) for eta in (0.7, 1)},
    **{f"goodput {kappa:g}": _goodput(kappa) for kappa in (1.4, 2)},
}
"""By name; factors are of B_sat."""

OF_BUDGET = frozenset({"ramp", "stagewise", "seesaw", "exchange 1/2", "exchange 1", "late"})
"""Those that are told their budget in samples."""


def peaks(method: Dynamics) -> list[float]:
    """Peak rates by factors of 2, enough for every task: the best ones of Adam-like steps differ 500-fold."""
    largest, count = (2.0, 7) if method is Dynamics.SGD else (1.28, 10)
    return [largest / 2**i for i in range(count)]


def _with_budget(
    build: Build, tasks: Tasks, row: int, rates: Callable[[int], LearningRate], samples: int
) -> BatchSizeSchedule:
    return build(tasks, row, rates(samples))


def run_contest(
    method: Dynamics,
    tasks: Tasks,
    rules: Mapping[str, Build],
    rates: Sequence[float],
    noise: np.random.Generator | None = None,
    path: LearningRatePath | None = None,
) -> RuleRuns:
    """Every rule on every task with every peak rate; rows in that order, the last one fastest.

    Args:
        method: what makes a step.
        tasks: one per row.
        rules: by name.
        rates: peaks.
        noise: of the moments; None: their expectations.
        path: of the rate; None: linear to 0.
    """
    scaling = "none" if method is Dynamics.SGD else "sqrt"
    built: list[BatchSizeSchedule] = []
    followed: list[LearningRate] = []
    for name, build in rules.items():
        for row in range(len(tasks)):
            reference = max(1, round(float(tasks.saturation[row])))

            def of(samples: int, peak: float = 1.0, reference: int = reference) -> LearningRate:
                return fixed_rate(peak, scaling, reference, path or Linear(), samples)

            samples = 10**9
            if name in OF_BUDGET:
                samples = budget_in_samples(tasks, row, partial(_with_budget, build, tasks, row, of))
            for peak in rates:
                own = of(samples, peak)
                followed.append(own)
                built.append(build(tasks, row, own))
    rows = np.tile(np.repeat(np.arange(len(tasks)), len(rates)), len(rules))
    return run_rules(method, tasks.at(rows), built, followed, noise)


def contest(
    method: Dynamics,
    tasks: Tasks,
    rules: Mapping[str, Build],
    rates: Sequence[float],
    noise: np.random.Generator | None = None,
    paths: Sequence[LearningRatePath] = (Linear(),),
) -> dict[str, Array]:
    """Final risks [tasks] by rule, each at the best of the rates and paths for that rule and task."""
    shape = len(rules), len(tasks), len(rates)
    risks = [run_contest(method, tasks, rules, rates, noise, path).risk.reshape(shape) for path in paths]
    return dict(zip(rules, np.min(risks, axis=(0, 3)), strict=True))
