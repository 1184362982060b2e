r"""Lemma L3: in <G_k, m_k / sqrt(v_k)> the gradients of the past may be replaced by their own true gradients.

The cost is that of smoothness (G_k - G_j), of steps that are bounded (L1) and of normalised gradients that are
bounded (L2); its sum over the past is an arithmetic-geometric series.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator

import sympy

from proofs.adam.l1_step import lemma_l1
from proofs.adam.l2_decay import lemma_l2
from proofs.adam.symbols import BETA1, BETA2, BETAS, C_M, E_1, alpha, dimension, r, smoothness, steps
from proofs.composition import Assumption, Conclusion, Fact, cite, composed, from_step, summed
from proofs.relations import Range, Relation, equation, inequality, named
from proofs.steps import Step, proves
from proofs.sums import FROZEN, PROGRESS, moved, normalized
from theory.adam.constants import freezing_constant, normalized_step_bound

__all__ = ["lemma_l3"]

n = sympy.Symbol("n", integer=True, nonnegative=True)
FREEZING = named("F", r"F", positive=True)
DEFINED = {
    E_1: alpha * smoothness * dimension * C_M * FREEZING,
    FREEZING: freezing_constant(BETA1, BETA2),
    C_M: normalized_step_bound(BETA1, BETA2),
}
C_IS = {C_M: DEFINED[C_M]}
NEEDED = frozenset({Assumption.SMOOTH, Assumption.ADAM})
distance = named("distance", r"\|G_k - G_{k-n}\|", nonnegative=True)
DRIFT = named("D_sum", r"{\textstyle\sum_k\sum_n} \delta_{k,n}", real=True)
drift = named("drift", r"\delta_{k,n}", real=True)
tail, later = named("tail", "T(n)", nonnegative=True), named("later", "T(n+1)", nonnegative=True)


@proves(
    "L3",
    "freezing the past",
    concludes=(
        Conclusion(
            Relation(PROGRESS, ">=", (1 - BETA1) * FROZEN - steps * E_1, DEFINED, BETAS),
            NEEDED,
        ),
    ),
    source="corrected Theorem 1",
    uses=("L1", "L2"),
)
def lemma_l3() -> Iterator[Step]:
    """The freezing error alpha L d C_m ``freezing(beta1, beta2)`` per step."""
    old, true, fresh, weight = sympy.symbols("G_{k-n} G_k g_{k-n} w_n", real=True)
    root = named("root_v", r"\sqrt{v_k}", positive=True)
    yield from _weights()
    yield equation(
        weight * true * fresh / root,
        weight * old * fresh / root + weight * (true - old) * fresh / root,
        "each term of m_k; the second is -delta_{k,n}",
    )
    split = equation(
        PROGRESS, (1 - BETA1) * FROZEN - DRIFT, "its sums over n and k", {DRIFT: (1 - BETA1) * FROZEN - PROGRESS}
    )
    yield split
    over_k = yield from _drift()
    yield composed(
        Relation(PROGRESS, ">=", (1 - BETA1) * FROZEN - steps * E_1, DEFINED, BETAS),
        (from_step(split), from_step(over_k)),
        (PROGRESS, FROZEN, DRIFT),
        NEEDED,
    )


def _weights() -> Iterator[Step]:
    """m_k = sum_n w_n g_{k-n}, by the recursion of its coefficients."""
    w = lambda age: (1 - BETA1) * BETA1**age  # noqa: E731
    yield equation(w(0), 1 - BETA1, "m_k = sum_n w_n g_{k-n}, w_n = (1-beta1) beta1^n: the weight of g_k")
    yield equation(w(n + 1), BETA1 * w(n), "and every older weight is beta1 times what it was")


def _drift() -> Generator[Step, None, Step]:
    """|delta_{k,n}| <= n r^n E_1 (1-r)^2 / r: smoothness, L1 and L2, with Cauchy-Schwarz over the coordinates."""
    weight = (1 - BETA1) * BETA1**n
    changed = composed(
        Relation(
            drift, "<=", weight * normalized * smoothness * n * alpha * sympy.sqrt(dimension) * C_M, C_IS, BETAS
        ),
        (
            Fact(Relation(drift, "<=", weight * distance * normalized), "Cauchy-Schwarz"),
            Fact(Relation(distance, "<=", smoothness * moved), "smoothness"),
            cite(lemma_l1, part=1),
        ),
        (drift, distance, moved),
        NEEDED,
    )
    yield changed
    bounded = composed(
        Relation(drift, "<=", n * r**n * E_1 * (1 - r) ** 2 / r, DEFINED, BETAS),
        (from_step(changed), cite(lemma_l2)),
        (drift, normalized),
        NEEDED,
    )
    yield bounded
    value = r**n * (n / (1 - r) + r / (1 - r) ** 2)
    telescoping = equation(n * r**n, tail - later, "n r^n telescopes", {tail: value, later: value.subs(n, n + 1)})
    yield telescoping
    yield inequality(value, ">=", 0, (*BETAS, Range(n)), "T(n) >= 0: the last may be dropped")
    each = composed(
        Relation(drift, "<=", (tail - later) * E_1 * (1 - r) ** 2 / r, DEFINED, BETAS),
        (from_step(telescoping), from_step(bounded)),
        (drift, tail, later),
    )
    yield each
    over_n = summed(
        each, {drift: drift}, {(tail, later): r / (1 - r) ** 2}, reason="over n = 0, 1, ..: T(0) = r / (1-r)^2"
    )
    yield over_n
    over_k = summed(over_n, {drift: DRIFT}, count=steps, reason="over k = 1..K, in expectation")
    yield over_k
    return over_k
