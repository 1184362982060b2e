"""Symbols and small checks that the proofs of Theorem 2 share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy

from proofs.steps import Evidence, Expression, Step, checked, vanishes

__all__ = [
    "POSITIVE",
    "beta1",
    "beta2",
    "dimension",
    "epsilon",
    "eta",
    "horizon",
    "q",
    "r",
    "same_minimum",
    "series",
    "zeta",
]

POSITIVE: dict[str, Any] = {"positive": True}

q = sympy.Symbol("q", positive=True)
"""sqrt(beta2), in (0, 1)."""
r = sympy.Symbol("r", positive=True)
"""beta1 / sqrt(beta2), in (0, 1)."""
beta1, beta2 = r * q, q**2
eta, zeta, epsilon, dimension, horizon = sympy.symbols("eta zeta epsilon d K'", positive=True)


def _same(left: Expression, right: Expression) -> bool:
    """Whether two expressions are equal: by numbers first, which tells unequal ones apart at once."""
    difference = sympy.sympify(left) - right
    point = {s: sympy.Rational(1, 3 + k) for k, s in enumerate(sorted(difference.free_symbols, key=str))}
    if abs(difference.subs(point).evalf(30)) > 1e-20:
        return False
    return vanishes(difference)


def series(statement: str, term: Expression, index: sympy.Symbol, value: Expression, reason: str = "") -> Step:
    """``sum_{index >= 0} term = value`` for a geometric term: summed by SymPy, on its region of convergence."""

    def check() -> Evidence:
        total = sympy.summation(term, (index, 0, sympy.oo))
        total = total.replace(lambda e: isinstance(e, sympy.Piecewise), lambda e: e.args[0][0])
        return Evidence(_same(total, value), f"sum {total}")

    return checked(statement, check, reason)


def same_minimum(
    statement: str, expression: Expression, candidates: Sequence[Expression], reason: str = ""
) -> Step:
    """``expression`` is the minimum of exactly these candidates."""

    def check() -> Evidence:
        given = list(expression.args) if isinstance(expression, sympy.Min) else [expression]
        unmatched = [a for a in given if not any(_same(a, c) for c in candidates)]
        if unmatched or len(given) != len(candidates):
            return Evidence(False, f"not among the proven bounds: {unmatched or given}")
        return Evidence(True, f"minimum of {len(given)} proven bounds")

    return checked(statement, check, reason)
