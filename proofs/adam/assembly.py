r"""The last steps that the theorems on training share: from the preconditioned sum to the bound returned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy

from proofs.adam.descent import descent_lemma
from proofs.adam.l1_step import lemma_l1
from proofs.adam.l3_freeze import lemma_l3
from proofs.adam.l4_swap import lemma_l4
from proofs.adam.l6_descent import lemma_l6
from proofs.adam.l7_denominators import UNIT, lemma_l7
from proofs.adam.l8_self_bounding import lemma_l8, t
from proofs.adam.symbols import (
    ADAM,
    BETA1,
    BETA2,
    BETAS,
    PROBLEM,
    RHO,
    SETTING,
    A,
    B,
    alpha,
    initial_sum,
    noise,
    r,
    same,
)
from proofs.composition import Assumption, Fact, cite, composed, from_step
from proofs.relations import Range, Relation, named
from proofs.steps import Derivation, Step
from proofs.sums import ALIGNED, DENOMINATORS, FROZEN, NORMS, PRECONDITIONED, PROGRESS, SQUARES
from theory.adam import constants

__all__ = [
    "ADMISSIBLE",
    "DESCENDING",
    "DESCENT",
    "GROWTH",
    "KAPPA",
    "QBAR",
    "START",
    "TESTED",
    "closing",
    "preconditioned_bound",
    "self_bounding",
]

START = constants.preconditioner_start(BETA2, initial_sum)
"""A of lemma L7."""
GROWTH = constants.preconditioner_growth(BETA2, noise)
"""B of lemma L7."""
KAPPA = constants.alignment(BETA1, BETA2, noise)
"""kappa of lemma L6."""
DESCENT = alpha * constants.descent_budget(PROBLEM, ADAM, constants.drift_constant(BETA1, BETA2))
"""Delta + alpha^2 K L d Gamma: what the descent lemma leaves, summed over the steps."""

TESTED = SETTING | {Assumption.COORDINATE_TEST}
"""What Theorem 1 assumes."""
ADMISSIBLE = (*BETAS, Range(noise, 0, sympy.sqrt(1 - r), power=2, strict=True))
"""0 <= beta1 < sqrt(beta2) < 1 and eta^2 < 1 - r."""
QBAR, SIGMA = named("Qbar", r"\bar Q", positive=True), named("sigma", "S_+", positive=True)


DESCENDING = (cite(descent_lemma), cite(lemma_l1), cite(lemma_l3), cite(lemma_l4))
"""What bounds W(rho), of which a theorem says how much of it is descent."""


def preconditioned_bound(
    goal: Relation,
    facts: Sequence[Fact | Step] = (),
    sums: Sequence[Any] = (),
    assumes: frozenset[Assumption] = TESTED,
) -> Step:
    """Bound (1): the descent lemma with L1, L3, L4, and L6 or other ``facts`` on what is aligned."""
    cited = (*DESCENDING, *(facts or (cite(lemma_l6),)))
    return composed(goal, cited, (PROGRESS, SQUARES, FROZEN, ALIGNED(RHO), PRECONDITIONED, *sums), assumes)


def closing(
    bound: Step,
    denominators: Fact | Step | None = None,
    climb: Any = 0,
    share: Any = 1,
    sums: tuple[Any, Any, Any] = (PRECONDITIONED, DENOMINATORS, NORMS),
    assumes: frozenset[Assumption] = TESTED,
) -> Step:
    """S <= S_+ from ``bound``, which is share Q <= Qbar + l S, R <= A + B S and L8 at t = (A + B S_+) / S_+.

    S_+ is the root of share S_+^2 = (Qbar + l S_+) (A + B S_+), and names Qbar here: all is rational in it.
    All constants of ``bound`` and of the denominators' bound (lemma L7's, unless given) stand for themselves.
    """
    ratio = (A + B * SIGMA) / SIGMA
    assert bound.relation is not None
    ranges = (*UNIT, *(r for r in bound.relation.ranges if r not in UNIT))
    if climb:
        ranges = (*ranges, Range(climb, 0, share / ratio))
    preconditioned, denominator, norms = sums
    facts = (
        from_step(bound, opaque=tuple(bound.relation.where)),
        denominators or cite(lemma_l7, opaque=(A, B)),
        cite(lemma_l8, {t: ratio, PRECONDITIONED: preconditioned, DENOMINATORS: denominator, NORMS: norms}),
    )
    value = share * SIGMA / ratio - climb * SIGMA
    return composed(Relation(norms, "<=", SIGMA, {QBAR: value}, ranges), facts, sums, assumes)


def self_bounding(value: Any, q: Any, start: Any = START) -> Derivation:
    """The bound is the larger root of S^2 = Q (``start`` + B S)."""
    yield same(
        r"\text{the bound } S_+ \text{ has } (2S_+ - B\bar Q)^2 = B^2\bar Q^2 + 4A\bar Q",
        ((2 * value - GROWTH * q) ** 2, (GROWTH * q) ** 2 + 4 * start * q),
    )
