r"""Lemma S: the momentum of one gradient, next to what it would be if the gradient had not changed.

Fix a coordinate and a step j <= K'; units in which the sign of G_j is 1; n = K' - j, a = G_j g_j, G = G_j > 0,

    D_k = sum_{t=j}^{k-1} |G_{t+1} - G_t|,   W_n(v) = sum_{m <= n} beta1^m / (sqrt(beta2^m v + (1 - beta2^m) tau^2
    G^2) + epsilon),   and V_n as in lemma V.

The noise X_t = g_t / G_t (1 where G_t = 0) is kept, and the gradients are replaced by ones that meet the
hypotheses of the two bounds: min(|G_t|, G) for the lower bound W, max(G_t, G) for the upper bound V. Path by path,
D_k pays for what this changes. Nothing is given up at a stopping time: there is no parameter to choose.
"""

from __future__ import annotations

import sympy

from proofs.adam_sharp.energy import decay_step
from proofs.adam_sharp.symbols import KEPT, LOST, PAST_AND_TEST, PROGRESS_V, beta1, epsilon, eta
from proofs.adam_sharp.uphill import lemma_v
from proofs.composition import Conclusion, Ground, composed, granted
from proofs.relations import Relation
from proofs.steps import Derivation, Expression, all_of, by_lemma, identity, nonnegative, prose, proves
from theory.adam.constants import squared_noise_growth
from theory.adam_sharp import constants

__all__ = ["lemma_s"]

v, G, d, h, x, w, z, B = sympy.symbols("v G d h x w z B", positive=True)
m = sympy.Symbol("m", integer=True, positive=True)
base = sympy.Symbol("beta_2", positive=True)
tau = sympy.sqrt(squared_noise_growth(eta))
COUPLED = Relation(PROGRESS_V, ">=", (1 - beta1) * (KEPT - LOST))


@proves(
    "S",
    "coupling",
    r"$E[\sum_{k=j}^{K'}\frac{\beta_1^{k-j}G_kg_j}{\sqrt{v_k}+\epsilon}|F_{j+1}]\ge a^+W_n(v_j)-a^-V_n(v_j)"
    r"-\frac{|g_j|}{\sqrt{v_j}+\epsilon}\sum_{k>j}r^{k-j}E[D_k|F_{j+1}]$.",
    concludes=(Conclusion(COUPLED, PAST_AND_TEST),),
    source="Theorem 2, lemma S",
    uses=("V",),
)
def lemma_s() -> Derivation:
    """Lemma S: the two couplings, path by path."""
    own = yield from all_of(decay_step(), _mean_of_the_smaller(), _downhill(), _uphill())
    yield by_lemma(r"$E\sum_m\beta_1^m\tilde s_{j+m}\le V_n(v_j)$ with $\max(G_t,G)$ for $G_t$", lemma_v)
    yield composed(COUPLED, (granted(COUPLED, Ground.EXPECTATION, *own),), (PROGRESS_V, KEPT, LOST), PAST_AND_TEST)
    yield prose(
        r"the lower side for $g_j>0$, the upper side for $g_j<0$, times $\beta_1^{k-j}|g_j|$ and summed over $k$",
        "G_t is known before g_t is drawn, so the changed gradients are too, and X_t keeps its mean and variance. "
        "k = j is exact. At g_j = 0 (almost surely so where G_j = 0) both sides are 0; otherwise v_j > 0. "
        "All is bounded: w_1 is fixed and steps are bounded (L1).",
    )


def _mean_of_the_smaller() -> Derivation:
    """E 1 / (sqrt(v~_k) + eps) >= the m-th term of W, by Jensen's inequality."""
    root = sympy.Symbol("Z", positive=True)
    slope = sympy.diff(1 / (root + epsilon), root) / (2 * root)

    def mean(age: Expression) -> Expression:
        return constants.frozen_second_moment(v, tau * G, age, base)

    yield nonnegative(
        r"$z\mapsto1/(\sqrt z+\epsilon)$ is convex",
        sympy.diff(slope, root) / (2 * root),
        [root, epsilon],
        reason="its second derivative, at z = Z^2; so E 1/(sqrt(v)+eps) >= 1/(sqrt(E v)+eps)",
    )
    yield identity(r"$M_0=v$", mean(sympy.Integer(0)), v)
    yield identity(
        r"$M_{m+1}=\beta_2M_m+c\tau^2G^2$, $M_m=\beta_2^mv+(1-\beta_2^m)\tau^2G^2$",
        sympy.expand(mean(m + 1), power_exp=True),
        sympy.expand(base * mean(m) + (1 - base) * squared_noise_growth(eta) * G**2),
        "with min(|G_t|, G) for |G_t|, E v~ after m steps is at most M_m: the terms of W",
    )


