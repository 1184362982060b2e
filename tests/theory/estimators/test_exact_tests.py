from __future__ import annotations

from fractions import Fraction
from itertools import combinations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from adabatch.moments.l1 import l1_statistic
from theory.estimators.exact_tests import (
    coordinate_wise_test,
    exact_variance_test,
    inner_product,
    inner_product_floor,
    norm_condition,
    relative_error,
    sample_variance_test,
    second_moment_bound,
)
from theory.estimators.finite_population import (
    batch_mean_variance,
    published_factor,
    sample_variance_factor,
    smallest_batch_size,
)

finite = st.floats(-10, 10, allow_nan=False, width=32)
etas = st.floats(0.05, 3)


def moments_over_batches(values: list[Fraction], size: int) -> tuple[Fraction, Fraction]:
    """(variance of the batch mean, mean of the sample variance) over all batches, by enumeration."""
    means, variances = [], []
    for batch in combinations(values, size):
        mean = sum(batch) / Fraction(size)
        means.append(mean)
        variances.append(sum((x - mean) ** 2 for x in batch) / Fraction(size - 1))
    centre = sum(means) / Fraction(len(means))
    return sum((m - centre) ** 2 for m in means) / len(means), sum(variances) / len(variances)


@settings(deadline=None, max_examples=40)
@given(values=st.lists(st.integers(-9, 9), min_size=3, max_size=7), data=st.data())
def test_finite_population_factors_agree_with_enumeration(values: list[int], data: st.DataObject) -> None:
    size = data.draw(st.integers(2, len(values)))
    numbers = [Fraction(v) for v in values]
    n, b = Fraction(len(values)), Fraction(size)
    variance, sample = moments_over_batches(numbers, size)
    mean = sum(numbers) / n
    population_variance = sum((x - mean) ** 2 for x in numbers) / n
    assert batch_mean_variance(population_variance, b, n) == variance
    assert sample / b * sample_variance_factor(b, n) == variance
    # As published: too large by n / (n - 1), unless both sides vanish.
    assert sample / b * published_factor(b, n) == variance * n / (n - 1)


@settings(deadline=None, max_examples=200)
@given(
    variance=st.just(0.0) | st.floats(1e-6, 100),
    squared_gradient=st.just(0.0) | st.floats(1e-6, 100),
    eta=etas,
    population=st.integers(2, 300),
)
def test_smallest_batch_size_is_the_smallest(
    variance: float, squared_gradient: float, eta: float, population: int
) -> None:
    size = smallest_batch_size(variance, squared_gradient, eta, population)
    passing = [
        b for b in range(1, population + 1)
        if batch_mean_variance(variance, float(b), population) <= eta**2 * squared_gradient
    ]  # fmt: skip
    assert size == passing[0]


def test_smallest_batch_size_at_the_corners() -> None:
    assert smallest_batch_size(0.0, 0.0, 0.2, 50) == 1
    assert smallest_batch_size(1.0, 0.0, 0.2, 50) == 50
    arrays = smallest_batch_size(np.array([0.0, 1.0, 1.0]), np.array([0.0, 0.0, 1e9]), 0.2, 50)
    assert arrays.tolist() == [1, 50, 1]
    with pytest.raises(HypothesisError, match="eta > 0"):
        smallest_batch_size(1.0, 1.0, 0.0, 50)
    with pytest.raises(HypothesisError, match="b <= n"):
        sample_variance_factor(51, 50)


def test_the_largest_of_the_coordinates_batch_sizes_passes_and_one_less_does_not() -> None:
    generator = np.random.default_rng(0)
    variances, gradient = generator.exponential(size=(20, 5)), generator.normal(size=(20, 5))
    size = smallest_batch_size(variances, gradient**2, 0.5, 400).max(axis=-1)
    at_size = batch_mean_variance(variances, size[:, None], 400)
    assert coordinate_wise_test(at_size, gradient, 0.5).all()
    one_less = np.maximum(size - 1, 1)[:, None]
    assert not coordinate_wise_test(batch_mean_variance(variances, one_less, 400), gradient, 0.5)[size > 1].any()


