r"""Lemmas L1, L3, L4, L6 and L7 with step multipliers: the k-th step is alpha s_k u_k, and s_k weighs every sum.

rho stands for rho_s = sup_j sum_n (s_{j+n} / s_j) r^n here, and z for z_s = sup_j sum_n (s_{j+1+n} / s_j) q^n,
both over the steps that are summed.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import sympy

from proofs.adam.l1_step import lemma_l1
from proofs.adam.l2_decay import fresh_share, lemma_l2
from proofs.adam.l3_freeze import DEFINED, FREEZING_COST, lemma_l3, telescoped
from proofs.adam.l4_swap import aged, ages, swapped, term, weight
from proofs.adam.l6_descent import KAPPA_IS, lemma_l6
from proofs.adam.l6_descent import RANGES as TESTED_RANGES
from proofs.adam.l7_denominators import C_IS, ROOT_C, TAU_IS, UNIT, after, before, one_step, tau
from proofs.adam.symbols import BETA1, BETAS, C_M, E_1, KAPPA_RHO, RHO, alpha, dimension, q, r
from proofs.composition import (
    Assumption,
    Conclusion,
    Ground,
    assumed,
    cite,
    composed,
    from_step,
    granted,
    stated,
    summed,
)
from proofs.grounds import inner, supremum
from proofs.grounds import norm as norm_2
from proofs.relations import Range, Relation, equation, named
from proofs.steps import Derivation, Step, all_of, proves
from proofs.sums import (
    aligned,
    denominator,
    epsilon,
    frozen,
    length,
    norm,
    past,
    preconditioned,
    progress,
    root_moment,
    square,
    travelled,
)

__all__ = [
    "ALIGNED_S",
    "DENOMINATORS_S",
    "EARLY",
    "ENERGY",
    "FROZEN_EARLY",
    "FROZEN_S",
    "NORMS_S",
    "PRECONDITIONED_S",
    "PROGRESS_S",
    "SQUARES_S",
    "START_S",
    "STEPS_S",
    "lookahead",
    "product_of",
    "s",
    "s_2",
    "times",
    "weighted_denominators",
    "weighted_sums",
]

n = sympy.Symbol("n", integer=True, nonnegative=True)
s = named("s_k", "s_k", positive=True)
s_2, then_2 = named("s_2", "s_k^2", nonnegative=True), named("then_2", "s_{k-i}^2", nonnegative=True)
then, later_s = named("s_then", "s_{k-i}", positive=True), named("s_later", "s_{k+n}", positive=True)
momentum = named("T_k", r"{\textstyle\sum_n} s_{k+n}r^n", nonnegative=True)
ENERGY = named("Sigma_2", r"{\textstyle\sum_k} s_k^2", nonnegative=True)
PROGRESS_S = named("I_s", r"{\textstyle\sum_k} s_kE\langle G_k, u_k\rangle", real=True)
SQUARES_S = named("N_s", r"{\textstyle\sum_k} s_k^2 E\|u_k\|^2", nonnegative=True)
FROZEN_S = named(
    "F_s",
    r"{\textstyle\sum_k}s_k{\textstyle\sum_{j\le k}}\beta_1^{k-j}E\langle G_j,g_j/(\sqrt{v_k}+\epsilon)\rangle",
    real=True,
)
FROZEN_EARLY = named("F_early", r"{\textstyle\sum_{j<k_0}}E\,\theta_jG_jg_j", real=True)
ALIGNED_S = named(
    "W_s", r"{\textstyle\sum_{k,i}}s_k E[(G_kg_k)^+ - \rho(G_kg_k)^-]/(\sqrt{v_k}+\epsilon)", real=True
)
PRECONDITIONED_S = named(
    "Q_s", r"{\textstyle\sum_{k,i}} s_k E[G_{k,i}^2/(\sqrt{D_{k,i}}+\epsilon)]", nonnegative=True
)
NORMS_S = named("S_s", r"{\textstyle\sum_k} s_k E\|G_k\|_1", nonnegative=True)
DENOMINATORS_S = named("R_s", r"{\textstyle\sum_{k,i}} s_k E(\sqrt{D_{k,i}}+\epsilon)", nonnegative=True)
STEPS_S = named("s_sum", r"{\textstyle\sum_k} s_k", nonnegative=True)
EARLY = named("J_s", r"{\textstyle\sum_{j<k_0}} T_jE\|G_j\|_1", nonnegative=True)
START_S = named("A_s", r"\sqrt{\beta_2}Z_{k_0}V_{k_0-1}", nonnegative=True)
lookahead = named("z", "z", nonnegative=True)
ADAM = frozenset({Assumption.ADAM})
NEEDED = ADAM | {Assumption.SMOOTH}
TESTED = ADAM | {Assumption.UNBIASED, Assumption.KNOWN_BEFORE, Assumption.COORDINATE_TEST}
C_IS_M = {C_M: DEFINED[C_M]}


@proves(
    "weighted sums",
    "lemmas L1, L3, L4 and L6 with step multipliers",
    r"Let the steps be $\alpha s_ku_k$, $s_k > 0$, $\rho = \sup_j\sum_n(s_{j+n}/s_j)r^n$:",
    concludes=(
        Conclusion(Relation(SQUARES_S, "<=", dimension * C_M**2 * ENERGY, C_IS_M, BETAS), ADAM),
        Conclusion(Relation(PROGRESS_S, ">=", (1 - BETA1) * FROZEN_S - E_1 * ENERGY, DEFINED, BETAS), NEEDED),
        Conclusion(
            Relation(FROZEN_S, ">=", ALIGNED_S, ranges=(*BETAS, Range(RHO, 1))), ADAM, (FROZEN_S, ALIGNED_S)
        ),
        Conclusion(Relation(ALIGNED_S, ">=", KAPPA_RHO * PRECONDITIONED_S, KAPPA_IS, TESTED_RANGES), TESTED),
        Conclusion(Relation(FROZEN_EARLY, ">=", -EARLY / ROOT_C, C_IS, BETAS), ADAM),
    ),
    source="corrected Theorem 1, variants",
    uses=("L1", "L2", "L3", "L4", "L6"),
)
def weighted_sums() -> Derivation:
    """Each lemma's term times s_k, summed."""
    yield from _squares()
    yield from _freezing()
    yield from _swap()
    yield from _descent()


