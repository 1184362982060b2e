"""Symbols and small checks that the proofs of Theorem 2 share."""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from proofs.adam.symbols import BETA1, BETA2, q, r
from proofs.steps import Evidence, Expression, Step, checked, difference, vanishing
from theory.problem import AdamParameters, Problem

__all__ = [
    "ADAM",
    "PROBLEM",
    "Delta",
    "K",
    "L",
    "alpha",
    "beta1",
    "beta2",
    "dimension",
    "epsilon",
    "eta",
    "first",
    "horizon",
    "q",
    "r",
    "same_extremum",
    "series",
    "v0",
]

beta1, beta2 = BETA1, BETA2
eta, epsilon, dimension, horizon = sympy.symbols("eta epsilon d K'", positive=True)
L, Delta, K, alpha, v0, first = sympy.symbols("L Delta K alpha v_0 G_1", positive=True)
PROBLEM = Problem(smoothness=L, dimension=dimension, initial_gap=Delta, steps=K, initial_gradient_norm=first)
ADAM = AdamParameters(beta1=beta1, beta2=beta2, eta=eta, step_size=alpha, sum_sqrt_v0=v0, epsilon=epsilon)
"""What the constants of Theorem 2 are evaluated on."""


def series(statement: str, term: Expression, index: sympy.Symbol, value: Expression, reason: str = "") -> Step:
    """``sum_{index >= 0} term = value`` for a geometric term: summed by SymPy, on its region of convergence."""

    def residuals() -> list[Expression]:
        total = sympy.summation(term, (index, 0, sympy.oo))
        return [total.replace(lambda e: isinstance(e, sympy.Piecewise), lambda e: e.args[0][0]) - value]

    return vanishing(statement, residuals, reason)


def same_extremum(
    statement: str, expression: Expression, candidates: Sequence[Expression], reason: str = ""
) -> Step:
    """``expression`` is the minimum, or the maximum, of exactly these candidates."""

    def check() -> Evidence:
        extremum = isinstance(expression, sympy.Min | sympy.Max)
        given = list(expression.args) if extremum else [expression]
        unmatched = [a for a in given if all(difference(a, c) for c in candidates)]
        if unmatched or len(given) != len(candidates):
            return Evidence(False, f"not among the proven bounds: {unmatched or given}")
        return Evidence(True, f"{type(expression).__name__} of {len(given)} proven bounds")

    return checked(statement, check, reason)
