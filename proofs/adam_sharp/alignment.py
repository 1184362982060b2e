r"""Lemma Q': descent under noise, one step: what lemma S leaves is at least kappa times the noiseless momentum.

With D = beta2 v_{j-1} + c G^2, n = K' - j >= N and Phi_j = sum_{m <= n} beta1^m / (sqrt(beta2^m D + (1 - beta2^m)
G^2) + epsilon), in units s = beta2 v_{j-1} / (c G^2), X = g_j / G, e_m = epsilon beta2^(-m/2) / (sqrt(c) G),
a_m = (beta2^-m - 1) / c and W_m = sqrt(1 + s + a_m):

    phi = sum_m r^m / (W_m + e_m),   F(x) = sum_m r^m x / (sqrt(s + y a_m + x^2) + e_m) for x >= 0,
    F(-u) = -C sum_m pi^m u / (sqrt(s + a_m + u^2) + e_m) for u > 0,   pi = p / sqrt(beta2), y = 1 + eta^2.

A parabola F_ lies below F on both sides of 0, and its mean is at least kappa phi. The worst state is s = 0.
"""

from __future__ import annotations

import sympy

from proofs.adam.descent import descent_lemma
from proofs.adam_sharp.drift import lemma_d
from proofs.adam_sharp.minorant import lemma_l5_half_line, parabola
from proofs.adam_sharp.symbols import (
    KEPT,
    PAST_AND_TEST,
    PROGRESS_V,
    Q_PHI,
    SQUARES_V,
    Delta,
    L,
    alpha,
    beta1,
    beta2,
    cost_of_drift,
    eta,
    q,
    r,
    same_extremum,
    share,
)
from proofs.composition import Conclusion, Ground, cite, composed, granted
from proofs.relations import Relation
from proofs.steps import Derivation, all_of, by_lemma, chebyshev, identity, nonnegative, prose, proves
from proofs.sums import PROGRESS, SQUARES
from theory.adam.constants import second_moment_weight, squared_noise_growth
from theory.adam_sharp import constants

__all__ = ["lemma_q"]

a, d, s, t, e, u, w = sympy.symbols("a d s t e u w", positive=True)
S, C, phi, P, H, Hp, x, y = sympy.symbols("S C phi P H H' x y", positive=True)
m = sympy.Symbol("m", integer=True, nonnegative=True)
base = sympy.Symbol("beta_2", positive=True)
c = second_moment_weight(base)
age_ratio = (base**-m - 1) / c

UP_TO_TWO = {y: 1 + 1 / (1 + d)}
"""y = 1 + eta^2 in (1, 2)."""
OPEN = {r: 1 / (1 + a), eta: sympy.sqrt(1 / (1 + s)), q: 1 / (1 + d)}
"""r, eta^2 and sqrt(beta2) in (0, 1)."""
BOUNDED = Relation(share * Q_PHI, "<=", Delta / alpha + alpha * L * cost_of_drift)


