r"""Lemma H: the squares of the normalised gradients h_j = ||g_j / (sqrt(v_j) + epsilon)|| sum to at most H."""

from __future__ import annotations

import sympy

from proofs.adam_sharp.symbols import beta1, beta2, dimension, epsilon, horizon, q, r, same_extremum, series
from proofs.composition import summed
from proofs.relations import equation, named
from proofs.steps import Derivation, Step, identity, nonnegative, prose, proves
from theory.adam.constants import second_moment_weight
from theory.adam_sharp import constants

__all__ = ["decay_step", "lemma_h"]


@proves(
    "H",
    "energy of the normalised gradients",
    r"$\sum_{j\le K'}E h_j^2\le H$, and $\sum_k E\|w_{k+1}-w_k\|^2\le\alpha^2(\frac{1-\beta_1}{1-r})^2H$.",
    source="Theorem 2, lemma H",
)
def lemma_h() -> Derivation:
    """Lemma H: H, and the norm of the convolution with momentum."""
    yield from _each_step()
    yield from _summed()
    yield from _convolved()


def decay_step() -> Step:
    """Lemma L2 with epsilon: beta1^m / (sqrt(v_k) + eps) <= r^m / (sqrt(v_j) + eps), k = j + m."""
    root, power, t = sympy.symbols("V Q t", positive=True)
    return nonnegative(
        r"$\frac{\beta_1^m}{q^m\sqrt{v_j}+\epsilon}\le\frac{r^m}{\sqrt{v_j}+\epsilon}$, "
        r"as $v_{j+m}\ge q^{2m}v_j$, $q=\sqrt{\beta_2}$",
        1 / (power * (root + epsilon)) - 1 / (power * root + epsilon),
        [root, epsilon, t],
        {power: 1 / (1 + t)},
        "an old gradient's weight decays at least like r^m in units of its own denominator; Q = q^m",
    )


def _each_step() -> Derivation:
    """A step's square is at most d/c, and at most the growth of ln u_k."""
    v, g, x, t, b = sympy.symbols("v g x t b", positive=True)
    c = second_moment_weight(beta2)
    interval = {q: sympy.sqrt(1 / (1 + b))}
    yield nonnegative(
        r"$cg^2/(\beta_2v+cg^2)\le1$",
        1 - c * g**2 / (beta2 * v + c * g**2),
        [v, g, b],
        interval,
        "hence h_j^2 <= d/c, for every epsilon",
    )
    yield identity(
        r"$\frac{d}{dx}[-\ln(1-x)-x] = x/(1-x) \ge 0$, so $x\le-\ln(1-x)$ on $[0,1)$",
        sympy.diff(-sympy.log(1 - x) - x, x),
        x / (1 - x),
    )
    yield nonnegative(
        r"$\beta_2v_{k-1}+\epsilon^2\ge\beta_2(v_{k-1}+\epsilon^2)$",
        beta2 * v + epsilon**2 - beta2 * (v + epsilon**2),
        [v, epsilon, b],
        interval,
        "with u = v + eps^2 and x = c g^2 / u_k: c g^2 / u_k <= ln(u_k / (beta2 u_{k-1}))",
    )
    yield nonnegative(
        r"$(\sqrt v+\epsilon)^2\ge v+\epsilon^2$",
        (sympy.sqrt(v) + epsilon) ** 2 - v - epsilon**2,
        [t, epsilon],
        {v: t**2},
    )


def _summed() -> Derivation:
    """Over the steps: the sum of the squares is at most H."""
    growth = sympy.Symbol("g", real=True)
    c = second_moment_weight(beta2)
    before, after, start, end = (
        named(f"ln {name}", rf"\ln {name}", real=True) for name in ("u_{k-1}", "u_k", "u_0", "u_{K'}")
    )
    ratio = named("ln ratio", r"\ln\frac{u_k}{\beta_2u_{k-1}}", real=True)
    ratios = named("ln ratios", r"{\textstyle\sum_k}\ln\frac{u_k}{\beta_2u_{k-1}}", real=True)
    new, old = sympy.symbols("u_k u_{k-1}", positive=True)
    parted = yield equation(
        ratio,
        -sympy.log(beta2) + after - before,
        "u_0 > 0",
        {ratio: sympy.log(new) - sympy.log(beta2) - sympy.log(old), after: sympy.log(new), before: sympy.log(old)},
    )
    yield summed(
        parted,
        {ratio: ratios},
        {(before, after): (start, end)},
        count=horizon,
        reason="summed over the $K'$ steps",
    )
    yield same_extremum(
        r"$H=\min\{K'd/c,\ (K'd\ln(1/\beta_2)+\sum_iE\ln(u_{K',i}/u_{0,i}))/c\}$",
        constants.gradient_energy(horizon, dimension, beta2, growth),
        [horizon * dimension / c, (growth - horizon * dimension * sympy.log(beta2)) / c],
    )
    yield identity(
        r"$H=K'd/c$ where nothing is known",
        constants.gradient_energy(horizon, dimension, beta2, None),
        horizon * dimension / c,
    )


def _convolved() -> Derivation:
    """Momentum's steps are a convolution of the normalised gradients."""
    n = sympy.Symbol("n", integer=True, nonnegative=True)
    yield decay_step()
    yield series(r"$\sum_nr^n=1/(1-r)$", r**n, n, 1 / (1 - r))
    yield identity(
        r"$(1-\beta_1)\sum_nr^n=\frac{1-\beta_1}{1-r}$: the norm of the convolution",
        (1 - beta1) / (1 - r),
        constants.momentum_gain(beta1, beta2),
        "|m_k| / (sqrt(v_k) + eps) <= (1 - beta1) sum_j r^(k-j) |g_j| / (sqrt(v_j) + eps)",
    )
    yield prose(
        r"$\sum_k\|w_{k+1}-w_k\|^2\le\alpha^2(\frac{1-\beta_1}{1-r})^2\sum_jh_j^2$",
        "Young's inequality for convolutions, pathwise; then take expectations",
    )
