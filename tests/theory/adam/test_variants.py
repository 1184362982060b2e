"""Epsilon, step multipliers and bias correction: exact constants, reductions, exact expectations."""

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
from theory.adam import theorem1, variants
from theory.adam.constants import momentum_amplification
from theory.adam.variants import StepMultipliers

mpmath.mp.dps = 50
PROBLEM = {"smoothness": 2.0, "dimension": 3, "initial_gap": 5.0, "steps": 100, "step_size": 0.01}
ADAM = {"beta1": 0.9, "beta2": 0.95, "eta": 0.2}


def test_plain_adam_is_the_special_case() -> None:
    plain = evaluate(theorem1.gradient_norm_sum_bound, **PROBLEM, **ADAM, sum_sqrt_v0=2.0)
    variant = evaluate(variants.gradient_norm_sum_bound, **PROBLEM, **ADAM, sum_sqrt_v0=2.0)
    assert variant.value == pytest.approx(plain.value, rel=1e-14)
    constant = variants.step_multipliers([1.0] * 2000, 0.9, 0.95)
    assert constant.amplification == pytest.approx(momentum_amplification(0.9, 0.95), rel=1e-12)


@pytest.mark.parametrize(("betas", "rho", "eta"), [((0.9, 0.95), 13.38, 0.2734), ((0.9, 0.999), 11.17, 0.299)])
def test_bias_correction_at_the_usual_betas(betas: tuple[float, float], rho: float, eta: float) -> None:
    constants = variants.bias_correction(*betas)
    assert constants.amplification == pytest.approx(rho, abs=5e-3)
    assert constants.largest_admissible_eta == pytest.approx(eta, abs=2e-4)
    limit = constants.largest_admissible_eta
    arguments = {**PROBLEM, "beta1": betas[0], "beta2": betas[1], "multipliers": constants}
    assert evaluate(variants.gradient_norm_sum_bound, **arguments, eta=limit * 0.999).value > 0
    with pytest.raises(HypothesisError, match="1 / rho_s"):
        evaluate(variants.gradient_norm_sum_bound, **arguments, eta=limit * 1.001)


@pytest.mark.parametrize(("beta1", "beta2"), [(0.9, 0.95), (0.9, 0.999), (0.5, 0.5), (0.0, 0.9), (0.8, 1 - 1e-6)])
def test_bias_correction_against_direct_sums_in_fifty_digits(beta1: float, beta2: float) -> None:
    b1, b2 = mpmath.mpf(beta1), mpmath.mpf(beta2)
    r = b1 / mpmath.sqrt(b2)
    s = [mpmath.sqrt(1 - b2**k) / (1 - b1**k) for k in range(1, 1201)]
    powers = [r**n for n in range(900)]
    direct = [
        sum(later * power for later, power in zip(s[j:], powers, strict=False)) / s[j] for j in range(0, 250, 3)
    ]
    constants = variants.bias_correction(beta1, beta2)
    assert all(value <= constants.amplification * (1 + 1e-12) for value in direct)
    assert max(direct) >= constants.amplification * (1 - 1e-3)
    assert all(constants.lowest * (1 - 1e-12) <= value <= constants.highest * (1 + 1e-12) for value in s)
    assert min(s) == pytest.approx(constants.lowest, rel=1e-12)


@pytest.mark.parametrize("steps", [1, 30, 400, 1201])
@pytest.mark.parametrize(("beta1", "beta2"), [(0.9, 0.95), (0.9, 0.999), (0.0, 0.9)])
def test_a_runs_own_bias_correction_against_direct_sums(beta1: float, beta2: float, steps: int) -> None:
    r = beta1 / beta2**0.5
    s = [(1 - beta2**k) ** 0.5 / (1 - beta1**k) for k in range(1, steps + 1)]
    direct = max(sum(s[i] * r ** (i - j) for i in range(j, min(j + 400, steps))) / s[j] for j in range(steps))
    own = variants.bias_correction(beta1, beta2, steps)
    assert own.amplification == pytest.approx(direct, rel=1e-9)
    assert (own.lowest, own.highest) == pytest.approx((min(s), max(s)), rel=1e-9)


def test_a_short_runs_bound_is_less_than_that_of_any_length() -> None:
    """At (.9, .999) and K = 100 the largest multiplier is .32, not 1."""
    given = {**PROBLEM, "steps": 100, "beta1": 0.9, "beta2": 0.999, "eta": 0.1}
    any_length, own = (
        evaluate(
            variants.gradient_norm_sum_bound, **given, multipliers=variants.bias_correction(0.9, 0.999, steps)
        )
        for steps in (None, 100)
    )
    assert own.constants["hi^2 Gamma"] < 0.11 * any_length.constants["hi^2 Gamma"]
    assert own.value < any_length.value


@given(st.integers(1, 10**9), st.floats(0, 0.999999), st.floats(1e-6, 1 - 1e-8))
@settings(deadline=None, max_examples=300)
def test_multiplier_keeps_its_digits(step: int, beta1: float, beta2: float) -> None:
    exact = mpmath.sqrt(1 - mpmath.mpf(beta2) ** step) / (1 - mpmath.mpf(beta1) ** step)
    assert abs(variants.bias_correction_multiplier(step, beta1, beta2) - exact) <= 1e-14 * exact


