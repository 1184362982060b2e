"""Lemma L2: the second moment forgets no faster than beta2^n."""

from __future__ import annotations

from typing import Any

import sympy

from proofs.adam.symbols import BETA2, BETAS, dimension, q
from proofs.composition import (
    Assumption,
    Conclusion,
    assumed,
    composed,
    from_step,
    hypothesis,
    induction,
    rooted,
    summed,
)
from proofs.relations import Relation, equation, inequality, named
from proofs.steps import Derivation, Step, proves
from proofs.sums import epsilon, normalized
from theory.adam.constants import second_moment_weight

__all__ = ["fresh_share", "kept", "lemma_l2", "n"]

n = sympy.Symbol("n", integer=True, nonnegative=True)
old, g = sympy.symbols("v_{k-1} g_k", nonnegative=True)
gradient = sympy.Symbol("|g_j|", nonnegative=True)
spare = named("spare", "v_j - c g_j^2", nonnegative=True)
reference = named("v_j", "v_j", nonnegative=True)
now = named("kept", r"v_k - \beta_2^n v_j", real=True)
before = named("kept_before", r"v_{k-1} - \beta_2^{n-1} v_j", real=True)
normalized_2 = named("normalized_2", r"\|g_{k-n}/(\sqrt{v_k}+\epsilon)\|^2", nonnegative=True)
kept = named("kept_root", r"(\sqrt{v_j}+\epsilon_j)/(\sqrt{v_{j+n}}+\epsilon_{j+n})", nonnegative=True)
fresh_share = named("fresh_share", r"|g_k|/(\sqrt{v_k}+\epsilon)", nonnegative=True)
now_v, root = named("v_k", "v_k", positive=True), named("root_v", r"\sqrt{v_k}", positive=True)
fresh = named("fresh", "c g_k^2", nonnegative=True)
WEIGHT = second_moment_weight(BETA2)
UNIT = BETAS[1:]


def _kept(age: Any) -> Any:
    """What is left of a second moment after n steps."""
    return BETA2**age


@proves(
    "L2",
    "slow decay",
    r"$v_k \ge \beta_2^{k-j} v_j$ and $v_j \ge c\,g_j^2$, so that over the $d$ coordinates, for $j = k-n \le k$:",
    concludes=(
        Conclusion(
            Relation(normalized, "<=", sympy.sqrt(dimension) / (sympy.sqrt(WEIGHT) * q**n), ranges=UNIT),
            frozenset({Assumption.ADAM}),
        ),
        Conclusion(Relation(kept, "<=", 1 / q**n, ranges=UNIT), frozenset({Assumption.ADAM})),
        Conclusion(Relation(fresh_share, "<=", 1 / sympy.sqrt(WEIGHT), ranges=UNIT), frozenset({Assumption.ADAM})),
    ),
    source="corrected Theorem 1",
)
def lemma_l2() -> Derivation:
    """v_{j+n} >= kept(n) v_j, hence g_j^2 / v_{j+n} <= 1 / (c kept(n))."""
    recursion = yield equation(
        now,
        BETA2 * before + fresh,
        "Adam's recursion",
        {
            now: BETA2 * old + WEIGHT * g**2 - _kept(n) * reference,
            before: old - _kept(n - 1) * reference,
            fresh: WEIGHT * g**2,
        },
    )
    first = yield inequality(reference, ">=", _kept(0) * reference, UNIT, "n = 0")
    decay = yield induction(
        Relation(now, ">=", 0, ranges=UNIT),
        {now: before},
        {now: reference - _kept(0) * reference},
        first,
        (recursion, hypothesis(Relation(fresh, ">=", 0))),
        (now, before, fresh),
    )
    older = named("v_j_old", "v_{j-1}", nonnegative=True)
    of_own = {spare: reference - WEIGHT * gradient**2, reference: BETA2 * older + WEIGHT * gradient**2}
    own = yield inequality(spare, ">=", 0, UNIT, "Adam's recursion", of_own)
    yield from _normalized(decay, own)
    yield from _denominators(decay)


