r"""Lemma S: what a gradient's momentum sums to, until the gradient has changed by more than a factor zeta.

Fix a coordinate and a step j <= K'. G = |G_j|, T is the first t > j with |G_t - G_j| > zeta G, n = K' - j, and

    phi_m(v) = 1 / (sqrt(beta2^m v + (1 - beta2^m) (1 - zeta)^2 G^2) + epsilon),
    Theta_n(v) = sum_{m <= n} beta1^m phi_m(v),
    theta_j = sum_{k=j}^{K'} beta1^(k-j) / (sqrt(v_k) + epsilon),   a = G_j g_j.

The upper side is a backward induction on the number of steps left, the lower side is Jensen's inequality for the
second moment with g replaced by 0 from T on.
"""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from proofs.adam_sharp.mixture import lemma_m
from proofs.adam_sharp.symbols import beta1, beta2, epsilon, eta, q, r, zeta
from proofs.steps import Expression, Step, by_lemma, identity, nonnegative, prose, proves
from theory.adam.constants import momentum_ratio, squared_noise_growth
from theory.adam_sharp import constants

__all__ = ["decay_step", "lemma_s"]

v, G, P, a, b, h, s, t = sympy.symbols("v G P a b h s t", positive=True)
m = sympy.Symbol("m", integer=True, positive=True)
base = sympy.Symbol("beta_2", positive=True)

RATIO = {r: 1 / (1 + a)}
"""r in (0, 1), as a ranges over (0, oo)."""
VARIANCE = {eta: sympy.sqrt(1 / (1 + s))}
"""eta^2 in (0, 1)."""
UNITS = {q: sympy.sqrt(1 / (1 + b)), P: 1 / (1 + t), zeta: s / (1 + s)}
"""beta2, its power and zeta in (0, 1)."""
INDUCTION_STEPS = 4


@proves(
    "S",
    "stopping",
    r"For $\lambda = \tau\frac{1+\zeta}{1-\zeta}$, $C = 1/(1-r\eta^2)$ and $R = \lambda C$: "
    r"$E[a\theta_j|F_{j+1}]\ge\frac1\lambda\Theta_n(v_j)(a^+-Ra^-)-|a|E[\sum_{k\ge T}r^{k-j}|F_{j+1}]"
    r"/(\sqrt{v_j}+\epsilon)$.",
    source="Theorem 2, lemma S",
    uses=("M",),
)
def lemma_s() -> Iterator[Step]:
    """Lemma S: the frozen second moment, the mixture, C, lambda and R."""
    yield decay_step()
    yield from _one_step()
    yield from _upper_side()
    yield from _lower_side()
    yield identity(
        r"$C = R/\lambda$: the weights of the two signs of $a$",
        constants.freezing_factor(beta1, eta, zeta) * constants.swap_growth(beta1, beta2, eta),
        constants.sign_penalty(beta1, beta2, eta, zeta),
    )
    yield prose(
        r"$E[a\theta_j|F_{j+1}]\ge\frac1\lambda\Theta_n(v_j)(a^+-Ra^-)-|a|E[\sum_{k\ge T}r^{k-j}|F_{j+1}]"
        r"/(\sqrt{v_j}+\epsilon)$",
        "G_t is known before g_t is drawn, so {T > t} is in F_t. At a = 0 (as for G_j = 0) both sides are 0; "
        "otherwise v_j > 0, so that all denominators are positive. Multiply the lower side by a^+, the upper "
        "side by a^-; what lies beyond T is a loss to both.",
    )


def decay_step() -> Step:
    """Lemma L2 with epsilon: beta1^m / (sqrt(v_k) + eps) <= r^m / (sqrt(v_j) + eps), k = j + m."""
    root, power = sympy.symbols("V Q", positive=True)
    return nonnegative(
        r"$\frac{\beta_1^m}{q^m\sqrt{v_j}+\epsilon}\le\frac{r^m}{\sqrt{v_j}+\epsilon}$, "
        r"as $v_{j+m}\ge q^{2m}v_j$, $q=\sqrt{\beta_2}$",
        1 / (power * (root + epsilon)) - 1 / (power * root + epsilon),
        [root, epsilon, t],
        {power: 1 / (1 + t)},
        "an old gradient's weight decays at least like r^m in units of its own denominator; Q = q^m",
    )


def _power(expression: Expression) -> Expression:
    """beta2^m as the symbol P."""
    return sympy.expand(expression, power_exp=True).subs(base**m, P).subs(base, beta2)


