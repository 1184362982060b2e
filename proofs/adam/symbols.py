"""The symbols that the proofs on Adam share.

beta1 = r q and beta2 = q^2, so that the condition 0 <= beta1 < sqrt(beta2) < 1 is 0 <= r < 1, 0 < q < 1; where a
certificate needs it, r = 1 - 1 / (1 + a) and q = 1 - 1 / (1 + b) with a >= 0, b > 0.

Constants with several square roots are compared as rational functions (:func:`same`): r, q and eta are
parametrised like Pythagorean triples, so that sqrt(1 - r^2), sqrt(1 - q^2) and sqrt(1 + eta^2) are rational.
"""

from __future__ import annotations

from typing import Any

import sympy

from proofs.composition import Assumption
from proofs.relations import CONSTANTS, NAMES, Range, named
from proofs.roots import noise, open_roots, q, r, rationalized
from proofs.steps import Evidence, Step, checked, told_apart
from theory.adam.constants import descent_budget, drift_constant
from theory.problem import AdamParameters, Problem

__all__ = [
    "ADAM",
    "BETA1",
    "BETA2",
    "BETAS",
    "BUDGET",
    "C_M",
    "E_1",
    "GAMMA",
    "GAMMA_IS",
    "KAPPA_RHO",
    "PROBLEM",
    "RHO",
    "SETTING",
    "UNIT_INTERVALS",
    "A",
    "B",
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
    "rationalized",
    "same",
    "smoothness",
    "steps",
]

a, b = sympy.symbols("a b", nonnegative=True)
BETA1, BETA2 = r * q, q**2
UNIT_INTERVALS = {r: 1 - 1 / (1 + a), q: 1 - 1 / (1 + b)}
smoothness, dimension, gap, steps, alpha = sympy.symbols("L d Delta K alpha", positive=True)
initial_sum = sympy.Symbol("V_0", nonnegative=True)
PROBLEM = Problem(smoothness=smoothness, dimension=dimension, initial_gap=gap, steps=steps)
ADAM = AdamParameters(beta1=BETA1, beta2=BETA2, eta=noise, step_size=alpha, sum_sqrt_v0=initial_sum)
"""What the theorems' bounds are evaluated on."""

NAMES.update({r: "r", q: r"\sqrt{\beta_2}", noise: r"\eta", smoothness: "L", gap: r"\Delta"})
BETAS = (Range(r, 0, 1, strict=True), Range(q, 0, 1, strict=True))
"""0 <= beta1 < sqrt(beta2) < 1, with strict ends (r = 0 by continuity)."""
SETTING = frozenset({Assumption.SMOOTH, Assumption.BOUNDED_BELOW, Assumption.UNBIASED, Assumption.KNOWN_BEFORE})
SETTING |= {Assumption.ADAM}
"""What every theorem on Adam assumes apart from its test."""

C_M, E_1 = named("C_m", "C_m", positive=True), named("E_1", "E_1", positive=True)
RHO, KAPPA_RHO = named("rho", r"\rho", positive=True), named("kappa", r"\kappa", positive=True)
GAMMA = named("Gamma", r"\Gamma", positive=True)
GAMMA_IS = {GAMMA: drift_constant(BETA1, BETA2)}
BUDGET = descent_budget(PROBLEM, ADAM, GAMMA)
"""Delta / alpha + alpha K L d Gamma."""
CONSTANTS.update(GAMMA_IS)
A, B = named("A", "A", nonnegative=True), named("B", "B", positive=True)


def same(statement: str, *sides: tuple[Any, Any], reason: str = "") -> Step:
    """Each pair of sides is equal, as rational functions: the roots of the betas and eta are made rational."""

    def check() -> Evidence:
        for left, right in sides:
            found = told_apart(left / right, 1)
            if not found and sympy.expand(left - right) != 0:
                quotient = sympy.cancel(rationalized(left / right))
                found = "" if quotient == 1 else f"quotient {quotient}"[:200]
            if found:
                return Evidence(False, found)
        return Evidence(True, "quotient 1")

    return checked(statement, check, reason)