def _normalized(decay: Step, own: Step) -> Derivation:
    """v_k >= beta2^n v_j >= beta2^n c g_j^2, divided by v_k; its root over d coordinates, and for n = 0."""
    each = named("each", "g_{j,i}^2/v_{k,i}", nonnegative=True)
    own_2 = named("own_2", r"g_{j,i}^2/(\sqrt{v_{k,i}}+\epsilon)^2", nonnegative=True)
    share_2 = named("share_2", r"g_k^2/(\sqrt{v_k}+\epsilon)^2", nonnegative=True)
    split = yield equation(
        now,
        now_v * (1 - WEIGHT * _kept(n) * each) - _kept(n) * spare,
        where={
            now: now_v - _kept(n) * reference,
            spare: reference - WEIGHT * gradient**2,
            each: gradient**2 / now_v,
        },
    )
    bounded = yield composed(
        Relation(each, "<=", 1 / (WEIGHT * _kept(n)), ranges=UNIT),
        (decay, split, from_step(own, opaque=(reference,))),
        (now, each, spare),
        reason="v_j >= c g_j^2",
    )
    at = {each: gradient**2 / root**2, own_2: gradient**2 / (root + epsilon) ** 2}
    shrunk = yield inequality(own_2, "<=", each, where=at)
    with_epsilon = yield composed(
        Relation(own_2, "<=", 1 / (WEIGHT * _kept(n)), ranges=UNIT), (bounded, shrunk), (each, own_2)
    )
    total = yield summed(with_epsilon, {own_2: normalized_2}, count=dimension, reason="over the coordinates")
    yield rooted(total, normalized_2, normalized, sympy.sqrt(dimension) / (sympy.sqrt(WEIGHT) * q**n))
    now_share = yield composed(
        Relation(share_2, "<=", 1 / WEIGHT, ranges=UNIT),
        (from_step(with_epsilon, at={n: 0, own_2: share_2}),),
        (share_2,),
        reason="n = 0",
    )
    yield rooted(now_share, share_2, fresh_share, 1 / sympy.sqrt(WEIGHT))


def _denominators(decay: Step) -> Derivation:
    """(sqrt(v_j) + epsilon_j) / (sqrt(v_{j+n}) + epsilon_{j+n}) <= q^-n, as epsilon does not fall."""
    bare_2 = named("bare_2", "v_j/v_{j+n}", nonnegative=True)
    bare = named("bare_kept", r"\sqrt{v_j}/\sqrt{v_{j+n}}", nonnegative=True)
    at = {now: now_v - _kept(n) * reference, bare_2: reference / now_v}
    ratio = yield equation(now, now_v * (1 - _kept(n) * bare_2), where=at)
    old = yield composed(Relation(bare_2, "<=", 1 / _kept(n), ranges=UNIT), (decay, ratio), (now, bare_2))
    without = yield rooted(old, bare_2, bare, 1 / q**n)
    age = named("age", r"\beta_2^{-n/2}", positive=True)
    younger = named("younger", r"\beta_2^{-(n-1)/2}", positive=True)
    older = yield equation(age, younger / q, where={age: 1 / q**n, younger: 1 / q ** (n - 1)})
    start = yield inequality(1, ">=", 1, (), "n = 0")
    aged = yield induction(
        Relation(age, ">=", 1, ranges=UNIT), {age: younger}, {age: 1}, start, (older,), (age, younger)
    )
    is_age = yield equation(age, 1 / q**n, where={age: 1 / q**n})
    later = named("epsilon_later", r"\epsilon_{j+n}", nonnegative=True)
    whole = yield equation(
        kept, (root * bare + epsilon) / (root + later), where={kept: (root * bare + epsilon) / (root + later)}
    )
    yield composed(
        Relation(kept, "<=", 1 / q**n, ranges=UNIT),
        (without, whole, aged, is_age, assumed(Relation(epsilon, "<=", later), Assumption.ADAM)),
        (kept, bare, age, epsilon),
        frozenset({Assumption.ADAM}),
    )