def _one_step() -> Iterator[Step]:
    """phi_m after one more step with X = 1 and with X = 0."""
    gradient = (1 - zeta) * G + h
    after_one = constants.frozen_second_moment(base * v + (1 - base) * gradient**2, G, m, base, zeta)
    after_zero = constants.frozen_second_moment(base * v, G, m, base, zeta)
    yield nonnegative(
        r"$\phi_m(\beta_2v+cG_t^2)\le\phi_{m+1}(v)$ for $|G_t| = (1-\zeta)G + h$, $h \ge 0$",
        _power(after_one - constants.frozen_second_moment(v, G, m + 1, base, zeta)),
        [v, G, h, b, t, s],
        UNITS,
        "X = 1 keeps at least what freezing assumes",
    )
    yield nonnegative(
        r"$\phi_m(\beta_2v)\le\beta_2^{-1/2}\phi_m(v)$",
        _power(after_zero - base * constants.frozen_second_moment(v, G, m, base, zeta)),
        [v, G, b, t, s],
        UNITS,
        "X = 0 costs one factor of sqrt(beta2); epsilon >= sqrt(beta2) epsilon",
    )


def _upper_side() -> Iterator[Step]:
    """E sum_{k < T} beta1^(k-j) / (sqrt(v_k) + eps) <= C Theta_n(v_j), by backward induction."""
    phi = sympy.symbols(f"phi0:{INDUCTION_STEPS + 1}", positive=True)
    constant = constants.swap_growth(beta1, beta2, eta)
    weights = [beta1**k for k in range(INDUCTION_STEPS + 1)]
    claimed = constant * sum(w * p for w, p in zip(weights, phi, strict=True))
    continued = sum(
        weights[k] * constants.mixture(phi[k + 1], phi[k] / sympy.sqrt(beta2), eta) for k in range(INDUCTION_STEPS)
    )
    domain = {q: 1 / (1 + b), **RATIO, **VARIANCE}
    yield by_lemma(r"$E\phi_m(\beta_2v+cG_t^2X^2)\le(1-\eta^2)\phi_m|_{X=1}+\eta^2\phi_m|_{X=0}$", lemma_m)
    yield nonnegative(r"$C\ge1$: the induction starts at $m=0$", constant - 1, [a, s], {**RATIO, **VARIANCE})
    yield identity(
        r"$1+C\eta^2r=C$: the coefficient of $\phi_0$",
        1 + constant * eta**2 * momentum_ratio(beta1, beta2),
        constant,
        "C is the fixed point, so a smaller one does not carry through",
    )
    yield nonnegative(
        r"$\phi_0+\beta_1C\sum_{m<n}\beta_1^m[(1-\eta^2)\phi_{m+1}+\eta^2\beta_2^{-1/2}\phi_m]\le C\Theta_n$",
        sympy.expand(claimed - phi[0] - beta1 * constant * continued),
        [*phi[1:], a, b, s],
        domain,
        f"coefficient by coefficient; written out for n = {INDUCTION_STEPS}: the inner ones repeat",
    )


def _lower_side() -> Iterator[Step]:
    """E sum_k beta1^(k-j) / (sqrt(v~_k) + eps) >= Theta_n(v_j) / lambda, by Jensen's inequality."""
    root = sympy.Symbol("Z", positive=True)
    reciprocal = 1 / (root + epsilon)
    slope = sympy.diff(reciprocal, root) / (2 * root)
    factor = constants.freezing_factor(beta1, eta, zeta)
    mean = constants.frozen_second_moment(v, factor * G, m, base, zeta)
    fresh = squared_noise_growth(eta) * ((1 + zeta) * G) ** 2
    extra = factor**2 * constants.frozen_second_moment(v, G, m, base, zeta) - mean
    yield nonnegative(
        r"$z\mapsto1/(\sqrt z+\epsilon)$ is convex",
        sympy.diff(slope, root) / (2 * root),
        [root, epsilon],
        reason="its second derivative, at z = Z^2; so E 1/(sqrt(v)+eps) >= 1/(sqrt(E v)+eps)",
    )
    yield identity(
        r"$M_{m+1}=\beta_2M_m+c\tau^2(1+\zeta)^2G^2$, $M_m=\beta_2^mv+(1-\beta_2^m)\lambda^2(1-\zeta)^2G^2$",
        _power(constants.frozen_second_moment(v, factor * G, m + 1, base, zeta)),
        _power(base * mean + (1 - base) * fresh),
        "before T every |G_t| <= (1+zeta) G, so E v after m steps is at most M_m",
    )
    yield nonnegative(
        r"$M_m\le\lambda^2(\beta_2^mv+(1-\beta_2^m)(1-\zeta)^2G^2)$",
        _power(extra),
        [v, G, b, t, s, h],
        {**UNITS, eta: sympy.sqrt(h)},
        "and epsilon <= lambda epsilon, so phi_m / lambda bounds 1/(sqrt(M_m)+eps) from below",
    )
