"""Lemma L2: the second moment forgets no faster than beta2^n."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import sympy

from proofs.adam.symbols import BETA2, BETAS, dimension, q
from proofs.composition import Assumption, Conclusion, composed, from_step, hypothesis, induction, rooted, summed
from proofs.relations import Relation, equation, inequality, named
from proofs.steps import Step, proves
from proofs.sums import normalized
from theory.adam.constants import second_moment_weight

__all__ = ["fresh_share", "kept", "lemma_l2", "n"]

n = sympy.Symbol("n", integer=True, nonnegative=True)
old, g = sympy.symbols("v_{k-1} g_k", nonnegative=True)
reference = named("v_j", "v_j", nonnegative=True)
now, before = (
    named("kept", r"v_k - \beta_2^n v_j", real=True),
    named("kept_before", r"v_{k-1} - \beta_2^{n-1} v_j", real=True),
)
normalized_2 = named("normalized_2", r"\|g_{k-n}/\sqrt{v_k}\|^2", nonnegative=True)
kept = named("kept_root", r"\sqrt{v_j}/\sqrt{v_{j+n}}", nonnegative=True)
fresh_share = named("fresh_share", r"|g_k|/\sqrt{v_k}", nonnegative=True)
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
def lemma_l2() -> Iterator[Step]:
    """v_{j+n} >= kept(n) v_j, hence g_j^2 / v_{j+n} <= 1 / (c kept(n))."""
    recursion = equation(
        now,
        BETA2 * before + fresh,
        "Adam's recursion",
        {
            now: BETA2 * old + WEIGHT * g**2 - _kept(n) * reference,
            before: old - _kept(n - 1) * reference,
            fresh: WEIGHT * g**2,
        },
    )
    yield recursion
    first = inequality(reference, ">=", _kept(0) * reference, UNIT, "n = 0")
    yield first
    decay = induction(
        Relation(now, ">=", 0, ranges=UNIT),
        Relation(before, ">=", 0),
        first,
        (from_step(recursion), hypothesis(Relation(fresh, ">=", 0))),
        (now, before, fresh),
    )
    yield decay
    own = inequality(BETA2 * old + WEIGHT * g**2, ">=", WEIGHT * g**2, UNIT, "v_j >= c g_j^2")
    yield own
    yield from _normalized(decay)


def _normalized(decay: Step) -> Iterator[Step]:
    """v_k >= beta2^n v_j >= beta2^n c g_j^2, divided by v_k; its root over d coordinates."""
    each = named("each", "g_{j,i}^2/v_{k,i}", nonnegative=True)
    now_v, gradient = named("v_k", "v_k", positive=True), sympy.Symbol("g_j", nonnegative=True)
    slack = named("spare", "v_j - c g_j^2", nonnegative=True)
    split = equation(
        now,
        now_v * (1 - WEIGHT * _kept(n) * each) - _kept(n) * slack,
        where={
            now: now_v - _kept(n) * reference,
            slack: reference - WEIGHT * gradient**2,
            each: gradient**2 / now_v,
        },
    )
    yield split
    bounded = composed(
        Relation(each, "<=", 1 / (WEIGHT * _kept(n)), ranges=UNIT),
        (from_step(decay), from_step(split), hypothesis(Relation(slack, ">=", 0))),
        (now, each, slack),
        reason="v_j >= c g_j^2",
    )
    yield bounded
    total = summed(bounded, {each: normalized_2}, count=dimension, reason="over the coordinates")
    yield total
    yield rooted(total, normalized_2, normalized, sympy.sqrt(dimension) / (sympy.sqrt(WEIGHT) * q**n))
    yield from _roots(decay, now_v, bounded, each)


def _roots(decay: Step, now_v: Any, bounded: Step, each: Any) -> Iterator[Step]:
    """sqrt(v_j / v_{j+n}) <= q^-n, and |g_k| / sqrt(v_k) <= 1 / sqrt(c): the case n = 0."""
    kept_2, share_2 = (named(f"{s}_2", rf"{latex}", nonnegative=True) for s, latex in (
        (kept, "v_j/v_{j+n}"), (fresh_share, "g_k^2/v_k")))
    ratio = equation(now, now_v * (1 - _kept(n) * kept_2), where={
        now: now_v - _kept(n) * reference, kept_2: reference / now_v})
    yield ratio
    old_share = composed(
        Relation(kept_2, "<=", 1 / _kept(n), ranges=UNIT), (from_step(decay), from_step(ratio)), (now, kept_2))
    yield old_share
    yield rooted(old_share, kept_2, kept, 1 / q**n)
    at_once = replace(bounded, relation=bounded.relation.at({n: 0, each: share_2}))
    now_share = composed(Relation(share_2, "<=", 1 / WEIGHT, ranges=UNIT), (from_step(at_once),), (share_2,),
                         reason="n = 0")
    yield now_share
    yield rooted(now_share, share_2, fresh_share, 1 / sympy.sqrt(WEIGHT))
