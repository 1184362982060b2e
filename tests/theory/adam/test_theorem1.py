"""The corrected Theorem 1: against mpmath, in its limits, and against exact expectations of small runs."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from tests.support.parameters import evaluate
from theory.adam import theorem1
from theory.adam.constants import normalized_step_bound
from theory.problem import AdamParameters

mpmath.mp.dps = 50
PROBLEM = {"smoothness": 2.0, "dimension": 3, "initial_gap": 5.0, "steps": 100}
ADAM = {"beta1": 0.9, "beta2": 0.95, "eta": 0.2}


@st.composite
def settings_of_theorem(draw) -> dict[str, float]:
    """Every hypothesis met, with eta^2 at most 0.99 (1 - r) and at least 0."""
    beta2 = 1 - 10.0 ** -draw(st.floats(0.05, 8)) if draw(st.booleans()) else 10.0 ** -draw(st.floats(0.01, 8))
    beta1 = (1 - 10.0 ** -draw(st.floats(0, 4))) * math.sqrt(beta2)
    eta = math.sqrt(draw(st.floats(0, 0.99)) * (1 - beta1 / math.sqrt(beta2)))
    return {
        "smoothness": 10.0 ** draw(st.floats(-9, 9)),
        "dimension": draw(st.integers(1, 10**13)),
        "initial_gap": draw(st.one_of(st.just(0.0), st.floats(1e-12, 1e12))),
        "steps": draw(st.integers(1, 10**15)),
        "beta1": beta1,
        "beta2": beta2,
        "eta": eta,
    }


start_sums = st.one_of(st.just(0.0), st.floats(1e-12, 1e12))


def twin(step_size=None, sum_sqrt_v0=0.0, *, smoothness, dimension, initial_gap, steps, beta1, beta2, eta):
    """Qbar, S and S / K at the step size, or at the best one, in 50 digits and as the theorem prints them."""
    lips, d, gap, k = (mpmath.mpf(v) for v in (smoothness, dimension, initial_gap, steps))
    b1, b2, noise = mpmath.mpf(beta1), mpmath.mpf(beta2), mpmath.mpf(eta)
    r, c, q2 = b1 / mpmath.sqrt(b2), 1 - b2, mpmath.sqrt(b2)
    kappa = (1 - noise**2 / (1 - r)) / (1 + noise**2)
    gamma2 = 1 / (2 * (1 - r**2)) + r / ((1 - r) ** 2 * mpmath.sqrt(1 - r**2))
    drift = (1 - b1) ** 2 / c * gamma2
    growth = mpmath.sqrt(c) * (1 + mpmath.sqrt(1 + noise**2) * q2 / (1 - q2))
    start = q2 / (1 - q2) * mpmath.mpf(sum_sqrt_v0)
    leading = 2 * mpmath.sqrt(gamma2) / kappa * growth / mpmath.sqrt(c) * mpmath.sqrt(lips * d * gap / k)
    average = leading + start / (growth * k)
    if step_size is None:
        return average
    alpha = mpmath.mpf(step_size)
    q = (gap / alpha + alpha * k * lips * d * drift) / ((1 - b1) * kappa)
    return q, (growth * q + mpmath.sqrt(growth**2 * q**2 + 4 * start * q)) / 2


@given(settings_of_theorem(), st.floats(-12, 3), start_sums)
@settings(deadline=None, max_examples=300)
def test_bounds_against_fifty_digits(problem: dict, log_step: float, v0: float) -> None:
    alpha = 10.0**log_step
    q, total = twin(alpha, v0, **problem)
    first = evaluate(theorem1.preconditioned_sum_bound, **problem, step_size=alpha)
    second = evaluate(theorem1.gradient_norm_sum_bound, **problem, step_size=alpha, sum_sqrt_v0=v0)
    third = evaluate(theorem1.average_gradient_norm_bound, **problem, sum_sqrt_v0=v0)
    assert abs(first.value - q) <= 1e-11 * q
    assert abs(second.value - total) <= 1e-11 * total
    exact = twin(None, v0, **problem)
    assert abs(third.value - exact) <= 1e-11 * exact
    assert first.terms["gap"] + first.terms["drift"] == pytest.approx(first.value, rel=1e-14)


@given(settings_of_theorem(), start_sums)
@settings(deadline=None, max_examples=200)
def test_the_best_step_size_is_best_and_gives_bound_3(problem: dict, v0: float) -> None:
    if problem["initial_gap"] == 0:
        with pytest.raises(HypothesisError, match="initial_gap > 0"):
            evaluate(theorem1.best_step_size, **{k: v for k, v in problem.items() if k != "eta"})
        return
    best = evaluate(theorem1.best_step_size, **{k: v for k, v in problem.items() if k != "eta"})
    at_best = evaluate(theorem1.gradient_norm_sum_bound, **problem, step_size=best, sum_sqrt_v0=v0).value
    for factor in (0.5, 0.9, 1.1, 2.0):
        other = evaluate(
            theorem1.gradient_norm_sum_bound, **problem, step_size=best * factor, sum_sqrt_v0=v0
        ).value
        assert other >= at_best * (1 - 1e-12)
    average = evaluate(theorem1.average_gradient_norm_bound, **problem, sum_sqrt_v0=v0).value
    assert average >= at_best / problem["steps"] * (1 - 1e-12)
    if v0 == 0:
        assert average == pytest.approx(at_best / problem["steps"], rel=1e-11)


@given(settings_of_theorem(), st.sampled_from(["smoothness", "dimension", "initial_gap", "eta", "steps"]))
@settings(deadline=None, max_examples=300)
def test_monotone(problem: dict, name: str) -> None:
    larger = dict(problem)
    if name == "eta":
        larger["eta"] = problem["eta"] * 1.001
        if larger["eta"] ** 2 >= 0.995 * (1 - problem["beta1"] / math.sqrt(problem["beta2"])):
            return
    else:
        larger[name] = problem[name] * 2
    before = evaluate(theorem1.gradient_norm_sum_bound, **problem, step_size=0.01, sum_sqrt_v0=1.0).value
    after = evaluate(theorem1.gradient_norm_sum_bound, **larger, step_size=0.01, sum_sqrt_v0=1.0).value
    assert after >= before * (1 - 1e-13)
    v0 = 0.0 if name == "eta" else 1.0
    average = evaluate(theorem1.average_gradient_norm_bound, **problem, sum_sqrt_v0=v0).value
    other = evaluate(theorem1.average_gradient_norm_bound, **larger, sum_sqrt_v0=v0).value
    assert other <= average if name == "steps" else other >= average * (1 - 1e-13)


def test_bound_3_may_fall_with_eta_where_v0_dominates() -> None:
    """Its term A / (B K) falls with B, so that it is a coarser bound there than (2), which does not."""
    problem = {**PROBLEM, "initial_gap": 1e-9, "beta1": 0.0, "beta2": 0.9}
    less, more = ({**problem, "eta": eta} for eta in (0.1, 0.5))
    averages = [evaluate(theorem1.average_gradient_norm_bound, **p, sum_sqrt_v0=1.0).value for p in (less, more)]
    sums = [
        evaluate(theorem1.gradient_norm_sum_bound, **p, sum_sqrt_v0=1.0, step_size=1e-6).value
        for p in (less, more)
    ]
    assert averages[1] < averages[0]
    assert sums[1] > sums[0]
    assert sums[1] / problem["steps"] < averages[1] / 2


def test_sign_descent_limit() -> None:
    values = [
        evaluate(
            theorem1.average_gradient_norm_bound, **PROBLEM, beta1=0.0, beta2=b2, eta=0.0, sum_sqrt_v0=2.0
        ).value
        for b2 in (1e-2, 1e-6, 1e-12, 1e-24)
    ]
    expected = math.sqrt(2 * 2.0 * 3 * 5.0 / 100)
    errors = np.abs(np.array(values) - expected)
    assert (np.diff(errors) < 0).all()
    assert values[-1] == pytest.approx(expected, rel=1e-10)


def test_rmsprop_is_beta1_zero() -> None:
    constants = theorem1.theorem_constants(AdamParameters(beta1=0.0, beta2=0.9, eta=0.6))
    assert constants["rho"] == pytest.approx(1)
    assert constants["kappa"] == pytest.approx((1 - 0.36) / 1.36)
    assert constants["Gamma"] == pytest.approx(1 / (2 * 0.1))
    assert theorem1.largest_admissible_eta(0.0, 0.9) == pytest.approx(1)


def test_admissible_eta_at_the_usual_betas() -> None:
    assert theorem1.largest_admissible_eta(0.9, 0.95) == pytest.approx(0.2768, abs=5e-5)
    assert theorem1.largest_admissible_eta(0.9, 0.999) == pytest.approx(0.3155, abs=5e-5)


def test_numbers_arrays_and_symbols_agree() -> None:
    names = ("smoothness", "dimension", "initial_gap", "steps", "beta1", "beta2", "eta", "sum_sqrt_v0")
    numbers = (2.0, 3, 5.0, 100, 0.9, 0.95, 0.2, 0.7)
    symbols = dict(zip(names, sympy.symbols(names, positive=True), strict=True))
    point = {symbols[name]: number for name, number in zip(names, numbers, strict=True)}
    plain = dict(zip(names, numbers, strict=True))
    arrays = {name: np.array([number, number]) for name, number in plain.items()}
    alpha = sympy.Symbol("alpha", positive=True)
    for function, with_step in (
        (theorem1.gradient_norm_sum_bound, True),
        (theorem1.average_gradient_norm_bound, False),
    ):
        step = {"step_size": 0.01} if with_step else {}
        number = evaluate(function, **plain, **step).value
        array = evaluate(function, **arrays, **step).value
        formula = evaluate(function, **symbols, **({"step_size": alpha} if with_step else {})).value
        assert array == pytest.approx([number, number], rel=1e-15)
        assert float(formula.subs(point).subs(alpha, 0.01)) == pytest.approx(number, rel=1e-11)


def test_integer_arrays_do_not_overflow() -> None:
    problem = {"smoothness": 10**6, "dimension": np.array([10**13]), "initial_gap": 1, "steps": np.array([10**15])}
    value = evaluate(theorem1.gradient_norm_sum_bound, **problem, step_size=1, **ADAM).value
    plain = {"smoothness": 1e6, "dimension": 1e13, "initial_gap": 1.0, "steps": 1e15}
    assert value[0] == pytest.approx(
        evaluate(theorem1.gradient_norm_sum_bound, **plain, step_size=1.0, **ADAM).value
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"eta": 0.3}, "supremum of the admissible values is eta = 0.276802"),
        ({"eta": -0.1}, "eta >= 0"),
        ({"eta": math.nan}, "eta >= 0"),
        ({"beta1": 0.98}, "beta1 < sqrt"),
        ({"beta2": 1.0}, "beta2 < 1"),
        ({"step_size": 0.0}, "step_size > 0"),
        ({"sum_sqrt_v0": -1.0}, "sum_sqrt_v0"),
        ({"steps": 0}, "steps >= 1"),
        ({"dimension": 0}, "dimension >= 1"),
        ({"smoothness": -1.0}, "smoothness > 0"),
        ({"initial_gap": -1.0}, "initial_gap"),
        ({"eta": np.array([0.1, 0.5])}, "1 - beta1 / sqrt"),
    ],
)
def test_a_violated_hypothesis_raises(changed: dict, message: str) -> None:
    arguments = {**PROBLEM, **ADAM, "step_size": 0.1, "sum_sqrt_v0": 0.0, **changed}
    with pytest.raises(HypothesisError, match=message):
        evaluate(theorem1.gradient_norm_sum_bound, **arguments)


def test_no_gap_no_start_no_bound() -> None:
    problem = {**PROBLEM, "initial_gap": 0.0}
    assert evaluate(theorem1.average_gradient_norm_bound, **problem, **ADAM).value == 0.0
    with pytest.raises(HypothesisError, match="initial_gap > 0"):
        evaluate(theorem1.predicted_rate, **problem, **ADAM)


@pytest.mark.parametrize("v0", [0.0, 1.0, 1e6])
def test_predicted_rate_is_the_slope(v0: float) -> None:
    slope = evaluate(theorem1.predicted_rate, **PROBLEM, **ADAM, sum_sqrt_v0=v0)
    low, high = (
        evaluate(theorem1.average_gradient_norm_bound, **{**PROBLEM, "steps": k}, **ADAM, sum_sqrt_v0=v0).value
        for k in (100 * 0.9999, 100 * 1.0001)
    )
    assert slope == pytest.approx((math.log(high) - math.log(low)) / math.log(1.0001 / 0.9999), abs=1e-6)
    assert -1 <= slope <= -0.5


def quadratic_run(beta1: float, beta2: float, alpha: float, noises, start: float = 1.0) -> list[float]:
    """|G_k| of Adam on w^2 / 2 with g_k = X_k G_k and v_0 = 0."""
    w, m, v, norms = start, 0.0, 0.0, []
    for noise in noises:
        norms.append(abs(w))
        g = w * noise
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        w -= alpha * (m / math.sqrt(v) if v > 0 else 0.0)
    return norms


def test_nearly_attained_by_sign_descent() -> None:
    """beta2 = 1e-8, eta = 0 on a quadratic: the bound holds, and one 3% smaller would be violated."""
    steps = 100
    problem = {"smoothness": 1.0, "dimension": 1, "initial_gap": 0.5, "steps": steps}
    alpha = evaluate(theorem1.best_step_size, **problem, beta1=0.0, beta2=1e-8)
    measured = sum(quadratic_run(0.0, 1e-8, alpha, [1.0] * steps))
    bound = evaluate(
        theorem1.gradient_norm_sum_bound, **problem, step_size=alpha, beta1=0.0, beta2=1e-8, eta=0.0
    ).value
    assert measured <= bound
    assert measured > 0.97 * bound


@pytest.mark.parametrize(("beta1", "beta2", "eta"), [(0.0, 1e-6, 0.3), (0.0, 0.5, 0.7), (0.5, 0.9, 0.5)])
@pytest.mark.parametrize("alpha", [0.1, 0.3, 1.0])
def test_exact_expectations_stay_below_bound_2(beta1: float, beta2: float, eta: float, alpha: float) -> None:
    """Two-point noise {-0.01, high} with mean 1 and variance eta^2: all 2^8 paths, weighted."""
    steps, low = 8, -0.01
    probability = eta**2 / (eta**2 + (1 - low) ** 2)
    high = 1 + eta**2 / (1 - low)
    expected = 0.0
    for path in itertools.product((0, 1), repeat=steps):
        weight = math.prod(probability if bit else 1 - probability for bit in path)
        expected += weight * sum(quadratic_run(beta1, beta2, alpha, [low if bit else high for bit in path]))
    problem = {"smoothness": 1.0, "dimension": 1, "initial_gap": 0.5, "steps": steps, "step_size": alpha}
    bound = evaluate(theorem1.gradient_norm_sum_bound, **problem, beta1=beta1, beta2=beta2, eta=eta)
    assert expected <= bound.value


@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30), st.floats(0, 0.99), st.floats(0.05, 0.9999))
@settings(deadline=None, max_examples=200)
def test_lemma_l1_on_any_gradients(gradients: list[float], ratio: float, beta2: float) -> None:
    beta1, m, v = ratio * math.sqrt(beta2), 0.0, 0.0
    bound = normalized_step_bound(beta1, beta2)
    for g in gradients:
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        assert abs(m) <= bound * math.sqrt(v) * (1 + 1e-9) + 1e-150
