"""Which eta Theorem 2 covers: for all betas, and at given ones."""

from __future__ import annotations

import numpy as np
import sympy

from proofs.adam_sharp.symbols import beta1, beta2, eta, r
from proofs.steps import Derivation, Evidence, checked, identity, nonnegative, prose, proves
from theory.adam.constants import squared_noise_growth
from theory.adam_sharp import constants, momentum_sums, theorem2

__all__ = ["admissible_eta"]

T, a, b = sympy.symbols("T a b", positive=True)


@proves(
    "Admissible eta",
    "which eta Theorem 2 covers",
    r"If $\eta^2(1+r)<1$ then $\kappa>0$ at every $N$; so $\eta\le.7071$ does for all betas. $\kappa>0$ at some "
    r"$N$ only if $\frac{\eta^2}{1-r\eta^2}<H_\infty=\sum_mr^m/\sqrt{1+a_m/(1+\eta^2)}$, whose two sides meet at "
    r"one $\eta\le1$; and if so, where $\Lambda=\Lambda_1$.",
    source="Theorem 2",
)
def admissible_eta(universal: int = 7071) -> Derivation:
    """The condition free of the betas, and the closed form.

    ``universal`` is that constant, in units of 1e-4.
    """
    gain, frozen, noisy = sympy.symbols("h phi H", positive=True)
    swap = constants.swap_growth(beta1, beta2, eta)
    kappa = constants.theorem2_alignment(gain, swap, eta)
    yield identity(
        r"$\Lambda\le C$, $h\ge1$: $\kappa\ge(1-C\eta^2)/(1+\eta^2)$, and $(1-r\eta^2)(1-C\eta^2)=1-(1+r)\eta^2$",
        sympy.cancel(kappa.subs(gain, 1) * squared_noise_growth(eta) * (1 - r * eta**2)),
        1 - (1 + r) * eta**2,
    )

    def bracket() -> Evidence:
        square = 2 * sympy.Rational(universal, 10000) ** 2
        return Evidence(bool(square < 1), f"2 eta^2 = {float(square):.6f} at eta = {universal / 10000}")

    yield checked(rf"$2\eta^2<1$ at $\eta=.{universal}$, and $1+r<2$", bracket)
    yield identity(
        r"$\Lambda\ge\min(C,C/\varphi_N)=C/\varphi_N$: $\kappa\le(H_N-C\eta^2)/((1+\eta^2)\varphi_N)$, "
        r"with equality if $\Lambda=\Lambda_1$",
        constants.theorem2_alignment(noisy / frozen, constants.jump_penalty(swap, frozen), eta)
        * (1 + eta**2)
        * frozen,
        noisy - swap * eta**2,
        "varphi_N >= 1, and H_N rises to its limit",
    )
    yield nonnegative(
        r"$\frac{d}{dT}\ln\frac1{\sqrt{1+a/(1+T)}}=\frac{a/(1+T)}{2(1+T)(1+a/(1+T))}\le\frac1{2(1+T)}$",
        1 / (2 * (1 + T)) - sympy.cancel(sympy.diff(-sympy.log(1 + a / (1 + T)) / 2, T)),
        [a, T],
        reason="so the logarithm of H grows at most as fast",
    )
    yield nonnegative(
        r"$-\frac d{dT}\ln(\frac1T-r)=\frac1{T(1-rT)}>\frac1{2(1+T)}$: $H_\infty(\frac1T-r)$ falls, "
        r"and meets $1$ once",
        sympy.cancel(sympy.diff(-sympy.log(1 / T - r), T)) - 1 / (2 * (1 + T)),
        [a, b],
        {r: 1 / (1 + a), T: 1 / (1 + b)},
    )
    yield nonnegative(
        r"at $T=1$: $H_\infty\le\sum_mr^m=C$, so the root is at most 1",
        1 - 1 / (1 + a),
        [a],
        reason="1 / (1 + a_m / y) <= 1, so every term is at most r^m",
    )
    yield from _of_theory()


def _of_theory() -> Derivation:
    """theory's largest eta is where the closed form meets, at betas in use."""

    def residual(momentum: float, decay: float) -> float:
        square, ratio = theorem2.largest_admissible_eta(momentum, decay) ** 2, momentum / decay**0.5
        ages = [(decay**-m - 1) / (1 - decay) for m in range(500)]
        limit = sum(ratio**m / (1 + age / (1 + square)) ** 0.5 for m, age in enumerate(ages))
        return float(abs(limit * (1 / square - ratio) - 1))

    def check() -> Evidence:
        worst = max(residual(0.9, 0.95), residual(0.9, 0.999), residual(0.5, 0.9))
        return Evidence(worst < 1e-12, f"largest residual {worst:.1e}")

    def tail() -> Evidence:
        setting = (0.9999, 0.99999, 0.3)
        ages = np.arange(1.0, 2.0**20)  # theory adds up 2^14 and a geometric tail
        directly = float(np.sum(constants.uphill_weight(*setting, ages)))
        share = momentum_sums.momentum_sums(*setting, np.inf).uphill / directly
        return Evidence(bool(1 <= share < 1.02), f"theory's S_0 / sum of 2^20 terms = {share:.6f}")

    yield checked(r"theory's largest $\eta$ is the root, at $(.9,.95)$, $(.9,.999)$ and $(.5,.9)$", check)
    yield checked(r"theory's $S_0$ is not below its first $2^{20}$ terms, at $(.9999,.99999)$, $\eta=.3$", tail)
    yield prose(
        r"$\Lambda_1$ is the largest of the three there",
        "where it is not (r close to 1), theory's largest eta is where Lambda eta^2 = h, which is smaller.",
    )
