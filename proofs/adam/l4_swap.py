r"""Lemma L4: summed over the steps, each gradient is divided by its own second moment.

theta_j = sum_{k >= j} beta1^{k-j} / sqrt(v_k) lies between 1 and rho times 1 / sqrt(v_j): what points downhill
counts at least once, what points uphill at most rho times.
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from proofs.adam.l2_decay import lemma_l2
from proofs.adam.symbols import BETA1, BETA2, BETAS, RHO, q, r
from proofs.composition import Assumption, Conclusion, composed, from_step, hypothesis, summed
from proofs.relations import Range, Relation, equation, inequality, named
from proofs.steps import Step, by_lemma, proves
from proofs.sums import ALIGNED, FROZEN, aligned, frozen
from theory.adam.constants import momentum_amplification

__all__ = ["RHO_IS", "lemma_l4"]

n = sympy.Symbol("n", integer=True, nonnegative=True)
weight = named("theta", r"\theta_j\sqrt{v_j}", positive=True)
plus, minus = (
    named("plus", r"(G_jg_j)^+/\sqrt{v_j}", nonnegative=True),
    named("minus", r"(G_jg_j)^-/\sqrt{v_j}", nonnegative=True),
)
term, later = (
    named("term", r"\beta_1^n\sqrt{v_j}/\sqrt{v_{j+n}}", nonnegative=True),
    named("swapped_later", r"\rho r^{n+1}", nonnegative=True),
)
now = named("swapped", r"\rho r^n", nonnegative=True)
RHO_IS = {RHO: momentum_amplification(BETA1, BETA2)}


@proves(
    "L4",
    "swapping the sums",
    concludes=(Conclusion(Relation(FROZEN, ">=", ALIGNED(RHO), RHO_IS, BETAS), frozenset({Assumption.ADAM})),),
    source="corrected Theorem 1",
    uses=("L2",),
)
def lemma_l4() -> Iterator[Step]:
    """The swap, at the cost of rho."""
    j, k = sympy.symbols("j k", integer=True)
    yield equation(
        sympy.Piecewise((BETA1 ** (k - j), sympy.Le(j, k)), (0, True)),
        sympy.Piecewise((BETA1 ** (k - j), sympy.Ge(k, j)), (0, True)),
        "both double sums are over the pairs j <= k: F = sum_j G_j g_j theta_j (finite sums commute)",
    )
    yield from _range()
    yield from _signs()


def _range() -> Iterator[Step]:
    """theta_j sqrt(v_j) is between its first term, which is 1, and sum_n r^n <= rho."""
    yield by_lemma(r"\sqrt{v_{j+n}} \ge \beta_2^{n/2}\sqrt{v_j}", lemma_l2)
    yield equation(BETA1**n / q**n, r**n, "so term n of theta_j sqrt(v_j) is at most r^n")
    telescoping = equation(r**n, now - later, where={now: RHO * r**n, later: RHO * r ** (n + 1), **RHO_IS})
    yield telescoping
    yield inequality(RHO_IS[RHO] * r**n, ">=", 0, (*BETAS, Range(n)), "the last may be dropped")
    bounded = composed(
        Relation(term, "<=", now - later, ranges=BETAS),
        (hypothesis(Relation(term, "<=", r**n)), from_step(telescoping)),
        (term, now, later),
        reason="L2",
    )
    yield bounded
    yield summed(bounded, {term: weight}, {(now, later): RHO}, reason="over n: T(0) = rho")


def _signs() -> Iterator[Step]:
    """theta (p - m) >= p - rho m for theta in [1, rho] and p, m >= 0."""
    ranges = (*BETAS, Range(RHO, 1), Range(weight, 1, RHO))
    each = composed(
        Relation(frozen, ">=", aligned, ranges=ranges),
        (
            from_step(
                equation(frozen, weight * (plus - minus), "G_j g_j theta_j", {frozen: weight * (plus - minus)})
            ),
            from_step(
                equation(aligned, plus - RHO * minus, "its value at theta = 1, rho", {aligned: plus - RHO * minus})
            ),
            hypothesis(Relation(plus, ">=", 0)),
            hypothesis(Relation(minus, ">=", 0)),
        ),
        (frozen, aligned, plus, minus),
    )
    yield each
    at_rho = summed(each, {frozen: FROZEN, aligned: ALIGNED(RHO)})
    yield at_rho
    yield inequality(RHO_IS[RHO], ">=", 1, BETAS, "so that [1, rho] is not empty")
    yield composed(
        Relation(FROZEN, ">=", ALIGNED(RHO), RHO_IS, BETAS),
        (from_step(at_rho, given=(weight, RHO)),),
        (FROZEN, ALIGNED(RHO)),
        frozenset({Assumption.ADAM}),
        reason="theta_j sqrt(v_j) in [1, rho] by the steps before",
    )