def test_sample_variance_test_against_numpy_and_its_factors() -> None:
    gradients = np.random.default_rng(1).normal(1.0, 2.0, (4, 6, 3))
    left, right = sample_variance_test(gradients, 0.3)
    deviations = gradients - gradients.mean(axis=1, keepdims=True)
    assert np.allclose(left, (deviations**2).sum((1, 2)) / 5 / 6)
    assert np.allclose(right, 0.09 * (gradients.mean(axis=1) ** 2).sum(-1))
    assert np.allclose(sample_variance_test(gradients, 0.3, population=12)[0], left / 2)
    assert np.allclose(
        sample_variance_test(gradients, 0.3, population=12, factor=published_factor)[0], left * 6 / 11
    )
    assert np.allclose(sample_variance_test(gradients, 0.3, population=6)[0], 0)
    with pytest.raises(HypothesisError, match="at least 2 samples"):
        sample_variance_test(gradients[:, :1], 0.3)


@settings(deadline=None)
@given(
    variances=st.lists(st.floats(0, 4), min_size=3, max_size=3),
    gradient=st.lists(finite, min_size=3, max_size=3),
    eta=etas,
)
def test_coordinate_wise_implies_scalar(variances: list[float], gradient: list[float], eta: float) -> None:
    v, g = np.array(variances), np.array(gradient)
    if coordinate_wise_test(v, g, eta):
        assert v.sum() <= eta**2 * (g**2).sum() * (1 + 1e-12)
    exact = bool(exact_variance_test(v.sum(), (g**2).sum(), eta))
    if (g**2).sum() > 0:
        assert exact == bool(v.sum() <= eta**2 * (g**2).sum())


def test_scalar_does_not_imply_coordinate_wise() -> None:
    variances, gradient = np.array([0.0, 0.04]), np.array([1.0, 0.0])
    assert exact_variance_test(variances.sum(), 1.0, 0.2)
    assert not coordinate_wise_test(variances, gradient, 0.2)


@settings(deadline=None)
@given(
    g=st.lists(finite, min_size=3, max_size=3),
    gradient=st.lists(finite, min_size=3, max_size=3),
    eta=st.floats(0.05, 0.99),
)
def test_norm_condition_gives_the_inner_product(g: list[float], gradient: list[float], eta: float) -> None:
    if norm_condition(g, gradient, eta):
        floor = inner_product_floor((np.array(gradient) ** 2).sum(), eta)
        assert inner_product(g, gradient) >= floor - 1e-9 * (1 + abs(floor))


def test_inner_product_does_not_give_the_norm_condition() -> None:
    gradient = np.array([3.0, -4.0])
    assert inner_product(10 * gradient, gradient) > 0
    assert not norm_condition(10 * gradient, gradient, 8.9)
    assert norm_condition(10 * gradient, gradient, 9.0)


@settings(deadline=None)
@given(atoms=st.lists(finite, min_size=2, max_size=2), p=st.floats(0.05, 0.95))
def test_proposition_1_on_two_points(atoms: list[float], p: float) -> None:
    weights, values = np.array([p, 1 - p]), np.array(atoms)
    mean = weights @ values
    variance = weights @ (values - mean) ** 2
    if abs(mean) > 1e-3:
        eta = np.sqrt(variance) / abs(mean)
        assert weights @ values**2 == pytest.approx(second_moment_bound(mean, eta), rel=1e-9)


def test_relative_error_is_the_level_of_the_exact_test() -> None:
    for variance, squared in product((0.01, 1.0, 7.0), (0.5, 2.0)):
        level = relative_error(variance, squared)
        assert exact_variance_test(variance, squared, level * 1.0001)
        assert not exact_variance_test(variance, squared, level * 0.9999)


def test_coordinate_wise_test_implies_l1_test() -> None:
    generator = np.random.default_rng(3)
    gradient = generator.normal(size=(50, 8))
    deviations = 0.4 * np.abs(gradient) * generator.uniform(size=(50, 8))
    assert coordinate_wise_test(deviations**2, gradient, 0.4).all()
    assert (l1_statistic(deviations.sum(-1), np.abs(gradient).sum(-1), eta=0.4) <= 1 + 1e-12).all()
