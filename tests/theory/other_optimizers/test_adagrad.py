"""Coordinate AdaGrad: the bound on exact expectations of small runs, and its hypotheses."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
import sympy

from adabatch.moments.hypotheses import HypothesisError
from theory.other_optimizers import adagrad
from theory.problem import Problem


def evaluate(function, smoothness=1.0, initial_gap=1.0, steps=1, **values):
    """The bound on plain keywords."""
    problem = Problem(smoothness=smoothness, dimension=1, initial_gap=initial_gap, steps=steps)
    return function(problem, **values)


def measured(alpha: float, eta: float, v0: float, steps: int, low: float) -> tuple[float, float]:
    """E sum G^2 / sqrt(v_{k-1} + G^2) and E log(v_K / v_0) on w^2 / 2 from w = 1, over all two-point paths."""
    probability = eta**2 / (eta**2 + (1 - low) ** 2)
    high = 1 + eta**2 / (1 - low)
    total = growth = 0.0
    for path in itertools.product((0, 1), repeat=steps):
        w, v, weight, run = 1.0, v0, 1.0, 0.0
        for bit in path:
            weight *= probability if bit else 1 - probability
            run += w * w / math.sqrt(v + w * w)
            g = w * (low if bit else high)
            v += g * g
            w -= alpha * g / math.sqrt(v)
        total += weight * run
        growth += weight * math.log(v / v0)
    return total, growth


@pytest.mark.parametrize("eta", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("v0", [1e-6, 0.1, 10.0])
@pytest.mark.parametrize("alpha", [0.05, 0.5])
def test_exact_expectations_stay_below_the_bound(eta: float, v0: float, alpha: float) -> None:
    total, growth = measured(alpha, eta, v0, steps=8, low=-0.01)
    bound = evaluate(
        adagrad.preconditioned_sum_bound,
        smoothness=1.0,
        initial_gap=0.5,
        step_size=alpha,
        eta=eta,
        log_growth=growth,
    )
    assert total <= bound.value


def test_against_fifty_digits() -> None:
    mpmath.mp.dps = 50
    eta = 1 - 1e-6
    bound = evaluate(
        adagrad.preconditioned_sum_bound, smoothness=3.0, initial_gap=2.0, step_size=0.1, eta=eta, log_growth=40.0
    )
    e = mpmath.mpf(eta)
    step = mpmath.mpf(0.1)
    exact = (1 + e**2) / ((1 - e**2) * step) * (2 + 3 * step**2 / 2 * 40)
    assert abs(bound.value - exact) <= 1e-9 * exact


def test_log_growth_over_the_last_axis() -> None:
    start, end = np.ones((2, 3)), np.full((2, 3), math.e)
    assert adagrad.accumulator_log_growth(start, end) == pytest.approx([3.0, 3.0])
    assert isinstance(adagrad.accumulator_log_growth([1.0], [2.0]), float)


def test_numbers_arrays_and_symbols_agree() -> None:
    names = ("smoothness", "initial_gap", "step_size", "eta", "log_growth")
    numbers = (2.0, 3.0, 0.1, 0.5, 7.0)
    symbols = dict(zip(names, sympy.symbols(names, positive=True), strict=True))
    plain = dict(zip(names, numbers, strict=True))
    number = evaluate(adagrad.preconditioned_sum_bound, **plain).value
    arrays = {name: np.array([value, value]) for name, value in plain.items()}
    assert evaluate(adagrad.preconditioned_sum_bound, **arrays).value == pytest.approx([number, number])
    point = {symbols[name]: value for name, value in plain.items()}
    assert float(evaluate(adagrad.preconditioned_sum_bound, **symbols).value.subs(point)) == pytest.approx(number)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"eta": 1.0}, "eta below 1"),
        ({"eta": -0.5}, "0 <= eta < 1"),
        ({"step_size": 0.0}, "step_size > 0"),
        ({"log_growth": -1.0}, "log_growth >= 0"),
        ({"smoothness": 0.0}, "smoothness > 0"),
        ({"initial_gap": -1.0}, "initial_gap"),
    ],
)
def test_a_violated_hypothesis_raises(changed: dict, message: str) -> None:
    arguments = {
        "smoothness": 1.0, "initial_gap": 1.0, "step_size": 0.1, "eta": 0.5, "log_growth": 1.0, **changed
    }  # fmt: skip
    with pytest.raises(HypothesisError, match=message):
        evaluate(adagrad.preconditioned_sum_bound, **arguments)


def test_accumulators_must_be_positive_and_grow() -> None:
    with pytest.raises(HypothesisError, match="v_0 > 0"):
        adagrad.accumulator_log_growth([0.0, 1.0], [1.0, 1.0])
    with pytest.raises(HypothesisError, match="v_K >= v_0"):
        adagrad.accumulator_log_growth([2.0], [1.0])
