r"""What is known before a run: the first gradient's norm, and how much the second moments can grow.

Theorem 2 uses both: ||G_1||_1 <= sqrt(2 d L Delta) where it was not measured, and sum_i E ln(u_{K',i} / u_{0,i}),
with u = v + epsilon^2, in lemma H.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

import sympy

from proofs.adam.l1_step import lemma_l1
from proofs.adam.symbols import BETA1, BETA2, BETAS, C_M
from proofs.adam_sharp.symbols import ADAM, PROBLEM, Delta, K, L, alpha, dimension, epsilon, eta
from proofs.composition import (
    Assumption,
    Conclusion,
    Ground,
    assumed,
    cite,
    composed,
    from_step,
    granted,
    hypothesis,
    induction,
    rooted,
    summed,
)
from proofs.grounds import norm
from proofs.grounds import norm_1 as norm_of_1
from proofs.relations import Range, Relation, inequality, named
from proofs.steps import Derivation, Step, proves
from proofs.sums import length
from theory.adam.constants import normalized_step_bound, squared_noise_growth
from theory.adam_sharp.theorem2 import log_growth_bound

__all__ = ["first_gradient", "log_growth"]

norm_1 = named("G_1_l1", r"\|G_1\|_1", nonnegative=True)
norm_2 = named("G_1_l2", r"\|G_1\|_2", nonnegative=True)
square = named("G_1_sq", r"\|G_1\|_2^2", nonnegative=True)
VECTOR = sympy.Symbol("G_1", real=True)
SIZES = {norm_1: norm_of_1(VECTOR), norm_2: norm(VECTOR)}
KNOWN = frozenset({Assumption.SMOOTH, Assumption.BOUNDED_BELOW})
UNKNOWN_GRADIENT = replace(PROBLEM, initial_gradient_norm=None)
FIRST = Relation(norm_1, "<=", UNKNOWN_GRADIENT.first_gradient_norm)
IN_L2 = Relation(norm_2, "<=", sympy.sqrt(2 * L * Delta))


@proves(
    "first gradient",
    "the gradient at the start is no larger than the gap allows",
    concludes=(Conclusion(FIRST, KNOWN), Conclusion(IN_L2, KNOWN)),
    source="Nesterov (2004), Theorem 2.1.5",
)
def first_gradient() -> Derivation:
    """One gradient step of size 1 / L would lead below inf L otherwise."""
    after = named("f_after", r"L(w_1 - G_1/L) - \inf L", nonnegative=True)
    short = 1 / L - L * (1 / L) ** 2 / 2
    below = yield composed(
        Relation(square, "<=", 2 * L * Delta),
        (
            assumed(Relation(after, "<=", Delta - short * square), Assumption.SMOOTH),
            hypothesis(Relation(after, ">=", 0)),
        ),
        (square, after),
        KNOWN,
        reason="a step of 1 / L",
    )
    in_l2 = yield rooted(below, square, norm_2, sympy.sqrt(2 * L * Delta))
    yield composed(
        FIRST,
        (
            in_l2,
            granted(Relation(norm_1, "<=", sympy.sqrt(dimension) * norm_2), Ground.CAUCHY_SCHWARZ, meaning=SIZES),
        ),
        (norm_1, norm_2),
        KNOWN,
    )


last = sympy.Symbol("N", integer=True, nonnegative=True)
v_0, log_0 = sympy.symbols("v_0 l_0", positive=True)
GROWTH = named("log_growth", r"{\textstyle\sum_i} E\ln\frac{v_{K',i}+\epsilon^2}{v_{0,i}+\epsilon^2}", real=True)
largest = named("M_G", "M", nonnegative=True)
KNOWN_GROWTH = Relation(
    GROWTH, "<=", log_growth_bound(PROBLEM, ADAM, sum_v0=v_0, sum_log_v0=log_0, extra_steps=last), ranges=BETAS
)
NEEDED = KNOWN | {Assumption.ADAM, Assumption.SECOND_MOMENT}


@proves(
    "log growth",
    "how much the second moments can grow",
    r"With $\sum_i v_{0,i} = v_0$, $\sum_i\ln(v_{0,i}+\epsilon^2) = l_0$ and $K' = K + N$:",
    concludes=(Conclusion(KNOWN_GROWTH, NEEDED),),
    source="lemma H of Theorem 2",
    uses=("first gradient", "L1"),
)
def log_growth() -> Derivation:
    """Gradients grow by L times the steps (L1), second moments by their squares, logarithms by a tangent."""
    size = yield from _gradients()
    total = yield from _second_moments(size)
    yield from _logarithm(size, total)


def _gradients() -> Generator[Step, Step, Step]:
    """||G_k||_2 <= sqrt(2 L Delta) + alpha L sqrt(d) C_m (K' - 1) for k <= K'."""
    here = named("G_k_l2", r"\|G_k\|_2", nonnegative=True)
    far = named("w_far", r"\|w_k - w_1\|", nonnegative=True)
    hops = named("hops_sum", r"{\textstyle\sum_{j<K'}}\|u_j\|", nonnegative=True)
    c_m = {C_M: normalized_step_bound(BETA1, BETA2)}
    hop = yield composed(
        Relation(length, "<=", sympy.sqrt(dimension) * C_M, c_m, BETAS),
        (cite(lemma_l1, part=2),),
        (length,),
        NEEDED,
    )
    path = yield summed(hop, {length: hops}, count=K + last - 1, reason="over the steps before K'")
    size = yield composed(
        Relation(
            here,
            "<=",
            sympy.sqrt(2 * L * Delta) + L * alpha * sympy.sqrt(dimension) * C_M * (K + last - 1),
            c_m,
            BETAS,
        ),
        (
            cite(first_gradient, part=1),
            assumed(Relation(here, "<=", norm_2 + L * far), Assumption.SMOOTH),
            granted(Relation(far, "<=", alpha * hops), Ground.MINKOWSKI, meaning=_path(far, hops)),
            path,
        ),
        (here, norm_2, far, hops),
        NEEDED,
    )
    said = yield composed(
        Relation(here, "<=", largest, {largest: size.relation.right, **c_m}, BETAS),
        (size,),
        (here,),
        NEEDED,
        reason="for k <= K'",
    )
    return said


def _path(far: Any, hops: Any) -> dict[Any, Any]:
    """w_1 - w_k is the sum of alpha u_j over j < k, and k <= K'."""
    k, later, j = sympy.symbols("k h j", integer=True, nonnegative=True)
    step = sympy.Function("u", real=True)(j)
    return {
        far: norm(sympy.Sum(alpha * step, (j, 1, k - 1))),
        hops: sympy.Sum(norm(step), (j, 1, k + later - 1)),
    }


def _second_moments(size: Step) -> Generator[Step, Step, Step]:
    """sum_i E v_{k,i} <= v_0 + tau^2 M^2 if ||G_k||_2 <= M: what is forgotten makes room for what is new."""
    now = named("v_total", r"{\textstyle\sum_i}E v_{k,i}", nonnegative=True)
    old = named("v_total_old", r"{\textstyle\sum_i}E v_{k-1,i}", nonnegative=True)
    fresh = named("g_total", r"E\|g_k\|^2", nonnegative=True)
    bound = v_0 + squared_noise_growth(eta) * largest**2
    first = yield inequality(bound, ">=", v_0, (), "k = 0")
    here, here_2 = size.relation.left, named("G_k_sq", r"\|G_k\|^2", nonnegative=True)
    at_most = yield inequality(here_2, "<=", largest**2, (Range(here, 0, largest),), where={here_2: here**2})
    small = yield composed(
        Relation(fresh, "<=", squared_noise_growth(eta) * largest**2, size.relation.where, BETAS),
        (
            assumed(Relation(fresh, "<=", squared_noise_growth(eta) * here_2), Assumption.SECOND_MOMENT),
            from_step(at_most, {here: (size,)}),
        ),
        (fresh, here_2),
        NEEDED,
    )
    total = yield induction(
        Relation(now, "<=", bound, ranges=BETAS),
        {now: old},
        {now: v_0},
        first,
        (
            assumed(Relation(now, "=", BETA2 * old + (1 - BETA2) * fresh), Assumption.ADAM),
            from_step(small, opaque=(largest, C_M)),
        ),
        (now, old, fresh),
        "summed over the coordinates, in expectation",
    )
    return total


def _logarithm(size: Step, total: Step) -> Derivation:
    """ln u <= ln U + (u - U) / U in every coordinate, with d U = v_0 + tau^2 M^2 + d epsilon^2."""
    x = sympy.Symbol("x", nonnegative=True)
    rising, falling = x - sympy.log(1 + x), -x - sympy.log(1 - x)
    slope = inequality(sympy.diff(rising, x), ">=", 0, (Range(x),), "y - ln(1+y) is least at y = 0: for y = x")
    below = inequality(
        sympy.diff(falling, x), ">=", 0, (Range(x, 0, 1, strict=True),), "and for y = -x, x < 1; it is 0 at 0"
    )
    yield slope
    yield below
    assert size.relation is not None
    assert total.relation is not None
    now, bound = total.relation.left, total.relation.right
    most = named("U_most", "U", positive=True)
    tangent = dimension * sympy.log(most) + (now + dimension * epsilon**2 - dimension * most) / most - log_0
    by_most = yield composed(
        Relation(GROWTH, "<=", dimension * sympy.log(most) - log_0, {most: bound / dimension + epsilon**2}, BETAS),
        (granted(Relation(GROWTH, "<=", tangent), Ground.EXPECTATION, slope, below), total),
        (GROWTH, now),
        NEEDED,
    )
    yield composed(replace(KNOWN_GROWTH, where=size.relation.where), (by_most,), (GROWTH,), NEEDED, "with this M")
