"""Numbers that stay fractions through numpy's arrays of objects and through square roots."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from math import isqrt
from numbers import Integral
from typing import Any

import numpy as np

from simulate.streams import Array

__all__ = ["Rational", "rationals"]

BITS = 256
"""Of a square root that is not rational; rounded down."""


class Rational(Fraction):
    """A fraction whose sums, products and so on are of its kind; floats are taken exactly.

    >>> third = Rational(1, 3)
    >>> third + 0.5, np.sqrt(np.array([Rational(4, 9)], dtype=object))[0]
    (Rational(5, 6), Rational(2, 3))
    >>> abs(float(Rational(2).sqrt() ** 2 - 2)) < 1e-70
    True
    """

    __slots__ = ()

    def sqrt(self) -> Rational:
        """The square root, exact if it is rational, else to 256 bits; numpy's sqrt calls it."""
        numerator, denominator = isqrt(self.numerator), isqrt(self.denominator)
        if numerator**2 == self.numerator and denominator**2 == self.denominator:
            return Rational(numerator, denominator)
        shift = max(0, BITS + (self.denominator.bit_length() - self.numerator.bit_length()) // 2)
        return Rational(isqrt((self.numerator << 2 * shift) // self.denominator), 1 << shift)


def _kept(name: str) -> Callable[..., Any]:
    operation = getattr(Fraction, name)

    def method(self: Rational, *others: Any) -> Any:
        if not all(isinstance(other, int | float | Integral | Fraction) for other in others):
            return NotImplemented  # an array, which calls this for each of its numbers
        plain = (int(other) if isinstance(other, Integral) else Fraction(other) for other in others)
        return Rational(operation(self, *plain))

    return method


for _name in ("add", "sub", "mul", "truediv", "radd", "rsub", "rmul", "rtruediv", "pow", "neg", "abs"):
    setattr(Rational, f"__{_name}__", _kept(f"__{_name}__"))


def rationals(values: Any) -> Array:
    """An array of floats as an array of fractions that are equal to them.

    >>> rationals([0.5, 0.1]).tolist()
    [Rational(1, 2), Rational(3602879701896397, 36028797018963968)]
    """
    exact: Array = np.frompyfunc(lambda x: Rational(Fraction(float(x))), 1, 1)(np.asarray(values, dtype=float))
    return np.asarray(exact, dtype=object)
