"""Bound against measured, on one instance or on a population of candidates."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from adabatch.moments.hypotheses import HypothesisError
from simulate.attack.exact_run import ExactRun, runs
from simulate.attack.instance import Instance
from simulate.attack.targets import excluded, rule_of
from simulate.outcomes import Assertion
from simulate.streams import Array

__all__ = ["compare", "hypotheses", "measured_exactly", "ratios"]

MOST_IN_FRACTIONS = 40
"""Steps."""


def compare(instance: Instance) -> tuple[float, float, ExactRun]:
    """The expectation that is bounded, the bound, and the run.

    Raises:
        HypothesisError: where the bound does not apply.
        ValueError: if it returns what is not a positive number.
    """
    rule = rule_of(instance.bound)
    (run,) = runs(instance, rule.records(instance.steps))
    return run.expected(rule.measure(run)), rule.at(run), run


def measured_exactly(instance: Instance) -> Any:
    """The expectation that is bounded, as a fraction; roots have 256 bits.

    Raises:
        ValueError: for many steps: fractions become longer with each.
    """
    if instance.steps > MOST_IN_FRACTIONS:
        raise ValueError(f"in fractions at most {MOST_IN_FRACTIONS} steps can be measured, not {instance.steps}")
    rule = rule_of(instance.bound)
    (run,) = runs(instance.rational(), rule.records(instance.steps))
    return run.tree.expected(rule.measure(run))


def ratios(instance: Instance) -> Array:
    """bound / measured of each candidate; infinite where a hypothesis fails or nothing is measured.

    Raises:
        ValueError: if the bound returns what is not a positive number.
    """
    rule, found = rule_of(instance.bound), []
    with np.errstate(all="ignore"):
        for run in runs(instance, rule.records(instance.steps)):
            try:
                measured = run.expected(rule.measure(run))
                found.append(rule.at(run) / measured if measured > 0 else np.inf)
            except HypothesisError:
                found.append(np.inf)
    return np.array(found)


def hypotheses(run: ExactRun) -> list[Assertion]:
    """What bounds assume of the run of a single instance, found in its tree."""
    instance, objective, problem = run.instance, run.instance.objective, run.problem
    most = replace(problem, initial_gradient_norm=None).first_gradient_norm
    found = [
        Assertion("largest slope", float(np.abs(objective.slopes).max()), "<=", objective.smoothness),
        Assertion("||G_1||_1", float(problem.first_gradient_norm) * (1 - 1e-12), "<=", float(most)),
        Assertion("-(least probability)", -float(run.tree.probabilities.min()), "<=", 0.0),
        Assertion("total probability", float(run.tree.probabilities.sum()), "~", 1.0, 1e-12),
    ]
    outside = excluded(instance.bound)
    if not instance.averaged and "violated" in outside:
        found.append(Assertion("sd / |G|", float(instance.largest_deviation), "<=", instance.eta))
    if "floor" in outside:
        found.append(Assertion("floor of the test", float(instance.floor), "<=", 0.0))
    if "factors" in outside and instance.low_factors is not None and instance.high_factors is not None:
        least = min(1.0, *instance.low_factors.ravel(), *instance.high_factors.ravel())
        found.append(Assertion("clip factor", least, ">=", 1.0))
    return found
