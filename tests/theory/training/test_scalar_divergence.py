"""Adam under the scalar test: the instance meets the test, its threshold, and the run that climbs."""

import dataclasses

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from theory.adam.constants import normalized_step_bound
from theory.adam.normalized_step import mean_normalized_step, rare_value, rare_variance, two_point_law
from theory.training.scalar_divergence import (
    ScalarTestDivergence,
    drift,
    mean_step_ceiling,
    noisy_direction,
    relative_error,
    sign_step_ceiling,
    simulate,
    threshold_dimension,
)

INSTANCE = ScalarTestDivergence(beta1=0.9, beta2=0.95, eta=0.2, dimension=100_000, delta=0.1, rare=0.0025)


def scaled_threshold(beta1, beta2, delta, rare):
    """kap^2 / u^2, the threshold of d eta^2 for small eta."""
    step = mean_normalized_step(two_point_law(delta, rare), beta1, beta2)
    return rare_variance(delta, rare) / step**2 if step < 0 else np.inf


def test_the_scalar_test_is_an_equality_by_enumeration():
    small = ScalarTestDivergence(beta1=0.9, beta2=0.95, eta=0.3, dimension=50, delta=0.2, rare=0.01)
    law = two_point_law(small.delta, small.rare)
    weights = np.random.default_rng(0).normal(size=50)
    a = np.array([1.0] + [small.g] * 49)
    gradient = a * np.clip(a @ weights, -1, 1)
    squared_error = np.sum(gradient[1:] ** 2) * sum(
        p * (x - 1) ** 2 for x, p in zip(law.values, law.probabilities, strict=True)
    )
    assert squared_error == pytest.approx(small.eta**2 * np.sum(gradient**2), rel=1e-12)
    # but coordinate by coordinate the noise is far beyond eta
    assert small.noise_variance > 100 * small.eta**2


def test_thresholds_of_d_eta_squared():
    # 1672 belongs to the simulated u = -.537; the exact mean step is -.5346
    assert INSTANCE.mean_step == pytest.approx(-0.53458, abs=1e-5)
    assert INSTANCE.threshold * INSTANCE.eta**2 == pytest.approx(1672, rel=0.015)
    assert INSTANCE.threshold * INSTANCE.eta**2 == pytest.approx(1689.3, abs=0.5)
    assert min(scaled_threshold(0.9, 0.95, d, p) for d in (0.07, 0.09, 0.12) for p in (2e-3, 2.3e-3, 3e-3)) < 1690
    assert min(scaled_threshold(0.0, 0.5, d, p) for d in (0.1, 0.12, 0.14) for p in (0.03, 0.037)) < 113


def test_short_runs_from_zero_climb_from_a_smaller_dimension_on():
    # kap^2 / u^2 is of the size of 24115 at (.9, .999) only if u is averaged over a few thousand first steps
    steps = np.geomspace(1, 8000, 40)
    means = [mean_normalized_step(two_point_law(0.07, 6e-5), 0.9, 0.999, steps=int(k)) for k in steps]
    average = np.sum((steps[1:] - steps[:-1]) * (np.array(means[1:]) + np.array(means[:-1]))) / 2 / 8000
    assert 20_000 < rare_variance(0.07, 6e-5) / average**2 < 24_115
    assert abs(average) > 2 * abs(mean_normalized_step(two_point_law(0.07, 6e-5), 0.9, 0.999))


def test_no_smaller_threshold_at_beta2_999_in_this_family():
    # for good, stationary noise of this kind needs d eta^2 of about 1.1e5 at (.9, .999), well above 24115
    grid = [scaled_threshold(0.9, 0.999, d, p) for d in (0.04, 0.06, 0.1) for p in (2e-5, 3.1e-5, 2e-4)]
    assert 1.1e5 < min(grid) < 1.13e5


def test_without_memory_the_threshold_tends_to_the_golden_ratio_to_the_fifth():
    golden = ((1 + 5**0.5) / 2) ** 5
    best = (3 - 5**0.5) / 4
    values = [scaled_threshold(0.0, beta2, beta2**0.25, best) for beta2 in (1e-6, 1e-9, 1e-12)]
    assert values[0] > values[1] > values[2] > golden
    assert values[2] == pytest.approx(golden, rel=0.01)


@pytest.mark.parametrize(("corrected", "epsilon", "final"), [(False, 0.0, 18.645), (True, 1e-8, 18.46)])
def test_the_run_climbs(corrected, epsilon, final):
    path = simulate(INSTANCE, alpha=0.01, steps=3000, bias_correction=corrected, epsilon=epsilon)
    assert path[0] == 1
    assert np.diff(path).min() > 0
    assert path[-1] == pytest.approx(final, abs=0.06)
    assert (path[-1] - path[1000]) / 2000 == pytest.approx(INSTANCE.drift(0.01), rel=0.02)


