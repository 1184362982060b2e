"""Gradient moments: against explicit groups, by exhaustive enumeration, on floats, arrays and symbols."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.gradient_moments import (
    GradientMoments,
    covariance_trace,
    debiased_squared_norm,
    paper_variance,
    squared_deviation,
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
