from __future__ import annotations

import math
from dataclasses import replace
from functools import partial

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from theory.audit.checks.adam_runs import deterministic_adam
from theory.audit.corrected_adam import best_sigma, corrected_bound, largest_root_bound, scaled_bound
from theory.audit.published_adam import (
    PublishedProblem,
    UndefinedExpressionError,
    combine,
    first_constant,
    largest_published_beta1,
    lemma_b1_bound,
    lemma_b1_sum,
    lemma_b2_first,
    lemma_b2_second,
    published_bound,
    published_constants,
)
from theory.problem import AdamParameters, Problem


def run_of(beta1, beta2, eta, smoothness, alpha, v0, gradient, steps=10, gap=1.0) -> PublishedProblem:
    problem = Problem(smoothness=smoothness, dimension=len(v0), initial_gap=gap, steps=steps)
    adam = AdamParameters(beta1=beta1, beta2=beta2, eta=eta, step_size=alpha)
    return PublishedProblem(problem, adam, v0, gradient)


def with_problem(run: PublishedProblem, **values) -> PublishedProblem:
    return replace(run, problem=replace(run.problem, **values))


PROBLEM = run_of(0.5, 0.99, 0.5, 2.0, 0.1, np.array([1.0, 4.0]), np.array([0.3, -2.0]))


def slow_bound(p: PublishedProblem, sigma: float, corrected: bool = False, gap: float = 1.0) -> mpmath.mpf:
    """(B.2) retyped from the paper, with 50 digits; the three corrections on demand."""
    with mpmath.workdps(50):
        b1, b2, eta, big_l, al, s = map(
            mpmath.mpf, (p.adam.beta1, p.adam.beta2, p.adam.eta, p.problem.smoothness, p.adam.alpha, sigma)
        )
        d, k, tau2, r, c = len(p.v0), p.problem.steps, 1 + eta**2, b1 / mpmath.sqrt(b2), 1 - b2
        q = tau2 if corrected else s**2
        c1 = 32 * big_l * al * (1 + r) ** 3 / (c * (1 - r) ** 3)
        c1 += 16 * b1**2 * s * (1 - b1) / (b2 * mpmath.sqrt(c) * (1 - r) ** 3)
        c1 += 64 * (1 + q) * q * big_l**2 * al**2 * d / (b2**2 * (1 - r) ** 4 * s * c ** mpmath.mpf("1.5"))
        c2 = 8 * (1 - r) / (al * (1 - b1)) * gap
        for v, g in zip(map(mpmath.mpf, p.v0.tolist()), map(mpmath.mpf, p.gradient.tolist()), strict=True):
            c2 += 32 / (b2 * (1 - r) ** 2) * g**2 / mpmath.sqrt(b2 * v + c * s**2)
            c2 += 2 * c1 * (mpmath.log(1 / mpmath.sqrt(b2 * v)) - k * mpmath.log(b2))
        x = d * tau2 * c1 / mpmath.sqrt(b2)
        z = 2 * (k + 1) * sum(mpmath.sqrt(v + s**2) for v in p.v0.tolist())
        z += 24 * x * mpmath.log(24 * x / mpmath.e if corrected else x) + 12 * tau2 * c2 / mpmath.sqrt(b2)
        return mpmath.sqrt(c2 + 2 * c1 * d * mpmath.log(z)) * mpmath.sqrt(z)


@settings(deadline=None, max_examples=60)
@given(
    beta1=st.floats(0.01, 0.7),
    beta2=st.floats(0.985, 0.9999),
    eta=st.floats(0, 0.8),
    smoothness=st.floats(1e-3, 1e3),
    alpha=st.floats(1e-4, 10),
    sigma=st.floats(1e-3, 100),
    steps=st.integers(1, 10**6),
)
def test_bounds_against_fifty_digits(beta1, beta2, eta, smoothness, alpha, sigma, steps) -> None:
    problem = run_of(beta1, beta2, eta, smoothness, alpha, PROBLEM.v0, PROBLEM.gradient, steps, 3.0)
    expected = slow_bound(problem, sigma)
    if mpmath.im(expected) == 0:
        assert published_bound(problem, sigma).value == pytest.approx(float(expected), rel=1e-8)
    else:
        with pytest.raises(UndefinedExpressionError):
            published_bound(problem, sigma)
    corrected = corrected_bound(problem, sigma).value
    assert corrected == pytest.approx(float(slow_bound(problem, sigma, True, 3.0)), rel=1e-8)