@proves(
    "Q'",
    "preconditioned sum",
    r"For $n\ge N$: $E_j[(G_jg_j)^+W_n(v_j)-(G_jg_j)^-V_n(v_j)]\ge\kappa G_j^2\Phi_j$, "
    r"$\kappa=(h-\Lambda\eta^2)/(1+\eta^2)$. If $\kappa>0$ then "
    r"$(1-\beta_1)\sum_{j\le K}\sum_iE[G_{j,i}^2\Phi_{j,i}]\le Q"
    r"=\frac1\kappa(\Delta/\alpha+\alpha L\mathcal{E})$.",
    concludes=(Conclusion(BOUNDED, PAST_AND_TEST),),
    source="Theorem 2, lemma Q'",
    uses=("descent lemma", "S", "D", "L5'"),
)
def lemma_q() -> Derivation:
    """Lemma Q': the three Lambdas, h, kappa and Q."""
    own = yield from all_of(
        _units(),
        _with_epsilon(),
        _parabola(),
        _worst_state(),
        _wrong_sign_by_swap(),
        _wrong_sign_by_slopes(),
        _constants(),
    )
    yield composed(
        BOUNDED,
        (
            cite(descent_lemma, {PROGRESS: PROGRESS_V, SQUARES: SQUARES_V}),
            cite(lemma_d),
            granted(Relation((1 - beta1) * KEPT, ">=", share * Q_PHI), Ground.EXPECTATION, *own),
        ),
        (PROGRESS_V, SQUARES_V, KEPT, Q_PHI),
        PAST_AND_TEST,
    )
    yield prose(
        r"$(1-\beta_1)\sum_{j\le K}\sum_iE[G_{j,i}^2\Phi_{j,i}]\le Q$",
        "expectations given F_j, summed over j; the virtual j > K have g = G, so a > 0 and W > 0: drop them. "
        "For j <= K, K' - j >= N. G_j = 0 makes both sides 0, G^2 Phi being 0 there.",
    )


def _units() -> Derivation:
    """The second moments of W, V and Phi as beta2^m c G^2 times s + y a_m + X^2, s + a_m + X^2, s + a_m + 1."""
    v, G, X = sympy.symbols("v G X", positive=True)
    unit = base**m * c * G**2
    state = base * v / (c * G**2)
    for which, gradient, factor, text in (("W", sympy.sqrt(y) * G, y, "ya"), ("V", G, 1, "a")):
        yield identity(
            rf"${which}$: the $m$-th second moment is $\beta_2^mcG^2(s+{text}_m+X^2)$",
            constants.frozen_second_moment(base * v + c * (G * X) ** 2, gradient, m, base),
            unit * (state + factor * age_ratio + X**2),
            "v_j = beta2 v_{j-1} + c G^2 X^2; of Phi at X = 1",
        )
    yield identity(r"$1+a_m=\beta_2^{-m}(1-\beta_2^{m+1})/c$", 1 + age_ratio, base**-m * (1 - base ** (m + 1)) / c)
    fresh = squared_noise_growth(eta)
    decay = constants.uphill_decay(beta1, beta2, eta)
    noisy, uphill = (f(beta1, beta2, eta, m) for f in (constants.noisy_weight, constants.uphill_weight))
    for text, weight, power, under in (
        (r"r^m/\sqrt{1+a_m}", constants.frozen_weight(beta1, beta2, m), beta1**m, 1 + age_ratio),
        (r"r^m/\sqrt{1+a_m/y}", noisy, beta1**m, 1 + age_ratio / fresh),
        (r"\pi^m/\sqrt{a_m}", uphill, decay**m, age_ratio),
    ):
        yield identity(
            rf"${text}$: the summand that theory adds up, squared",
            sympy.powsimp(sympy.expand_power_base(weight**2 / power**2, force=True)),
            (base**-m / under).subs({base: beta2}),
            "r = beta1 / sqrt(beta2), pi = p / sqrt(beta2); divided by the power of beta1, or of p",
        )


def _with_epsilon() -> Derivation:
    """With om = r^m / sqrt(1 + e / W) and S_m = s + y a + W e the offset is a longer history."""
    root, old = sympy.symbols("W Y", positive=True)
    yield identity(
        r"$(W+e)(Y^2+We)-W(Y+e)^2=e(W-Y)^2\ge0$, so $\frac{r^mx}{Y+e}\ge\frac{\omega_mx}{\sqrt{S_m+x^2}}$",
        (root + e) * (old**2 + root * e) - root * (old + e) ** 2,
        e * (root - old) ** 2,
        "Y^2 = s + y a_m + x^2, om_m = r^m / sqrt(1 + e/W), S_m = s + y a_m + W e",
    )
    yield identity(
        r"$\frac1{W+e}=\frac1{\sqrt{1+e/W}\sqrt{W^2+We}}$: the $m$-th term of $\phi$ is "
        r"$\omega_m/\sqrt{1+s+a_m+W_me_m}$",
        (1 + e / root) * (root**2 + root * e),
        (root + e) ** 2,
    )


