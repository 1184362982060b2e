"""The l1 norm test: statistic, estimators from groups, effective dimensions."""

from __future__ import annotations

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments import l1
from adabatch.moments.hypotheses import HypothesisError
from adabatch.moments.statistic import next_batch_size

PROBLEM = {"smoothness": 2.0, "dimension": 10, "initial_gap": 3.0, "steps": 1000, "step_size": 1e-3}
BETAS = [(0.0, 0.5), (0.5, 0.9), (0.9, 0.95), (0.9, 0.999)]
vectors = st.lists(st.floats(-10, 10), min_size=2, max_size=2)


def test_statistic_is_the_smallest_batch_that_would_pass() -> None:
    sigmas, gradient, eta = np.array([3.0, 4.0, 0.5]), np.array([0.1, -0.3, 0.7]), 0.3
    statistic = l1.l1_statistic(float(sigmas.sum()), float(np.abs(gradient).sum()), eta)
    batch = next_batch_size(statistic, 1)
    for size, passes in ((batch, True), (batch - 1, False)):
        assert (np.sum(sigmas / np.sqrt(size)) <= eta * np.abs(gradient).sum()) == passes


@pytest.mark.parametrize("norm", [0.0, -2.0])
def test_an_unresolved_gradient_gives_nan_and_leaves_the_batch(norm: float) -> None:
    statistic = l1.l1_statistic(2.0, norm, 0.2)
    assert np.isnan(statistic)
    assert next_batch_size(statistic, 64) == 64


def test_statistic_needs_a_positive_eta() -> None:
    with pytest.raises(HypothesisError, match="eta > 0"):
        l1.l1_statistic(1.0, 1.0, 0.0)


@pytest.mark.parametrize("groups", [2, 3, 4, 10, 100, 5000])
def test_deviation_correction_against_fifty_digits(groups: int) -> None:
    with mpmath.workdps(50):
        n = mpmath.mpf(groups)
        exact = mpmath.sqrt(2 / (n - 1)) * mpmath.gamma(n / 2) / mpmath.gamma((n - 1) / 2)
        assert abs(l1.deviation_correction(groups) / exact - 1) < 1e-11
    symbolic = l1.deviation_correction(sympy.Integer(groups))
    assert float(sympy.N(symbolic, 30)) == pytest.approx(float(exact), rel=1e-14)


def test_one_group_has_no_deviation() -> None:
    for call in (
        lambda: l1.deviation_correction(1),
        lambda: l1.standard_deviation(1, 4, np.ones(3), np.ones(3)),
        lambda: l1.conservative_l1_norm(np.ones((1, 3))),
    ):
        with pytest.raises(HypothesisError, match="at least 2 groups"):
            call()


@pytest.mark.parametrize("groups", [2, 4])
def test_sum_of_standard_deviations_is_unbiased_and_without_the_correction_is_not(groups: int) -> None:
    generator = np.random.default_rng(groups)
    sigma, size = np.array([0.5, 2.0, 1.0]), 6
    means = np.array([3.0, -1.0, 0.0]) + generator.normal(size=(groups, 40_000, 3)) * sigma / np.sqrt(size)
    estimates = l1.sum_of_standard_deviations(groups, size, (means**2).sum(0), means.mean(0))
    error = estimates.std() / np.sqrt(len(estimates))
    assert abs(estimates.mean() - sigma.sum()) < 5 * error
    assert abs(estimates.mean() * l1.deviation_correction(groups) - sigma.sum()) > 20 * error


def test_sums_may_be_taken_shard_by_shard() -> None:
    means = np.random.default_rng(0).normal(size=(4, 10))
    squares, mean = (means**2).sum(0), means.mean(0)
    parts = [l1.sum_of_standard_deviations(4, 3, squares[p], mean[p]) for p in (slice(0, 3), slice(3, 10))]
    assert sum(parts) == pytest.approx(l1.sum_of_standard_deviations(4, 3, squares, mean), rel=1e-14)
    norms = [l1.plug_in_l1_norm(mean[p]) for p in (slice(0, 3), slice(3, 10))]
    assert sum(norms) == pytest.approx(l1.plug_in_l1_norm(mean), rel=1e-14)


def test_rounding_does_not_make_a_variance_negative() -> None:
    assert l1.standard_deviation(3, 1, 3 * 0.1**2 - 1e-18, 0.1) >= 0


@settings(deadline=None)
@given(st.lists(vectors, min_size=2, max_size=6))
def test_conservative_norm_against_a_slow_twin(rows: list[list[float]]) -> None:
    groups = np.array(rows)
    slow = 0.0
    for j in range(len(groups)):
        for i in range(2):
            others = sum(groups[k, i] for k in range(len(groups))) - groups[j, i]
            slow += (1 if others > 0 else -1 if others < 0 else 0) * groups[j, i] / len(groups)
    assert l1.conservative_l1_norm(groups) == pytest.approx(slow, abs=1e-9)


