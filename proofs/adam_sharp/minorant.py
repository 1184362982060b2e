r"""Lemma L5', the key inequality without history: a parabola below x / sqrt(S + x^2) for x >= 0.

It touches the response at x = y; its curvature is as small as one sixteenth allows.
"""

from __future__ import annotations

import sympy

from proofs.steps import Derivation, Evidence, Step, checked, identity, nonnegative, prose, proves
from theory.adam.constants import squared_noise_growth
from theory.adam_sharp.constants import curvature_penalty

__all__ = ["lemma_l5_half_line", "parabola"]

x, s, S, y = sympy.symbols("x s S y", positive=True)
eta = sympy.Symbol("eta", positive=True)
POWER = 31


def parabola(
    at: sympy.Expr, value: sympy.Expr, slope: sympy.Expr, penalty: sympy.Expr, centre: sympy.Expr
) -> sympy.Expr:
    """value + slope (x - y) - (penalty + value - y slope) (x / y - 1)^2, y the centre."""
    return value + slope * (at - centre) - (penalty + value - centre * slope) * (at / centre - 1) ** 2


@proves(
    "L5'",
    "key inequality on the half-line",
    r"For $S,x\ge0$, $y>0$, $\sigma=S/y^2$, $h=y/\sqrt{S+y^2}$, $h'=S(S+y^2)^{-3/2}$ and $R\ge\frac1{16}\sigma"
    r"(1+\sigma)^{-3/2}$: $\frac x{\sqrt{S+x^2}}\ge h+h'(x-y)-(R+h-yh')(x/y-1)^2$.",
    source="Theorem 2, lemma L5'",
)
def lemma_l5_half_line() -> Derivation:
    """Lemma L5' with the constant of theory's Lambda_2."""
    weight = sympy.cancel(curvature_penalty(eta) / squared_noise_growth(eta))
    response = x * y / sympy.sqrt(s * y**2 + (x * y) ** 2)
    value, slope = (sympy.simplify(part.subs(x, 1)) for part in (response, sympy.diff(response, x) / y))
    root = sympy.sqrt(1 + s)
    claimed = parabola(x * y, value, slope, weight * s / root**3, y)
    psi = root**3 * x / sympy.sqrt(s + x**2)
    yield identity(
        r"in $\xi=x/y$, times $(1+\sigma)^{3/2}$: $(1+\frac\sigma{16})(\xi-1)^2\ge1+\sigma\xi-\psi$, "
        r"$\psi=(1+\sigma)^{3/2}\xi/\sqrt{\sigma+\xi^2}$",
        sympy.expand(root**3 * (response - claimed)),
        sympy.expand((1 + weight * s) * (x - 1) ** 2 - (1 + s * x - psi)),
        "value and slope of the response at y are derived, not retyped",
    )
    yield identity(
        r"$(1+\sigma\xi)^2(\sigma+\xi^2)-(1+\sigma)^3\xi^2=\sigma(\xi-1)^2(\sigma\xi^2+2(1+\sigma)\xi+1)$",
        (1 + s * x) ** 2 * (s + x**2) - (1 + s) ** 3 * x**2,
        s * (x - 1) ** 2 * (s * x**2 + 2 * (1 + s) * x + 1),
        "so 1 + s x - psi is this over (s + x^2)(1 + s x + psi), and (x-1)^2 can be divided out",
    )
    mean = 1 + 2 * s + x**2
    yield nonnegative(
        r"$\psi\ge\frac{2(1+\sigma)^2\xi}{1+2\sigma+\xi^2}$, by $4(1+\sigma)(\sigma+\xi^2)\le(1+2\sigma+\xi^2)^2$",
        mean**2 - 4 * (1 + s) * (s + x**2) - (1 - x**2) ** 2,
        [s, x],
        reason="the difference is the square (1 - x^2)^2",
    )
    yield _positive_coefficients(weight, mean)
    yield prose(
        "a larger $R$ only lowers the right side",
        "(x/y - 1)^2 >= 0; at S = x = 0, where psi is 0/0, the left side is 0 and the right side -R.",
    )


def _positive_coefficients(weight: sympy.Expr, mean: sympy.Expr) -> Step:
    """(1 + k s)(s + x^2)(1 + s x + psi) >= s (s x^2 + 2 (1 + s) x + 1), cleared, times (1 + x + s)^31."""

    def check() -> Evidence:
        left = (1 + weight * s) * (s + x**2) * ((1 + s * x) * mean + 2 * (1 + s) ** 2 * x)
        cleared = sympy.Poly(left - s * (s * x**2 + 2 * (1 + s) * x + 1) * mean, x, s)
        coefficients = (cleared * sympy.Poly((1 + x + s) ** POWER, x, s)).coeffs()
        negative = [c for c in coefficients if c < 0]
        return Evidence(not negative, f"{len(negative)} of {len(coefficients)} coefficients negative")

    return checked(
        r"$(1+\frac\sigma{16})(\sigma+\xi^2)(1+\sigma\xi+\psi)\ge\sigma(\sigma\xi^2+2(1+\sigma)\xi+1)$",
        check,
        "with the bound on psi, cleared of its denominator, times (1 + xi + sigma)^31: no negative coefficient",
    )
