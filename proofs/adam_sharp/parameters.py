"""The free parameter zeta: which eta leave one, and the closed form of the best one."""

from __future__ import annotations

from collections.abc import Iterator

import sympy

from proofs.adam_sharp.symbols import beta1, beta2, eta, r
from proofs.steps import Evidence, Step, checked, identity, nonnegative, proves
from theory.adam.constants import squared_noise_growth
from theory.adam_sharp import constants, parameters, theorem2

__all__ = ["admissible_eta", "best_zeta"]

y, Y, P, R, W, T, a, b = sympy.symbols("y Y P R W T a b", positive=True)
ZETA = y / (2 - y)
"""zeta by y = 2 zeta / (1 + zeta), in (0, 1)."""


@proves(
    "Best zeta",
    "the free parameter zeta in closed form",
    r"With $y=2\zeta/(1+\zeta)$, $Q=\tau^3(P+2R/y)/(Y-y)$ is least at "
    r"$y=2RY/(2R+\sqrt{4R^2+2PRY})$.",
    source="Theorem 2",
)
def best_zeta() -> Iterator[Step]:
    """The closed form of the zeta that makes Q least."""
    threshold = theorem2.freezing_threshold(beta1, beta2, eta)
    factor = constants.freezing_factor(beta1, eta, ZETA)
    alignment = constants.theorem2_alignment(beta1, beta2, eta, ZETA)
    objective = (P + 2 * R / y) / (Y - y)
    fixed = (W**2 - 4 * R**2) / (2 * R * Y)
    zeta = parameters.best_zeta(1 - Y, fixed, R)
    chosen = 2 * zeta / (1 + zeta)
    yield identity(
        r"$\lambda/\kappa_R=\tau^3/(Y-y)$, $Y=1-\tau\eta^2/(1-r\eta^2)$",
        factor / alignment,
        squared_noise_growth(eta) ** sympy.Rational(3, 2) / (1 - threshold - y),
    )
    yield identity(r"$z=2/y$", constants.drift_multiplier(ZETA), 2 / y)
    yield identity(
        r"$y^2(Y-y)^2\frac{d}{dy}\frac{P+2R/y}{Y-y}=Py^2+4Ry-2RY$",
        sympy.cancel(sympy.diff(objective, y) * y**2 * (Y - y) ** 2),
        P * y**2 + 4 * R * y - 2 * R * Y,
        "increasing in y, negative at 0: one minimum",
    )
    yield identity(
        r"which vanishes at $y=\frac{2RY}{2R+\sqrt{4R^2+2PRY}}$",
        sympy.cancel(fixed * chosen**2 + 4 * R * chosen),
        2 * R * Y,
        "with the root as W, so P = (W^2 - 4 R^2) / (2 R Y)",
    )
    yield nonnegative(
        r"and is nonnegative at $y=Y/2$, so the best $\zeta$ is at most $1/3$",
        (P * y**2 + 4 * R * y - 2 * R * Y).subs(y, Y / 2),
        [P, R, Y],
    )


@proves(
    "Admissible eta",
    "which eta Theorem 2 covers",
    r"Some $\zeta\in(0,1)$ has $R\eta^2<1$ iff $\eta^2(r+\sqrt{1+\eta^2})<1$; for all betas "
    r"$\eta\le.6733$ does.",
    source="Theorem 2",
)
def admissible_eta(universal: int = 6734) -> Iterator[Step]:
    """Some zeta meets the condition iff eta^2 (r + sqrt(1 + eta^2)) < 1; so does eta <= .6733 for all betas.

    ``universal`` is that constant's upper neighbour, in units of 1e-4.
    """
    zeta = sympy.Symbol("zeta", positive=True)
    limit = theorem2.freezing_threshold(beta1, beta2, eta)
    ratio = constants.freezing_ratio(zeta)
    cubic = T**3 + (1 - r**2) * T**2 + 2 * r * T - 1
    root = sympy.sqrt(squared_noise_growth(eta))

    def numeric_roots() -> Evidence:
        pairs = [(0.9, 0.95), (0.9, 0.999), (0.5, 0.9), (0.0001, 0.5)]
        residuals = [
            cubic.subs({r: x / w**0.5, T: theorem2.largest_admissible_eta(x, w) ** 2}).evalf() for x, w in pairs
        ]
        worst = max(abs(value) for value in residuals)
        return Evidence(bool(worst < 1e-14), f"largest residual {worst:.1e}")

    def bracket() -> Evidence:
        etas = [sympy.Rational(k, 10000) for k in (universal - 1, universal)]
        left, right = (cubic.subs({r: 1, T: e**2}) for e in etas)
        return Evidence(bool(left < 0 < right), f"{float(left):.2e} at {etas[0]}, {float(right):.2e} at {etas[1]}")

    yield identity(
        r"$R\eta^2=\frac{1+\zeta}{1-\zeta}\cdot\frac{\tau\eta^2}{1-r\eta^2}$",
        constants.sign_penalty(beta1, beta2, eta, zeta) * eta**2,
        ratio * limit,
        "so some zeta has R eta^2 < 1 iff the last factor is below 1 (zeta -> 0)",
    )
    yield identity(
        r"$(1-r\eta^2)(1-\frac{\tau\eta^2}{1-r\eta^2})=1-\eta^2(r+\sqrt{1+\eta^2})$",
        sympy.cancel((1 - r * eta**2) * (1 - limit)),
        1 - eta**2 * (r + root),
    )
    yield identity(
        r"$T^2(1+T)-(1-rT)^2=T^3+(1-r^2)T^2+2rT-1$ with $T=\eta^2$: the same sign",
        T**2 * squared_noise_growth(sympy.sqrt(T)) - (1 - r * T) ** 2,
        cubic,
    )
    yield checked(r"theory's largest $\eta$ is the root", numeric_roots)
    yield nonnegative(
        r"$\frac{d}{dr}=2T(1-rT)\ge0$ for $r,T\in[0,1]$: $r\to1$ is the worst case",
        sympy.diff(cubic, r),
        [a, b],
        {r: 1 / (1 + a), T: 1 / (1 + b)},
    )
    yield checked(r"$T^3+2T-1$ changes sign between $\eta=.6733$ and $\eta=.6734$", bracket)