@pytest.mark.parametrize("signal", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("groups", [2, 4])
def test_conservative_norm_is_below_and_plug_in_above_on_average(groups: int, signal: float) -> None:
    generator = np.random.default_rng(1)
    skewed = generator.exponential(size=(groups, 200_000, 2)) - 1
    means = skewed + np.array([signal, -2 * signal])
    conservative, plug_in = l1.conservative_l1_norm(means), l1.plug_in_l1_norm(means.mean(0))
    error = 5 * conservative.std() / np.sqrt(len(conservative))
    assert conservative.mean() < 3 * signal + error
    assert plug_in.mean() > 3 * signal - error


@pytest.mark.parametrize(
    ("true", "plug_in", "conservative"), [(0.2, (0.19, 0.21), (0.2, 0.21)), (0.5, (0.43, 0.51), (0.5, 0.65))]
)
def test_readings_of_a_known_ratio(
    true: float, plug_in: tuple[float, float], conservative: tuple[float, float]
) -> None:
    """Equal coordinates with Gaussian groups: the plug-in ratio reads low, the conservative one high."""
    generator, groups, dimension = np.random.default_rng(2), 4, 400_000
    # The batch mean's deviation is `true` in every coordinate with |G| = 1.
    means = 1 + true * np.sqrt(groups) * generator.normal(size=(groups, dimension))
    deviation = l1.sum_of_standard_deviations(groups, 1, (means**2).sum(0), means.mean(0)) / np.sqrt(groups)
    assert plug_in[0] <= deviation / l1.plug_in_l1_norm(means.mean(0)) <= plug_in[1]
    assert conservative[0] - 1e-3 <= deviation / l1.conservative_l1_norm(means) <= conservative[1]


def test_the_plug_in_ratio_saturates_near_the_root_of_half_pi() -> None:
    means = 1 + 1000.0 * np.random.default_rng(3).normal(size=(4, 400_000))
    deviation = l1.sum_of_standard_deviations(4, 1, (means**2).sum(0), means.mean(0)) / 2
    assert deviation / l1.plug_in_l1_norm(means.mean(0)) == pytest.approx(np.sqrt(np.pi / 2), rel=0.01)


@settings(deadline=None)
@given(
    st.lists(st.floats(1e-3, 1e3), min_size=4, max_size=4),
    st.lists(st.floats(1e-3, 1e3), min_size=4, max_size=4),
    st.floats(0.01, 3.0),
)
def test_the_scalar_test_implies_the_l1_test_with_equality_at_equality(
    deviations: list[float], gradient: list[float], eta: float
) -> None:
    sd, size = np.array(deviations), np.abs(gradient)
    sd = sd * eta * np.linalg.norm(size) / np.linalg.norm(sd)  # the scalar test as an equality
    dimensions = l1.effective_dimensions(sd.sum(), (sd**2).sum(), size.sum(), (size**2).sum())
    assert 1 - 1e-9 <= dimensions.noise <= 4 + 1e-9
    assert 1 - 1e-9 <= dimensions.gradient <= 4 + 1e-9
    assert sd.sum() == pytest.approx(l1.implied_l1_eta(eta, dimensions) * size.sum(), rel=1e-9)


@given(
    rows=st.lists(st.lists(st.floats(-1e3, 1e3).map(lambda x: round(x, 3)), min_size=2, max_size=2), min_size=2),
    group_size=st.integers(1, 9),
    eta=st.floats(0.01, 2.0),
)
@settings(deadline=None, max_examples=200)
def test_noise_to_gradient_says_which_coordinates_meet_the_coordinate_wise_test(rows, group_size, eta) -> None:
    groups = np.array(rows)
    n, mean = len(groups), groups.mean(0)
    ratio = l1.noise_to_gradient(n, group_size, (groups**2).sum(0), mean)
    variance = group_size * groups.var(0, ddof=1)  # of one sample, written out
    left, right = variance / (n * group_size), eta**2 * mean**2
    scale = (groups**2).mean(0)
    decided = np.abs(left - right) > 1e-9 * (scale + right)  # a tie is up to rounding
    decided &= mean**2 > 1e-9 * scale
    assert np.all((ratio <= eta**2 * n * group_size)[decided] == (left <= right)[decided])


def test_noise_to_gradient_in_symbols_and_with_one_group() -> None:
    n, m, s, g = sympy.symbols("n m s g", positive=True)
    assert sympy.simplify(l1.noise_to_gradient(n, m, s, g) - m * (s - n * g**2) / ((n - 1) * g**2)) == 0
    with pytest.raises(HypothesisError, match="at least 2 groups"):
        l1.noise_to_gradient(1, 3, 1.0, 1.0)


def test_nothing_has_no_dimension():
    assert l1.effective_dimensions(0.0, 0.0, 3.0, 9.0) == l1.EffectiveDimensions(noise=0.0, gradient=1.0)
    assert l1.effective_dimensions(10.0, 10.0, 0.0, 0.0) == l1.EffectiveDimensions(noise=10.0, gradient=0.0)
