r"""Lemma L8: from the preconditioned sum Q and the denominators R = A + B S to the sum of the gradient norms S."""

from __future__ import annotations

import sympy

from proofs.adam.symbols import A, B
from proofs.composition import Conclusion, composed, hypothesis, summed
from proofs.relations import Range, Relation, equation, inequality, named
from proofs.steps import Derivation, proves
from proofs.sums import DENOMINATORS, NORMS, PRECONDITIONED, denominator, norm, preconditioned
from theory.adam.constants import solve_self_bounding

__all__ = ["lemma_l8", "t"]

t = sympy.Symbol("t", positive=True)
LINEAR = Relation(2 * NORMS, "<=", t * PRECONDITIONED + DENOMINATORS / t, ranges=(Range(t, 0, strict=True),))


@proves(
    "L8",
    "self-bounding sum",
    r"$S^2 \le Q R$ (Cauchy-Schwarz), in its linear form for every $t > 0$; with $R \le A + BS$ it gives "
    r"$S \le S_+ = \frac12(BQ + \sqrt{B^2Q^2+4AQ}) \le BQ + A/B$.",
    concludes=(Conclusion(LINEAR, universal=(NORMS, PRECONDITIONED, DENOMINATORS)),),
    source="corrected Theorem 1",
)
def lemma_l8() -> Derivation:
    """2 S <= t Q + R / t for all t > 0, and the root of S^2 = Q (A + B S)."""
    q, total = sympy.symbols("Q S", positive=True)
    gradient = sympy.Symbol("|G_k|", nonnegative=True)
    root = named("root_D_eps", r"\sqrt{D_k}+\epsilon", positive=True)
    square = named("gap_2", r"(t|G_k| - \sqrt{D_k} - \epsilon)^2/(t(\sqrt{D_k}+\epsilon))", nonnegative=True)
    perfect = yield equation(
        t * preconditioned + denominator / t - 2 * norm,
        square,
        where={
            preconditioned: gradient**2 / root,
            denominator: root,
            norm: gradient,
            square: (t * gradient - root) ** 2 / (t * root),
        },
    )
    each = yield composed(
        Relation(2 * norm, "<=", t * preconditioned + denominator / t, ranges=LINEAR.ranges),
        (perfect, hypothesis(Relation(square, ">=", 0))),
        (norm, preconditioned, denominator, square),
    )
    yield summed(each, {norm: NORMS, preconditioned: PRECONDITIONED, denominator: DENOMINATORS})
    larger = solve_self_bounding(B, A, q)
    smaller = B * q - larger
    yield equation(total**2 - q * (A + B * total), sympy.expand((total - larger) * (total - smaller)), "S_+ = S_1")
    yield equation(larger * smaller, -A * q, "so the other root is not positive")
    yield inequality(
        sympy.expand((B * q + 2 * A / B) ** 2),
        ">=",
        sympy.expand((2 * larger - B * q) ** 2),
        (),
        "S_+ <= B Q + A / B",
    )
