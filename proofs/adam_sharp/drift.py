r"""Lemma D: what changing gradients cost, to second order in the step size.

Three losses add up: the descent lemma's (L / 2) ||step||^2; reading G_j for G_k in the momentum (freezing, factor
1); and giving up momentum from T on (lemma S). There |G_j| <= (1 / zeta) sum_{t=j}^{k-1} |G_{t+1} - G_t|, so the
last is 1 / zeta times the bound on the second.
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from proofs.adam_sharp.energy import lemma_h
from proofs.adam_sharp.symbols import beta1, beta2, dimension, horizon, r, same_minimum, series, zeta
from proofs.steps import Step, by_lemma, identity, nonnegative, prose, proves
from theory.adam.constants import normalized_step_bound, second_moment_weight
from theory.adam_sharp import constants

__all__ = ["lemma_d"]


@proves(
    "D",
    "drift",
    r"The descent lemma's second-order term, freezing and lemma S's losses are at most $\alpha^2LE$, "
    r"$E=\min\{K'd\frac{(1-\beta_1)^2}c[\frac1{2(1-r^2)}+\frac{zr}{(1-r)^2\sqrt{1-r^2}}],\ "
    r"(\frac{1-\beta_1}{1-r})^2[\frac12+\frac{zr}{1-r}]H\}$, $z=1+1/\zeta$.",
    source="Theorem 2, lemma D",
    uses=("S", "H"),
)
def lemma_d() -> Iterator[Step]:
    """Lemma D: z and the two forms of E."""
    path, change, s = sympy.symbols("p h s", positive=True)
    n = sympy.Symbol("n", integer=True, nonnegative=True)
    H = sympy.Symbol("H", positive=True)
    yield nonnegative(
        r"$|G_j|\le(z-1)\sum_{t=j}^{k-1}|G_{t+1}-G_t|$ for $k\ge T$",
        (constants.drift_multiplier(zeta) - 1) * (zeta * path + change) - path,
        [path, change, s],
        {zeta: 1 / (1 + s)},
        "the sum is at least |G_T - G_j| = zeta |G_j| + h, h > 0",
    )
    yield series(r"$\sum_{n\ge0}nr^n=r/(1-r)^2$", n * r**n, n, r / (1 - r) ** 2)
    yield from _uniform_steps()
    yield by_lemma(
        r"$\sum_jE h_j^2\le H$, $\sum_kE\|w_{k+1}-w_k\|^2\le\alpha^2(\frac{1-\beta_1}{1-r})^2H$", lemma_h
    )
    yield _cauchy_schwarz()
    yield _energy_step(H)
    yield same_minimum(
        r"$E$ is the smaller of the two",
        constants.second_order_cost(horizon, dimension, H, beta1, beta2, zeta),
        [
            constants.uniform_cost(horizon, dimension, beta1, beta2, zeta),
            constants.energy_cost(H, beta1, beta2, zeta),
        ],
    )
    yield prose(
        r"$\alpha(1-\beta_1)\sum_{j\le K'}\sum_iE[a_{j,i}\theta_{j,i}]\le\Delta+\alpha^2LE$, with S's losses",
        "the descent lemma summed over K' steps; <G_k, m_k / (sqrt(v_k)+eps)> = (1-beta1) sum_j beta1^(k-j) "
        "sum_i (a_j + (G_k - G_j) g_j) / (sqrt(v_k)+eps), exchanged sums, Cauchy-Schwarz over coordinates and "
        "||G_{t+1} - G_t|| <= L ||w_{t+1} - w_t||. The virtual steps K+1..K' continue from w_{K+1} with "
        "g = G, which meets the test; they do not change the K real ones.",
    )


def _uniform_steps() -> Iterator[Step]:
    """Every step at most alpha sqrt(d) C_m, every h_j at most sqrt(d / c)."""
    step = normalized_step_bound(beta1, beta2)
    c = second_moment_weight(beta2)
    freezing = (1 - beta1) / sympy.sqrt(c) * r / (1 - r) ** 2
    per_step = constants.uniform_cost(horizon, dimension, beta1, beta2, zeta) / (horizon * dimension * step)
    yield identity(
        r"$C_m^2=(1-\beta_1)^2/(c(1-r^2))$",
        step**2,
        (1 - beta1) ** 2 / (c * (1 - r**2)),
        "lemma L1, by Cauchy-Schwarz with weights r^(k-j); epsilon only helps",
    )
    yield identity(
        r"$\frac12dC_m^2+z(1-\beta_1)\sqrt{d/c}\,\sqrt dC_m\sum_nnr^n$ a step: the first form of $E$",
        sympy.expand(per_step - step / 2),
        (1 + 1 / zeta) * freezing,
    )


def _energy_step(H: sympy.Symbol) -> Step:
    """||h||^2 <= H and ||steps|| <= alpha (1 - beta1) / (1 - r) ||h||."""
    z = 1 + 1 / zeta
    gain = (1 - beta1) / (1 - r)
    return identity(
        r"$\frac12(\frac{1-\beta_1}{1-r})^2H+z(1-\beta_1)\sum_nnr^n\cdot\frac{1-\beta_1}{1-r}H$: the other form",
        gain**2 * H / 2 + z * (1 - beta1) * r / (1 - r) ** 2 * gain * H,
        constants.energy_cost(H, beta1, beta2, zeta),
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
