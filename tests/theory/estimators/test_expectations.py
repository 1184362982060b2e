from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.gradient_moments import GradientMoments, squared_deviation
from adabatch.moments.hypotheses import HypothesisError
from adabatch.moments.noise_scale import noise_scale, saturation_level, stationary_batch_size, stationary_eta
from theory.estimators.expectations import (
    ESTIMATORS,
    GaussianGroups,
    effective_eta,
    eta_to_enforce,
    expected_moments,
    expected_statistic,
    moments,
)

SPECTRUM, GRADIENT = np.array([4.0, 1.0, 0.3, 0.0]), np.array([0.5, -1.0, 0.2, 0.1])


def draw(groups: GaussianGroups, spectrum: np.ndarray, gradient: np.ndarray, repetitions: int) -> GradientMoments:
    generator = np.random.default_rng(7)
    noise = generator.standard_normal((repetitions, int(groups.groups), spectrum.size))
    means = gradient + noise * np.sqrt(spectrum / groups.group_size)
    squared_norm = (means.mean(axis=1) ** 2).sum(-1)
    return GradientMoments(groups.groups, groups.group_size, (means**2).sum((1, 2)), squared_norm)


def estimate(drawn: GradientMoments, name: str) -> np.ndarray:
    if name == "squared_deviation":
        return squared_deviation(drawn.groups, drawn.sum_of_squares, drawn.squared_norm)
    return getattr(drawn, name)


@pytest.mark.parametrize("name", ESTIMATORS)
@pytest.mark.parametrize(("count", "size"), [(2, 3), (4, 6), (8, 1), (12, 2)])
def test_expectation_and_variance_against_simulation(count, size, name) -> None:
    groups = GaussianGroups.from_spectrum(count, size, SPECTRUM, GRADIENT)
    assert groups.batch_size == count * size
    repetitions = 40_000
    sample = estimate(draw(groups, SPECTRUM, GRADIENT, repetitions), name)
    exact = moments(groups, name)
    assert abs(sample.mean() - exact.expectation) < 5 * np.sqrt(exact.variance / repetitions)
    fourth = ((sample - sample.mean()) ** 4).mean()
    assert abs(sample.var() - exact.variance) < 5 * np.sqrt(fourth / repetitions)


@settings(deadline=None)
@given(
    n=st.integers(2, 64),
    m=st.integers(1, 64),
    trace=st.floats(0.01, 100),
    squared=st.floats(0, 100),
)
def test_expectations_in_closed_form(n: int, m: int, trace: float, squared: float) -> None:
    groups = GaussianGroups(n, m, squared, trace, trace**2, 0.0)
    b = n * m
    expected = expected_moments(groups)
    assert expected.paper_variance == pytest.approx(trace * (n - 1) / b, rel=1e-6)
    assert expected.covariance_trace == pytest.approx(trace, rel=1e-6)
    assert expected.squared_norm == pytest.approx(squared + trace / b)
    assert expected.debiased_squared_norm == pytest.approx(squared, rel=1e-6, abs=1e-7 * trace)


def test_more_groups_cut_the_variance_of_the_trace_but_not_of_the_norm() -> None:
    workers = GaussianGroups.from_spectrum(4, 16 * 4, SPECTRUM, GRADIENT)
    micro = GaussianGroups.from_spectrum(4 * 16, 4, SPECTRUM, GRADIENT)
    ratio = moments(workers, "covariance_trace").variance / moments(micro, "covariance_trace").variance
    assert ratio == pytest.approx(63 / 3)
    assert moments(workers, "squared_norm").variance == pytest.approx(moments(micro, "squared_norm").variance)


@settings(deadline=None)
@given(eta=st.floats(0.01, 0.95), n=st.integers(2, 32), m=st.integers(1, 16))
def test_effective_eta_is_where_the_test_is_an_equality(eta: float, n: int, m: int) -> None:
    b = n * m
    for estimator in ("unbiased", "debiased", "paper"):
        error = effective_eta(eta, estimator, groups=n, batch_size=b)
        if not np.isfinite(error):
            assert estimator == "paper"
            # However small the gradient, the statistic stays at or below b.
            groups = GaussianGroups(n, m, 1e-12, 1.0, 1.0, 0.0)
            assert expected_statistic(groups, eta, estimator) <= b * (1 + 1e-9)
            continue
        groups = GaussianGroups(n, m, 1.0, b * error**2, 1.0, 0.0)
        assert expected_statistic(groups, eta, estimator) == pytest.approx(b, rel=1e-5)
    assert effective_eta(eta_to_enforce(eta), "unbiased") == pytest.approx(eta)


@settings(deadline=None)
@given(eta=st.floats(0.02, 0.9), scale=st.floats(1, 1e5), n=st.integers(2, 64))
def test_stationary_batch_size_is_a_fixed_point_between_growth_and_rest(eta: float, scale: float, n: int) -> None:
    for estimator in ("unbiased", "debiased", "paper"):
        size = stationary_batch_size(scale, eta, estimator, n)
        assert stationary_eta(size, scale, estimator, n) == pytest.approx(eta)

        def statistic(b: float, estimator: str = estimator) -> float:
            return expected_statistic(GaussianGroups(n, b / n, 1.0, scale, 0.0, 0.0), eta, estimator)

        assert statistic(size) == pytest.approx(size, rel=1e-5)
        assert statistic(0.9 * size) > 0.9 * size
        assert statistic(1.1 * size) < 1.1 * size
    assert stationary_batch_size(scale, eta, "paper", n) <= saturation_level(eta, n) * (1 + 1e-12)


def test_what_eta_targets() -> None:
    scale = noise_scale(300.0, 2.0)
    for eta, target in ((0.8, 0.56), (0.9, 0.23), (0.2, 24.0), (1 / np.sqrt(2), 1.0)):
        assert stationary_batch_size(scale, eta, "unbiased") / scale == pytest.approx(target, abs=0.006)
    assert stationary_batch_size(scale, 1.0, "debiased") == scale
    assert stationary_batch_size(scale, 1.0, "unbiased") == 0
    assert stationary_batch_size(1e12, 0.2, "paper", 4) == pytest.approx(75, rel=1e-3)


def test_arrays_broadcast_and_errors_name_what_is_wrong() -> None:
    groups = GaussianGroups.from_spectrum(4, 2, np.ones((5, 3)), np.zeros((5, 3)))
    assert moments(groups, "squared_norm").expectation.shape == (5,)
    assert effective_eta(np.array([0.1, 0.5, 1.5]), "unbiased")[2] == np.inf
    with pytest.raises(ValueError, match="unknown estimator 'median'; known are squared_deviation"):
        moments(groups, "median")
    with pytest.raises(HypothesisError, match="at least 2 groups"):
        moments(GaussianGroups(1, 2, 1.0, 1.0, 1.0, 1.0), "covariance_trace")
    with pytest.raises(HypothesisError, match="eta > 0"):
        stationary_batch_size(1.0, 0.0, "debiased")