def test_the_counterexample_of_theorem_b1() -> None:
    scale, start = 1e6, 1e7

    def derivative(w: float) -> float:
        return w / math.hypot(scale, w)

    gradient, gap = np.array([derivative(start)]), math.hypot(scale, start) - scale
    for steps, total, bound in ((1000, 995.0367, 760.9898), (10_000, 9950.3226, 1875.597)):
        run = deterministic_adam(derivative, start, 1.0, 0.5, 0.99, 1.0, steps)
        assert run.gradient_sum == pytest.approx(total, abs=1e-3)
        problem = run_of(0.5, 0.99, 0.5, 1 / scale, 1.0, np.ones(1), gradient, steps, gap)
        value = published_bound(problem, 1e-6).value
        assert value == pytest.approx(bound, abs=1e-3)
        assert run.gradient_sum > value
        assert run.gradient_sum <= corrected_bound(problem, 1e-6).value


def test_deterministic_adam_against_arrays() -> None:
    w, m, v = np.array(2.0), np.array(0.0), np.array(0.0)
    total = 0.0
    for _ in range(50):
        g = np.tanh(w)
        total += abs(g)
        m, v = 0.9 * m + 0.1 * g, 0.95 * v + 0.05 * g * g
        w = w - 0.03 * m / np.sqrt(v)
    run = deterministic_adam(math.tanh, 2.0, 0.03, 0.9, 0.95, 0.0, 50)
    assert run.position == pytest.approx(float(w))
    assert run.gradient_sum == pytest.approx(float(total))
    assert deterministic_adam(lambda w: 0.0, 1.0, 0.1, 0.9, 0.95, 0.0, 3).position == 1.0


def test_undefined_expressions_are_named() -> None:
    # The counterexample of Lemma B.4: Z is negative, so (B.2) has no value.
    tiny = run_of(0.5, 0.999, 0.2, 1e-14, 1e3, np.ones(1), np.array([1e-14]), 1)
    total = published_constants(tiny, 10**-3.5)["Z"]
    assert total == pytest.approx(-3.0658, abs=1e-4)
    with pytest.raises(UndefinedExpressionError, match=r"log Z is undefined: its argument is -3.0657"):
        published_bound(tiny, 10**-3.5)
    with pytest.raises(ValueError, match="undefined for every sigma"):
        best_sigma(lambda s: published_bound(tiny, 10**-3.5))
    with pytest.raises(UndefinedExpressionError, match=r"sqrt\(c2 \+ 2 c1 sum_i log Z\) is undefined"):
        combine(PROBLEM, {"c1": 1.0, "c2": -100.0, "Z": 2.0})


def test_hypotheses_are_required() -> None:
    with pytest.raises(HypothesisError, match=r"beta2 nearer to 1"):
        published_bound(replace(PROBLEM, adam=replace(PROBLEM.adam, beta1=0.9, beta2=0.95)), 1.0)
    with pytest.raises(HypothesisError, match="beta1 > 0"):
        published_bound(replace(PROBLEM, adam=replace(PROBLEM.adam, beta1=0.0)), 1.0)
    with pytest.raises(HypothesisError, match="v_0 > 0"):
        published_bound(replace(PROBLEM, v0=np.array([0.0, 1.0])), 1.0)
    with pytest.raises(HypothesisError, match="sigma > 0"):
        published_bound(PROBLEM, 0.0)
    with pytest.raises(HypothesisError, match="inf L"):
        corrected_bound(with_problem(PROBLEM, initial_gap=-1.0), 1.0)


def test_the_published_condition_excludes_the_usual_betas() -> None:
    assert largest_published_beta1(0.95, 0.0) == pytest.approx(0.5315, abs=1e-4)
    assert largest_published_beta1(0.9884, 0.0) < 0.9 < largest_published_beta1(0.9885, 0.0)
    assert largest_published_beta1(0.95, 0.2) < largest_published_beta1(0.95, 0.0)


@settings(deadline=None, max_examples=100)
@given(
    beta2=st.floats(0.05, 0.999),
    fraction=st.floats(0, 0.99),
    a=st.lists(st.floats(-100, 100), min_size=1, max_size=40),
    b0=st.floats(1e-6, 100),
)
def test_lemma_b1_in_its_corrected_range(beta2: float, fraction: float, a: list[float], b0: float) -> None:
    beta1 = fraction * math.sqrt(beta2)
    left, growth = lemma_b1_sum(np.array(a), beta1, beta2, b0)
    assert left <= lemma_b1_bound(beta1, beta2, len(a), growth) * (1 + 1e-9) + 1e-12


