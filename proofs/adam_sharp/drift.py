r"""Lemma D: what changing gradients cost, to second order in the step size.

Two losses add up: the descent lemma's (L / 2) ||step||^2, and lemma S's D_k. At each step at its largest they are
Theorem 1's K d Gamma.
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from proofs.adam_sharp.coupling import lemma_s
from proofs.adam_sharp.energy import lemma_h
from proofs.adam_sharp.symbols import beta1, beta2, dimension, horizon, r, same_extremum, series
from proofs.steps import Step, by_lemma, identity, nonnegative, prose, proves
from theory.adam.constants import normalized_step_bound, second_moment_weight
from theory.adam_sharp import constants

__all__ = ["lemma_d"]


@proves(
    "D",
    "drift",
    r"The descent lemma's second-order term and lemma S's losses are at most $\alpha^2L\mathcal{E}$, "
    r"$\mathcal{E}=\min\{K'd\frac{(1-\beta_1)^2}c[\frac1{2(1-r^2)}+\frac r{(1-r)^2\sqrt{1-r^2}}],\ "
    r"(\frac{1-\beta_1}{1-r})^2[\frac12+\frac r{1-r}]H\}$.",
    source="Theorem 2, lemma D",
    uses=("S", "H"),
)
def lemma_d() -> Iterator[Step]:
    """Lemma D: the two forms of E."""
    n = sympy.Symbol("n", integer=True, nonnegative=True)
    H = sympy.Symbol("H", positive=True)
    yield series(r"$\sum_{n\ge0}nr^n=r/(1-r)^2$", n * r**n, n, r / (1 - r) ** 2)
    yield from _uniform_steps()
    yield by_lemma(
        r"$\sum_i\frac{|g_{j,i}|}{\sqrt{v_{j,i}}+\epsilon}\sum_{k>j}r^{k-j}E[D_{k,i}|F_{j+1}]$ is lost, each $j$",
        lemma_s,
    )
    yield by_lemma(
        r"$\sum_jE h_j^2\le H$, $\sum_kE\|w_{k+1}-w_k\|^2\le\alpha^2(\frac{1-\beta_1}{1-r})^2H$", lemma_h
    )
    yield _cauchy_schwarz()
    yield _energy_step(H)
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


def _uniform_steps() -> Iterator[Step]:
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


def _cauchy_schwarz() -> Step:
    """The freezing double sum against a quadratic form, for K' = 4: AM-GM term by term."""
    count = 4
    h = sympy.symbols(f"h1:{count + 1}", positive=True)
    u = sympy.symbols(f"u1:{count + 1}", positive=True)
    ratio = sympy.symbols("a", positive=True)
    places = [(j, t, k) for k in range(count) for j in range(k) for t in range(j, k)]
    with_squares = sum(r ** (k - j) * (h[j] * u[t] + (h[j] - u[t]) ** 2 / 2) for j, t, k in places)
    series_bound = sum(n * r**n for n in range(count))
    difference = series_bound * (sum(x**2 for x in h) + sum(x**2 for x in u)) / 2 - with_squares
    return nonnegative(
        r"$\sum_{k}\sum_{j<k}r^{k-j}h_j\sum_{t=j}^{k-1}s_t\le(\sum_nnr^n)\,\frac12(\|h\|^2+\|s\|^2)$",
        sympy.expand(difference),
        [*h, *u, ratio],
        {r: 1 / (1 + ratio)},
        "up to squares (h_j - s_t)^2 each square occurs at most n times with r^n; scaled, ||h|| ||s||. K' = 4",
    )
