"""Dispatch: the same value on floats, arrays and symbols."""

import subprocess
import sys
from fractions import Fraction

import numpy as np
import pytest
import sympy

from adabatch.moments import numeric
from adabatch.moments.hypotheses import HypothesisError, describe, require

x = sympy.Symbol("x", positive=True)


@pytest.mark.parametrize("name", ["sqrt", "log", "log1p", "exp", "absolute", "ceiling"])
def test_functions_of_one_value(name):
    function = getattr(numeric, name)
    number = function(0.7)
    assert isinstance(number, float)
    np.testing.assert_allclose(function(np.array([0.7, 0.7])), number)
    assert float(function(x).subs(x, 0.7)) == pytest.approx(number, rel=1e-15)


@pytest.mark.parametrize("name", ["minimum", "maximum"])
def test_functions_of_two_values(name):
    function = getattr(numeric, name)
    assert function(0.2, 0.7) in (0.2, 0.7)
    np.testing.assert_allclose(function(np.array([0.2]), 0.7), function(0.2, 0.7))
    assert float(function(x, 0.7).subs(x, 0.2)) == pytest.approx(function(0.2, 0.7))


def test_fractions_stay_exact_where_they_can():
    third, half = Fraction(1, 3), Fraction(1, 2)
    for value, expected in [
        (numeric.minimum(third, half), third),
        (numeric.maximum(third, 0), third),
        (numeric.absolute(-half), half),
        (numeric.one_minus_power(third, 2), Fraction(8, 9)),
    ]:
        assert (type(value), value) == (Fraction, expected)


@pytest.mark.parametrize("name", ["sqrt", "log", "log1p", "exp", "expm1", "hypot"])
def test_roots_and_logarithms_of_fractions_are_floats(name):
    values = (Fraction(1, 3), Fraction(1, 2))[: 2 if name == "hypot" else 1]
    found = getattr(numeric, name)(*values)
    assert isinstance(found, float)
    assert found == getattr(numeric, name)(*map(float, values))
    with_array = numeric.maximum(Fraction(1, 3), np.array([0.0, 1.0]))
    np.testing.assert_array_equal(with_array, [1 / 3, 1])


def test_where():
    assert numeric.where(True, 1.0, 2.0) == 1.0
    np.testing.assert_array_equal(numeric.where(np.array([True, False]), 1.0, 2.0), [1, 2])
    assert numeric.where(x > 1, 1, 2).subs(x, 3) == 1


def test_the_trainers_part_does_not_load_sympy():
    code = "import adabatch.moments.statistic, sys; sys.exit('sympy' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_require():
    require(np.array([True, True]), "c", "g")
    require(x > 0, "c", "g")
    require(x > 5, "c", "undecided is assumed")
    for condition in (False, np.array([True, False]), sympy.Integer(1) > 2):
        with pytest.raises(HypothesisError, match="requires a, but b; do c"):
            require(condition, "a", "b", "do c")


def test_describe():
    assert describe("eta", 0.25) == "eta = 0.25"
    assert describe("eta", np.array([0.1, 0.5])) == "eta in [0.1, 0.5]"
    assert describe("eta", x) == "eta = x"