def _parabola() -> Derivation:
    """F >= the parabola for x >= 0, and its mean."""
    yield by_lemma(r"every term of $F(x)$, $x\ge0$, is above its parabola", lemma_l5_half_line)
    yield nonnegative(
        r"$1+s+a+t\le y^2(1+\sigma)=y^2+S$, $S=s+ya+t$: so $P=\Lambda\phi\ge\sum_m\omega_m\frac1{16}\sigma_m"
        r"(1+\sigma_m)^{-3/2}$ if $\Lambda\ge\Lambda_2$",
        y**2 + (s + y * a + t) - (1 + s + a + t),
        [s, a, t, d],
        {y: 1 + d},
        "sigma <= 1 + sigma; t = W_m e_m",
    )
    yield identity(
        r"$\Lambda_2/y$ is lemma L5's weight: $y\frac1{\sqrt{1+s+a+t}}\ge\frac1{\sqrt{1+\sigma}}$",
        constants.curvature_penalty(eta),
        squared_noise_growth(eta) * sympy.Rational(1, 16),
    )
    quadratic = sympy.Poly(sympy.expand(parabola(x, H, Hp, P, y)), x)
    moments = [1 + (y - 1), 1, 1]  # E X^2 = 1 + eta^2 = y, E X, 1
    yield identity(
        r"the parabola's mean at $E X=1$, $E X^2=y$ is $(H-\eta^2P)/y$",
        sum(coefficient * moment for coefficient, moment in zip(quadratic.all_coeffs(), moments, strict=True)),
        (H - (y - 1) * P) / y,
        "it is concave, so the largest variance is the worst",
    )
    gain, penalty = sympy.symbols("h Lambda", positive=True)
    yield identity(
        r"$(H-\eta^2P)/y=\kappa\phi$ at $H=h\phi$, $P=\Lambda\phi$",
        ((H - (y - 1) * P) / y).subs({H: gain * phi, P: penalty * phi, y: squared_noise_growth(eta)}),
        constants.theorem2_alignment(gain, penalty, eta) * phi,
    )


def _worst_state() -> Derivation:
    """H / phi >= h: weights that are heavier for large m make means of increasing terms larger."""
    yield chebyshev(
        r"\text{the mean of a product of two increasing sequences is at least the product of their means}",
        "for any weights",
    )
    yield nonnegative(
        r"$W_m/\sqrt{1+a_m}=\sqrt{1+s/(1+a_m)}$ falls with $a_m$",
        s / (1 + a) - s / (1 + a + t),
        [s, a, t],
    )
    yield identity(
        r"$\beta_2^m(1+a_m)=(1-\beta_2^{m+1})/c$ rises with $m$, so $e_m/\sqrt{1+a_m}$ falls",
        base ** (m + 1) * (1 + age_ratio.subs(m, m + 1)) - base**m * (1 + age_ratio),
        base ** (m + 1),
        "so the weights w_m = r^m / ((W_m + e_m) phi), over those at s = epsilon = 0, rise with m",
    )
    quotient = (1 + a + t) / (1 + a / y + t / y**2)
    yield nonnegative(
        r"$H/\phi=\sum_mw_m\sqrt{(1+a_m+t_m)/(1+a_m/y+t_m/y^2)}$ rises with $t_m=s+W_me_m$",
        sympy.diff(quotient, t),
        [a, t, d],
        {y: 1 + d},
    )
    yield nonnegative(r"and at $t=0$ with $a_m$", sympy.diff(quotient.subs(t, 0), a), [a, d], {y: 1 + d})
    yield nonnegative(
        r"$H_n/\varphi_n$ rises with $n$: $\frac{H+x}{\varphi+w}\ge\frac H\varphi$ for $x=w(\frac H\varphi+u)$",
        (H + w * (H / phi + u)) / (phi + w) - H / phi,
        [H, phi, w, u],
        reason="its terms rise, so H/phi >= H_n/varphi_n >= H_N/varphi_N = h for n >= N",
    )


