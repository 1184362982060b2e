"""Gradient moments: against explicit groups, by exhaustive enumeration, on floats, arrays and symbols."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import sympy
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.gradient_moments import (
    GradientMoments,
    accumulated_rounding,
    covariance_trace,
    debiased_squared_norm,
    paper_variance,
    squared_deviation,
    sums_rounding,
    weighted_sum_of_squares,
)
from adabatch.moments.hypotheses import HypothesisError


def moments_of(groups: np.ndarray, group_size: int = 1) -> GradientMoments:
    """From explicit group gradients [n, d]."""
    mean = groups.mean(axis=0)
    return GradientMoments(len(groups), group_size, float((groups**2).sum()), float((mean**2).sum()))


@settings(deadline=None)
@given(
    n=st.integers(2, 9),
    m=st.integers(1, 5),
    d=st.integers(1, 6),
    scale=st.floats(1e-12, 1e12),
    seed=st.integers(0, 10**6),
)
def test_two_sums_are_enough(n, m, d, scale, seed):
    groups = scale * np.random.default_rng(seed).normal(size=(n, d))
    moments, mean = moments_of(groups, m), groups.mean(axis=0)
    deviation = ((groups - mean) ** 2).sum()
    assert np.isclose(moments.covariance_trace, m * deviation / (n - 1), rtol=1e-9)
    assert np.isclose(moments.paper_variance, deviation / n, rtol=1e-9)
    assert np.isclose(
        moments.debiased_squared_norm, (mean**2).sum() - deviation / (n * (n - 1)), rtol=1e-9, atol=1e-9 * scale**2
    )
    assert moments.batch_size == n * m


@pytest.mark.parametrize(("n", "m"), [(2, 1), (2, 2), (3, 1), (4, 1)])
def test_expectations_by_exhaustive_enumeration(n, m):
    """Every way to draw n m independent samples from a population of 3 gradients in 2 dimensions, exactly."""
    population = [(Fraction(1), Fraction(-2)), (Fraction(3), Fraction(0)), (Fraction(-1), Fraction(5))]
    size, b = len(population), n * m
    true = [sum(g[i] for g in population) / size for i in (0, 1)]
    trace = sum((g[i] - true[i]) ** 2 for g in population for i in (0, 1)) / size
    squared = sum(t * t for t in true)
    totals = {"trace": Fraction(0), "published": Fraction(0), "plug-in": Fraction(0), "debiased": Fraction(0)}
    for draw in itertools.product(population, repeat=b):
        groups = [[sum(draw[j * m + a][i] for a in range(m)) / Fraction(m) for i in (0, 1)] for j in range(n)]
        mean = [sum(g[i] for g in groups) / Fraction(n) for i in (0, 1)]
        sums = (sum(x * x for g in groups for x in g), sum(x * x for x in mean))
        arguments = [sympy.Rational(x.numerator, x.denominator) for x in sums]
        totals["trace"] += Fraction(str(covariance_trace(n, m, *arguments)))
        totals["published"] += Fraction(str(paper_variance(n, *arguments)))
        totals["plug-in"] += sums[1]
        totals["debiased"] += Fraction(str(debiased_squared_norm(n, m, *arguments)))
    count = size**b
    assert totals["trace"] / count == trace
    assert totals["published"] / count == trace * Fraction(n - 1, b)
    assert totals["plug-in"] / count == squared + trace / b
    assert totals["debiased"] / count == squared


def precision(groups, total, squared, rounding):
    return GradientMoments(groups, 1, total, squared, rounding=rounding).trace_precision


def test_numbers_arrays_and_symbols_agree():
    n, m, total, squared = sympy.symbols("n m S g2", positive=True)
    values = {n: 4, m: 3, total: 11.5, squared: 2.25}
    for function, arguments in (
        (covariance_trace, (n, m, total, squared)),
        (paper_variance, (n, total, squared)),
        (debiased_squared_norm, (n, m, total, squared)),
        (squared_deviation, (n, total, squared)),
        (precision, (n, total, squared, sympy.Rational(1, 1000))),
    ):
        number = function(*(float(values.get(a, a)) for a in arguments))
        assert float(function(*arguments).subs(values)) == pytest.approx(number, rel=1e-14)
        array = function(*(np.full(2, float(values.get(a, a))) for a in arguments))
        np.testing.assert_allclose(array, number, rtol=1e-14)


@settings(deadline=None)
@given(scale=st.floats(1e-6, 1e6), seed=st.integers(0, 10**6))
def test_scaling_and_order_of_groups(scale, seed):
    groups = np.random.default_rng(seed).normal(size=(5, 3))
    moments, scaled, reversed_ = moments_of(groups), moments_of(scale * groups), moments_of(groups[::-1])
    assert np.isclose(scaled.covariance_trace, scale**2 * moments.covariance_trace, rtol=1e-9)
    assert np.isclose(reversed_.covariance_trace, moments.covariance_trace, rtol=1e-12)


def test_rounding_never_makes_a_negative_variance():
    assert squared_deviation(3, 0.3, 0.1 + 1e-17) == 0.0
    assert squared_deviation(4, 4 * 0.1 - 1e-16, 0.1) == 0.0


@pytest.mark.parametrize("groups", [0, 1, np.array([2, 1])])
def test_one_group_has_no_variance(groups):
    with pytest.raises(HypothesisError, match=r"at least 2 groups.*add ranks, or raise gradient accumulation"):
        covariance_trace(groups, 1, 1.0, 1.0)


def test_precision_is_lost_where_nothing_is_left_of_the_difference():
    assert precision(2, 2.0, 1.0, 1e-7) == np.inf
    np.testing.assert_allclose(precision(2, np.array([2.0, 4.0]), 1.0, 1e-7), [np.inf, 2e-7])
    assert GradientMoments(2, 1, 4.0, 1.0).trace_precision == 0  # exact sums, unless something else is said


def parts_of(kind, deviation, total):
    """S, ||g||^2 with S - 2 ||g||^2 = deviation, and an infinite rho: floats, arrays, tensors or SymPy numbers."""
    values = (total, (total - deviation) / 2, np.inf)
    if kind == "float":
        return values
    if kind == "array":
        return tuple(np.full(3, value) for value in values)
    if kind == "tensor":
        return tuple(torch.full((3,), value, dtype=torch.float64) for value in values)
    return sympy.Integer(int(total)), sympy.Rational(int(total - deviation), 2), sympy.oo


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["float", "array", "tensor", "sympy"])
@pytest.mark.parametrize(("deviation", "total"), [(2.0, 4.0), (0.0, 4.0), (0.0, 0.0)])
def test_where_no_bound_is_known_the_precision_is_infinite(kind, deviation, total):
    found = precision(2, *parts_of(kind, deviation, total))
    assert np.array_equal(np.asarray(found, dtype=float), np.broadcast_to(np.inf, np.shape(found)))
    assert sums_rounding(np.inf, 1e-7) == np.inf


def test_an_infinite_rounding_of_symbols():
    total, squared = sympy.symbols("S g2", positive=True)
    assert precision(2, total, squared, sympy.oo) == sympy.oo


@given(additions=st.integers(1, 2000), power=st.integers(8, 53))
def test_rounding_that_accumulates(additions, power):
    """k u / (1 - k u) in exact fractions; every product of k factors 1 +- u lies within it of 1."""
    unit = Fraction(1, 2**power)
    found = accumulated_rounding(additions, 2.0**-power)
    if additions * unit >= 1:
        assert found == np.inf
        return
    exact = additions * unit / (1 - additions * unit)
    assert found == pytest.approx(float(exact), rel=1e-12)
    assert (1 + 2.0**-power) ** additions - 1 <= found * (1 + 1e-9)
    # Alike groups: S is computed too small, n ||g||^2 too large, and the mean before it.
    error = (1 + Fraction(1, 2)) * (1 + exact) ** 2 - (1 - Fraction(1, 2))
    assert float(sums_rounding(found, 0.5)) == pytest.approx(float(error), rel=1e-12)


def test_rounding_that_accumulates_on_arrays_and_symbols():
    np.testing.assert_array_equal(accumulated_rounding(np.array([1, 2, 3]), 0.5), [1.0, np.inf, np.inf])
    assert accumulated_rounding(sympy.Integer(1), sympy.Rational(1, 3)) == sympy.Rational(1, 2)
    assert accumulated_rounding(sympy.Integer(3), sympy.Rational(1, 3)) == sympy.oo
    assert accumulated_rounding(4, np.inf) == np.inf


def weighted(sums: np.ndarray, tokens: np.ndarray, divisor: int, samples: int | None = None) -> GradientMoments:
    """From the groups' sums of token gradients [n, d], as a loop has them: h_j = (c / N) times the sum."""
    total = tokens.sum()
    backward = divisor / total * sums  # what the backward passes leave
    reduced = backward.sum(axis=0) / divisor
    square = weighted_sum_of_squares(len(tokens), total, divisor, ((backward**2).sum(axis=1) / tokens).sum())
    return GradientMoments(len(tokens), total / len(tokens), square, (reduced**2).sum(), samples=samples)