def test_the_probability_of_a_step_downhill_in_a_dimension_where_it_is_seen():
    small = ScalarTestDivergence(beta1=0.0, beta2=0.01, eta=0.5, dimension=450, delta=1.0, rare=0.3)
    least = -max(mean_normalized_step(two_point_law(1.0, 0.3), 0.0, 0.01, steps=k) for k in range(1, 4))
    downhill = np.mean([np.diff(simulate(small, 0.01, steps=3, seed=seed)).min() < 0 for seed in range(400)])
    assert 0 < downhill < small.failure_probability(least, steps=3) < 1
    with pytest.raises(HypothesisError, match="higher dimension"):
        dataclasses.replace(small, dimension=100).failure_probability(least, steps=3)


@pytest.mark.parametrize("quiet", [1, 2, 10, 40, 80])
def test_the_ceiling_of_a_quiet_time_is_nearly_attained(quiet):
    """n steps without a rare value, from every v' up to x^2 and the largest m' next to it."""
    beta1, beta2, delta, rare = 0.5, 0.9, 1.0, 0.01
    before, reach = np.linspace(0, rare_value(delta, rare), 2000), normalized_step_bound(beta1, beta2)
    momentum = beta1**quiet * reach * before - (1 - beta1**quiet) * delta
    worst = (momentum / np.sqrt(beta2**quiet * before**2 + (1 - beta2**quiet) * delta**2)).max()
    share = quiet * rare
    found = (mean_step_ceiling(beta1, beta2, delta, rare, quiet) - share * reach) / (1 - share)
    assert worst == pytest.approx(found, abs=1e-5)


@settings(deadline=None, max_examples=25)
@given(r=st.floats(0, 0.9), beta2=st.floats(0.3, 0.97), p=st.floats(-12, -3), quiet=st.integers(1, 200))
def test_the_ceilings_are_above_the_mean_steps(r, beta2, p, quiet):
    beta1, rare = r * beta2**0.5, 10**p
    means = [mean_normalized_step(two_point_law(0.3, rare), beta1, beta2, steps=k) for k in (1, 2, quiet, None)]
    assert max(means) <= mean_step_ceiling(beta1, beta2, 0.3, rare, quiet) + 1e-9
    sign = [mean_normalized_step(two_point_law(0.3, rare), 0.0, beta2, steps=k) for k in (1, quiet, None)]
    assert max(sign) <= sign_step_ceiling(beta2, 0.3, rare) + 1e-9


def test_below_the_threshold_adam_converges():
    small = ScalarTestDivergence(beta1=0.9, beta2=0.95, eta=0.2, dimension=20_000)
    assert not small.diverges
    assert abs(simulate(small, alpha=0.01, steps=1000)[-1]) < 0.05


def test_the_shortcut_of_rare_events_against_dense_draws():
    small = ScalarTestDivergence(beta1=0.0, beta2=0.5, eta=0.5, dimension=3000, delta=0.1, rare=0.03)
    law, rng, value = two_point_law(small.delta, small.rare), np.random.default_rng(5), 1.0
    a = np.array([1.0] + [small.g] * 2999)
    w, m, v = np.zeros(3000), np.zeros(3000), np.zeros(3000)
    w[0] = 1.0
    for _ in range(1500):
        value = a @ w
        x = np.where(rng.random(3000) < law.probabilities[1], law.values[1], law.values[0])
        x[0] = 1.0
        g = x * a * np.clip(value, -1, 1)
        m, v = small.beta1 * m + (1 - small.beta1) * g, small.beta2 * v + (1 - small.beta2) * g * g
        w = w - 0.01 * m / np.sqrt(v)
    fast = simulate(small, alpha=0.01, steps=1500)[-1]
    assert fast == pytest.approx(a @ w, rel=0.03)
    assert fast == pytest.approx(1 + 1500 * small.drift(0.01), rel=0.05)


def test_formulas_on_arrays_and_symbols():
    eta, kap, d, u = sympy.symbols("eta kappa d u", positive=True)
    point = {eta: 0.2, kap: 22.0, d: 5000, u: 0.5}
    g = noisy_direction(0.2, 22.0**2, 5000)
    assert float(noisy_direction(eta, kap**2, d).subs(point)) == pytest.approx(g)
    assert float(threshold_dimension(eta, kap**2, -u).subs(point)) == pytest.approx(
        threshold_dimension(0.2, 484.0, -0.5)
    )
    dimensions = np.array([50_000.0, 60_000.0])
    drifts = drift(0.01, dimensions, noisy_direction(0.2, 484.0, dimensions), -0.5)
    limit = threshold_dimension(0.2, 484.0, -0.5)
    assert np.array_equal(drifts > 0, dimensions > limit)
    assert relative_error(g, 484.0, 5000) == pytest.approx(0.2)


def test_hypotheses():
    with pytest.raises(HypothesisError, match="Var X > eta"):
        ScalarTestDivergence(beta1=0.9, beta2=0.95, eta=30.0, dimension=1000)
    with pytest.raises(HypothesisError, match="E m/sqrt"):
        _ = ScalarTestDivergence(beta1=0.9, beta2=0.95, eta=0.2, dimension=1000, rare=0.2).threshold
    with pytest.raises(HypothesisError, match="delta > 0"):
        ScalarTestDivergence(beta1=0.9, beta2=0.95, eta=0.2, dimension=1000, delta=0.0)
    with pytest.raises(HypothesisError, match="beta1"):
        ScalarTestDivergence(beta1=0.99, beta2=0.95, eta=0.2, dimension=1000)