def _wrong_sign_by_swap() -> Derivation:
    """x = -u < 0 with Lambda = C."""
    yield identity(
        r"$-F_-(-u)=P(1+u/y)^2+uH'+(H-yH')(2u/y+u^2/y^2)$",
        -parabola(-u, H, Hp, P, y),
        P * (1 + u / y) ** 2 + u * Hp + (H - y * Hp) * (2 * u / y + u**2 / y**2),
        "H >= y H', as (1 + sigma)^(-1/2) >= sigma (1 + sigma)^(-3/2): only P's term is needed here",
    )
    yield nonnegative(
        r"$u^2(1+s+a)\le s+a+u^2$ for $u\le1$",
        s + a + u**2 - u**2 * (1 + s + a),
        [s, a, t],
        {u: 1 / (1 + t)},
        "so u (W + e) <= sqrt(s + a + u^2) + e",
    )
    yield nonnegative(
        r"$1+s+a\le s+a+u^2$ for $u\ge1$, so $\frac{W_m+e_m}{\sqrt{s+a_m+u^2}+e_m}u\le\max(1,u)$",
        s + a + u**2 - (1 + s + a),
        [s, a, t],
        {u: 1 + t},
    )
    yield nonnegative(
        r"$(1+u/y)^2-(1-u/y)^2\ge u$ for $y\le4$: so $\max(1,u)\le(1+u/y)^2$",
        (1 + u / y) ** 2 - (1 - u / y) ** 2 - u,
        [u, d],
        {y: 4 / (1 + d)},
    )
    swap = constants.swap_growth(beta1, beta2, eta)
    yield nonnegative(
        r"$\pi/r=(1-\eta^2)C\le1$, so $-F(-u)\le C\phi\max(1,u)\le P(1+u/y)^2$",
        1 - (1 - eta**2) * swap,
        [a, s],
        OPEN,
    )
    yield nonnegative(r"$C\ge1\ge\Lambda_2$", swap - 1, [a, s], OPEN, "y <= 2")


