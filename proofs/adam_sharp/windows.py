r"""Lemma L7': the denominators sqrt(D), with second moments unrolled over windows of M steps.

V = sum_{k <= K} sum_i E sqrt(v_{k-1,i}). For k > M and l = k - M,

    sqrt(v_{k-1}) <= x sqrt(v_{l-1}) + |G_l| sqrt(c sum_n beta2^n X^2) + sqrt(c sum_n beta2^n (G_j - G_l)^2 X_j^2),

g_j = G_j X_j, by Minkowski; for k <= M the same with l = 1 and k - 1 steps. So V solves an inequality of its own.
"""

from __future__ import annotations

from typing import Any

import sympy

from adabatch.moments.numeric import one_minus_power
from proofs.adam_sharp.energy import lemma_h
from proofs.adam_sharp.symbols import (
    ADAM,
    PAST_AND_TEST,
    PROBLEM,
    ROOTS,
    K,
    L,
    alpha,
    beta1,
    beta2,
    dimension,
    eta,
    first,
    q,
    same_extremum,
    v0,
)
from proofs.composition import Conclusion, Ground, composed, granted
from proofs.relations import Range, Relation, named, written
from proofs.steps import (
    Derivation,
    all_of,
    by_lemma,
    cauchy_schwarz,
    identity,
    nonnegative,
    prose,
    proves,
)
from proofs.sums import NORMS
from theory.adam.constants import (
    normalized_step_bound,
    preconditioner_growth,
    preconditioner_start,
    squared_noise_growth,
)
from theory.adam_sharp import constants

__all__ = ["A_1", "B_1", "UNROLLED", "UNROLLED_IS", "X", "drift", "lemma_l7", "window", "with_x"]

S, H, step = sympy.symbols("S H s_t", positive=True)
drift = named("e_M", "e_M", positive=True)
window = sympy.Symbol("M", integer=True, positive=True)
tau = sympy.sqrt(squared_noise_growth(eta))
tau_name, root_c = named("tau", r"\tau", positive=True), named("root_c", r"\sqrt c", positive=True)
X = named("x_window", "x", positive=True)
MOMENTS_ROOT = named("root_v_sum", r"{\textstyle\sum_{k,i}} E\sqrt{v_{k-1,i}}", nonnegative=True)
SPREAD = tau * sympy.sqrt(1 - X**2)


def with_x(constant: Any) -> Any:
    """A constant with x in the place of beta2^(M/2)."""
    return constant.subs(sympy.sqrt(beta2**window), X).subs(beta2**window, X**2)


A_1, B_1 = (named(name, name, positive=True) for name in ("A_1", "B_1"))
UNROLLED_IS = {
    A_1: q * (v0 / (1 - q) + (tau_name * (window - 1) * sympy.sqrt(1 - X**2) * first + K * drift) / (1 - X)),
    B_1: root_c + tau_name * q * sympy.sqrt(1 - X**2) / (1 - X),
    tau_name: tau,
    root_c: sympy.sqrt(1 - beta2),
}
UNROLLED = Relation(
    ROOTS,
    "<=",
    A_1 + B_1 * NORMS,
    UNROLLED_IS,
    (Range(X, 0, 1, strict=True), Range(q, 0, 1, strict=True)),
)


@proves(
    "L7'",
    "denominators over windows",
    r"$\sum_{k\le K}\sum_iE\sqrt{D_{k,i}}\le A_1+B_1S$, $S=\sum_kE\|G_k\|_1$, with "
    r"$B_1=\sqrt c+\tau\sqrt{\beta_2}\sqrt{\frac{1+x}{1-x}}$ and "
    r"$A_1=\sqrt{\beta_2}[\frac{\sum_i\sqrt{v_{0,i}}}{1-\sqrt{\beta_2}}"
    r"+\frac{\tau(M-1)\sqrt{1-x^2}\|G_1\|_1+Ke_M}{1-x}]$; "
    r"at $M=1$ these are the $A$ and $B$ of Theorem 1.",
    concludes=(Conclusion(UNROLLED, PAST_AND_TEST),),
    source="Theorem 2, lemma L7'",
    uses=("H",),
)
def lemma_l7() -> Derivation:
    """Lemma L7' with its B1, A1, e_M and s_t."""
    own = yield from all_of(_windows(), _drift_steps())
    for name, found in (
        (A_1, constants.denominator_start(PROBLEM, ADAM, window, drift)),
        (B_1, constants.denominator_growth(beta2, eta, window)),
    ):
        value = UNROLLED_IS[name].subs(UNROLLED_IS)
        yield identity(rf"${written(name)}$: the function", with_x(found), value)
    yield from _window_of_one()
    yield prose(
        r"$(1-x)V\le\frac{1-x}{1-\sqrt{\beta_2}}\sum_i\sqrt{v_{0,i}}+\tau\sqrt{1-x^2}((M-1)\|G_1\|_1+S)+Ke_M$",
        "sum over k <= K; the first window's k-th step unrolls k - 1 gradients, none at k = 1; the windows "
        "after it meet every |G_l|, l <= K - M, once. G_l is known when X_l, X_{l+1}, ... are drawn.",
    )

    root = yield nonnegative(
        r"$(a+b)^2\ge a^2+b^2$, so $\sqrt{D_k}\le\sqrt{\beta_2v_{k-1}}+\sqrt c|G_k|$", 2 * v0 * S, [v0, S]
    )
    yield composed(
        UNROLLED,
        (
            granted(
                Relation(ROOTS, "<=", q * MOMENTS_ROOT + sympy.sqrt(1 - beta2) * NORMS), Ground.MINKOWSKI, root
            ),
            granted(
                Relation(
                    (1 - X) * MOMENTS_ROOT,
                    "<=",
                    v0 * (1 - X) / (1 - q) + SPREAD * ((window - 1) * first + NORMS) + K * drift,
                ),
                Ground.MINKOWSKI,
                *own,
            ),
        ),
        (ROOTS, MOMENTS_ROOT, NORMS),
        PAST_AND_TEST,
    )


