"""The norm test that the trainer decides with."""

import math

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.moments.hypotheses import HypothesisError
from adabatch.moments.statistic import (
    Estimator,
    estimates,
    next_batch_size,
    norm_test_passes,
    norm_test_statistic,
    statistic_from_estimates,
)

moments_strategy = st.builds(
    lambda n, m, squared, extra: GradientMoments(n, m, n * squared + extra, squared),
    st.integers(2, 64),
    st.integers(1, 64),
    st.floats(1e-6, 1e6),
    st.floats(0, 1e6),
)


@settings(deadline=None)
@given(moments=moments_strategy, eta=st.floats(0.01, 2), estimator=st.sampled_from(list(Estimator)))
def test_statistic_is_the_ratio_of_its_estimates(moments, eta, estimator):
    variance, squared_norm = estimates(moments, estimator)
    statistic = norm_test_statistic(moments, eta, estimator)
    if squared_norm > 0:
        assert statistic == pytest.approx(variance / (eta * eta * squared_norm), rel=1e-12)
    else:
        assert math.isnan(statistic)


@settings(deadline=None)
@given(moments=moments_strategy, eta=st.floats(0.01, 2), factor=st.floats(1e-3, 1e3))
def test_statistic_does_not_depend_on_the_gradients_scale(moments, eta, factor):
    scaled = GradientMoments(
        moments.groups, moments.group_size, factor * moments.sum_of_squares, factor * moments.squared_norm
    )
    assert norm_test_statistic(scaled, eta) == pytest.approx(norm_test_statistic(moments, eta), rel=1e-6, abs=1e-6)


@settings(deadline=None)
@given(statistic=st.floats(0, 1e9), batch=st.integers(1, 10**6))
def test_next_batch_is_the_smallest_integer_that_passes(statistic, batch):
    following = next_batch_size(statistic, batch)
    assert isinstance(following, int)
    assert following >= batch
    assert norm_test_passes(statistic, following)
    assert following == batch or not norm_test_passes(statistic, following - 1)


def test_relations_between_estimators():
    """debiased asks for more than unbiased; the published one for 1/m (n - 1)/n of it."""
    moments = GradientMoments(4, 8, 40.0, 4.0)
    paper, unbiased, debiased = (norm_test_statistic(moments, 0.3, e) for e in Estimator)
    assert debiased > unbiased > paper
    assert paper == pytest.approx(unbiased * 3 / 4 / 8)


@pytest.mark.parametrize("squared_norm", [0.0, -1.0])
def test_a_denominator_that_is_not_positive_is_not_resolved(squared_norm):
    statistic = statistic_from_estimates(2.0, squared_norm, 0.5)
    assert math.isnan(statistic)
    assert not norm_test_passes(statistic, 10**9)
    assert next_batch_size(statistic, 16) == 16


def test_arrays_with_unresolved_entries():
    statistic = statistic_from_estimates(np.array([1.0, 2.0]), np.array([1.0, -1.0]), 0.5)
    np.testing.assert_allclose(statistic, [4.0, np.nan])
    np.testing.assert_allclose(next_batch_size(statistic, 2), [4, 2])


def test_symbols():
    eta, total, squared = sympy.symbols("eta S g2", positive=True)
    statistic = norm_test_statistic(GradientMoments(4, 2, total, squared), eta)
    assert sympy.simplify(statistic - 2 * (total - 4 * squared) / 3 / (eta**2 * squared)) == 0
    assert float(statistic.subs({eta: 0.5, total: 10, squared: 2})) == pytest.approx(
        norm_test_statistic(GradientMoments(4, 2, 10.0, 2.0), 0.5)
    )


def test_bad_input():
    moments = GradientMoments(2, 1, 4.0, 1.0)
    for eta in (0, -0.1):
        with pytest.raises(HypothesisError, match="eta > 0"):
            norm_test_statistic(moments, eta)
    with pytest.raises(HypothesisError, match="at least 2 groups"):
        norm_test_statistic(GradientMoments(1, 1, 1.0, 1.0), 0.5)
    with pytest.raises(ValueError, match="biased"):
        norm_test_statistic(moments, 0.5, "biased")
