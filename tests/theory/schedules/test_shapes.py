"""Shapes of learning-rate paths: every closed form against quadrature."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from adabatch.moments.hypotheses import HypothesisError
from tests.support.learning_rate_paths import DECAYS, SHAPES
from theory.schedules.shapes import Cosine, OneMinusSqrt, Power, Shape, StableThenDecay


@given(st.sampled_from(SHAPES), st.floats(0, 0.999), st.floats(0.25, 4))
@settings(deadline=None, max_examples=60)
def test_remaining_is_the_integral(shape, x, power):
    kink = [1 - shape.fraction] if isinstance(shape, StableThenDecay) and x < 1 - shape.fraction else None
    integral = quad(lambda t: shape(t) ** power, x, 1, points=kink, epsabs=0, epsrel=1e-12, limit=200)[0]
    assert shape.remaining(x, power) == pytest.approx(integral, rel=1e-8)
    assert shape.remaining(1.0, power) == 0
    assert shape.remaining(np.array([x, x]), power) == pytest.approx([integral, integral], rel=1e-8)


@pytest.mark.parametrize("shape", DECAYS)
def test_what_the_last_iterate_takes(shape):
    assert shape.last_iterate_integral() == pytest.approx(Shape.last_iterate_integral(shape), rel=1e-6)


def test_a_constant_path_has_no_last_iterate():
    with pytest.raises(HypothesisError, match="decays to 0"):
        Power(0).last_iterate_integral()
    assert StableThenDecay(1.0, Power(1)).last_iterate_integral() == 2


@given(st.sampled_from(DECAYS), st.floats(0.01, 0.99))
def test_reach_inverts(shape, value):
    assert shape(shape.reach(value)) == pytest.approx(value, rel=1e-9)
    assert shape(0.0) == 1


def test_a_path_is_bent_at_its_kinks_only():
    shape, near = StableThenDecay(0.5, StableThenDecay(0.4, Power(1))), 0.015
    x = np.linspace(0.03, 0.97, 48)
    bent = x[np.abs(shape(x - near) - 2 * shape(x) + shape(x + near)) > 1e-9]
    assert bent == pytest.approx([0.79, 0.81])
    assert all(min(abs(value - kink) for kink in shape.kinks) < near for value in bent)


def test_closed_forms_of_the_table():
    x, e = sympy.symbols("x e", positive=True)
    assert sympy.simplify(sympy.integrate((1 - x) ** 3, (x, 0, 1)) - Power(1).remaining(sympy.Integer(0), 3)) == 0
    assert sympy.simplify(Power(2).remaining(sympy.Integer(0), e) - 1 / (1 + 2 * e)) == 0
    half = (1 + sympy.cos(sympy.pi * x)) / 2
    for power in (1, 2, 3):
        whole = float(sympy.integrate(sympy.expand(half**power), (x, 0, 1)))
        assert Cosine().remaining(0.0, power) == pytest.approx(whole, rel=1e-13)
        root = float(sympy.integrate((1 - sympy.sqrt(x)) ** power, (x, 0, 1)))
        assert OneMinusSqrt().remaining(0.0, power) == pytest.approx(root, rel=1e-13)
    assert Cosine()(0.25) == pytest.approx(float(half.subs(x, 0.25)))
    assert Cosine(1).remaining(0.0) == pytest.approx(2 / np.pi)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Power(-1), "exponent >= 0"),
        (lambda: Cosine(0), "exponent > 0"),
        (lambda: StableThenDecay(0, Power(1)), "0 < fraction <= 1"),
        (lambda: Power(0).reach(0.5), "decays to 0"),
    ],
)
def test_a_shape_that_cannot_be(build, message):
    with pytest.raises(HypothesisError, match=message):
        build()
