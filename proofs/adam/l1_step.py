r"""Lemma L1: one step of Adam is bounded, coordinate by coordinate.

The induction is exact: C_m^2 v_k - m_k^2 exceeds beta2 times its predecessor by a square.
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from proofs.adam.symbols import BETA1, BETA2, UNIT_INTERVALS, a, b, r
from proofs.steps import Step, identity, nonnegative, prose, proves
from theory.adam.constants import normalized_step_bound

__all__ = ["lemma_l1"]


@proves(
    "L1",
    "bounded steps",
    r"$|m_k| \le C_m \sqrt{v_k}$ with $C_m = (1-\beta_1)/\sqrt{c(1-r^2)}$, for all gradients; hence "
    r"$\|w_{k+1}-w_k\|_2 \le \alpha\sqrt{d}\,C_m$. The constant is the least one.",
    source="corrected Theorem 1; Lemma B.2 of arXiv 2412.21124 (its first inequality)",
)
def lemma_l1() -> Iterator[Step]:
    """|m_k| <= C_m sqrt(v_k) and C_m is the least such constant."""
    m, g = sympy.symbols("m g", real=True)
    v = sympy.Symbol("v", nonnegative=True)
    bound = sympy.cancel(normalized_step_bound(BETA1, BETA2) ** 2)
    new_m, new_v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g**2
    square = (BETA2 * (1 - r**2) * m - BETA1 * (1 - BETA1) * g) ** 2 / (BETA2 * (1 - r**2))
    growth = BETA2 / BETA1  # equality for g_j = growth^j: both moments settle, in units of g_k and g_k^2
    momentum, second_moment = (1 - BETA1) / (1 - BETA1 / growth), (1 - BETA2) / (1 - BETA2 / growth**2)
    yield identity(
        r"C_m^2 v_k - m_k^2 = \beta_2 (C_m^2 v_{k-1} - m_{k-1}^2) "
        r"+ \frac{(\beta_2(1-r^2) m_{k-1} - \beta_1(1-\beta_1) g_k)^2}{\beta_2(1-r^2)}",
        bound * new_v - new_m**2,
        BETA2 * (bound * v - m**2) + square,
        "induction over k, from m_0 = 0 and v_0 >= 0",
    )
    yield nonnegative(r"\beta_2 (1-r^2) \ge 0", BETA2 * (1 - r**2), [a, b], UNIT_INTERVALS)
    yield identity(
        r"g_j = (\beta_2/\beta_1)^j: \lim_k m_k^2 / v_k = C_m^2",
        momentum**2 / second_moment,
        bound,
        "no smaller constant will do",
    )
    yield identity(
        r"m_k/g_k \to M = (\beta_1/\lambda) M + 1-\beta_1, \quad "
        r"v_k/g_k^2 \to V = (\beta_2/\lambda^2) V + c",
        momentum - BETA1 / growth * momentum + second_moment - BETA2 / growth**2 * second_moment,
        1 - BETA1 + 1 - BETA2,
        "the two limits, lambda = beta2 / beta1",
    )
    yield prose(r"\|w_{k+1}-w_k\|_2 \le \alpha\sqrt d\,C_m", "d coordinates of at most alpha C_m each")
    yield prose(r"v_k = 0 \text{ forces } g_1 = \dots = g_k = 0, m_k = 0", "the convention 0/0 := 0 is harmless")
