r"""Lemma D: what changing gradients cost, to second order in the step size.

Two losses add up: the descent lemma's (L / 2) ||step||^2, and lemma S's D_k. At each step at its largest they are
Theorem 1's K d Gamma.
"""

from __future__ import annotations

from typing import Any

import sympy

from proofs.adam.l3_freeze import telescoped
from proofs.adam_sharp.coupling import lemma_s
from proofs.adam_sharp.energy import lemma_h
from proofs.adam_sharp.symbols import (
    KEPT,
    LOST,
    PAST_AND_TEST,
    PROGRESS_V,
    SQUARES_V,
    L,
    alpha,
    beta1,
    beta2,
    cost_of_drift,
    dimension,
    horizon,
    r,
    same_extremum,
    series,
)
from proofs.composition import Conclusion, Ground, cite, composed, granted, summed
from proofs.relations import Relation, equation, named
from proofs.steps import Derivation, Step, all_of, by_lemma, identity, prose, proves
from theory.adam.constants import normalized_step_bound, second_moment_weight
from theory.adam_sharp import constants

__all__ = ["lemma_d"]
DRIFT = Relation(PROGRESS_V - alpha * L / 2 * SQUARES_V, ">=", (1 - beta1) * KEPT - alpha * L * cost_of_drift)


@proves(
    "D",
    "drift",
    r"The descent lemma's second-order term and lemma S's losses are at most $\alpha^2L\mathcal{E}$, "
    r"$\mathcal{E}=\min\{K'd\frac{(1-\beta_1)^2}c[\frac1{2(1-r^2)}+\frac r{(1-r)^2\sqrt{1-r^2}}],\ "
    r"(\frac{1-\beta_1}{1-r})^2[\frac12+\frac r{1-r}]H\}$.",
    concludes=(Conclusion(DRIFT, PAST_AND_TEST),),
    source="Theorem 2, lemma D",
    uses=("S", "H"),
)
def lemma_d() -> Derivation:
    """Lemma D: the two forms of E."""
    n = sympy.Symbol("n", integer=True, nonnegative=True)
    H = sympy.Symbol("H", positive=True)
    own = yield from all_of(
        series(r"$\sum_{n\ge0}nr^n=r/(1-r)^2$", n * r**n, n, r / (1 - r) ** 2),
        _uniform_steps(),
        _energy_step(H),
        _young(),
    )
    yield by_lemma(
        r"$\sum_jE h_j^2\le H$, $\sum_kE\|w_{k+1}-w_k\|^2\le\alpha^2(\frac{1-\beta_1}{1-r})^2H$", lemma_h
    )
    yield composed(
        DRIFT,
        (
            cite(lemma_s),
            granted(
                Relation((1 - beta1) * LOST + alpha * L / 2 * SQUARES_V, "<=", alpha * L * cost_of_drift),
                Ground.YOUNG,
                *own,
            ),
        ),
        (PROGRESS_V, SQUARES_V, KEPT, LOST),
        PAST_AND_TEST,
    )
    yield same_extremum(
        r"$\mathcal{E}$ is the smaller of the two",
        constants.second_order_cost(horizon, dimension, H, beta1, beta2),
        [
            constants.uniform_cost(horizon, dimension, beta1, beta2),
            constants.energy_cost(H, beta1, beta2),
        ],
    )
    yield prose(
        r"$\alpha\sum_{k\le K'}\sum_iE\frac{G_{k,i}m_{k,i}}{\sqrt{v_{k,i}}+\epsilon}\le\Delta+\frac{\alpha^2L}2"
        r"\sum_kE\|\cdot\|^2$, and $\sum_ih_{j,i}D_{k,i}\le h_j\sum_{t=j}^{k-1}\|G_{t+1}-G_t\|$",
        "the descent lemma summed over K' steps; m_k = (1-beta1) sum_j beta1^(k-j) g_j, exchanged sums, lemma S "
        "for every j; Cauchy-Schwarz over coordinates and ||G_{t+1} - G_t|| <= L ||w_{t+1} - w_t||. The virtual "
        "steps K+1..K' continue from w_{K+1} with g = G, which meets the test; the K real ones stay.",
    )


