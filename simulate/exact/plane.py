"""Batch rules against the optimum over the plane of source and capacity, at equal time.

The tasks are power laws lambda_i = i^-a, lambda_i c_i ~ i^-q: a is the capacity exponent, q the source's. At every
point of the plane each rule has the best of several peak rates, and the optimum the best batches and rates. What
is drawn is the rule's risk over the optimum's.

Example:
    >>> found = plane(Dynamics.SGD, side=2, rules=("constant 1", "ramp"), duration=20.0, iterations=4)
    >>> sorted(found.columns), len(found)
    (['capacity', 'method', 'ratio', 'rule', 'source'], 8)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulate.exact.contest import RULES, Build, peaks, run_contest
from simulate.exact.dynamics import Dynamics
from simulate.exact.optimum import BOTH, CONSTANT, optimize, start
from simulate.exact.tasks import RANGES, Tasks, power_law_tasks
from simulate.own_code import is_own, own_attribute
from simulate.table import Table

__all__ = ["DURATION", "OverOptimum", "chosen_rules", "over_optimum", "plane", "plane_tasks"]

NOISE, DURATION, SATURATION = 0.1, 300.0, 32.0
"""Of all tasks of a plane: label noise, budget in step times t0, and B_sat in samples."""


def chosen_rules(names: Sequence[str]) -> dict[str, Build]:
    """Rules by name, all if none is named; one with a colon is your own, from a module or a file.

    Args:
        names: of :data:`~simulate.exact.contest.RULES`, or as in ``mine.py:build``, a function of the tasks, a row
            of them and that row's learning rates that returns a fresh batch-size schedule.

    Raises:
        ValueError: for a name that is not known.
    """
    rules = {}
    for name in names or RULES:
        if not is_own(name) and name not in RULES:
            raise ValueError(f"unknown rule {name!r}; known: {', '.join(RULES)}; or your own, as in mine.py:build")
        rules[name] = own_attribute("rule", name) if is_own(name) else RULES[name]
    return rules


def plane_tasks(side: int, duration: float = DURATION) -> Tasks:
    """Tasks on a square grid over the ranges of both exponents, the source's running fastest.

    >>> len(plane_tasks(3))
    9
    """
    capacity, source = np.meshgrid(
        np.linspace(*RANGES["spectrum"], side), np.linspace(*RANGES["energy"], side), indexing="ij"
    )
    points = side * side
    return power_law_tasks(
        capacity.ravel(),
        source.ravel(),
        np.full(points, NOISE),
        np.full(points, duration),
        np.full(points, SATURATION),
    )


@dataclass(frozen=True, eq=False)
class OverOptimum:
    """Risks over that of the best batches and rates.

    Attributes:
        rules: each with the best of several peak rates on each task, [rules, tasks].
        constant: the best constant batch at its best constant rate, [tasks].
    """

    rules: NDArray[np.float64]
    constant: NDArray[np.float64]


def over_optimum(
    method: Dynamics,
    tasks: Tasks,
    rules: Mapping[str, Build],
    iterations: int = 40,
    advance: Callable[[float], None] = lambda fraction: None,
    seed: int = 0,
) -> OverOptimum:
    """Rules next to the optimum.

    Args:
        method: what makes a step.
        tasks: any.
        rules: by name.
        iterations: of L-BFGS.
        advance: told which fraction of the work is done.
        seed: of the moments that rules are told.
    """
    rates, count = peaks(method), len(tasks)
    risks, best = [], []
    noise = np.random.default_rng(seed)
    for name, build in rules.items():
        played = run_contest(method, tasks, {name: build}, rates, noise)
        risk = played.risk.reshape(count, len(rates))
        picked = np.arange(count) * len(rates) + risk.argmin(axis=1)
        risks.append(risk.min(axis=1))
        best.append(played.schedules(picked.tolist()))
        advance(0.5 / len(rules))
    begin = start(method, tasks)
    constant = optimize(method, tasks, CONSTANT, begin, iterations=iterations)
    # From the two rules with the best mean too: L-BFGS finds local optima.
    order = np.argsort(np.log(risks).mean(axis=1))[:2]
    starts = [begin, constant.schedules, *(best[i] for i in order)]
    optimum = optimize(method, tasks, BOTH, *starts, iterations=iterations)
    advance(0.5)
    return OverOptimum(np.array(risks) / optimum.risk, constant.risk / optimum.risk)


def plane(
    method: Dynamics,
    side: int,
    rules: Mapping[str, Build] | Sequence[str] = tuple(RULES),
    duration: float = DURATION,
    iterations: int = 40,
    advance: Callable[[float], None] = lambda fraction: None,
) -> Table:
    """Every rule's risk over the optimum's.

    Args:
        method: what makes a step.
        side: points along each exponent.
        rules: names of :data:`~simulate.exact.contest.RULES`, or rules of your own by name.
        duration: the budget in step times.
        iterations: of L-BFGS.
        advance: told which fraction of the work is done.

    Returns:
        Columns method, rule, capacity, source, ratio.
    """
    chosen = rules if isinstance(rules, Mapping) else chosen_rules(rules)
    ratios = over_optimum(method, plane_tasks(side, duration), chosen, iterations, advance).rules
    capacity = np.repeat(np.linspace(*RANGES["spectrum"], side), side)
    source = np.tile(np.linspace(*RANGES["energy"], side), side)
    return Table.of_rows(
        {
            "method": str(method),
            "rule": name,
            "capacity": capacity[point],
            "source": source[point],
            "ratio": ratios[i][point],
        }
        for i, name in enumerate(chosen)
        for point in range(side * side)
    )
