"""Elementary functions that take floats, Fractions, numpy arrays, torch tensors or SymPy expressions alike.

Of Fractions, the least, the greatest, sizes and whole powers are Fractions again, roots and logarithms floats.

Every formula of :mod:`theory` is written once with these, so that the trainer evaluates it on floats and on
tensors where they lie, the simulations on arrays, and :mod:`proofs` on symbols. Neither SymPy nor torch is ever
imported here: unless somebody else has imported it, no value can be of its kind.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np

__all__ = [
    "Value",
    "absolute",
    "ceiling",
    "eigenvalues",
    "exp",
    "expm1",
    "hypot",
    "is_symbolic",
    "item",
    "log",
    "log1p",
    "log_gamma",
    "maximum",
    "minimum",
    "one_minus_power",
    "quotient",
    "sign",
    "sqrt",
    "total",
    "where",
]

Value = Any
"""A float, an int, a numpy array or a SymPy expression; the functions of this package broadcast over arrays."""


def is_symbolic(*values: Value) -> bool:
    """Whether any of the values is a SymPy expression."""
    sympy = sys.modules.get("sympy")
    return sympy is not None and any(isinstance(value, sympy.Basic) for value in values)


def _torch(*values: Value) -> Any:
    """The module torch if any of the values is a tensor, else None."""
    torch = sys.modules.get("torch")
    return torch if torch is not None and any(isinstance(value, torch.Tensor) for value in values) else None


def _apply(name: str, symbolic_name: str, *values: Value) -> Value:
    """``numpy.<name>`` of numbers and arrays, ``torch.<name>`` of tensors, sympy's of symbols."""
    if is_symbolic(*values):
        return getattr(sys.modules["sympy"], symbolic_name)(*values)
    torch = _torch(*values)
    if torch is not None:
        return getattr(torch, name)(*map(torch.as_tensor, values))
    if any(isinstance(value, Fraction) for value in values):  # numpy has no roots of them
        exact: dict[str, Callable[..., Value]] = {"minimum": min, "maximum": max, "abs": abs}
        if name in exact and not any(isinstance(value, np.ndarray) for value in values):
            return exact[name](*values)
        values = tuple(float(value) if isinstance(value, Fraction) else value for value in values)
    return item(getattr(np, name)(*values))


def item(x: Value) -> Value:
    """A number of numpy's, or an array without dimensions, as a Python number; everything else as it is.

    >>> item(np.array(2.0)), item(np.array([2.0]))
    (2.0, array([2.]))
    """
    return x.item() if isinstance(x, (np.generic, np.ndarray)) and x.ndim == 0 else x


def sqrt(x: Value) -> Value:
    """Square root.

    >>> sqrt(9.0)
    3.0
    """
    return _apply("sqrt", "sqrt", x)


def hypot(x: Value, y: Value) -> Value:
    """``sqrt(x^2 + y^2)`` without overflow or underflow of the squares.

    >>> hypot(3.0, 4.0), hypot(1e200, 0.0)
    (5.0, 1e+200)
    """
    return sys.modules["sympy"].sqrt(x**2 + y**2) if is_symbolic(x, y) else _apply("hypot", "", x, y)


def log(x: Value) -> Value:
    """Natural logarithm."""
    return _apply("log", "log", x)


def log1p(x: Value) -> Value:
    """``log(1 + x)``, accurate for small x."""
    return sys.modules["sympy"].log(1 + x) if is_symbolic(x) else _apply("log1p", "", x)


def log_gamma(x: Value) -> Value:
    """Logarithm of the gamma function, for x > 0.

    >>> round(log_gamma(5.0), 12) == round(log(24.0), 12)
    True
    """
    if is_symbolic(x):
        return sys.modules["sympy"].loggamma(x)
    if _torch(x) is not None:
        return _torch(x).lgamma(x)
    return item(np.vectorize(math.lgamma, otypes=[float])(x))


def exp(x: Value) -> Value:
    """Exponential function."""
    return _apply("exp", "exp", x)


def expm1(x: Value) -> Value:
    """``exp(x) - 1``, accurate for small x."""
    return sys.modules["sympy"].exp(x) - 1 if is_symbolic(x) else _apply("expm1", "", x)


def absolute(x: Value) -> Value:
    """Absolute value."""
    return _apply("abs", "Abs", x)


def sign(x: Value) -> Value:
    """-1, 0 or 1."""
    return _apply("sign", "sign", x)


def total(x: Value) -> Value:
    """The sum over the last axis; a float for a numpy vector.

    >>> total(np.array([1.0, 2.0])), total(np.ones((2, 3)))
    (3.0, array([3., 3.]))
    """
    return item(x.sum(axis=-1))


def eigenvalues(matrix: Value) -> Value:
    """Of a symmetric matrix, ascending: an array's or a tensor's last two axes.

    >>> eigenvalues(np.array([[2.0, 1.0], [1.0, 2.0]])).round(12)
    array([1., 3.])
    """
    torch = _torch(matrix)
    return (np if torch is None else torch).linalg.eigvalsh(matrix)


def quotient(x: Value, y: Value) -> Value:
    """x / y with 0 / 0 = 0 and no warning: a ratio of two quantities >= 0, infinite where only y is 0.

    >>> quotient(6.0, 4.0), quotient(0.0, 0.0), quotient(2.0, 0.0)
    (1.5, 0.0, inf)
    """
    if is_symbolic(x, y):
        return x / y
    if _torch(x, y) is not None:
        return where(x == 0, 0.0, x / y)
    with np.errstate(divide="ignore", invalid="ignore"):
        return where(np.equal(x, 0), 0.0, np.divide(x, y))


def minimum(x: Value, y: Value) -> Value:
    """The smaller of two values, elementwise."""
    return _apply("minimum", "Min", x, y)


def maximum(x: Value, y: Value) -> Value:
    """The larger of two values, elementwise; NaN where one of them is."""
    if type(x) is float is type(y):  # rules decide on floats, thousands of times in a simulation
        return x if x >= y or x != x else y
    return _apply("maximum", "Max", x, y)


def ceiling(x: Value) -> Value:
    """The smallest integer not below x (as a float for numbers and arrays)."""
    return _apply("ceil", "ceiling", x)


def where(condition: Value, if_true: Value, if_false: Value) -> Value:
    """``if_true`` where the condition holds, else ``if_false``; a ``Piecewise`` for symbols."""
    if is_symbolic(condition, if_true, if_false):
        sympy = sys.modules["sympy"]
        return sympy.Piecewise((if_true, condition), (if_false, True))
    torch = _torch(condition)
    if torch is not None:
        return torch.where(condition, if_true, if_false)
    return item(np.where(condition, if_true, if_false))


def one_minus_power(base: Value, exponent: Value) -> Value:
    """1 - base^exponent for 0 <= base < 1, as -expm1(exponent log(base)) for numbers: nothing cancels.

    >>> one_minus_power(0.5, 2), one_minus_power(0.0, 3), one_minus_power(0.0, 0)
    (0.75, 1.0, 0.0)
    """
    if is_symbolic(base, exponent) or (isinstance(base, Fraction) and np.ndim(exponent) == 0):
        return 1 - base**exponent
    base = float(base) if isinstance(base, Fraction) else base
    zero = np.asarray(base) == 0  # and not > 0: NaN is not 0
    result = where(zero, np.asarray(exponent) > 0, -expm1(exponent * log(where(zero, 0.5, base))))
    return result * 1.0
