"""Fractions through numpy: what stays exact, and roots that do not come out."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from simulate.attack.rational import Rational, rationals


def test_arithmetic_with_every_kind_of_number_stays_exact() -> None:
    x = Rational(1, 3)
    for other in (2, 0.1, Fraction(1, 7), np.float64(0.1), np.int64(2), True):
        exact = (
            Fraction(float(other))
            if isinstance(other, float)
            else Fraction(int(other))
            if other != Fraction(1, 7)
            else other
        )
        for made, wanted in (
            (x + other, x + exact),
            (other - x, exact - x),
            (x / other, x / exact),
            (other * x, exact * x),
        ):
            assert isinstance(made, Rational)
            assert made == wanted
    assert isinstance(-(abs(-x) ** 3), Rational)
    with pytest.raises(TypeError):
        x + "1"


def test_arrays_of_them_add_up_exactly() -> None:
    tenths = rationals([0.1] * 10)
    assert tenths.sum() == 10 * Fraction(0.1) != Fraction(float(np.sum([0.1] * 10)))
    assert np.sqrt(tenths**2).tolist() == tenths.tolist()


@pytest.mark.parametrize("size", [1e-200, 1e-3, 2.0, 3e200])
def test_roots_are_below_and_near(size: float) -> None:
    x = Rational(Fraction(size))
    assert 0 <= 1 - x.sqrt() ** 2 / x < Fraction(1, 2**200)
