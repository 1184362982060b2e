"""The symbols that the proofs on Adam share.

beta1 = r q and beta2 = q^2, so that the condition 0 <= beta1 < sqrt(beta2) < 1 is 0 <= r < 1, 0 < q < 1; where a
certificate needs it, r = 1 - 1 / (1 + a) and q = 1 - 1 / (1 + b) with a >= 0, b > 0.

Constants with several square roots are compared as rational functions (:func:`same`): r, q and eta are
parametrised like Pythagorean triples, so that sqrt(1 - r^2), sqrt(1 - q^2) and sqrt(1 + eta^2) are rational.
"""

from __future__ import annotations

from typing import Any

import sympy

from proofs.steps import Evidence, Step, checked, told_apart
from theory.problem import AdamParameters, Problem

__all__ = [
    "ADAM",
    "BETA1",
    "BETA2",
    "PROBLEM",
    "UNIT_INTERVALS",
    "a",
    "alpha",
    "b",
    "dimension",
    "gap",
    "initial_sum",
    "noise",
    "open_roots",
    "q",
    "r",
    "same",
    "smoothness",
    "steps",
]

r, q = sympy.symbols("r q", positive=True)
a, b = sympy.symbols("a b", nonnegative=True)
BETA1, BETA2 = r * q, q**2
UNIT_INTERVALS = {r: 1 - 1 / (1 + a), q: 1 - 1 / (1 + b)}
smoothness, dimension, gap, steps, alpha = sympy.symbols("L d Delta K alpha", positive=True)
noise, initial_sum = sympy.symbols("eta V_0", nonnegative=True)
PROBLEM = Problem(smoothness=smoothness, dimension=dimension, initial_gap=gap, steps=steps)
ADAM = AdamParameters(beta1=BETA1, beta2=BETA2, eta=noise, step_size=alpha, sum_sqrt_v0=initial_sum)
"""What the theorems' bounds are evaluated on."""


def _rationalized(expression: Any) -> Any:
    """The expression in x, y, z > 0 with r = (1-x^2)/(1+x^2), q = (1-y^2)/(1+y^2), eta = (z-1/z)/2.

    x and y in (0, 1) and z >= 1 give every admissible r, q and eta.
    """
    x, y, z = sympy.symbols("x y z", positive=True)
    triples = {r: (1 - x**2) / (1 + x**2), q: (1 - y**2) / (1 + y**2), noise: (z - 1 / z) / 2}

    return open_roots(sympy.sympify(expression).subs(triples))


def open_roots(expression: Any) -> Any:
    """Square roots of perfect squares of positive symbols are taken."""

    def is_root(part: Any) -> bool:
        return bool(part.is_Pow and part.exp.is_Rational and part.exp.q == 2)

    return expression.replace(is_root, lambda root: sympy.powdenest(sympy.factor(root.base) ** root.exp))


def same(statement: str, *sides: tuple[Any, Any], reason: str = "") -> Step:
    """Each pair of sides is equal, as rational functions: the roots of the betas and eta are made rational."""

    def check() -> Evidence:
        for left, right in sides:
            found = told_apart(left / right, 1)
            if not found and sympy.expand(left - right) != 0:
                quotient = sympy.cancel(_rationalized(left / right))
                found = "" if quotient == 1 else f"quotient {quotient}"[:200]
            if found:
                return Evidence(False, found)
        return Evidence(True, "quotient 1")

    return checked(statement, check, reason)