def _wrong_sign_by_slopes() -> Derivation:
    """x = -u < 0 with Lambda >= Lambda_1, Lambda_3: times (W_0 + e_0) / u, with g = Lambda (W_0 + e_0) phi."""
    g = sympy.Symbol("g", positive=True)
    swap, start, uphill = sympy.symbols("C mu S_0", positive=True)
    yield identity(
        r"$\Lambda_1\varphi_N=C$, and $(W_0+e_0)\phi\ge\varphi_n\ge\varphi_N$: so $g\ge C$",
        constants.jump_penalty(swap, phi) * phi,
        swap,
        "(W_0 + e_0) / (W_m + e_m) >= 1 / sqrt(1 + a_m), as that quotient of weights rises with m",
    )
    yield nonnegative(
        r"$\frac gu(1+\frac uy)^2-\frac Cu\ge(g-C)+\frac{2g}y$ for $u\le1$, $g=C+t$",
        (g * (1 + u / y) ** 2 / u - C / u - (g - C) - 2 * g / y).subs(g, C + t),
        [C, t, w, y],
        {u: 1 / (1 + w)},
        "the newest term of -F(-u) is at most C max(1, 1/u)",
    )
    yield identity(
        r"$\frac1u+\frac u{y^2}-\frac2y=\frac{(y-u)^2}{uy^2}\ge0$",
        1 / u + u / y**2 - 2 / y,
        (y - u) ** 2 / (u * y**2),
    )
    yield nonnegative(r"$\frac4y-1\ge\frac2y$: the same for $u\ge1$", 4 / y - 1 - 2 / y, [d], UP_TO_TWO)
    yield identity(
        r"as $u\to0$ the slope's terms are $\sum_m\omega_m\frac{S_m+2y^2}{(S_m+y^2)^{3/2}}$",
        S + (2 / y) * y**3,
        S + 2 * y**2,
        "H' + (2/y)(H - y H'), with H - y H' = sum om y^3 / (S + y^2)^(3/2); this side rises with u, the rest of "
        "-F(-u) (W_0 + e_0) / u falls: u -> 0 is the worst",
    )
    yield nonnegative(
        r"$y(1+s+a+t)\ge S+y$ for $S=s+ya+t$",
        y * (1 + s + a + t) - (s + y * a + t) - y,
        [s, a, t, d],
        {y: 1 + d},
    )
    yield nonnegative(
        r"$(S+2y^2)^2(S+y)\ge(S+y^2)^3$ for $1\le y\le2$: so $\sum_mw_m\frac{(S_m+2y^2)\sqrt{1+s+a_m+t_m}}"
        r"{(S_m+y^2)^{3/2}}\ge\frac1{\sqrt y}$",
        (S + 2 * y**2) ** 2 * (S + y) - (S + y**2) ** 3,
        [S, d],
        UP_TO_TWO,
    )
    yield nonnegative(
        r"$\frac{1+s+a}{s+a}\le\frac{1+a}a$: $\rho_m=C(\frac\pi r)^m\sqrt{1+1/a_m}$ bounds the older terms of "
        r"$-F(-u)$, over $w_m$",
        (1 + a) / a - (1 + s + a) / (s + a),
        [s, a],
        reason="(W + e) / (Z + e) <= W / Z for Z^2 = s + a; rho_m falls with m",
    )
    yield identity(
        r"$\frac1{1+a}(1+\frac1a)=\frac1a$: at $s=\epsilon=0$ their mean is $C(\mu+S_0)/\varphi_n$",
        (1 + 1 / a) / (1 + a),
        1 / a,
        "rho_0 := C mu is at least C and rho_1, so rho falls, and its mean is largest there (Chebyshev)",
    )
    yield identity(
        r"$\Lambda_3(1+\frac2y)+\frac1{\sqrt y}=C(\mu+S_0)/\varphi_N$: so $\Lambda\ge\Lambda_3$ suffices",
        constants.slope_penalty(swap, start, uphill, phi, eta) * (1 + 2 / squared_noise_growth(eta))
        + 1 / sympy.sqrt(squared_noise_growth(eta)),
        swap * (start + uphill) / phi,
    )


def _constants() -> Derivation:
    """mu and Lambda as theory composes them."""
    S_0 = sympy.Symbol("S_0", positive=True)
    swap, start = constants.swap_growth(beta1, beta2, eta), constants.uphill_start(beta1, beta2, eta)
    first_age = sympy.Integer(1) / beta2
    yield same_extremum(
        r"$\mu=\max(1,\frac\pi r\sqrt{1+\beta_2})$, $\rho_1=C\frac\pi r\sqrt{1+1/a_1}$, $a_1=1/\beta_2$",
        start,
        [sympy.Integer(1), (1 - eta**2) * swap * sympy.sqrt(1 + 1 / first_age)],
    )
    slopes = (
        constants.jump_penalty(swap, phi),
        constants.curvature_penalty(eta),
        constants.slope_penalty(swap, start, S_0, phi, eta),
    )
    penalty = constants.uphill_penalty(beta1, beta2, eta, phi, S_0)
    largest = next((part for part in penalty.args if isinstance(part, sympy.Max)), penalty)
    yield same_extremum(
        r"$\Lambda=\min(C,\max_i\Lambda_i)$", penalty, [swap, largest], "either bound on F(-u) is enough"
    )
    yield same_extremum(r"$\max_i\Lambda_i=\max(\Lambda_1,\Lambda_2,\Lambda_3)$", largest, slopes)
