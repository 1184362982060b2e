"""SGD and relative errors: attained on quadratics, refuted without the hypotheses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from theory.other_optimizers import sgd
from theory.problem import Problem


def evaluate(function, smoothness=1.0, initial_gap=1.0, steps=1, **values):
    """The bound on plain keywords."""
    problem = Problem(smoothness=smoothness, dimension=1, initial_gap=initial_gap, steps=steps)
    return function(problem, **values)


def quadratic_sum(smoothness: float, alpha: float, second_moment: float, mean: float, steps: int) -> float:
    """sum_k E G_k^2 on L w^2 / 2 from w = 1 with g = X G, E X = ``mean``, E X^2 = ``second_moment``."""
    square, total = 1.0, 0.0
    for _ in range(steps):
        total += smoothness**2 * square
        square *= 1 - 2 * alpha * smoothness * mean + (alpha * smoothness) ** 2 * second_moment
    return total


@given(st.floats(0.01, 100), st.floats(0, 3), st.floats(0.01, 0.99), st.integers(1, 200))
@settings(deadline=None, max_examples=200)
def test_sgd_attains_the_bound_up_to_a_geometric_term(
    smoothness: float, eta: float, part: float, steps: int
) -> None:
    alpha = part * sgd.largest_step_size(smoothness, eta)
    bound = evaluate(
        sgd.average_squared_norm_bound,
        smoothness=smoothness,
        initial_gap=smoothness / 2,
        steps=steps,
        step_size=alpha,
        eta=eta,
    )
    measured = quadratic_sum(smoothness, alpha, 1 + eta**2, 1.0, steps) / steps
    q = 1 - 2 * alpha * smoothness + (alpha * smoothness) ** 2 * (1 + eta**2)
    assert measured == pytest.approx(bound.value * (1 - q**steps), rel=1e-8)
    assert bound.tight


@given(st.floats(0.01, 100), st.floats(0, 0.99), st.integers(1, 200), st.sampled_from([-1, 1]))
@settings(deadline=None, max_examples=200)
def test_relative_errors_attain_the_bound(smoothness: float, eta: float, steps: int, sign: int) -> None:
    bound = evaluate(
        sgd.relative_error_bound, smoothness=smoothness, initial_gap=smoothness / 2, steps=steps, eta=eta
    )
    measured = quadratic_sum(smoothness, 1 / smoothness, (1 + sign * eta) ** 2, 1 + sign * eta, steps) / steps
    assert measured == pytest.approx(bound.value * (1 - eta ** (2 * steps)), rel=1e-8)


def test_without_unbiasedness_the_sgd_bound_is_false() -> None:
    """g = (1 - eta) G meets the norm test, but moves too little."""
    eta, steps = 0.9, 200
    alpha = sgd.best_step_size(1.0, eta)
    bound = evaluate(
        sgd.average_squared_norm_bound, smoothness=1.0, initial_gap=0.5, steps=steps, step_size=alpha, eta=eta
    )
    measured = quadratic_sum(1.0, alpha, (1 - eta) ** 2, 1 - eta, steps) / steps
    assert measured > 5 * bound.value


def test_beyond_the_largest_step_sgd_diverges() -> None:
    alpha = 1.01 * sgd.largest_step_size(1.0, 0.5)
    assert quadratic_sum(1.0, alpha, 1.25, 1.0, 1000) > 1000 * quadratic_sum(1.0, alpha / 1.02, 1.25, 1.0, 1000)


def test_simple_form() -> None:
    for part in (0.1, 0.5, 1.0):
        alpha = part * sgd.best_step_size(2.0, 0.7)
        value = evaluate(
            sgd.average_squared_norm_bound, smoothness=2.0, initial_gap=3.0, steps=10, step_size=alpha, eta=0.7
        ).value
        simple = 2 * 3.0 / (alpha * 10)
        assert value <= simple * (1 + 1e-12)
    assert value == pytest.approx(simple)


def test_numbers_arrays_and_symbols_agree() -> None:
    names = ("smoothness", "initial_gap", "steps", "step_size", "eta")
    numbers = (2.0, 3.0, 10, 0.1, 0.5)
    symbols = dict(zip(names, sympy.symbols(names, positive=True), strict=True))
    plain = dict(zip(names, numbers, strict=True))
    arrays = {name: np.array([value, value]) for name, value in plain.items()}
    number = evaluate(sgd.average_squared_norm_bound, **plain).value
    assert evaluate(sgd.average_squared_norm_bound, **arrays).value == pytest.approx([number, number])
    point = {symbols[name]: value for name, value in plain.items()}
    assert float(evaluate(sgd.average_squared_norm_bound, **symbols).value.subs(point)) == pytest.approx(number)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"step_size": 0.8}, "supremum of the admissible values is step_size = 0.8"),
        ({"step_size": 0.0}, "positive step size"),
        ({"eta": -0.1}, "eta >= 0"),
        ({"smoothness": 0.0}, "smoothness > 0"),
        ({"initial_gap": -1.0}, "initial_gap"),
        ({"steps": 0}, "steps >= 1"),
        ({"step_size": math.nan}, "step_size"),
    ],
)
def test_a_violated_hypothesis_of_sgd_raises(changed: dict, message: str) -> None:
    arguments = {"smoothness": 2.0, "initial_gap": 1.0, "steps": 5, "step_size": 0.1, "eta": 0.5, **changed}
    with pytest.raises(HypothesisError, match=message):
        evaluate(sgd.average_squared_norm_bound, **arguments)


@pytest.mark.parametrize(
    ("eta", "message"), [(1.0, "below 1"), (-0.1, "0 <= eta"), (np.array([0.1, 2]), "below 1")]
)
def test_a_violated_hypothesis_of_relative_errors_raises(eta: float, message: str) -> None:
    with pytest.raises(HypothesisError, match=message):
        evaluate(sgd.relative_error_bound, smoothness=1.0, initial_gap=1.0, steps=1, eta=eta)
