"""The estimated test: bound against frequencies, the t-test against draws, and the margin against its parts."""

from dataclasses import astuple

import numpy as np
import pytest
import sympy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.moments.hypotheses import HypothesisError
from adabatch.moments.statistic import Estimator, norm_test_passes, norm_test_statistic
from theory.training.estimated_variance import (
    Spectrum,
    coordinate_passing_probability,
    estimated_margin,
    passing_probability_bound,
    relative_variance,
)

FLAT, STEEP = Spectrum.of(np.ones(1000)), Spectrum.of(1 / np.arange(1, 1001))


def test_published_numbers():
    assert FLAT.effective_rank == pytest.approx(1000)
    assert STEEP.effective_rank == pytest.approx(34, abs=0.2)
    assert passing_probability_bound(4, 0.2, 1.0, FLAT) == pytest.approx(0.005, abs=3e-4)
    assert passing_probability_bound(4, 0.2, 1.0, STEEP) == pytest.approx(0.19, abs=5e-3)
    assert coordinate_passing_probability(4, 0.2) == pytest.approx(0.0154, abs=5e-5)


def simulate_passing(groups, eta, delta, eigenvalues, trials, seed=0):
    """Frequency of passing, with its standard error: Gaussian groups, V = (1 + delta) eta^2 ||G||^2.

    G lies along the eigenvector of the largest eigenvalue, where it makes the margin vary most.
    """
    generator = np.random.default_rng(seed)
    values = np.sort(np.asarray(eigenvalues, dtype=float))[::-1]
    mean = np.zeros(len(values))
    mean[0] = np.sqrt(values.sum() / groups / ((1 + delta) * eta**2))
    passed = 0
    for _ in range(trials):
        gradients = mean + np.sqrt(values) * generator.standard_normal((groups, len(values)))
        squared_norm = float(np.sum(gradients.mean(axis=0) ** 2))
        passed += estimated_margin(groups, eta, float(np.sum(gradients**2)), squared_norm) >= 0
    frequency = passed / trials
    return frequency, float(np.sqrt(frequency * (1 - frequency) / trials))


def test_frequencies_stay_below_the_bound():
    frequency, error = simulate_passing(4, 0.2, 1.0, 1 / np.arange(1, 1001), trials=6000)
    assert frequency <= passing_probability_bound(4, 0.2, 1.0, STEEP)
    assert frequency == pytest.approx(0.001, abs=4 * error + 1e-3)
    few = np.ones(3)
    for groups, delta in [(2, 0.5), (4, 1.0), (8, 3.0)]:
        frequency, error = simulate_passing(groups, 0.3, delta, few, trials=3000, seed=groups)
        bound = passing_probability_bound(groups, 0.3, delta, Spectrum.of(few))
        assert frequency <= bound + 4 * error
    # a test that is met comfortably passes most of the time: the frequency is not small by construction
    assert simulate_passing(4, 0.2, -0.7, np.ones(100), trials=300)[0] > 0.9


def test_the_variance_bound_against_draws():
    eigenvalues, groups, eta, delta = np.array([3.0, 2.0, 1.0]), 4, 0.5, 0.5
    rng = np.random.default_rng(2)
    mean = np.array([np.sqrt(6.0 / groups / (1.5 * eta**2)), 0, 0])
    draws = mean + np.sqrt(eigenvalues) * rng.standard_normal((40_000, groups, 3))
    margins = estimated_margin(groups, eta, np.sum(draws**2, axis=(1, 2)), np.sum(draws.mean(1) ** 2, axis=1))
    limit = relative_variance(groups, eta, delta, *astuple(Spectrum.of(eigenvalues))) * (6.0 / groups) ** 2
    assert margins.mean() == pytest.approx(-(0.5 / 1.5) * 6.0 / groups, abs=0.02)
    assert 0.3 * limit < margins.var() < limit


@settings(deadline=None, max_examples=60)
@given(
    n=st.integers(2, 16),
    m=st.integers(1, 8),
    squared=st.floats(1e-3, 1e3),
    extra=st.floats(1e-3, 1e3),
    eta=st.floats(0.05, 2),
)
def test_the_margin_is_the_debiased_norm_test(n, m, squared, extra, eta):
    moments = GradientMoments(n, m, n * squared + extra, squared)
    margin = estimated_margin(n, eta, moments.sum_of_squares, squared)
    if abs(margin) > 1e-9 * (squared + extra):
        passes = bool(norm_test_passes(norm_test_statistic(moments, eta, Estimator.DEBIASED), moments.batch_size))
        assert passes == (margin >= 0)