def times(symbol: Any, latex: str, factor: Any, of: Any) -> Step:
    """A name for ``factor`` times a term."""
    product = named(f"{factor}_{of}", latex, real=True)
    return equation(product, factor * of, where={product: factor * of})


def product_of(step: Step) -> Any:
    """The name that an equation of :func:`_times` defines."""
    assert step.relation is not None
    return step.relation.left


def _squares() -> Derivation:
    size = yield times(square, "s_k^2u_{k,i}^2", s_2, square)
    each = yield composed(
        Relation(product_of(size), "<=", C_M**2 * s_2, C_IS_M, BETAS),
        (size, cite(lemma_l1, part=3)),
        (product_of(size), square),
        ADAM,
    )
    yield summed(each, {product_of(size): SQUARES_S, s_2: dimension * ENERGY})


def _freezing() -> Derivation:
    """s_k times L3's step; s_k s_{k-i} <= (s_k^2 + s_{k-i}^2) / 2, and each square occurs at most n times."""
    far = yield from _travelled()
    named_terms = yield from all_of(
        times(progress, r"s_k\langle G_k,u_k\rangle", s, progress),
        times(
            past, r"s_k{\textstyle\sum_{j\le k}}\beta_1^{k-j}\langle G_j,g_j/(\sqrt{v_k}+\epsilon)\rangle", s, past
        ),
        times(travelled, r"s_k{\textstyle\sum_n}r^n\|w_k-w_{k-n}\|", s, travelled),
    )
    gained, kept, moved = map(product_of, named_terms)
    each = yield composed(
        Relation(gained, ">=", (1 - BETA1) * kept - FREEZING_COST * moved, ranges=BETAS),
        (cite(lemma_l3, part=1), *named_terms),
        (progress, past, travelled, gained, kept, moved),
        NEEDED,
    )
    total = yield summed(each, {gained: PROGRESS_S, kept: FROZEN_S, moved: TRAVELLED_S})
    yield composed(
        Relation(PROGRESS_S, ">=", (1 - BETA1) * FROZEN_S - E_1 * ENERGY, DEFINED, BETAS),
        (total, far),
        (PROGRESS_S, FROZEN_S, TRAVELLED_S, ENERGY),
        NEEDED,
    )


