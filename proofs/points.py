"""Expressions at one point of their ranges, where nearly all that is false is seen to be false at once.

Example:
    >>> x, y = sympy.symbols("x y", positive=True)
    >>> at = Point({y: x**2}, (Range(x, 2, 3),))
    >>> 4 < at.value(y) < 9, at.value(sympy.sqrt(y) - x)
    (True, 0.0)
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from zlib import crc32

import numpy as np
import sympy
from sympy.core.function import AppliedUndef

from proofs.relations import Range

__all__ = ["Point", "combined"]

Expression = Any
TOLERANCE = 1e-7
"""Of a residual, relative to its terms; double precision leaves some 1e-12."""


class Point:
    """A value for every symbol: by its definition, else within its range, else by its sign.

    The values depend on the names and on ``number`` only, so that the same points are met in every run; they are
    of order one at number 0, and further apart at later ones.
    """

    def __init__(self, names: Mapping[Any, Expression], ranges: Sequence[Range], number: int = 0) -> None:
        self._number = number
        self._names, self._ranges = names, {r.symbol: r for r in ranges}
        self._known: dict[Any, float] = {}

    def value(self, expression: Expression) -> float:
        """The value in double precision.

        Raises:
            ArithmeticError: where it is not a real number.
        """
        if expression not in self._known:
            found = self._computed(expression)
            if isinstance(found, complex) or not math.isfinite(found):
                raise ArithmeticError(f"{expression} is {found} at this point")
            self._known[expression] = found
        return self._known[expression]

    def _computed(self, part: Expression) -> float:
        if part in self._names:
            return self.value(sympy.sympify(self._names[part]))
        if part in self._ranges:
            return self.value(sympy.sympify(self._ranges[part].parametrised))
        if part.is_Symbol or isinstance(part, AppliedUndef):
            drawn = crc32(f"{part}{self._number or ''}".encode()) % 997 / 997
            if part.is_integer:
                return 2.0 + round(3 * drawn)
            size = (0.3 + drawn) * 10 ** (self._number * (2 * drawn - 1))
            return size if part.is_nonnegative or drawn < 0.5 else -size
        if part.is_Add:
            return math.fsum(self.value(term) for term in part.args)
        if part.is_Mul:
            return math.prod(self.value(term) for term in part.args)
        if part.is_Pow:
            return float(self.value(part.base) ** self.value(part.exp))
        if not part.args:
            return float(part)
        return float(part.func(*(sympy.Float(self.value(argument), 17) for argument in part.args)))


def combined(
    columns: Sequence[Sequence[Expression]], goal: Sequence[Expression], at: Point
) -> tuple[list[float], list[float]] | None:
    """The multipliers x for which sum_j x_j columns[j] is nearest to ``goal``, and what is left over.

    The last entry of a column is its constant, which takes no part in the search. None where there is more than
    one choice, or where not all entries are real numbers.
    """
    try:
        matrix = np.array([[at.value(sympy.sympify(entry)) for entry in column] for column in columns]).T
        target = np.array([at.value(sympy.sympify(entry)) for entry in goal])
    except (ArithmeticError, TypeError, ValueError):
        return None
    found, _, rank, _ = np.linalg.lstsq(matrix[:-1], target[:-1], rcond=1e-10)
    if rank < len(columns):
        return None
    left, size = target - matrix @ found, np.abs(target) + np.abs(matrix) @ np.abs(found)
    left[np.abs(left) <= TOLERANCE * size] = 0
    found[np.abs(found) <= TOLERANCE * np.abs(found).max(initial=0)] = 0
    return found.tolist(), left.tolist()
