"""Trees against a recursion in exact and in long arithmetic; near-tight rows, and what refuses them."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest

from simulate.attack.comparison import compare, hypotheses, measured_exactly, ratios
from simulate.attack.exact_run import averaged_eta
from simulate.attack.instance import Instance, near_tight_instances
from simulate.attack.targets import TARGETS, rule_of
from simulate.attack.tree import grow
from simulate.laboratory import BOUNDS
from simulate.optimizers import SGD
from theory.l1.costs import Kind

INSTANCES = near_tight_instances()


def gradient(instance: Instance, w: Any) -> Any:
    """G(w) within the cells, in the arithmetic of w."""
    width, slopes = Fraction(float(instance.width)), [Fraction(x) for x in instance.slopes.tolist()]
    cell, value = w // width, Fraction(float(instance.first))
    middle = len(slopes) // 2
    for k in range(abs(int(cell)) if cell < 0 else int(cell)):
        value += width * slopes[middle + k] if cell >= 0 else -width * slopes[middle - 1 - k]
    return value + slopes[middle + int(cell)] * (w - cell * width)


def test_stochastic_gradient_descent_in_rationals() -> None:
    instance = Instance(
        bound="sgd",
        optimizer="sgd",
        eta=0.5,
        smoothness=2.0,
        step_size=0.25,
        width=0.75,
        first=3.0,
        slopes=[1.0, -0.5, 2.0, 1.5, 2.0, 1.0, -1.0, 0.25],
        below=[[0.5, 0.5], [0.25, 0.5], [0.5, 0.125]],
        above=[[0.5, 0.5], [0.5, 0.5], [0.25, 0.5]],
    )

    def squares(w: Fraction, step: int) -> Fraction:
        """sum of E G^2 from this step on; SGD has no momentum, so the first law holds."""
        if step == instance.steps:
            return Fraction(0)
        g = gradient(instance, w)
        below, above = (Fraction(float(table[step, 0])) for table in (instance.below, instance.above))
        low, high = (w - Fraction(1, 4) * g * x for x in (1 - below, 1 + above))
        later = below * squares(high, step + 1) + above * squares(low, step + 1)
        return g**2 + later / (below + above)

    exact = squares(Fraction(0), 0) / instance.steps
    measured, bound, _run = compare(instance)
    assert measured == pytest.approx(float(exact), rel=2e-12)  # the bound's own allowance for rounding
    assert measured_exactly(instance) == exact * Fraction(1 - 1e-12)
    assert exact <= Fraction(bound)


def test_adam_with_forty_digits() -> None:
    instance = next(i for i in INSTANCES if i.bound == "theorem-1-plain" and i.beta1 > 0)
    with mpmath.workdps(40):
        beta1, beta2, alpha = (mpmath.mpf(x) for x in (instance.beta1, instance.beta2, instance.step_size))

        def later(w: Any, m: Any, v: Any, step: int) -> Any:
            if step == instance.steps:
                return mpmath.mpf(0)
            g = mpmath.mpf(float(instance.objective.gradient(np.array([float(w)]))[0]))
            law = int(m * g < 0)
            below, above = (mpmath.mpf(float(t[step, law])) for t in (instance.below, instance.above))
            sizes, chances = ([1 - below, 1 + above], [above, below]) if below + above else ([1], [1])
            total = abs(g)
            for x, chance in zip(sizes, chances, strict=True):
                first, second = beta1 * m + (1 - beta1) * g * x, beta2 * v + (1 - beta2) * (g * x) ** 2
                move = alpha * first / mpmath.sqrt(second) if second else 0
                total += chance / sum(chances) * later(w - move, first, second, step + 1)
            return total

        exact = instance.dimension * later(mpmath.mpf(0), mpmath.mpf(0), mpmath.mpf(float(instance.v0)), 0)
    assert compare(instance)[0] == pytest.approx(float(exact), rel=1e-12)
    assert float(measured_exactly(instance)) == pytest.approx(float(exact), rel=1e-15)


def test_value_falls_by_the_gap_and_has_the_gradient() -> None:
    for instance in [i for i in INSTANCES if not i.quiet][::5]:
        objective = instance.objective
        reach = float(instance.width) * len(instance.slopes) + float(abs(instance.first))
        near = reach * np.linspace(-1, 1, 20_001) ** 3  # scales differ by far
        points = np.concatenate([near, [-1e6 * reach, 1e6 * reach]])
        values, heights = objective.value(points), objective.gradient(points)
        assert -values.min() == pytest.approx(float(objective.gap), rel=1e-3)
        rises = (heights[1:-2] + heights[:-3]) / 2 * np.diff(near)
        assert np.diff(values[:-2]) == pytest.approx(rises, abs=1e-3 * reach * np.diff(near).max())


def test_a_population_is_its_candidates() -> None:
    chosen = [i for i in INSTANCES if i.bound == "theorem-1-plain" and i.steps == INSTANCES[0].steps]
    names = ("width", "first", "slopes", "below", "above", "v0")
    together = replace(chosen[0], **{name: np.stack([getattr(i, name) for i in chosen]) for name in names})
    alone = [grow(together.candidate(i), SGD(0.1)).gradient_norms for i in range(len(chosen))]
    assert grow(together, SGD(0.1)).gradient_norms == pytest.approx(np.stack(alone), rel=1e-13)


def test_quiet_steps_are_steps_without_noise() -> None:
    instance = next(i for i in INSTANCES if i.bound == "schedule" and not i.quiet)
    tables = {name: np.concatenate([getattr(instance, name), np.zeros((3, 2))]) for name in ("below", "above")}
    multipliers = np.concatenate([instance.multipliers, [instance.multipliers[-1]] * 3])
    assert (
        compare(replace(instance, quiet=3))[:2]
        == compare(replace(instance, multipliers=multipliers, **tables))[:2]
    )


def test_every_bound_has_a_row_that_replays() -> None:
    rules = {rule_of(instance.bound).name for instance in INSTANCES}
    theorems = {name for name in BOUNDS if name != "guarantee"}  # the least of three that are there
    assert rules == theorems | set(TARGETS)
    assert min(instance.ratio for instance in INSTANCES) < 1.001
    for instance in INSTANCES:
        again = Instance.of_dict(json.loads(json.dumps(instance.to_dict())))
        assert compare(again)[:2] == compare(instance)[:2]


def test_no_bound_ignores_epsilon() -> None:
    """Steps become small, and sums of gradient norms large: a bound allows for it, or refuses."""
    refused = set()
    for instance in INSTANCES:
        if instance.optimizer not in ("sgd", "adagrad"):
            for epsilon in (1.0, 1000.0):
                ratio = ratios(replace(instance, epsilon=np.array(epsilon)))
                assert (ratio >= 1 - 1e-12).all(), instance.bound
                refused |= {rule_of(instance.bound).name} if np.isinf(ratio).all() else set()
    assert {"clipping", "l1-test", "scalar-test", "weight-decay"} <= refused
    assert not {"theorem-1", "theorem-2", "theorem-3-l1", "schedule"} & refused


def test_a_bound_that_is_a_tenth_too_small_is_broken() -> None:
    tight = [instance for instance in INSTANCES if instance.ratio < 1.1]
    tightest = {"theorem-1-plain", "log-growth", "adagrad", "sgd", "steps-to-goal"}
    assert {rule_of(instance.bound).name for instance in tight} >= tightest
    for instance in tight:
        measured, bound, _run = compare(instance)
        assert bound / 1.1 < measured <= bound * (1 + 1e-12), instance.bound


def test_noise_beyond_the_test_is_no_evidence() -> None:
    instance = next(i for i in INSTANCES if i.bound == "theorem-1-plain")
    noisier = replace(instance, above=instance.above * 1.01)
    assert all(a.holds for a in hypotheses(compare(instance)[2]))
    assert not all(a.holds for a in hypotheses(compare(noisier)[2]))
    assert not all(a.holds for a in hypotheses(compare(replace(instance, floor=1.0))[2]))
    clipped = replace(
        instance, low_factors=np.full_like(instance.below, 0.5), high_factors=np.ones_like(instance.below)
    )
    assert not all(a.holds for a in hypotheses(compare(clipped)[2]))
    steeper = replace(instance, slopes=instance.slopes * 1.01)
    assert not all(a.holds for a in hypotheses(compare(steeper)[2]))


def test_the_averaged_ratio_of_a_constant_deviation() -> None:
    instance = next(i for i in INSTANCES if i.bound == "theorem-3-l1")
    level = replace(instance, below=np.full_like(instance.below, 0.5), above=np.full_like(instance.above, 0.5))
    run = compare(level)[2]
    for kind in Kind:
        assert float(averaged_eta(level, run.tree, kind)) == pytest.approx(0.5)
    assert run.eta == pytest.approx(0.5)
