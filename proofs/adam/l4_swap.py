r"""Lemma L4: summed over the steps, each gradient is divided by its own second moment.

theta_j = sum_{k >= j} beta1^{k-j} / (sqrt(v_k) + epsilon_k) lies between 1 and rho times its first term: what
points downhill counts at least once, what points uphill at most rho times.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import sympy

from proofs.adam.l2_decay import kept, lemma_l2
from proofs.adam.symbols import BETA1, BETA2, BETAS, RHO, r
from proofs.composition import (
    Assumption,
    Conclusion,
    Ground,
    cite,
    composed,
    from_step,
    granted,
    hypothesis,
    stated,
    summed,
)
from proofs.relations import CONSTANTS, Range, Relation, equation, inequality, named
from proofs.steps import Derivation, Step, identity, proves
from proofs.sums import ALIGNED, FROZEN, aligned, frozen
from theory.adam.constants import momentum_amplification

__all__ = ["RHO_IS", "aged", "lemma_l4", "swapped", "term", "weight"]

n = sympy.Symbol("n", integer=True, nonnegative=True)
weight = named("theta", r"\theta_j(\sqrt{v_j}+\epsilon_j)", positive=True)
plus = named("plus", r"(G_jg_j)^+/(\sqrt{v_j}+\epsilon_j)", nonnegative=True)
minus = named("minus", r"(G_jg_j)^-/(\sqrt{v_j}+\epsilon_j)", nonnegative=True)
term = named("term", r"\beta_1^n(\sqrt{v_j}+\epsilon_j)/(\sqrt{v_{j+n}}+\epsilon_{j+n})", nonnegative=True)
later = named("swapped_later", r"\rho r^{n+1}", nonnegative=True)
now = named("swapped", r"\rho r^n", nonnegative=True)
RHO_IS = {RHO: momentum_amplification(BETA1, BETA2)}
CONSTANTS.update(RHO_IS)


@proves(
    "L4",
    "swapping the sums",
    concludes=(Conclusion(Relation(FROZEN, ">=", ALIGNED(RHO), RHO_IS, BETAS), frozenset({Assumption.ADAM})),),
    source="corrected Theorem 1",
    uses=("L2",),
)
def lemma_l4() -> Derivation:
    """The swap, at the cost of rho."""
    j, k = sympy.symbols("j k", integer=True)
    yield identity(
        r"\textstyle\sum_k\sum_{j\le k}\beta_1^{k-j}x_{j,k} = \sum_j\sum_{k\ge j}\beta_1^{k-j}x_{j,k}",
        sympy.Piecewise((BETA1 ** (k - j), sympy.Le(j, k)), (0, True)),
        sympy.Piecewise((BETA1 ** (k - j), sympy.Ge(k, j)), (0, True)),
        "both double sums are over the pairs j <= k: F = sum_j G_j g_j theta_j (finite sums commute)",
    )
    within = yield from _range()
    each = yield from swapped(sympy.Integer(1))
    yield inequality(RHO_IS[RHO], ">=", 1, BETAS, "so that [1, rho] is not empty")
    at_rho = yield summed(each, {frozen: FROZEN, aligned: ALIGNED(RHO)})
    yield composed(
        Relation(FROZEN, ">=", ALIGNED(RHO), RHO_IS, BETAS),
        (from_step(at_rho, {weight: within}),),
        (FROZEN, ALIGNED(RHO)),
        frozenset({Assumption.ADAM}),
        reason="theta_j (sqrt(v_j) + epsilon_j) in [1, rho] by the steps before",
    )


def _range() -> Generator[Step, Step, tuple[Step, Step]]:
    """theta_j (sqrt(v_j) + epsilon_j) is between its first term, which is 1, and sum_n r^n <= rho."""
    old = yield from aged()
    telescoping = yield equation(r**n, now - later, where={now: RHO * r**n, later: RHO * r ** (n + 1), **RHO_IS})
    yield inequality(RHO_IS[RHO] * r**n, ">=", 0, (*BETAS, Range(n)), "the last may be dropped")
    bounded = yield composed(
        Relation(term, "<=", now - later, ranges=BETAS),
        (old, telescoping),
        (term, now, later),
        frozenset({Assumption.ADAM}),
    )
    above = yield summed(bounded, {term: weight}, {(now, later): RHO}, reason="over n: T(0) = rho")
    below = yield stated(granted(Relation(weight, ">=", 1), Ground.PART, meaning={weight: ages(1)}), "n = 0")
    return above, below


def ages(multiplier: Any) -> Any:
    """theta_j (sqrt(v_j) + epsilon_j) as a sum over ages, of the multipliers of steps too."""
    age = sympy.Dummy("n", integer=True, nonnegative=True)
    root = sympy.Function("root", positive=True)  # sqrt(v) + epsilon
    term = (multiplier(age) if callable(multiplier) else multiplier) * BETA1**age * root(0) / root(age)
    return sympy.Sum(term, (age, 0, sympy.Symbol("K", integer=True, positive=True)))


def aged() -> Generator[Step, Step, Step]:
    """Term n of theta_j (sqrt(v_j) + epsilon_j), for multipliers of 1, is at most r^n."""
    by_age = yield equation(term, BETA1**n * kept, where={term: BETA1**n * kept})
    old = yield composed(
        Relation(term, "<=", r**n, ranges=BETAS),
        (by_age, cite(lemma_l2, part=1)),
        (term, kept),
        frozenset({Assumption.ADAM}),
    )
    return old


def swapped(least: Any) -> Generator[Step, Step, Step]:
    """theta (p - m) >= ``least`` (p - rho m) for theta in [least, rho least] and p, m >= 0."""
    ranges = (*BETAS, Range(RHO, 1), *((Range(least, 0, strict=True),) if least != 1 else ()))
    in_signs = yield equation(
        frozen, weight * (plus - minus), "G_j g_j theta_j", {frozen: weight * (plus - minus)}
    )
    at_rho = yield equation(aligned, plus - RHO * minus, where={aligned: plus - RHO * minus})
    each = yield composed(
        Relation(frozen, ">=", least * aligned, ranges=(*ranges, Range(weight, least, RHO * least))),
        (in_signs, at_rho, hypothesis(Relation(plus, ">=", 0)), hypothesis(Relation(minus, ">=", 0))),
        (frozen, aligned, plus, minus),
    )
    return each
