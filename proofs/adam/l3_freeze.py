r"""Lemma L3: in <G_k, m_k / sqrt(v_k)> the gradients of the past may be replaced by their own true gradients.

The cost is that of smoothness (G_k - G_j), of how far the steps between led, and of normalised gradients that are
bounded (L2), for steps of any kind; with Adam's own (L1) its sum over the past is an arithmetic-geometric series.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import sympy

from proofs.adam.l1_step import lemma_l1
from proofs.adam.l2_decay import lemma_l2
from proofs.adam.symbols import BETA1, BETA2, BETAS, C_M, E_1, alpha, dimension, r, same, smoothness, steps
from proofs.composition import (
    Assumption,
    Conclusion,
    Fact,
    Ground,
    assumed,
    cite,
    composed,
    from_step,
    granted,
    summed,
)
from proofs.grounds import inner, norm
from proofs.relations import Range, Relation, equation, inequality, named
from proofs.steps import Derivation, Step, proves
from proofs.sums import FROZEN, PROGRESS, epsilon, moved, normalized, own_moved, past, progress, travelled
from theory.adam.constants import freezing_constant, normalized_step_bound, second_moment_weight

__all__ = ["FREEZING_COST", "lemma_l3", "telescoped", "travel"]

n = sympy.Symbol("n", integer=True, nonnegative=True)
FREEZING = named("F", r"F", positive=True)
DEFINED = {
    E_1: alpha * smoothness * dimension * C_M * FREEZING,
    FREEZING: (1 - BETA1) * r / ((1 - r) ** 2 * sympy.sqrt(second_moment_weight(BETA2))),
    C_M: normalized_step_bound(BETA1, BETA2),
}
NEEDED = frozenset({Assumption.SMOOTH, Assumption.ADAM})
FREEZING_COST = (1 - BETA1) * smoothness * sympy.sqrt(dimension) / sympy.sqrt(second_moment_weight(BETA2))
"""Of every unit of :data:`~proofs.sums.travelled`."""
distance = named("distance", r"\|G_k - G_{k-n}\|", nonnegative=True)
drift = named("drift", r"\delta_{k,n}", real=True)
drifts = named("drifts", r"{\textstyle\sum_n} \delta_{k,n}", real=True)
reach = named("reach", r"r^n\|w_k - w_{k-n}\|", nonnegative=True)
tail, later = named("tail", "T(n)", nonnegative=True), named("later", "T(n+1)", nonnegative=True)
PER_STEP = Relation(progress, ">=", (1 - BETA1) * past - FREEZING_COST * travelled, ranges=BETAS)
SUMMED = Relation(PROGRESS, ">=", (1 - BETA1) * FROZEN - steps * E_1, DEFINED, BETAS)


@proves(
    "L3",
    "freezing the past",
    concludes=(Conclusion(SUMMED, NEEDED), Conclusion(PER_STEP, NEEDED)),
    source="corrected Theorem 1",
    uses=("L1", "L2"),
)
def lemma_l3() -> Derivation:
    """The freezing error alpha L d C_m ``freezing(beta1, beta2)`` per step."""
    old, true, fresh, weight = sympy.symbols("G_{k-n} G_k g_{k-n} w_n", real=True)
    root = named("root_v", r"\sqrt{v_k}", positive=True) + epsilon
    yield from _weights()
    yield equation(
        weight * true * fresh / root,
        weight * old * fresh / root + weight * (true - old) * fresh / root,
        "each term of m_k; the second is -delta_{k,n}",
    )
    split = yield equation(
        progress, (1 - BETA1) * past - drifts, "their sum over n", {drifts: (1 - BETA1) * past - progress}
    )
    over_n = yield from _drift()
    each = yield composed(PER_STEP, (split, over_n), (progress, past, drifts, travelled), NEEDED)
    far = yield from travel(C_M, own_moved, cite(lemma_l1, part=1))
    with_adam = yield composed(
        Relation(progress, ">=", (1 - BETA1) * past - E_1, DEFINED, BETAS),
        (each, far),
        (progress, past, travelled),
        NEEDED,
    )
    yield same(r"F: \text{ the function}", (freezing_constant(BETA1, BETA2), DEFINED[FREEZING]))
    yield summed(with_adam, {progress: PROGRESS, past: FROZEN}, count=steps)


def _weights() -> Derivation:
    """m_k = sum_n w_n g_{k-n}, by the recursion of its coefficients."""
    w = lambda age: (1 - BETA1) * BETA1**age  # noqa: E731
    newest, older, old = (named(name, name, positive=True) for name in ("w_0", "w_{n+1}", "w_n"))
    yield equation(
        newest, 1 - BETA1, "the weight of g_k in m_k = sum_n w_n g_{k-n}, w_n = (1-beta1) beta1^n", {newest: w(0)}
    )
    yield equation(
        older, BETA1 * old, "every older weight is beta1 times what it was", {older: w(n + 1), old: w(n)}
    )


def _drift() -> Generator[Step, Step, Step]:
    """delta_{k,n} is at most ``FREEZING_COST`` r^n ||w_k - w_{k-n}||: smoothness, Cauchy-Schwarz and L2."""
    weight = (1 - BETA1) * BETA1**n
    change, old = sympy.symbols(r"G_k-G_{k-n} g_{k-n}/(\sqrt{v_k}+\epsilon)", real=True)
    changed = yield composed(
        Relation(drift, "<=", weight * normalized * smoothness * moved, ranges=BETAS),
        (
            granted(
                Relation(drift, "<=", weight * distance * normalized),
                Ground.CAUCHY_SCHWARZ,
                meaning={drift: -weight * inner(change, old), distance: norm(change), normalized: norm(old)},
            ),
            assumed(Relation(distance, "<=", smoothness * moved), Assumption.SMOOTH),
        ),
        (drift, distance, moved),
        NEEDED,
    )
    scaled = yield equation(reach, r**n * moved, where={reach: r**n * moved})
    bounded = yield composed(
        Relation(drift, "<=", FREEZING_COST * r**n * moved, ranges=BETAS),
        (changed, cite(lemma_l2)),
        (drift, normalized),
        NEEDED,
    )
    in_reach = yield composed(
        Relation(drift, "<=", FREEZING_COST * reach, ranges=BETAS), (bounded, scaled), (drift, moved, reach)
    )
    over_n = yield summed(in_reach, {drift: drifts, reach: travelled}, reason="over n = 0, 1, ..")
    return over_n


def telescoped(left: Any, total: Any, factor: Any, by_age: Step, where: Any = None) -> Generator[Step, Step, Step]:
    """``total <= factor r / (1-r)^2``, from a step that bounds a term ``left`` by ``factor`` n r^n."""
    value = r**n * (n / (1 - r) + r / (1 - r) ** 2)
    telescoping = yield equation(
        n * r**n, tail - later, "n r^n telescopes", {tail: value, later: value.subs(n, n + 1)}
    )
    yield inequality(value, ">=", 0, (*BETAS, Range(n)), "T(n) >= 0: the last may be dropped")
    each = yield composed(
        Relation(left, "<=", factor * (tail - later), where or {}, BETAS),
        (telescoping, by_age),
        (left, tail, later),
    )
    over_n = yield summed(
        each, {left: total}, {(tail, later): r / (1 - r) ** 2}, reason="over n = 0, 1, ..: T(0) = r / (1-r)^2"
    )
    return over_n


def travel(size: Any, steps_of: Any, moves: Fact) -> Generator[Step, Step, Step]:
    """How far steps of alpha sqrt(d) ``size`` led, weighted by r^n; n of them lead ``steps_of``, by ``moves``."""
    scaled = equation(reach, r**n * moved, where={reach: r**n * moved})
    now, before, between = sympy.symbols(r"w_k w_{k-n} \sum_{j=k-n}^{k-1}(w_j-w_{j+1})", real=True)
    same = equation(
        moved,
        steps_of,
        "w_j - w_{j+1} is alpha times the step",
        {moved: norm(now - before), now: before - between, steps_of: norm(between)},
    )
    yield scaled
    yield same
    near = yield composed(
        Relation(reach, "<=", n * r**n * alpha * sympy.sqrt(dimension) * size, moves.relation.where, BETAS),
        (scaled, from_step(same, opaque=tuple(same.relation.where)), moves),
        (reach, moved, steps_of),
        frozenset(moves.assumes),
    )
    return (
        yield from telescoped(
            reach, travelled, alpha * sympy.sqrt(dimension) * size, near, where=moves.relation.where
        )
    )
