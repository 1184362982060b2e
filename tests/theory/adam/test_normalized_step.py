"""Adam's mean step: the quadrature against enumeration and simulation (against intervals: tests/proofs/adam)."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from theory.adam.constants import normalized_step_bound
from theory.adam.normalized_step import Law, mean_normalized_step, rare_value, rare_variance, two_point_law

LAW = Law((-0.5, 2.0), (0.4, 0.6))


def enumerated(law, beta1, beta2, length):
    """E m/sqrt(v) over all histories of the given length."""
    values = np.array(list(itertools.product(law.values, repeat=length)))
    weights = np.prod(np.array(list(itertools.product(law.probabilities, repeat=length))), axis=1)
    lag = np.arange(length)
    m = (1 - beta1) * values @ beta1 ** lag.astype(float)
    v = (1 - beta2) * values**2 @ beta2 ** lag.astype(float)
    return float(weights @ (m / np.sqrt(v)))


@pytest.mark.parametrize(("beta1", "beta2"), [(0.0, 0.2), (0.3, 0.2), (0.25, 0.3)])
def test_against_all_histories(beta1, beta2):
    found = mean_normalized_step(LAW, beta1, beta2)
    assert found == pytest.approx(enumerated(LAW, beta1, beta2, 14), abs=3e-7)
    assert found != pytest.approx(enumerated(LAW, beta1, beta2 * 1.05, 14), abs=1e-4)


@pytest.mark.parametrize("steps", [1, 2, 5, 9])
def test_after_some_steps_against_all_histories(steps):
    found = mean_normalized_step(LAW, 0.5, 0.6, steps=steps)
    assert found == pytest.approx(enumerated(LAW, 0.5, 0.6, steps), abs=1e-9)
    assert mean_normalized_step(LAW, 0.5, 0.6, steps=10_000) == pytest.approx(mean_normalized_step(LAW, 0.5, 0.6))


def test_against_simulation():
    law, rng = two_point_law(0.1, 0.0025), np.random.default_rng(3)
    m, v, seen = np.zeros(100_000), np.zeros(100_000), []
    for k in range(600):
        x = np.where(rng.random(m.size) < law.probabilities[1], law.values[1], law.values[0])
        m, v = 0.9 * m + 0.1 * x, 0.95 * v + 0.05 * x * x
        if k >= 300 and k % 100 == 99:  # lags at which nothing is remembered
            seen.append((m / np.sqrt(v)).mean())
    error = (m / np.sqrt(v)).std() / np.sqrt(m.size * len(seen))
    assert abs(np.mean(seen) - mean_normalized_step(law, 0.9, 0.95)) < 4 * error


def test_the_default_step_is_fine_enough():
    for beta1, beta2 in [(0.9, 0.95), (0.0, 0.5), (0.5, 0.99)]:
        coarse = mean_normalized_step(two_point_law(0.1, 0.01), beta1, beta2)
        assert coarse == pytest.approx(
            mean_normalized_step(two_point_law(0.1, 0.01), beta1, beta2, log_step=0.05), abs=1e-9
        )


laws = st.builds(
    lambda x, y, p: Law((x, y), (1 - p, p)), st.floats(-3, -0.05), st.floats(0.05, 30), st.floats(0.001, 0.999)
)


@settings(deadline=None, max_examples=30)
@given(law=laws, scale=st.floats(0.1, 10), r=st.floats(0, 0.95), beta2=st.floats(0.05, 0.97))
def test_bounded_odd_and_free_of_scale(law, scale, r, beta2):
    beta1 = r * beta2**0.5
    step = mean_normalized_step(law, beta1, beta2)
    assert abs(step) <= normalized_step_bound(beta1, beta2) + 1e-9
    flipped = Law(tuple(-scale * x for x in law.values), law.probabilities)
    assert mean_normalized_step(flipped, beta1, beta2) == pytest.approx(-step, abs=1e-8)


@settings(deadline=None, max_examples=50)
@given(delta=st.floats(-0.9, 5), p=st.floats(1e-5, 0.999))
def test_the_two_point_law_has_mean_one(delta, p):
    law = two_point_law(delta, p)
    assert law.mean == pytest.approx(1, rel=1e-9)
    assert law.variance == pytest.approx(rare_variance(delta, p), rel=1e-9)
    assert law.values[1] == rare_value(delta, p)


def test_refuses_what_it_cannot_do():
    with pytest.raises(HypothesisError, match="X never 0"):
        mean_normalized_step(Law((0.0, 2.0), (0.5, 0.5)), 0.9, 0.95)
    with pytest.raises(HypothesisError, match="steps >= 1"):
        mean_normalized_step(LAW, 0.9, 0.95, steps=0)
    with pytest.raises(HypothesisError, match="beta1"):
        mean_normalized_step(LAW, 0.99, 0.95)
    with pytest.raises(HypothesisError, match="sum to 1"):
        Law((1.0, 2.0), (0.5, 0.6))
    with pytest.raises(HypothesisError):
        Law((1.0, 2.0), (1.5, -0.5))
    with pytest.raises(HypothesisError, match="0 < p < 1"):
        two_point_law(0.1, 1.0)