def test_multiplier_on_arrays_and_symbols() -> None:
    k, b1, b2 = sympy.symbols("k b1 b2", positive=True)
    formula = variants.bias_correction_multiplier(k, b1, b2)
    array = variants.bias_correction_multiplier(np.arange(1, 4), 0.9, 0.95)
    for step, value in zip(range(1, 4), array, strict=True):
        assert float(formula.subs({k: step, b1: 0.9, b2: 0.95})) == pytest.approx(value, rel=1e-12)
    assert variants.bias_correction_multiplier(np.arange(1, 3), 0.0, 0.0).tolist() == [1.0, 1.0]


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=30), st.floats(0, 0.95))
@settings(deadline=None, max_examples=200)
def test_recursion_against_the_sums(multipliers: list[float], ratio: float) -> None:
    found = variants.amplifications(multipliers, ratio)
    for j, value in enumerate(found):
        direct = sum(later * ratio**n for n, later in enumerate(multipliers[j:])) / multipliers[j]
        assert value == pytest.approx(direct, rel=1e-12)
    falling = variants.amplifications(sorted(multipliers, reverse=True), ratio)
    assert max(falling) <= (1 + 1e-12) / (1 - ratio)


@given(st.floats(0, 1e3), st.floats(1e-9, 1e3), st.floats(0, 1e3), st.integers(1, 10**6))
@settings(deadline=None, max_examples=200)
def test_epsilon_costs_at_most_what_is_said(epsilon: float, alpha: float, v0: float, steps: int) -> None:
    problem = {**PROBLEM, "step_size": alpha, "steps": steps}
    without = evaluate(variants.gradient_norm_sum_bound, **problem, **ADAM, sum_sqrt_v0=v0)
    with_epsilon = evaluate(variants.gradient_norm_sum_bound, **problem, **ADAM, sum_sqrt_v0=v0, epsilon=epsilon)
    extra = (with_epsilon.value - without.value) / steps
    cost = with_epsilon.terms["epsilon cost per step"]
    assert -1e-10 * without.value / steps <= extra <= cost + 1e-10 * with_epsilon.value / steps


def test_epsilon_cost_tends_to_zero_with_the_number_of_steps() -> None:
    costs = []
    for steps in (10**12, 10**16, 10**20):
        alpha = math.sqrt(5.0 / steps)
        problem = {**PROBLEM, "steps": steps, "step_size": alpha}
        costs.append(
            evaluate(variants.gradient_norm_sum_bound, **problem, **ADAM, epsilon=1.0).terms[
                "epsilon cost per step"
            ]
        )
    assert costs[0] / costs[1] == pytest.approx(10, rel=1e-6)  # K^(-1/4) at the best step size
    assert costs[1] / costs[2] == pytest.approx(10, rel=1e-6)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 1.0])
@pytest.mark.parametrize(("beta1", "beta2", "eta"), [(0.0, 0.5, 0.7), (0.5, 0.9, 0.4)])
def test_exact_expectations_of_bias_corrected_adam(beta1: float, beta2: float, eta: float, epsilon: float) -> None:
    """w^2 / 2, two-point noise, all 2^7 paths, Adam in its usual form with bias correction and epsilon."""
    steps, low, alpha = 7, -0.01, 0.2
    probability, high = eta**2 / (eta**2 + (1 - low) ** 2), 1 + eta**2 / (1 - low)
    expected = 0.0
    for path in itertools.product((0, 1), repeat=steps):
        w, m, v, total, weight = 1.0, 0.0, 0.0, 0.0, 1.0
        for k, bit in enumerate(path, start=1):
            total += abs(w)
            weight *= probability if bit else 1 - probability
            g = w * (low if bit else high)
            m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
            w -= alpha * (m / (1 - beta1**k)) / (math.sqrt(v / (1 - beta2**k)) + epsilon) if g else 0.0
        expected += weight * total
    multipliers = variants.step_multipliers(
        variants.bias_correction_multiplier(np.arange(1, steps + 1), beta1, beta2), beta1, beta2
    )
    problem = {"smoothness": 1.0, "dimension": 1, "initial_gap": 0.5, "steps": steps, "step_size": alpha}
    bound = evaluate(
        variants.gradient_norm_sum_bound,
        **problem,
        beta1=beta1,
        beta2=beta2,
        eta=eta,
        epsilon=epsilon,
        multipliers=multipliers,
    )
    assert expected <= bound.value


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"eta": 0.28}, "1 / rho_s"),
        ({"eta": -1.0}, "eta >= 0"),
        ({"epsilon": -1e-8}, "epsilon >= 0"),
        ({"step_size": 0.0}, "step_size > 0"),
        ({"sum_sqrt_v0": -1.0}, "sum_sqrt_v0"),
        ({"multipliers": StepMultipliers(13.0, 0.0, 1.0)}, "lowest multiplier > 0"),
        ({"beta2": 0.5}, "beta1 < sqrt"),
    ],
)
def test_a_violated_hypothesis_raises(changed: dict, message: str) -> None:
    with pytest.raises(HypothesisError, match=message):
        evaluate(variants.gradient_norm_sum_bound, **{**PROBLEM, **ADAM, **changed})


def test_degenerate_multipliers_raise() -> None:
    with pytest.raises(HypothesisError, match="warm-up must start above 0"):
        variants.step_multipliers([0.0, 0.5, 1.0], 0.9, 0.95)
    with pytest.raises(HypothesisError, match="at least one"):
        variants.step_multipliers([], 0.9, 0.95)
    with pytest.raises(HypothesisError, match="step >= 1"):
        variants.bias_correction_multiplier(0, 0.9, 0.95)
    with pytest.raises(ValueError, match="step_multipliers"):
        variants.bias_correction(0.99999999, 0.999999999)