TRAVELLED_S = named("travelled_s", r"{\textstyle\sum_k}s_k{\textstyle\sum_n}r^n\|w_k-w_{k-n}\|", nonnegative=True)


def _travelled() -> Generator[Step, Step, Step]:
    hop = named("hop", r"\alpha s_ks_{k-i}\|u_{k-i}\|", nonnegative=True)
    hops = named("hops", r"{\textstyle\sum_k}\alpha s_ks_{k-i}\|u_{k-i}\|", nonnegative=True)
    part = named("then_sum", r"{\textstyle\sum_k}s_{k-i}^2", nonnegative=True)
    path = named("path", r"{\textstyle\sum_{i\le n}\sum_k}\alpha s_ks_{k-i}\|u_{k-i}\|", nonnegative=True)
    reach = named("reach_s", r"r^n{\textstyle\sum_k}s_k\|w_k-w_{k-n}\|", nonnegative=True)
    size = alpha * sympy.sqrt(dimension) * C_M
    product = yield equation(hop, alpha * s * then * length, where={hop: alpha * s * then * length})
    each = yield composed(
        Relation(hop, "<=", size * (s_2 + then_2) / 2, C_IS_M, BETAS),
        (
            product,
            cite(lemma_l1, part=2),
            granted(
                Relation(2 * s * then, "<=", s_2 + then_2), Ground.SQUARE, meaning={s_2: s**2, then_2: then**2}
            ),
        ),
        (hop, length, s_2, then_2),
        ADAM,
    )
    over_k = yield summed(each, {hop: hops, s_2: ENERGY, then_2: part}, reason="over the steps")
    at_most = yield composed(
        Relation(hops, "<=", size * ENERGY, C_IS_M, BETAS),
        (over_k, granted(Relation(part, "<=", ENERGY), Ground.PART, meaning=_shifted(part))),
        (hops, part, ENERGY),
        ADAM,
    )
    over_i = yield summed(at_most, {hops: path}, count=n, reason="over i = 1..n")
    way = named("way", r"{\textstyle\sum_{i\le n}}\alpha s_ks_{k-i}\|u_{k-i}\|", nonnegative=True)
    to_there = named("to_there", r"s_k\|w_k-w_{k-n}\|", nonnegative=True)
    one = stated(
        granted(Relation(to_there, "<=", way), Ground.MINKOWSKI, meaning=_of_hops(to_there, way)),
        "w_{k-n} - w_k is the sum of the steps between",
    )
    all_of_them = named("reach_sum", r"{\textstyle\sum_k}s_k\|w_k-w_{k-n}\|", nonnegative=True)
    over_all = summed(one, {to_there: all_of_them, way: path}, reason="over the steps")
    weighed = equation(reach, r**n * all_of_them, where={reach: r**n * all_of_them})
    yield one
    yield over_all
    yield weighed
    near = yield composed(
        Relation(reach, "<=", n * r**n * size * ENERGY, C_IS_M, BETAS),
        (weighed, over_all, over_i),
        (reach, all_of_them, path),
        ADAM,
    )
    return (yield from telescoped(reach, TRAVELLED_S, size * ENERGY, near, where=C_IS_M))


def _shifted(part: Any) -> dict[Any, Any]:
    """sum_k s_{k-i}^2 over k > i, and sum_k s_k^2."""
    k, i, before = sympy.symbols("k i h", integer=True, nonnegative=True)
    squares = sympy.Function("s", positive=True)
    return {
        part: sympy.Sum(squares(k - i) ** 2, (k, i + 1, i + before)),
        ENERGY: sympy.Sum(squares(k) ** 2, (k, 1, i + before)),
    }