@pytest.mark.parametrize("debiased", [False, True])
@pytest.mark.parametrize("signal", [0.0, 3.0, 5.0])
def test_the_t_test_against_draws(signal, debiased):
    groups, eta, trials = 4, 0.2, 200_000
    rng = np.random.default_rng(4)
    g = signal + 2.0 * rng.standard_normal((trials, groups))  # V = 4 / 4 = 1
    mean, squares = g.mean(axis=1), np.sum(g**2, axis=1)
    estimate = (squares - groups * mean**2) / (groups * (groups - 1))
    passed = estimated_margin(groups, eta, squares, mean**2) >= 0 if debiased else estimate <= eta**2 * mean**2
    expected = coordinate_passing_probability(groups, eta, signal, debiased)
    assert abs(passed.mean() - expected) < 4.5 * np.sqrt(expected * (1 - expected) / trials)


def test_coordinates_never_all_pass():
    exact_test_just_holds = coordinate_passing_probability(4, 0.2, signal=5.0)
    assert 0.4 < exact_test_just_holds < 0.7
    assert exact_test_just_holds**100 < 1e-20
    more_groups = coordinate_passing_probability(np.array([2, 4, 8, 16]), 0.2)
    assert np.all(np.diff(more_groups) < 0)


@settings(deadline=None, max_examples=60)
@given(
    groups=st.integers(2, 64),
    eta=st.floats(0.01, 2),
    delta=st.floats(0.01, 50),
    d=st.integers(1, 10**6),
    more=st.floats(1.01, 5),
)
def test_the_bound_is_a_probability_and_falls_with_the_violation(groups, eta, delta, d, more):
    flat = Spectrum(2 / d, float(d), 1 / d)
    bound = passing_probability_bound(groups, eta, delta, flat)
    assert 0 < bound < 1
    assert passing_probability_bound(groups, eta, delta * more, flat) < bound


def test_on_symbols():
    j, eta, delta, beta, rank, share = sympy.symbols("J eta delta beta r nu", positive=True)
    symbolic = passing_probability_bound(j, eta, delta, Spectrum(beta, rank, share))
    point = {j: 4, eta: 0.2, delta: 1.0, beta: 0.02, rank: 100, share: 0.05}
    numeric = passing_probability_bound(4, 0.2, 1.0, Spectrum(0.02, 100.0, 0.05))
    assert float(symbolic.subs(point)) == pytest.approx(numeric)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"groups": 1}, "2 groups"),
        ({"eta": 0.0}, "eta > 0"),
        ({"delta": 0.0}, "delta > 0"),
        ({"squared_norm_variance": -1.0}, "beta >= 0"),
        ({"effective_rank": 0.5}, "r_e >= 1"),
        ({"largest_share": 0.5}, "nu = 0.1"),
    ],
)
def test_hypotheses(change, message):
    shape = {"squared_norm_variance": 0.02, "effective_rank": 100.0, "largest_share": 0.05}

    def bound(groups=4, eta=0.2, delta=1.0, **other_shape):
        return passing_probability_bound(groups, eta, delta, Spectrum(**{**shape, **other_shape}))

    bound()
    with pytest.raises(HypothesisError, match=message):
        bound(**change)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(1e-12, 1e3), min_size=1, max_size=5), st.sampled_from([1.0, 1e-14, 1e-20]))
@example([0.1, 0.30000000000000004], 1e-20)
def test_spectra_of_nearly_rank_one_are_accepted(eigenvalues, decay):
    """Their r_e is 1, and rounds to 1 - 2e-16."""
    values = np.array(eigenvalues) * decay ** np.arange(len(eigenvalues))
    spectrum = Spectrum.of(values)
    assert 1 <= spectrum.effective_rank <= len(values) * (1 + 1e-9)
    assert Spectrum(2.0, 1 - 2.3e-16, 1.0).effective_rank < 1
