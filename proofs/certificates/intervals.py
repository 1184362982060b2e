r"""Interval arithmetic on numpy arrays with outward rounding.

Algorithm:
    IEEE 754 rounds +, -, *, / and the square root of doubles correctly: the exact result lies within half a unit
    in the last place, 2^-53 relative. numpy's logarithm and exponential are within 4 units (numpy's own test of
    its vectorised versions). Every result is therefore moved outwards by the share :data:`ROUNDING` of itself, or
    :data:`LIBRARY_ROUNDING`, computed with an operation whose own error is far smaller; and by a tiny constant,
    for results that underflow.

Guarantee:
    An :class:`Enclosure` contains the exact result for all arguments in its operands, if no end is infinite.

Shapes:
    Ends are float64 arrays that broadcast together.

Example:
    >>> third = Enclosure.of(1.0) / Enclosure.of(3.0)
    >>> bool(third.low * 3 <= 1 <= third.high * 3), bool(third.high - third.low < 1e-15)
    (True, True)
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import sympy
from numpy.typing import ArrayLike, NDArray

__all__ = ["ROUNDING", "TINY", "Enclosure", "down", "up"]

Array = NDArray[np.float64]

ROUNDING = 2.0**-51
"""Relative: four times the error of a correctly rounded operation."""
LIBRARY_ROUNDING = 2.0**-48
"""Relative: eight times the error that numpy allows its logarithm and exponential."""
TINY = 1e-300
"""Absolute: far above the smallest normal number times any error, far below every quantity in use."""


def down(x: Array, share: float = ROUNDING) -> Array:
    """At most every number that rounds to x."""
    return x - (np.abs(x) * share + TINY)


def up(x: Array, share: float = ROUNDING) -> Array:
    """At least every number that rounds to x."""
    return x + (np.abs(x) * share + TINY)


class Enclosure(NamedTuple):
    """[low, high], elementwise."""

    low: Array
    high: Array

    @classmethod
    def of(cls, x: ArrayLike) -> Enclosure:
        """The points x themselves."""
        point = np.asarray(x, float)
        return cls(point, point)

    @classmethod
    def around(cls, number: Any) -> Enclosure:
        """A number that SymPy has exactly."""
        nearest = np.asarray(float(sympy.N(number, 30)))
        return cls(down(nearest), up(nearest))

    def __add__(self, other: Enclosure) -> Enclosure:  # type: ignore[override]
        return Enclosure(down(self.low + other.low), up(self.high + other.high))

    def __neg__(self) -> Enclosure:
        return Enclosure(-self.high, -self.low)

    def __sub__(self, other: Enclosure) -> Enclosure:
        return self + -other

    def __mul__(self, other: Enclosure) -> Enclosure:  # type: ignore[override]
        ends = (self.low * other.low, self.low * other.high, self.high * other.low, self.high * other.high)
        low = np.minimum(np.minimum(ends[0], ends[1]), np.minimum(ends[2], ends[3]))
        high = np.maximum(np.maximum(ends[0], ends[1]), np.maximum(ends[2], ends[3]))
        return Enclosure(down(low), up(high))

    def __truediv__(self, other: Enclosure) -> Enclosure:
        """The quotient by a positive interval."""
        low = np.minimum(self.low / other.low, self.low / other.high)
        return Enclosure(down(low), up(np.maximum(self.high / other.low, self.high / other.high)))

    def scale_nonnegative(self, other: Enclosure) -> Enclosure:
        """The product where neither has negative numbers: two multiplications in place of four."""
        return Enclosure(np.maximum(down(self.low * other.low), 0.0), up(self.high * other.high))

    def square(self) -> Enclosure:
        """x^2, at least 0."""
        ends = np.abs(self.low), np.abs(self.high)
        across = (self.low < 0) & (self.high > 0)
        small = np.where(across, 0.0, np.minimum(*ends))
        return Enclosure(np.maximum(down(small**2), 0.0), up(np.maximum(*ends) ** 2))

    def sqrt(self) -> Enclosure:
        """The root of a nonnegative quantity (an end below 0 is due to rounding)."""
        return Enclosure(np.maximum(down(np.sqrt(np.maximum(self.low, 0.0))), 0.0), up(np.sqrt(self.high)))

    def log(self) -> Enclosure:
        """The logarithm of a nonnegative interval; that of 0 counts as -690."""
        ends = (np.log(np.maximum(end, TINY)) for end in self)
        low, high = ends
        return Enclosure(down(low, LIBRARY_ROUNDING), up(high, LIBRARY_ROUNDING))

    def exp(self) -> Enclosure:
        """The exponential."""
        return Enclosure(down(np.exp(self.low), LIBRARY_ROUNDING), up(np.exp(self.high), LIBRARY_ROUNDING))

    def sums(self) -> Enclosure:
        """Of the first 1, 2, ... along the first axis; n additions round by n - 1 units of the sum of sizes."""
        share = len(self.low) * ROUNDING
        low, high = (np.cumsum(end, axis=0) for end in self)
        slack_low, slack_high = (share * np.cumsum(np.abs(end), axis=0) + TINY for end in self)
        return Enclosure(low - slack_low, high + slack_high)

    def hull(self, other: Enclosure) -> Enclosure:
        """The smallest interval around both."""
        return Enclosure(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def largest(self) -> Array:
        """The largest absolute value."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    def smallest(self) -> Array:
        """The smallest absolute value."""
        ends = np.minimum(np.abs(self.low), np.abs(self.high))
        return np.where((self.low <= 0) & (self.high >= 0), 0.0, ends)