def _of_hops(whole: Any, parts: Any) -> dict[Any, Any]:
    """The sum of n steps alpha s_{k-i} u_{k-i}, times s_k, and their lengths."""
    i, ago = sympy.Symbol("i", integer=True, positive=True), sympy.Function("s", positive=True)
    hop = alpha * s * ago(i) * sympy.Function("u", real=True)(i)
    return {whole: norm_2(sympy.Sum(hop, (i, 1, n))), parts: sympy.Sum(norm_2(hop), (i, 1, n))}


def _swap() -> Derivation:
    """s_k <= theta_k sqrt(v_k) <= sum_n s_{k+n} r^n <= rho s_k."""
    old = yield from aged()
    by_age = yield times(
        term, r"s_{k+n}\beta_1^n(\sqrt{v_k}+\epsilon_k)/(\sqrt{v_{k+n}}+\epsilon_{k+n})", later_s, term
    )
    ahead = named("ahead", "s_{k+n}r^n", nonnegative=True)
    scaled = yield equation(ahead, later_s * r**n, where={ahead: later_s * r**n})
    each = yield composed(
        Relation(product_of(by_age), "<=", ahead, ranges=BETAS),
        (old, by_age, scaled),
        (product_of(by_age), term, ahead),
        ADAM,
    )
    over_n = yield summed(each, {product_of(by_age): weight, ahead: momentum}, reason="over n")
    ahead_of = sympy.Function("s", positive=True)
    first = {weight: ages(ahead_of), s: ahead_of(0)}
    below = yield stated(granted(Relation(weight, ">=", s), Ground.PART, meaning=first), "n = 0")
    above = yield composed(
        Relation(weight, "<=", RHO * s, ranges=BETAS),
        (
            over_n,
            granted(Relation(momentum, "<=", RHO * s), Ground.EXTREMUM, meaning={RHO: supremum(momentum / s)}),
        ),
        (weight, momentum),
        ADAM,
        reason="rho",
    )
    swap = yield from swapped(s)
    of_term = yield times(aligned, r"s_k[(G_kg_k)^+-\rho(G_kg_k)^-]/(\sqrt{v_k}+\epsilon)", s, aligned)
    ranges = (*BETAS, Range(RHO, 1))
    kept = yield composed(
        Relation(frozen, ">=", product_of(of_term), ranges=(*ranges, Range(s, 0, strict=True))),
        (from_step(swap, {weight: (above, below)}), of_term),
        (frozen, aligned, product_of(of_term)),
        ADAM,
    )
    total = yield summed(kept, {frozen: FROZEN_S, product_of(of_term): ALIGNED_S})
    yield composed(Relation(FROZEN_S, ">=", ALIGNED_S, ranges=ranges), (total,), (FROZEN_S, ALIGNED_S), ADAM)
    yield from _early(over_n)


def _early(over_n: Step) -> Derivation:
    """Steps whose test may fail climb at most sum_n s_{k+n} r^n |G_k| / sqrt(c)."""
    product = yield times(norm, r"T_k|G_k|", momentum, norm)
    true, own = sympy.symbols(r"G_k g_k/(\sqrt{v_k}+\epsilon)", real=True)
    by_share = yield composed(
        Relation(frozen, ">=", -weight * norm / ROOT_C, C_IS, BETAS),
        (
            granted(
                Relation(frozen, ">=", -weight * norm * fresh_share),
                Ground.CAUCHY_SCHWARZ,
                meaning={frozen: weight * inner(true, own), norm: norm_2(true), fresh_share: norm_2(own)},
            ),
            cite(lemma_l2, part=2),
        ),
        (frozen, fresh_share),
        ADAM,
    )
    each = yield composed(
        Relation(frozen, ">=", -product_of(product) / ROOT_C, C_IS, BETAS),
        (by_share, over_n, product),
        (frozen, weight, momentum, product_of(product)),
        ADAM,
    )
    yield summed(each, {frozen: FROZEN_EARLY, product_of(product): EARLY}, reason="over j < k_0")