def _windows() -> Derivation:
    """What a window of M steps sums to."""
    n = sympy.Symbol("n", integer=True, nonnegative=True)
    base = sympy.Symbol("b", positive=True)
    yield cauchy_schwarz(
        r"$\|a+b\|^2=\|a\|^2+2\langle a,b\rangle+\|b\|^2\le(\|a\|+\|b\|)^2$", "so Minkowski's inequality holds"
    )
    yield identity(
        r"$c\sum_{n<M}\beta_2^n=1-x^2$, $x=\beta_2^{M/2}$",
        (1 - base) * sympy.summation(base**n, (n, 0, window - 1)).args[1][0],
        one_minus_power(base, window),
        "so E[sqrt(c sum beta2^n X^2) | F_l] <= tau sqrt(1 - x^2), as E X^2 <= tau^2",
    )
    yield identity(
        r"$(1-\sqrt{\beta_2})\sum_{k=1}^{M}\beta_2^{(k-1)/2}=1-x$",
        (1 - q) * sympy.summation(q**n, (n, 0, window - 1)).args[1][0],
        1 - q**window,
        "what v_0 contributes to the first M steps; the windows after them carry it by x",
    )


def _drift_steps() -> Derivation:
    """Sum over k <= K of the drift within windows: K e_M, for both forms of s_t."""
    gain = constants.momentum_gain(beta1, beta2)
    spread = sympy.sqrt(1 - beta2**window)
    per_step = constants.window_drift(PROBLEM, ADAM, window, step)
    mean_square = gain * sympy.sqrt(H / (K * dimension))
    yield identity(
        r"$e_M=\sqrt d\,\tau\sqrt{1-x^2}\cdot\alpha L(M-1)\sqrt ds_t$",
        per_step,
        sympy.sqrt(dimension) * tau * spread * alpha * L * (window - 1) * sympy.sqrt(dimension) * step,
        "||G_j - G_l|| <= L times M - 1 steps; sum_i sqrt(.) <= sqrt(d) sqrt(sum_i .)",
    )
    yield by_lemma(r"$\sum_kE\|w_{k+1}-w_k\|^2\le\alpha^2(\frac{1-\beta_1}{1-r})^2H$", lemma_h)
    yield identity(
        r"$\sqrt{d}\,\tau\sqrt{1-x^2}\,\alpha L(M-1)\frac{1-\beta_1}{1-r}\sqrt{KH}=Ke_M$",
        sympy.sqrt(dimension) * tau * spread * alpha * L * (window - 1) * gain * sympy.sqrt(K * H),
        K * per_step.subs(step, mean_square),
        "Cauchy-Schwarz over the M - 1 steps of a window and over the K windows, each step in M - 1 windows",
    )
    yield same_extremum(
        r"$s_t=\min\{C_m,\frac{1-\beta_1}{1-r}\sqrt{H/(Kd)}\}$",
        constants.mean_step(H, K, dimension, beta1, beta2),
        [normalized_step_bound(beta1, beta2), mean_square],
    )


def _window_of_one() -> Derivation:
    """M = 1 is Theorem 1."""
    one = sympy.Integer(1)
    yield identity(
        r"$B_1=B$ at $M=1$", constants.denominator_growth(beta2, eta, one), preconditioner_growth(beta2, eta)
    )
    yield identity(
        r"$A_1=A$ at $M=1$",
        constants.denominator_start(PROBLEM, ADAM, one, drift * 0),
        preconditioner_start(beta2, v0),
        "e_1 = 0",
    )