def _uniform_steps() -> Derivation:
    """Every step at most alpha sqrt(d) C_m, every h_j at most sqrt(d / c)."""
    c = second_moment_weight(beta2)
    root = sympy.sqrt(1 - r**2)
    yield identity(
        r"$C_m^2=(1-\beta_1)^2/(c(1-r^2))$",
        normalized_step_bound(beta1, beta2) ** 2,
        (1 - beta1) ** 2 / (c * root**2),
        "lemma L1, by Cauchy-Schwarz with weights r^(k-j); epsilon only helps",
    )
    yield identity(
        r"$\frac12dC_m^2+(1-\beta_1)\sqrt{d/c}\,\sqrt dC_m\sum_nnr^n$ a step: the first form of $\mathcal{E}$",
        constants.uniform_cost(horizon, dimension, beta1, beta2) / (horizon * dimension),
        (1 - beta1) ** 2 / c * (1 / (2 * (1 - r**2)) + r / ((1 - r) ** 2 * root)),
        "Theorem 1's Gamma, with C_m as above",
    )


def _energy_step(H: sympy.Symbol) -> Step:
    """||h||^2 <= H and ||steps|| <= alpha (1 - beta1) / (1 - r) ||h||."""
    gain = (1 - beta1) / (1 - r)
    return identity(
        r"$\frac12(\frac{1-\beta_1}{1-r})^2H+(1-\beta_1)\sum_nnr^n\cdot\frac{1-\beta_1}{1-r}H$: the other form",
        gain**2 * H / 2 + (1 - beta1) * r / (1 - r) ** 2 * gain * H,
        constants.energy_cost(H, beta1, beta2),
    )


def _young() -> Derivation:
    """sum_{k,n} r^n h_{k-n} sum_{i <= n} s_{k-i} <= r / (1-r)^2 (||h||^2 + ||s||^2) / 2 by squares."""
    product = named("h_s", "h_{k-n}s_{k-i}", nonnegative=True)
    h_2 = named("h_2", "h_{k-n}^2", nonnegative=True)
    u_2 = named("hop_2", "s_{k-i}^2", nonnegative=True)
    over = named("h_s_sum", r"{\textstyle\sum_k}h_{k-n}s_{k-i}", nonnegative=True)
    h_part = named("h_2_part", r"{\textstyle\sum_k}h_{k-n}^2", nonnegative=True)
    u_part = named("hop_2_part", r"{\textstyle\sum_k}s_{k-i}^2", nonnegative=True)
    h_all, u_all = named("h_all", r"\|h\|^2", nonnegative=True), named("hop_all", r"\|s\|^2", nonnegative=True)
    path = named("h_path", r"{\textstyle\sum_{i\le n}\sum_k}h_{k-n}s_{k-i}", nonnegative=True)
    aged = named("h_aged", r"r^n{\textstyle\sum_{i\le n}\sum_k}h_{k-n}s_{k-i}", nonnegative=True)
    total = named(
        "h_total", r"{\textstyle\sum_n}r^n{\textstyle\sum_{i\le n}\sum_k}h_{k-n}s_{k-i}", nonnegative=True
    )
    n = sympy.Symbol("n", integer=True, nonnegative=True)
    mean, parts = (h_all + u_all) / 2, {h_part: h_all, u_part: u_all}
    h, hop = sympy.symbols("h_{k-n} s_{k-i}", real=True)
    terms = {product: h * hop, h_2: h**2, u_2: hop**2}
    each = yield composed(
        Relation(product, "<=", (h_2 + u_2) / 2),
        (granted(Relation(2 * product, "<=", h_2 + u_2), Ground.SQUARE, meaning=terms),),
        (product, h_2, u_2),
    )
    over_k = yield summed(
        each, {product: over, h_2: h_part, u_2: u_part}, reason="over k; scaled, ||h|| ||s|| is the least"
    )
    whole = yield composed(
        Relation(over, "<=", mean),
        (over_k, *(granted(Relation(p, "<=", w), Ground.PART, meaning=_shifted(p, w)) for p, w in parts.items())),
        (over, h_part, u_part),
    )
    over_i = yield summed(whole, {over: path}, count=n, reason="over i = 1..n")
    scaled = yield equation(aged, r**n * path, where={aged: r**n * path})
    by_age = yield composed(Relation(aged, "<=", n * r**n * mean), (over_i, scaled), (aged, path))
    yield from telescoped(aged, total, mean, by_age)


def _shifted(part: Any, whole: Any) -> dict[Any, Any]:
    """The sum of x_{k-n}^2 over n < k <= K, and of x_k^2 over k <= K."""
    k, ago, before = sympy.symbols("k n h", integer=True, nonnegative=True)
    x = sympy.Function("x", real=True)
    return {
        part: sympy.Sum(x(k - ago) ** 2, (k, ago + 1, ago + before)),
        whole: sympy.Sum(x(k) ** 2, (k, 1, ago + before)),
    }
