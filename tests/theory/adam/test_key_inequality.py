"""Lemma L5's inequality over its whole range: in exact rational arithmetic, and theory's own functions.

It is proven (proofs.adam); a few hundred examples look whether the statement here is the one that is proven.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from theory.adam.constants import alignment_at
from theory.adam.key_inequality import minorant, normalized_response

unit = st.one_of(st.just(0.0), st.just(1.0), st.floats(0, 1))
history = st.one_of(st.just(0.0), st.floats(0, 10), st.floats(1e-12, 1e12), st.floats(1e12, 1e100))
amplification = st.one_of(st.just(1.0), st.floats(1, 20), st.floats(1, 1e12))
point = st.one_of(st.floats(-3, 3), st.floats(-1e9, 1e9), st.floats(-1e-9, 1e-9))


def amplified_response(x, s, rho, offset=0.0):
    """f(x): the normalised response where x >= 0, and rho times it where x < 0."""
    return np.where(np.asarray(x) < 0, rho, 1.0) * normalized_response(x, s, offset)


def holds_exactly(x: float, s: float, rho: float, eta: float, slope: str = "1", curvature: str = "1") -> bool:
    """The inequality decided without rounding: both sides squared where they have the same sign."""
    x_, s_, rho_, eta_ = (Fraction(v) for v in (x, s, rho, eta))
    y = 1 + eta_**2
    t = Fraction(slope) * s_ * (s_ + 1) / (s_ + y**2) ** 2
    right = 1 + t * (x_ - 1) - Fraction(curvature) * (1 + rho_) * (x_ / y - 1) ** 2
    if s_ + x_**2 == 0:
        return right <= 0
    square = (s_ + 1) * x_**2 / (s_ + x_**2)
    if x_ >= 0:
        return right <= 0 or square >= right**2
    return right <= 0 and right**2 >= rho_**2 * square


@given(point, history, amplification, unit)
@example(0.0, 0.0, 1.0, 1.0)
@example(-1e-300, 0.0, 1e12, 1.0)
@example(1.0, 1e100, 1.0, 0.0)
@example(2.0, 0.0, 1.0, 1.0)
@settings(deadline=None, max_examples=300)
def test_the_inequality_holds_exactly(x: float, s: float, rho: float, eta: float) -> None:
    assert holds_exactly(x, s, rho, eta)


@given(st.floats(-1.5, 0.5), st.floats(0, 1), history, amplification)
@settings(deadline=None, max_examples=150)
def test_the_inequality_holds_exactly_around_its_contacts(shift: float, eta: float, s: float, rho: float) -> None:
    assert holds_exactly(1 + eta**2 + shift * 1e-3, s, rho, eta)
    assert holds_exactly(shift * 1e-6, s * 1e-6, rho, eta)


@pytest.mark.parametrize(("slope", "curvature"), [("1.05", "1"), ("0.95", "1"), ("1", "0.99"), ("-1", "1")])
def test_a_moved_constant_is_refuted(slope: str, curvature: str) -> None:
    values = [-1e-9, 0.999, 1.001, *np.linspace(-3, 3, 121)]
    found = [
        (x, s, eta)
        for x in values
        for s in (0.0, 0.3, 1.0, 10.0, 1e6)
        for eta in (0.0, 0.5, 1.0)
        if not holds_exactly(float(x), s, 1.0, eta, slope, curvature)
    ]
    assert found


def test_beyond_eta_one_it_fails() -> None:
    assert not holds_exactly(-6.0, 1e9, 20.0, 5**0.5)
    assert holds_exactly(-6.0, 1e9, 20.0, 1.0)


@given(st.floats(-50, 50), st.floats(0, 1e6), st.floats(1, 100), unit, st.floats(0, 1e3))
@settings(deadline=None, max_examples=150)
def test_theorys_functions_with_and_without_offset(x: float, s: float, rho: float, eta: float, e: float) -> None:
    for offset in (0.0, e):
        left = ((s + 1) ** 0.5 + offset) * amplified_response(x, s, rho, offset)
        right = minorant(x, s, eta, rho, offset)
        assert left >= right - 1e-11 * (1 + abs(left) + abs(right))


@given(st.floats(0, 1), st.floats(1, 50), st.integers(0, 10**6), st.floats(0, 100))
@settings(deadline=None, max_examples=200)
def test_expectation_of_laws_with_the_allowed_variance(eta: float, rho: float, seed: int, s: float) -> None:
    """Random three-point laws, moved and scaled to mean 1 and variance eta^2."""
    generator = np.random.default_rng(seed)
    weights, points = generator.dirichlet(np.ones(3) * 0.3), generator.standard_normal(3)
    mean = weights @ points
    deviation = (weights @ (points - mean) ** 2) ** 0.5
    values = 1 + eta * (points - mean) / deviation if deviation > 1e-9 else np.ones(3)
    expected = weights @ amplified_response(values, s, rho)
    assert expected >= alignment_at(rho, eta) / (s + 1) ** 0.5 - 1e-9 * rho


@pytest.mark.parametrize("eta", [0.1, 0.5, 1.0])
@pytest.mark.parametrize("rho", [1.0, 13.0])
def test_it_is_sharp_in_the_limit(eta: float, rho: float) -> None:
    """s = 0, X in {0-, 1 + eta^2}: the expectation tends to kappa."""
    gaps = []
    for low in (1e-2, 1e-4, 1e-6):
        probability = eta**2 / (eta**2 + (1 + low) ** 2)
        values = np.array([-low, 1 + eta**2 / (1 + low)])
        weights = np.array([probability, 1 - probability])
        assert weights @ values == pytest.approx(1)
        assert weights @ (values - 1) ** 2 == pytest.approx(eta**2)
        gaps.append(weights @ amplified_response(values, 0.0, rho) - alignment_at(rho, eta))
    assert gaps[0] >= gaps[1] >= gaps[2] >= -1e-12
    assert gaps[2] < 1e-4


def test_zero_over_zero_is_zero() -> None:
    assert normalized_response(0.0, 0.0) == 0.0
    assert normalized_response(np.array([0.0, 2.0]), 0.0).tolist() == [0.0, 1.0]
    assert normalized_response(1e-300, 0.0) == 1.0