def test_lemma_b1_fails_outside_of_it() -> None:
    left, growth = lemma_b1_sum((-1.0) ** np.arange(1, 201), -0.9, 0.95, 1.0)
    bound = lemma_b1_bound(-0.9, 0.95, 200, growth)
    assert round(left) == 67241
    assert round(bound) == 200
    with pytest.raises(HypothesisError, match=r"beta1\^2 < beta2"):
        lemma_b1_bound(0.99, 0.95, 10, 0.0)


@settings(deadline=None)
@given(
    beta2=st.floats(0.05, 0.999),
    fraction=st.floats(0, 0.99),
    gradients=st.lists(st.floats(-10, 10), min_size=1, max_size=30),
)
def test_lemma_b2_first_bound_and_its_corrected_second(beta2, fraction, gradients) -> None:
    beta1 = fraction * math.sqrt(beta2)
    m = v = 0.0
    for g in gradients:
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
    first = lemma_b2_first(0.1, beta1, beta2)
    if v > 1e-200:
        assert 0.1 * abs(m) / math.sqrt(v) <= first * (1 + 1e-9)
    assert first <= lemma_b2_second(0.1, beta1, beta2, rooted=False) * (1 + 1e-12)
    if beta1 < beta2 * 0.999:
        assert first <= lemma_b2_second(0.1, beta1, beta2) * (1 + 1e-12)


def test_lemma_b2_second_bound_is_undefined_where_beta1_exceeds_beta2() -> None:
    with pytest.raises(UndefinedExpressionError, match=r"-0.0588"):
        lemma_b2_second(1.0, 0.9, 0.85)


@settings(deadline=None)
@given(a=st.floats(-10, 100), b=st.floats(0.01, 100), x=st.floats(0.01, 1e4))
def test_largest_root_bound(a: float, b: float, x: float) -> None:
    if x <= a + b * math.log(x):
        assert x <= largest_root_bound(a, b) + 1e-9 * x
    # Tight at x = 2b.
    assert largest_root_bound(2 * b - b * math.log(2 * b), b) == pytest.approx(2 * b)


def test_the_corrected_bound_has_slope_one_half_only_when_scaled() -> None:
    def slope(values: dict[float, float]) -> float:
        return float(np.polyfit(np.log(list(values)), np.log(list(values.values())), 1)[0])

    horizons = (1e8, 1e10, 1e12)
    adam, gradient = AdamParameters(beta1=0.5, beta2=0.99, eta=0.5), np.ones(1)
    problem = Problem(smoothness=1.0, dimension=1, initial_gap=1.0, steps=1)
    scaled = {k: scaled_bound(replace(problem, steps=k), adam, gradient).value / k for k in horizons}
    assert slope(scaled) == pytest.approx(-0.5, abs=1e-3)
    fixed = replace(PROBLEM, adam=replace(PROBLEM.adam, step_size=0.01))
    unscaled = {k: best_sigma(partial(corrected_bound, with_problem(fixed, steps=k))).value / k for k in horizons}
    assert abs(slope(unscaled)) < 1e-3


def test_best_sigma_finds_the_minimum() -> None:
    run = with_problem(PROBLEM, steps=1000)
    bound = best_sigma(partial(corrected_bound, run))
    sigma = bound.parameters["sigma"]
    for factor in (0.5, 0.9, 1.1, 2.0):
        assert corrected_bound(run, sigma * factor).value > bound.value
    dense = min(corrected_bound(run, s).value for s in np.logspace(-6, 6, 4001))
    assert bound.value <= dense


def test_corrections_change_only_what_they_name() -> None:
    at_tau = first_constant(PROBLEM, math.sqrt(1.25))
    assert at_tau == pytest.approx(first_constant(PROBLEM, math.sqrt(1.25), growth_squared=1.25))
    larger_gap = corrected_bound(with_problem(PROBLEM, steps=100, initial_gap=2.0), 1.0).constants["c2"]
    smaller_gap = corrected_bound(with_problem(PROBLEM, steps=100), 1.0).constants["c2"]
    gap = 1 - 0.5 / math.sqrt(0.99)
    assert larger_gap - smaller_gap == pytest.approx(8 * gap / (0.1 * 0.5))
