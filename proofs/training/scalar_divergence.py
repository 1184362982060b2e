r"""The scalar norm test alone does not make Adam converge: the algebra of the counterexample."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sympy

from proofs.steps import Step, identity, nonnegative, prose, proves, vanishing
from theory.adam.normalized_step import rare_value, rare_variance
from theory.training import scalar_divergence as theory

__all__ = ["scalar_test_divergence", "smallest_threshold"]


eta, kap_excess, u, alpha, delta, n = sympy.symbols("eta e u alpha delta n", positive=True)
p = sympy.Symbol("p", positive=True)
others = sympy.Symbol("d_1", positive=True)  # d - 1
GOLDEN = (1 + sympy.sqrt(5)) / 2


@proves(
    "scalar test",
    "Adam diverges under the scalar norm test",
    r"For $L(w) = \sqrt{1+(a\cdot w)^2}-1$, $a = (1,g,\dots,g)$, $g^2 = \eta^2/((d-1)(\kappa^2-\eta^2))$ "
    r"and noise of mean 1 and variance $\kappa^2$ on all coordinates but the first, the scalar test is an "
    r"equality at every step; $a\cdot w$ drifts by $\alpha((d-1)g|u|-1)$ per step, "
    r"$u = E\,m/\sqrt v < 0$, which is uphill iff $d-1 > (\kappa^2-\eta^2)/(\eta^2u^2)$.",
    source="Section 4 of arXiv 2412.21124 puts this test in the place of the coordinate-wise one",
)
def scalar_test_divergence() -> Iterator[Step]:
    """The test is an equality, and beyond ``threshold`` the drift is uphill; u > 0 stands for |E m/sqrt(v)|."""
    kap_squared = eta**2 + kap_excess
    g = theory.noisy_direction(eta, kap_squared, others + 1)
    beyond = theory.drift(alpha, others + 1, g, -u) / alpha
    limit = theory.threshold_dimension(eta, kap_squared, -u)
    yield from _noise()
    yield _gradient()
    yield identity(
        r"E\|g_k-G_k\|^2/\|G_k\|^2 = \eta^2",
        theory.relative_error(g, kap_squared, others + 1) ** 2,
        eta**2,
        "the scalar test is an equality for every w",
    )
    yield _laplace()
    yield prose(
        r"m_k/\sqrt{v_k} \to 1 \text{ on coordinate 1, and has mean } u < 0 \text{ on the others}",
        "the gradient's scale cancels while it varies slowly; law of large numbers over d - 1 coordinates",
    )
    yield identity(
        r"((d-1)g|u|)^2 - 1 = (d - d^*)\,\eta^2u^2/(\kappa^2-\eta^2)",
        (beyond + 1) ** 2 - 1,
        (others + 1 - limit) * eta**2 * u**2 / kap_excess,
        "so the drift is uphill if and only if d > d*",
    )


def _noise() -> Iterator[Step]:
    """The two-point law has mean 1 and the stated variance."""
    high = rare_value(delta, p)
    yield identity(r"E X = -(1-p)\delta + p\,x_1 = 1", -(1 - p) * delta + p * high, 1)
    yield identity(
        r"E(X-1)^2 = (1+\delta)^2(1-p)/p",
        (1 - p) * (1 + delta) ** 2 + p * (high - 1) ** 2,
        rare_variance(delta, p),
    )


def _gradient(length: int = 3) -> Step:
    """grad L is a multiple of a, with a factor of the sign of a.w."""
    weights, a = sympy.symbols(f"w1:{length + 1}", real=True), sympy.symbols(f"a1:{length + 1}", real=True)
    product = sum(x * y for x, y in zip(weights, a, strict=True))
    loss = sympy.sqrt(1 + product**2) - 1
    slope = product / sympy.sqrt(1 + product**2)
    residuals = [sympy.diff(loss, w) - slope * x for w, x in zip(weights, a, strict=True)]
    return vanishing(r"\nabla L(w) = \frac{a\cdot w}{\sqrt{1+(a\cdot w)^2}}\,a", lambda: residuals)


def _laplace() -> Step:
    """The integral by which E m/sqrt(v) is computed."""
    t, v = sympy.symbols("t v", positive=True)
    factor = 2 / sympy.sqrt(sympy.pi)
    return vanishing(
        r"v^{-1/2} = \frac{2}{\sqrt\pi}\int_0^\infty e^{-vt^2}dt",
        lambda: [factor * sympy.integrate(sympy.exp(-v * t**2), (t, 0, sympy.oo)) - 1 / sympy.sqrt(v)],
        "v is a sum of independent terms, so that its expectation is a product under the integral",
    )


@proves(
    "scalar test, smallest threshold",
    "the smallest dimension for RMSProp without memory",
    r"At $\beta_1 = 0$, $\beta_2 \to 0$ the step is the sign, $u = 2p-1$, and for $0 < p < 1/2$ the "
    r"threshold $d\eta^2 \approx \kappa^2/u^2 \ge \varphi^5 = 11.09$, $\varphi = (1+\sqrt5)/2$, as "
    r"$\delta \to 0$ at $p = (3-\sqrt5)/4$.",
    source="this project",
)
def smallest_threshold(constant: Any = GOLDEN**5) -> Iterator[Step]:
    """At beta1 = 0, beta2 -> 0 and delta -> 0: kap^2/u^2 >= ``constant``, attained."""
    best = (3 - sympy.sqrt(5)) / 4
    mean_step = 2 * p - 1
    value = rare_variance(0, p) / mean_step**2
    cleared = (1 - p) - constant * p * mean_step**2
    yield identity(r"\kappa^2 = (1-p)/p \text{ at } \delta = 0", rare_variance(0, p), (1 - p) / p)
    yield identity(
        r"(1-p) - \varphi^5 p(1-2p)^2 = 4\varphi^5 (p-p^*)^2 (1/\varphi - p) \ge 0, \quad p < 1/2",
        sympy.expand(cleared),
        sympy.expand(4 * GOLDEN**5 * (p - best) ** 2 * (1 / GOLDEN - p)),
        "1/phi = .618 > 1/2",
    )
    yield nonnegative(
        r"1/\varphi - p \ge 0 \text{ for } p \le 1/2",
        sympy.nsimplify(sympy.Rational(6, 10)) - p,
        [n],
        {p: sympy.Rational(1, 2) / (1 + n)},
        "with .6 < 1/phi",
    )
    yield identity(r"\kappa^2/u^2 = \varphi^5 \text{ at } p^*", sympy.radsimp(value.subs(p, best)), constant)