@settings(deadline=None)
@given(
    tokens=st.lists(st.integers(1, 10**6), min_size=2, max_size=9),
    divisor=st.integers(1, 8),
    d=st.integers(1, 5),
    seed=st.integers(0, 10**6),
)
def test_weighted_groups_by_hand(tokens, divisor, d, seed):
    """Weighted least squares on the groups' means: sum_j t_j ||g_j - g||^2 / (n - 1); ||g||^2 less it over N."""
    tokens = np.array(tokens, dtype=float)
    means = np.random.default_rng(seed).normal(size=(len(tokens), d))
    moments = weighted(tokens[:, None] * means, tokens, divisor, samples=3)
    mean = (tokens[:, None] * means).sum(axis=0) / tokens.sum()
    trace = (tokens * ((means - mean) ** 2).sum(axis=1)).sum() / (len(tokens) - 1)
    close = {"rtol": 1e-9, "atol": 1e-12 * tokens.sum() * (means**2).sum()}
    assert np.isclose(moments.covariance_trace, trace, **close)
    assert np.isclose(moments.squared_norm, (mean**2).sum(), rtol=1e-9)
    assert np.isclose(moments.debiased_squared_norm, (mean**2).sum() - trace / tokens.sum(), **close)
    assert np.isclose(moments.batch_size, tokens.sum())
    assert np.isclose(moments.samples_per_unit, 3 / tokens.sum())


