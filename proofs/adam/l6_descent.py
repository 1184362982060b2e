r"""Lemma L6: the key inequality L5 in the units of one coordinate of Adam."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import sympy

from proofs.adam.l5_epsilon import lemma_l5_epsilon
from proofs.adam.l5_key_inequality import rho as amplification
from proofs.adam.symbols import BETA2, BETAS, KAPPA_RHO, RHO, noise
from proofs.composition import Assumption, Conclusion, cite, composed, summed
from proofs.relations import CONSTANTS, Range, Relation, equation, named
from proofs.steps import Derivation, Step, prose, proves
from proofs.sums import ALIGNED, PRECONDITIONED, aligned, epsilon, preconditioned, response_e, root_of_one_e
from theory.adam.constants import alignment_at, second_moment_weight
from theory.adam.key_inequality import normalized_response

__all__ = ["KAPPA_IS", "NEEDED", "in_units", "lemma_l6"]

NEEDED = frozenset({Assumption.UNBIASED, Assumption.KNOWN_BEFORE, Assumption.COORDINATE_TEST, Assumption.ADAM})
KAPPA_IS = {KAPPA_RHO: alignment_at(RHO, noise)}
CONSTANTS.update(KAPPA_IS)
RANGES = (*BETAS[1:], Range(noise, 0, 1, power=2), Range(RHO, 1))


@proves(
    "L6",
    "conditional descent",
    r"With $D_k = \beta_2 v_{k-1} + c\,G_k^2$, coordinate by coordinate and summed:",
    concludes=(
        Conclusion(Relation(ALIGNED(RHO), ">=", KAPPA_RHO * PRECONDITIONED, KAPPA_IS, RANGES), NEEDED),
        Conclusion(Relation(aligned, ">=", KAPPA_RHO * preconditioned, KAPPA_IS, RANGES), NEEDED),
    ),
    source="corrected Theorem 1",
    uses=("L5 with epsilon",),
)
def lemma_l6() -> Derivation:
    """E_k[((G g)^+ - rho (G g)^-) / (sqrt(v_k) + epsilon)] >= kappa G^2 / (sqrt(D_k) + epsilon)."""
    terms, at_one = yield from in_units(response_e(RHO))
    each = yield composed(
        Relation(aligned, ">=", KAPPA_RHO * preconditioned, KAPPA_IS, RANGES),
        (terms, at_one, cite(lemma_l5_epsilon, {amplification: RHO})),
        (aligned, preconditioned, response_e(RHO), root_of_one_e),
        NEEDED,
        reason="E X = 1 and Var X = Var g / G^2 <= eta^2, by the test",
    )
    yield prose(r"G_k = 0: \mathrm{Var}\, g_k = 0, g_k = 0, \text{ both sides are } 0")
    yield summed(each, {aligned: ALIGNED(RHO), preconditioned: PRECONDITIONED})


def in_units(answer: Any) -> Generator[Step, Step, tuple[Step, Step]]:
    """``aligned`` is |G| / sqrt(c) times the response ``answer``, and ``preconditioned`` that at X = 1."""
    true, old, ratio, root = sympy.symbols("|G_k| v_{k-1} X T", positive=True)
    weight, scale = second_moment_weight(BETA2), named("scale", r"|G_k|/\sqrt c", positive=True)
    s = BETA2 * old / (weight * true**2)
    scale_is = {scale: true / sympy.sqrt(weight)}
    size = sympy.sqrt(weight) * true
    yield equation(
        BETA2 * old + weight * (ratio * true) ** 2,
        size**2 * (ratio / normalized_response(ratio, s)) ** 2,
        "X = g / G, s = beta2 v_{k-1} / (c G^2): the root is sqrt(c) |G| T, T^2 = s + X^2",
    )
    yield equation(
        true * ratio * true / (size * root + epsilon),
        scale * ratio / (root + epsilon / size),
        "e = epsilon / (sqrt(c) |G|); both sides have the sign of X, and rho goes with it; X = 1 gives D_k",
        scale_is,
    )
    terms = yield equation(aligned, scale * answer, "so, in expectation", {aligned: scale * answer})
    at_one = yield equation(
        preconditioned, scale * root_of_one_e, "and at X = 1", {preconditioned: scale * root_of_one_e}
    )
    return terms, at_one
