"""The formulas of what a batch costs, against minimisation by brute force."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from adabatch.moments import worth

positive = st.floats(1e-3, 1e3)
scales_of_a_run = st.lists(st.floats(0.01, 1e4), min_size=1, max_size=8).map(np.array)


def minimum_over_batches(time) -> tuple[float, float]:
    """The batch with the least time, and the time: on a grid, then by Brent's method."""
    grid = np.linspace(-12, 16, 600)
    best = grid[np.argmin([time(math.exp(x)) for x in grid])]
    found = minimize_scalar(lambda x: time(math.exp(x)), bounds=(best - 0.1, best + 0.1), method="bounded")
    return math.exp(found.x), found.fun


@given(positive, positive, positive)
def test_best_batch_and_least_time_are_the_minimum(scale, fixed, per_sample):
    batch, time = minimum_over_batches(lambda b: (1 + scale / b) * (fixed + per_sample * b))
    assert worth.best_batch(scale, fixed / per_sample) == pytest.approx(batch, rel=1e-3)
    assert worth.least_time(scale, fixed, per_sample) == pytest.approx(time, rel=1e-6)
    assert worth.time_of_progress(batch, scale, fixed, per_sample) == pytest.approx(time, rel=1e-12)


@given(st.floats(-20, 20), positive, positive, positive)
def test_roofline_is_least_at_saturation_whatever_the_noise(log_factor, scale, fixed, per_sample):
    least = worth.roofline_time(fixed / per_sample, scale, fixed, per_sample)
    other = worth.roofline_time(math.exp(log_factor) * fixed / per_sample, scale, fixed, per_sample)
    assert least <= other * (1 + 1e-12)


@given(st.floats(0.05, 20), positive, positive, positive)
def test_price_of_a_wrong_batch(factor, scale, fixed, per_sample):
    b = factor * math.sqrt(scale * fixed / per_sample)
    ratio = (1 + scale / b) * (fixed + per_sample * b) / (math.sqrt(fixed) + math.sqrt(per_sample * scale)) ** 2
    price = worth.price_of_factor(factor, scale, fixed / per_sample)
    assert price == pytest.approx(ratio, rel=1e-9)
    assert price == pytest.approx(worth.price_of_factor(1 / factor, scale, fixed / per_sample), rel=1e-12)
    assert price <= (factor + 1 / factor + 2) / 4 * (1 + 1e-12)  # r >= 2; 12.5% for a factor 2


@given(scales_of_a_run, positive, st.integers(0, 2**32 - 1))
def test_best_schedule_over_best_constant(scales, saturation, seed):
    """Against the sum over the progress with its best batch each, over that with the best constant batch."""
    weights = np.random.default_rng(seed).uniform(0.1, 1, len(scales))
    each = [minimum_over_batches(lambda b, B=B: (1 + B / b) * (saturation + b))[1] for B in scales]
    batch, constant = minimum_over_batches(
        lambda b: float(weights @ ((1 + scales / b) * (saturation + b)))  # t1 = 1
    )
    mean, s = worth.mean_noise_scale(scales, weights), worth.evenness(scales, weights)
    ratio = worth.schedule_over_constant(mean / saturation, s)
    assert ratio == pytest.approx(float(weights @ np.array(each)) / constant, rel=1e-6)
    assert worth.best_batch(mean, saturation) == pytest.approx(batch, rel=1e-3)
    assert worth.lowest_ratio(s) - 1e-12 <= ratio <= 1 + 1e-12
    assert 0 < s <= 1 + 1e-12


def test_values_by_hand():
    assert worth.progress(30.0, 10.0) == 0.75
    assert worth.price_of_factor(4.0, 1.0, 1.0) == 1.5625
    for power, saving in ((1, 0.0286), (2, 0.0670), (4, 0.1273)):  # B ~ n^p: s = sqrt(p + 1) / (p / 2 + 1)
        n = (np.arange(20000) + 0.5) / 20000
        s = worth.evenness(n**power, np.ones(20000))
        assert s == pytest.approx(math.sqrt(power + 1) / (power / 2 + 1), rel=1e-3)
        assert 1 - worth.lowest_ratio(s) == pytest.approx(saving, abs=2e-4)


def test_identities_on_symbols():
    B, t0, t1, c, s, rho = sympy.symbols("B t0 t1 c s rho", positive=True)
    star = worth.best_batch(B, t0 / t1)
    assert sympy.simplify(worth.time_of_progress(star, B, t0, t1) - worth.least_time(B, t0, t1)) == 0
    slope = sympy.diff(worth.time_of_progress(c, B, t0, t1), c).subs(c, star)
    assert sympy.simplify(slope) == 0
    over = worth.time_of_progress(c * star, B, t0, t1) / worth.least_time(B, t0, t1)
    assert sympy.simplify(over - worth.price_of_factor(c, B, t0 / t1)) == 0
    closed = (1 + rho + 2 * s * sympy.sqrt(rho)) / (1 + sympy.sqrt(rho)) ** 2
    assert sympy.simplify(worth.schedule_over_constant(rho, s) - closed) == 0
    assert worth.roofline_time(t0 / t1, B, t0, t1).equals((1 + B * t1 / t0) * t0)


@pytest.mark.parametrize(
    "perturbed",
    [
        lambda rho, s: (1 + rho + s * math.sqrt(rho)) / (1 + math.sqrt(rho)) ** 2,
        lambda rho, s: (1 + rho + 2 * s * rho) / (1 + math.sqrt(rho)) ** 2,
        lambda rho, s: (1 + s) / 2,
    ],
)
def test_perturbed_ratios_are_noticed(perturbed):
    """Each differs from the brute force by more than its tolerance on one and the same run."""
    scales, weights, saturation = np.array([1.0, 25.0]), np.array([1.0, 2.0]), 3.0
    _, constant = minimum_over_batches(lambda b: float(weights @ ((1 + scales / b) * (saturation + b))))
    best = sum(w * (math.sqrt(B) + math.sqrt(saturation)) ** 2 for w, B in zip(weights, scales, strict=True))
    rho, s = worth.mean_noise_scale(scales, weights) / saturation, worth.evenness(scales, weights)
    assert worth.schedule_over_constant(rho, s) == pytest.approx(best / constant, rel=1e-6)
    assert abs(perturbed(rho, s) - best / constant) > 1e-3
