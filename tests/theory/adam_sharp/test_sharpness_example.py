import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from theory.adam_sharp.sharpness_example import (
    BETA1,
    BETA2,
    RunLengthNoise,
    critical_eta,
    expected_direction,
    high_value,
    limiting_eta,
    low_probability,
    low_value,
)
from theory.adam_sharp.theorem2 import largest_admissible_eta


@given(st.floats(-10, 0.99), st.floats(0.01, 1.0))
@settings(deadline=None)
def test_the_two_points_have_mean_1_and_variance_eta_squared(low, eta):
    high, probability = high_value(low, eta), low_probability(low, eta)
    mean = probability * low + (1 - probability) * high
    variance = probability * (low - mean) ** 2 + (1 - probability) * (high - mean) ** 2
    assert mean == pytest.approx(1, abs=1e-9)
    assert variance == pytest.approx(eta**2, rel=1e-7)


def directions(eta, paths, steps, seed):
    """Mean of m / sqrt(v) by simulation, with its standard error over independent paths."""
    rng = np.random.default_rng(seed)
    noise = RunLengthNoise(eta, (paths,))
    m, v = np.zeros(paths), np.zeros(paths)
    total, count = np.zeros(paths), 0
    for k in range(steps):
        x = noise(rng.random(paths))
        m, v = BETA1 * m + (1 - BETA1) * x, BETA2 * v + (1 - BETA2) * x * x
        if k >= 20:
            total, count = total + m / np.sqrt(v), count + 1
    mean = total / count
    return mean.mean(), mean.std() / np.sqrt(paths)


@pytest.mark.parametrize("eta", [0.85, 0.9, 0.95])
def test_the_enumeration_against_simulation(eta):
    mean, error = directions(eta, paths=4000, steps=400, seed=int(100 * eta))
    assert abs(expected_direction(eta) - mean) < 5 * error
    assert error < 0.002


def test_the_drift_turns_uphill_between_85_and_90():
    assert expected_direction(0.85) > 0.06
    assert expected_direction(0.90) < -0.004
    assert expected_direction(0.95) < -0.07
    assert 0.89 < critical_eta() < 0.90
    assert expected_direction(critical_eta()) == pytest.approx(0, abs=1e-8)


def test_theorem_2_does_not_cover_it():
    assert 0.7071 < largest_admissible_eta(BETA1, BETA2) < limiting_eta() < critical_eta()


def test_the_limit_of_the_example():
    """sum_n sqrt(n) q^n = 1 at q = .438598; finite betas and strengths come down to it and do not go below."""
    eta = limiting_eta()
    q = eta**2 / (1 + eta**2)
    assert (round(eta, 6), round(q, 6)) == (0.883886, 0.438598)
    assert sum(n**0.5 * q**n for n in range(1, 120)) == pytest.approx(1, abs=1e-12)
    closer = [
        critical_eta(r * b2**0.5, b2, s)
        for r, b2, s in ((0.99, 1e-8, 30.0), (0.999, 1e-10, 100.0), (0.99999, 1e-14, 1000.0))
    ]
    assert closer == sorted(closer, reverse=True)
    assert eta < closer[-1] < eta + 1e-3


def test_the_enumeration_has_converged():
    assert expected_direction(0.9, depth=40) == pytest.approx(expected_direction(0.9, depth=90), abs=1e-8)


def final_position(eta, alpha=0.02, steps=3000, paths=400, start=1.0):
    """Mean of w after Adam on sqrt(1 + w^2) - 1."""
    rng = np.random.default_rng(7)
    noise = RunLengthNoise(eta, (paths,))
    w, m, v = np.full(paths, start), np.zeros(paths), np.zeros(paths)
    for _ in range(steps):
        g = w / np.sqrt(1 + w * w) * noise(rng.random(paths))
        m, v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g * g
        w -= alpha * np.divide(m, np.sqrt(v), out=np.zeros(paths), where=v > 0)
    return np.abs(w).mean()


def test_adam_goes_uphill_on_a_convex_function():
    assert final_position(0.97) > 4.0  # about 1 + alpha * steps * .1
    assert final_position(0.6) < 0.5


@pytest.mark.slow
def test_adam_goes_uphill_at_95():
    assert final_position(0.95, alpha=0.01, steps=20_000) > 10.0


def test_a_noise_without_lows_that_add_up_does_not():
    """The strength matters: with lows of the size of the gradient's own decay only, the drift is downhill."""
    assert expected_direction(0.95, strength=0.1) > 0


def test_harmless_at_the_betas_in_use():
    assert expected_direction(1.0, beta1=0.9, beta2=0.95, depth=400) > 0
    with pytest.raises(HypothesisError, match="uphill"):
        critical_eta(beta1=0.05, beta2=0.95)


@pytest.mark.parametrize(("eta", "beta1"), [(0.0, BETA1), (1.1, BETA1), (0.9, 0.0), (0.9, 2e-4)])
def test_out_of_range_is_named(eta, beta1):
    with pytest.raises(HypothesisError):
        expected_direction(eta, beta1=beta1)


def test_low_values_shrink_by_the_decay_over_the_ratio():
    values = [low_value(1.5, n) for n in range(4)]
    assert all(v < 0 for v in values)
    assert np.allclose(np.divide(values[1:], values[:-1]), np.sqrt(BETA2) / (BETA1 / np.sqrt(BETA2)))