def _downhill() -> Derivation:
    """G_k / (sqrt(v_k) + eps) >= G / (sqrt(v~_k) + eps) - D_k beta2^(-m/2) / (sqrt(v_j) + eps), for g_j > 0.

    v~ has min(|G_t|, G) for |G_t|; P = max(G, |G_t|: j < t <= k) = G + h; s = 1 / (sqrt(v_k) + eps), s~ likewise;
    B = beta2^(-m/2) / (sqrt(v_j) + eps), which is at least s and s~.
    """
    largest = G + h
    yield nonnegative(
        r"$|G_t|\le\frac PG\min(|G_t|,G)$: at $|G_t|=G/(1+w)$, and at $|G_t|\ge G$ as $|G_t|\le P$",
        largest / G * (G / (1 + w)) - G / (1 + w),
        [G, h, w],
        reason="so v_k <= (P / G)^2 v~_k, as P >= G covers v_j too",
    )
    yield nonnegative(
        r"$\frac PG(z+\epsilon)\ge\frac PGz+\epsilon$, so $s\ge\frac GP\tilde s$",
        largest / G * (z + epsilon) - (largest / G * z + epsilon),
        [G, h, z, epsilon],
    )
    at = largest / (1 + w)
    yield nonnegative(
        r"$G\tilde s-G_k\frac GP\tilde s\le(P-G_k)\tilde s$ for $0\le G_k=P/(1+w)$",
        (largest - at) - (G - at * G / largest),
        [G, h, w],
        reason="divided by s~",
    )
    yield nonnegative(
        r"$D_k\ge|G_t-G|+|G_k-G_t|\ge P-G_k$ for $|G_t|=P$: at $G_t=-P$",
        (G + largest) + (at + largest) - (largest - at),
        [G, h, w],
        reason="at G_t = P the second term alone, and at P = G it is |G - G_k|",
    )
    yield nonnegative(
        r"$G\tilde s-G_ks\le(G+x)B=|G-G_k|B$ for $G_k=-x<0$, $\tilde s=B/(1+w)$, $s=B/(1+z)$",
        (G + x) * B - (G * B / (1 + w) + x * B / (1 + z)),
        [G, x, B, w, z],
    )


def _uphill() -> Derivation:
    """G_k / (sqrt(v_k) + eps) <= G / (sqrt(v~_k) + eps) + D_k beta2^(-m/2) / (sqrt(v_j) + eps), for g_j < 0.

    v~ has max(G_t, G) for G_t; P = min(G, G_t: j < t <= k).
    """
    least = G / (1 + w)
    yield nonnegative(
        r"$G_t\ge\frac PG\max(G_t,G)$ for $P=G/(1+w)>0$ and $G_t=P+x$: as $G_t\ge P$, and as $P\le G$",
        (least + x) - least / G * (least + x),
        [G, w, x],
        reason="so v_k >= (P / G)^2 v~_k, as P <= G covers v_j too",
    )
    yield nonnegative(
        r"$\frac PGz+\epsilon\ge\frac PG(z+\epsilon)$, so $Ps\le G\tilde s$",
        least / G * z + epsilon - least / G * (z + epsilon),
        [G, w, z, epsilon],
    )
    yield nonnegative(
        r"$G_ks=Ps+xs\le G\tilde s+xB$, $x=G_k-P\le D_k$, for $s=B/(1+d)$",
        G * z + x * B - (x * B / (1 + d) + G * z),
        [G, x, B, z, d],
        reason="with P s <= G s~ =: G z; the path comes from G >= P, falls to P and ends at G_k",
    )
    yield nonnegative(
        r"$D_k\ge(G-P)+(G_k-P)\ge G_k$ for $P=-h\le0$: then $G_ks\le D_kB$",
        (G + h) + (x + h) - x,
        [G, h, x],
        reason="and for G_k <= 0 nothing is to be shown",
    )
