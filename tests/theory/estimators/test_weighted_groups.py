from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.gradient_moments import GradientMoments, weighted_sum_of_squares
from adabatch.moments.hypotheses import HypothesisError
from theory.estimators.expectations import GaussianGroups, moments
from theory.estimators.weighted_groups import squared_variation, unweighted_bias

SPECTRUM, GRADIENT = np.array([4.0, 1.0, 0.3, 0.0]), np.array([0.5, -1.0, 0.2, 0.1])


def drawn(tokens: np.ndarray, repetitions: int) -> tuple[GradientMoments, GradientMoments]:
    """Moments of Gaussian tokens, weighted and not."""
    count, total = len(tokens), tokens.sum()
    noise = np.random.default_rng(7).standard_normal((repetitions, count, SPECTRUM.size)) * np.sqrt(SPECTRUM)
    sums = tokens[:, None] * GRADIENT + np.sqrt(tokens)[:, None] * noise
    backward = sums / total
    squared_norm = (backward.sum(axis=1) ** 2).sum(axis=-1)
    squares = (backward**2).sum(axis=-1)
    scaled = weighted_sum_of_squares(count, total, 1, (squares / tokens).sum(axis=1))
    return (
        GradientMoments(count, total / count, scaled, squared_norm),
        GradientMoments(count, total / count, count**2 * squares.sum(axis=1), squared_norm),
    )


@pytest.mark.parametrize("tokens", [(1, 3), (5, 1, 9, 1), (2, 40, 7, 7, 11, 300)], ids=str)
def test_expectation_variance_and_bias_against_simulation(tokens: tuple[int, ...]) -> None:
    sizes, repetitions = np.array(tokens, dtype=float), 40_000
    count, total = len(tokens), sizes.sum()
    weighted, unweighted = drawn(sizes, repetitions)
    for name in ("covariance_trace", "debiased_squared_norm"):
        exact = moments(GaussianGroups.from_spectrum(count, total / count, SPECTRUM, GRADIENT), name)
        sample = getattr(weighted, name)
        assert abs(sample.mean() - exact.expectation) < 5 * np.sqrt(exact.variance / repetitions)
        fourth = ((sample - sample.mean()) ** 4).mean()
        assert abs(sample.var() - exact.variance) < 5 * np.sqrt(fourth / repetitions)
    bias = unweighted_bias(count, total, squared_variation(sizes), (GRADIENT**2).sum())
    error = 5 * unweighted.covariance_trace.std() / np.sqrt(repetitions)
    assert abs(unweighted.covariance_trace.mean() - SPECTRUM.sum() - bias) < error < bias
    error = 5 * unweighted.debiased_squared_norm.std() / np.sqrt(repetitions)
    assert abs(unweighted.debiased_squared_norm.mean() - (GRADIENT**2).sum() + bias / total) < error


@settings(deadline=None)
@given(
    tokens=st.lists(st.integers(1, 10**6), min_size=2, max_size=20), squared=st.floats(1e-100, 100) | st.just(0.0)
)
def test_the_bias_is_what_groups_without_noise_show(tokens: list[int], squared: float) -> None:
    """Every token has the gradient G: what the trace without weights says is its bias."""
    sizes = np.array(tokens, dtype=float)
    count, total = len(tokens), sizes.sum()
    square = ((count * sizes / total) ** 2).sum() * squared
    found = GradientMoments(count, total / count, square, squared).covariance_trace
    bias = unweighted_bias(count, total, squared_variation(sizes), squared)
    assert found == pytest.approx(bias, rel=1e-6, abs=1e-12 * total * squared)


def test_equal_groups_have_no_variation_and_one_group_no_bias() -> None:
    assert squared_variation(np.full((3, 4), 7.0)) == pytest.approx(np.zeros(3), abs=1e-15)
    with pytest.raises(HypothesisError, match="at least 2 groups"):
        unweighted_bias(1, 4, 0.0, 1.0)