@settings(deadline=None)
@given(tokens=st.lists(st.integers(1, 10**6), min_size=2, max_size=40), divisor=st.integers(1, 8))
def test_unequal_groups_without_noise_have_no_trace(tokens, divisor):
    """Every token has the gradient (3, -4): what is left of the difference is rounding."""
    tokens = np.array(tokens, dtype=float)
    moments = weighted(tokens[:, None] * np.array([3.0, -4.0]), tokens, divisor)
    assert moments.covariance_trace <= 1e-13 * 25 * tokens.sum()
    assert moments.debiased_squared_norm == pytest.approx(25, rel=1e-13)


def test_equal_groups_of_tokens_are_equal_groups():
    groups = np.random.default_rng(0).normal(size=(6, 4))
    plain, told = moments_of(groups, 2), weighted(16.0 * groups, np.full(6, 16.0), 3, samples=12)
    assert told.sum_of_squares == pytest.approx(plain.sum_of_squares, rel=1e-13)
    assert told.covariance_trace * told.samples_per_unit == pytest.approx(plain.covariance_trace, rel=1e-12)
    assert told.debiased_squared_norm == pytest.approx(plain.debiased_squared_norm, rel=1e-12)
    assert told.paper_variance == pytest.approx(plain.paper_variance, rel=1e-12)
    assert (plain.samples, plain.samples_per_unit, told.batch_size) == (None, 1, 96)


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_unbiased_at_log_normal_lengths(sigma):
    """Trace 4 and ||G||^2 = 1/4 in 8 dimensions, 16 groups: both means within 1% with 5 standard errors."""
    generator, d, repetitions = np.random.default_rng(1), 8, 120_000
    tokens = np.maximum(1, np.exp(generator.normal(3, sigma, size=16))).round()  # drawn once; then given
    total, gradient = tokens.sum(), np.full(d, (0.25 / d) ** 0.5)
    # The mean of t tokens with gradients N(G, 4/d I).
    means = gradient + generator.normal(size=(repetitions, 16, d)) * np.sqrt(4 / d / tokens)[:, None]
    backward = tokens[:, None] * means / total
    square = weighted_sum_of_squares(16, total, 1, ((backward**2).sum(axis=2) / tokens).sum(axis=1))
    moments = GradientMoments(16, total / 16, square, (backward.sum(axis=1) ** 2).sum(axis=1))
    for sample, exact in ((moments.covariance_trace, 4.0), (moments.debiased_squared_norm, 0.25)):
        error = 5 * sample.std() / repetitions**0.5
        assert error < 0.01 * exact  # the interval is narrow enough for the claim of 1%
        assert abs(sample.mean() - exact) < error
    unweighted = GradientMoments(16, total / 16, 16**2 * (backward**2).sum(axis=(1, 2)), moments.squared_norm)
    assert unweighted.covariance_trace.mean() > 1.03 * 4.0  # what groups of unequal size do without weights
