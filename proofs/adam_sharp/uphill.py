r"""Lemma V: what the momentum of a gradient of the wrong sign sums to at most.

For G > 0, v > 0 and n >= 0 steps to come, with C = 1 / (1 - r eta^2) and p = beta1 (1 - eta^2) C,

    f_m(v) = 1 / (sqrt(beta2^m v + (1 - beta2^m) G^2) + epsilon),   V_n(v) = C sum_{m <= n} p^m f_m(v).

It is the exact value as v -> 0 and as v -> oo. Shown by backward induction on n: one step for every n.
"""

from __future__ import annotations

import sympy

from proofs.adam_sharp.mixture import lemma_m
from proofs.adam_sharp.symbols import beta1, beta2, eta, q, r
from proofs.steps import Derivation, Expression, by_lemma, identity, nonnegative, prose, proves
from theory.adam.constants import momentum_ratio
from theory.adam_sharp import constants

__all__ = ["lemma_v"]

v, G, P, h, a, b, s, t = sympy.symbols("v G P h a b s t", positive=True)
m = sympy.Symbol("m", integer=True, positive=True)
base = sympy.Symbol("beta_2", positive=True)

UNITS = {q: sympy.sqrt(1 / (1 + b)), P: 1 / (1 + t)}
"""beta2 and its power in (0, 1)."""
RANGE = {r: 1 / (1 + a), eta: sympy.sqrt(1 / (1 + s))}
"""r and eta^2 in (0, 1)."""


@proves(
    "V",
    "uphill momentum",
    r"Let $|G_t|\ge G>0$, $g_t=G_tX_t$, $E X_t=1$ and $\mathrm{Var} X_t\le\eta^2\le1$ given the past, for $n$ "
    r"steps after $v$. Then $E\sum_{m\le n}\frac{\beta_1^m}{\sqrt{v_m}+\epsilon}\le V_n(v)"
    r"=C\sum_{m\le n}p^mf_m(v)$, $C=1/(1-r\eta^2)$, $p=\beta_1(1-\eta^2)C$.",
    source="Theorem 2, lemma V",
    uses=("M",),
)
def lemma_v() -> Derivation:
    """Lemma V: the frozen second moment, the mixture, C and p."""
    yield from _one_step()
    yield by_lemma(r"$E f_m(\beta_2v+cG_t^2X^2)\le(1-\eta^2)f_m|_{X=1}+\eta^2f_m|_{X=0}$", lemma_m)
    yield from _coefficients()
    yield prose(
        r"$E\sum_{m\le n}\beta_1^m/(\sqrt{v_m}+\epsilon)\le V_n(v)$",
        "by induction on n from the last step backwards: 1/(sqrt(v)+eps) = f_0, and what follows is beta1 times "
        "V_{n-1} of the next second moment, in the mean. Where v = epsilon = 0 the right side is infinite.",
    )


def _power(expression: Expression) -> Expression:
    """beta2^m as the symbol P."""
    return sympy.expand(expression, power_exp=True).subs(base**m, P).subs(base, beta2)


def _one_step() -> Derivation:
    """f_m after one more step with X = 1 and with X = 0."""
    after_one = constants.frozen_second_moment(base * v + (1 - base) * (G + h) ** 2, G, m, base)
    after_zero = constants.frozen_second_moment(base * v, G, m, base)
    yield nonnegative(
        r"$f_m(\beta_2v+cG_t^2)\le f_{m+1}(v)$ for $|G_t| = G + h$, $h \ge 0$",
        _power(after_one - constants.frozen_second_moment(v, G, m + 1, base)),
        [v, G, h, b, t],
        UNITS,
        "X = 1 keeps at least what freezing assumes",
    )
    yield nonnegative(
        r"$f_m(\beta_2v)\le\beta_2^{-1/2}f_m(v)$",
        _power(after_zero - base * constants.frozen_second_moment(v, G, m, base)),
        [v, G, b, t],
        UNITS,
        "X = 0 costs one factor of sqrt(beta2); epsilon >= sqrt(beta2) epsilon",
    )


def _coefficients() -> Derivation:
    """f_0 + beta1 C sum_{m < n} p^m [(1 - eta^2) f_{m+1} + eta^2 beta2^(-1/2) f_m] <= C sum_{m <= n} p^m f_m."""
    swap, decay = constants.swap_growth(beta1, beta2, eta), constants.uphill_decay(beta1, beta2, eta)
    newer = beta1 * swap * constants.mixture(decay ** (m - 1), 0, eta)
    older = beta1 * swap * constants.mixture(0, decay**m / sympy.sqrt(beta2), eta)
    yield nonnegative(r"$C\ge1$: the induction starts at $n=0$", swap - 1, [a, s], RANGE)
    yield identity(
        r"$1+C\eta^2r=C$: the coefficient of $f_0$",
        1 + swap * eta**2 * momentum_ratio(beta1, beta2),
        swap,
        "C is the fixed point, so a smaller one does not carry through",
    )
    yield identity(
        r"$\beta_1C[(1-\eta^2)p^{m-1}+\eta^2\beta_2^{-1/2}p^m]=Cp^m$: the coefficient of $f_m$, $1\le m<n$",
        sympy.powsimp(sympy.expand((newer + older) / decay ** (m - 1))),
        swap * decay,
        "divided by p^(m-1)",
    )
    yield nonnegative(
        r"$\beta_1C(1-\eta^2)p^{n-1}\le Cp^n$: the coefficient of $f_n$",
        swap - sympy.cancel(newer / decay ** (m - 1)) / decay,
        [a, s, b],
        {**RANGE, q: 1 / (1 + b)},
        "divided by p^n",
    )
