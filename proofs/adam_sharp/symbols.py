"""Symbols and small checks that the proofs of Theorem 2 share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache

import sympy

from proofs.steps import CheckedProof, Evidence, Expression, Method, Proof, Step, checked, run, vanishes
from theory.problem import AdamParameters, Problem

__all__ = [
    "ADAM",
    "PROBLEM",
    "Delta",
    "K",
    "L",
    "alpha",
    "applied",
    "beta1",
    "beta2",
    "dimension",
    "epsilon",
    "eta",
    "first",
    "horizon",
    "identity",
    "q",
    "r",
    "same_minimum",
    "series",
    "v0",
    "zeta",
]

q = sympy.Symbol("q", positive=True)
"""sqrt(beta2), in (0, 1)."""
r = sympy.Symbol("r", positive=True)
"""beta1 / sqrt(beta2), in (0, 1)."""
beta1, beta2 = r * q, q**2
eta, zeta, epsilon, dimension, horizon = sympy.symbols("eta zeta epsilon d K'", positive=True)
L, Delta, K, alpha, v0, first = sympy.symbols("L Delta K alpha v_0 G_1", positive=True)
PROBLEM = Problem(smoothness=L, dimension=dimension, initial_gap=Delta, steps=K, initial_gradient_norm=first)
ADAM = AdamParameters(beta1=beta1, beta2=beta2, eta=eta, step_size=alpha, sum_sqrt_v0=v0, epsilon=epsilon)
"""What the constants of Theorem 2 are evaluated on."""


def _difference(left: Expression, right: Expression) -> str:
    """Where two expressions differ, "" if nowhere: by numbers first, which tell most apart at once."""
    difference = sympy.sympify(left) - right
    free = sorted(difference.free_symbols, key=str)
    point = {s: 3 + k if s.is_integer else sympy.Rational(1, 3 + k) for k, s in enumerate(free)}
    value = difference.subs(point).evalf(30)
    if value.is_comparable and abs(value) > 1e-20:
        return f"residual {sympy.N(value, 6)} at {point}"
    return "" if vanishes(difference) else f"residual {difference}"


def _same(left: Expression, right: Expression) -> bool:
    return _difference(left, right) == ""


def identity(statement: str, left: Expression, right: Expression, reason: str = "") -> Step:
    """:func:`proofs.steps.identity`, but a false one is told by numbers: roots are slow to simplify."""

    def check() -> Evidence:
        difference = _difference(left, right)
        return Evidence(not difference, difference or "residual 0")

    return Step(statement, Method.IDENTITY, check, reason)


@cache
def _checked(lemma: Callable[[], Proof]) -> CheckedProof:
    return run(lemma())


def applied(statement: str, lemma: Callable[[], Proof], hypotheses: Sequence[Step] = ()) -> Step:
    """:func:`proofs.steps.by_lemma`, for a lemma that several proofs apply: it is checked once a process."""

    def check() -> Evidence:
        result = _checked(lemma)
        if not result.holds:
            return Evidence(False, f"{result.proof.name} does not hold")
        for step in hypotheses:
            evidence = step.check()
            if not evidence.holds:
                return Evidence(False, f"hypothesis not matched: {step.statement}: {evidence.detail}")
        return Evidence(True, f"{result.proof.name}, {len(hypotheses)} hypotheses matched")

    return Step(statement, Method.LEMMA, check)


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
