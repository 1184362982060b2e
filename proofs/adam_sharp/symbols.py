"""Symbols and small checks that the proofs of Theorem 2 share."""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from proofs.adam.symbols import BETA1, BETA2, SETTING, q, r
from proofs.composition import Assumption
from proofs.relations import named
from proofs.steps import Evidence, Expression, Step, checked, difference, vanishing
from theory.problem import AdamParameters, Problem

__all__ = [
    "ADAM",
    "KEPT",
    "LOST",
    "PAST_AND_TEST",
    "PROBLEM",
    "PROGRESS_V",
    "Q_PHI",
    "ROOTS",
    "R_PHI",
    "SQUARES_V",
    "Delta",
    "K",
    "L",
    "alpha",
    "beta1",
    "beta2",
    "cost_of_drift",
    "dimension",
    "epsilon",
    "eta",
    "first",
    "horizon",
    "q",
    "r",
    "same_extremum",
    "series",
    "share",
    "v0",
]

beta1, beta2 = BETA1, BETA2
eta, epsilon, dimension, horizon = sympy.symbols("eta epsilon d K'", positive=True)
L, Delta, K, alpha, v0 = sympy.symbols("L Delta K alpha V_0", positive=True)
first = named("first", r"\|G_1\|_1", positive=True)
PROBLEM = Problem(smoothness=L, dimension=dimension, initial_gap=Delta, steps=K, initial_gradient_norm=first)
ADAM = AdamParameters(beta1=beta1, beta2=beta2, eta=eta, step_size=alpha, sum_sqrt_v0=v0, epsilon=epsilon)
"""What the constants of Theorem 2 are evaluated on."""
PROGRESS_V = named("I_v", r"{\textstyle\sum_{k\le K'}} E\langle G_k, m_k/(\sqrt{v_k}+\epsilon)\rangle", real=True)
SQUARES_V = named("N_v", r"{\textstyle\sum_{k\le K'}} E\|m_k/(\sqrt{v_k}+\epsilon)\|^2", nonnegative=True)
KEPT = named("W_v", r"{\textstyle\sum_{j,i}} E[a^+W_n(v_j)-a^-V_n(v_j)]", real=True)
LOST = named(
    "D_v", r"{\textstyle\sum_{j,i}} E\frac{|g_j|}{\sqrt{v_j}+\epsilon}\sum_{k>j}r^{k-j}D_k", nonnegative=True
)
Q_PHI = named("Q_Phi", r"(1-\beta_1){\textstyle\sum_{j,i}} E[G_{j,i}^2\Phi_{j,i}]", nonnegative=True)
R_PHI = named("R_Phi", r"{\textstyle\sum_{j,i}} E[((1-\beta_1)\Phi_{j,i})^{-1}]", nonnegative=True)
ROOTS = named("R_D", r"{\textstyle\sum_{j,i}} E\sqrt{D_{j,i}}", nonnegative=True)
cost_of_drift, share = named("E_cost", r"\mathcal{E}", positive=True), named("kappa_2", r"\kappa", positive=True)
PAST_AND_TEST = SETTING | {Assumption.COORDINATE_TEST}


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