def _descent() -> Derivation:
    terms = yield from all_of(
        times(aligned, r"s_k[(G_kg_k)^+-\rho(G_kg_k)^-]/(\sqrt{v_k}+\epsilon)", s, aligned),
        times(preconditioned, r"s_kG_k^2/(\sqrt{D_k}+\epsilon)", s, preconditioned),
    )
    left, right = map(product_of, terms)
    each = yield composed(
        Relation(left, ">=", KAPPA_RHO * right, KAPPA_IS, TESTED_RANGES),
        (cite(lemma_l6, part=1), *terms),
        (aligned, preconditioned, left, right),
        TESTED,
    )
    yield summed(each, {left: ALIGNED_S, right: PRECONDITIONED_S})


@proves(
    "weighted denominators",
    "lemma L7 with step multipliers",
    r"With $Z_k = \sum_n s_{k+n}\beta_2^{n/2}$, $z = \sup_k Z_{k+1}/s_k$ and sums over $k \ge k_0$:",
    concludes=(
        Conclusion(
            Relation(
                DENOMINATORS_S,
                "<=",
                START_S + ROOT_C * (1 + tau * q * lookahead) * NORMS_S + dimension * epsilon * STEPS_S,
                {**C_IS, **TAU_IS},
                UNIT,
            ),
            ADAM | {Assumption.SECOND_MOMENT},
        ),
    ),
    source="corrected Theorem 1, variants",
    uses=("L7",),
)
def weighted_denominators() -> Derivation:
    """The potential is q Z_k V_{k-1}, as Z_k = s_k + q Z_{k+1}."""
    ahead, ahead_next = named("Z_k", "Z_k", nonnegative=True), named("Z_next", "Z_{k+1}", nonnegative=True)
    own, next_one = yield from one_step()
    potential = named("pot", r"\sqrt{\beta_2}Z_kV_{k-1}", nonnegative=True)
    passed = named("pot_next", r"\sqrt{\beta_2}Z_{k+1}V_k", nonnegative=True)
    where = {potential: q * ahead * before, passed: q * ahead_next * after}
    potentials = [equation(name, value, where={name: value}) for name, value in where.items()]
    recursion = {ahead: s + q * ahead_next}
    of_term = times(denominator, r"s_k(\sqrt{D_k}+\epsilon)", s, denominator)
    of_norm = times(norm, "s_k|G_k|", s, norm)
    yield from all_of(*potentials, of_term, of_norm)
    left, right = product_of(of_term), product_of(of_norm)
    needed = ADAM | {Assumption.SECOND_MOMENT}
    step = yield composed(
        Relation(
            left + passed,
            "<=",
            potential + ROOT_C * right + q * ROOT_C * ahead_next * tau * norm + s * epsilon,
            {**C_IS, **TAU_IS, **recursion},
            UNIT,
        ),
        (
            own,
            next_one,
            *potentials,
            of_term,
            of_norm,
            assumed(Relation(root_moment, "<=", tau * norm, TAU_IS), Assumption.SECOND_MOMENT),
        ),
        (denominator, after, before, norm, root_moment, left, right, potential, passed),
        needed,
    )
    each = yield composed(
        Relation(
            left + passed,
            "<=",
            potential + ROOT_C * (1 + tau * q * lookahead) * right + s * epsilon,
            {**C_IS, **TAU_IS},
            UNIT,
        ),
        (
            step,
            granted(
                Relation(ahead_next, "<=", lookahead * s),
                Ground.EXTREMUM,
                meaning={lookahead: supremum(ahead_next / s)},
            ),
            of_norm,
        ),
        (left, passed, potential, ahead_next, right),
        needed,
        reason="z",
    )
    yield summed(
        each,
        {left: DENOMINATORS_S, right: NORMS_S, s: dimension * STEPS_S},
        {(potential, passed): START_S},
        reason="summed over k >= k_0",
    )
