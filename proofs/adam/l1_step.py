r"""Lemma L1: one step of Adam is bounded, coordinate by coordinate.

The induction is exact: C_m^2 v_k - m_k^2 exceeds beta2 times its predecessor by a square.
"""

from __future__ import annotations

import sympy

from proofs.adam.symbols import BETA1, BETA2, BETAS, C_M, alpha, dimension, r, steps
from proofs.composition import Assumption, Conclusion, composed, hypothesis, induction, rooted, summed
from proofs.relations import CONSTANTS, Relation, equation, inequality, named
from proofs.steps import Derivation, Step, proves
from proofs.sums import SQUARES, epsilon, length, own_moved, square
from theory.adam.constants import normalized_step_bound

__all__ = ["lemma_l1"]

m, g = sympy.symbols("m_{k-1} g_k", real=True)
v = sympy.Symbol("v_{k-1}", nonnegative=True)
C_IS = {C_M: normalized_step_bound(BETA1, BETA2)}
CONSTANTS.update(C_IS)
n = sympy.Symbol("n", integer=True, nonnegative=True)
bare = named("bare", "m_{k,i}^2/v_{k,i}", nonnegative=True)
length_2 = named("u_norm_2", r"\|u_k\|^2", nonnegative=True)
new_v = named("v_now", "v_k", positive=True)
now = named("x_now", "C_m^2 v_k - m_k^2", real=True)
before = named("x_old", r"C_m^2 v_{k-1} - m_{k-1}^2", real=True)


@proves(
    "L1",
    "bounded steps",
    r"$|m_k| \le C_m\sqrt{v_k}$ for all gradients, with $C_m = (1-\beta_1)/\sqrt{c(1-r^2)}$, the least such "
    r"constant; so $\|w_{k+1}-w_k\|_2 \le \alpha\sqrt d\,C_m$, and summed:",
    concludes=tuple(
        Conclusion(Relation(left, "<=", right, C_IS, BETAS), frozenset({Assumption.ADAM}))
        for left, right in (
            (SQUARES, steps * dimension * C_M**2),
            (own_moved, n * alpha * sympy.sqrt(dimension) * C_M),
            (length, sympy.sqrt(dimension) * C_M),
            (square, C_M**2),
        )
    ),
    source="corrected Theorem 1; Lemma B.2 of arXiv 2412.21124 (its first inequality)",
)
def lemma_l1() -> Derivation:
    """|m_k| <= C_m sqrt(v_k) and C_m is the least such constant."""
    bound = sympy.cancel(normalized_step_bound(BETA1, BETA2) ** 2)
    after_m, after_v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g**2
    gained = named("x_gain", "y_k^2", nonnegative=True)
    root = BETA2 * (1 - r**2) * m - BETA1 * (1 - BETA1) * g
    unrolled = yield equation(
        now,
        BETA2 * before + gained,
        "Adam's recursion",
        {
            now: bound * after_v - after_m**2,
            before: bound * v - m**2,
            gained: root**2 / (BETA2 * (1 - r**2)),
        },
    )
    first = yield inequality(bound * v, ">=", 0, BETAS, "m_0 = 0")
    bounded = yield induction(
        Relation(now, ">=", 0, ranges=BETAS),
        {now: before},
        {now: bound * v},
        first,
        (unrolled, hypothesis(Relation(gained, ">=", 0))),
        (now, before, gained),
        "y_k^2 is a square over beta2 (1 - r^2) > 0",
    )
    yield from _summed(bounded, bound)
    yield from _least(bound)


def _summed(bounded: Step, bound: sympy.Expr) -> Derivation:
    """u^2 = m^2 / v <= C_m^2, in each of K d terms."""
    size = yield equation(
        now, (bound - bare) * new_v, "where v_k = 0 all gradients were 0, and 0/0 := 0", _in_moments(bound)
    )
    without = yield composed(Relation(bare, "<=", C_M**2, C_IS, BETAS), (size, bounded), (now, bare))
    root, momentum = named("root_v", r"\sqrt{v_k}", positive=True), sympy.Symbol("|m_k|", nonnegative=True)
    at = {square: momentum**2 / (root + epsilon) ** 2, bare: momentum**2 / root**2}
    shrunk = yield inequality(square, "<=", bare, where=at)
    each = yield composed(Relation(square, "<=", C_M**2, C_IS, BETAS), (shrunk, without), (square, bare))
    yield summed(each, {square: SQUARES}, count=steps * dimension)
    over_coordinates = yield summed(each, {square: length_2}, count=dimension, reason="over the coordinates")
    one_step = yield rooted(over_coordinates, length_2, length, sympy.sqrt(dimension) * C_M)
    scaled = yield composed(
        Relation(alpha * length, "<=", alpha * sympy.sqrt(dimension) * C_M, C_IS, BETAS),
        (one_step,),
        (length,),
        reason="alpha u_k is the step",
    )
    yield summed(scaled, {length: own_moved / alpha}, count=n, reason="over n steps, by the triangle inequality")


def _in_moments(bound: sympy.Expr) -> dict[sympy.Symbol, sympy.Expr]:
    momentum = sympy.Symbol("m_k", real=True)
    return {now: bound * new_v - momentum**2, bare: momentum**2 / new_v}


def _least(bound: sympy.Expr) -> Derivation:
    """Equality in the limit of g_j = (beta2 / beta1)^j: both moments settle, in units of g_k and g_k^2."""
    growth = BETA2 / BETA1
    momentum, second_moment = sympy.symbols("M V", positive=True)
    limits = {
        momentum: (1 - BETA1) / (1 - BETA1 / growth),
        second_moment: (1 - BETA2) / (1 - BETA2 / growth**2),
    }
    yield equation(momentum, BETA1 / growth * momentum + 1 - BETA1, "the limit of m_k / g_k", limits)
    yield equation(second_moment, BETA2 / growth**2 * second_moment + 1 - BETA2, "that of v_k / g_k^2", limits)
    yield equation(momentum**2 / second_moment, bound, "no smaller constant will do", limits)
