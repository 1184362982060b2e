r"""Lemma M: to a Stieltjes function, noise of mean 1 and variance <= eta^2 is at worst a mixture of 1 and 0."""

from __future__ import annotations

import sympy

from proofs.steps import Derivation, Step, identity, nonnegative, prose, proves, vanishing
from theory.adam_sharp import constants

__all__ = ["lemma_m"]


@proves(
    "M",
    "noise as a mixture",
    r"Let $E X=1$, $\mathrm{Var} X\le\eta^2\le1$, $F(z)=1/(\sqrt z+\epsilon)$, $\epsilon\ge0$. Then "
    r"$E F(A+X^2)\le(1-\eta^2)F(A+1)+\eta^2F(A)$ for all $A\ge0$.",
    source="Theorem 2, lemma M",
)
def lemma_m() -> Derivation:
    """Lemma M, with theory's right-hand side."""
    A, t, u, V = sympy.symbols("A t u V", positive=True)
    eta = sympy.Symbol("eta", positive=True)
    x = sympy.Symbol("x", real=True)
    f = 1 / (A + x**2)  # the extreme ray of Stieltjes functions of x^2
    at_one, at_zero = f.subs(x, 1), f.subs(x, 0)
    majorant = at_one + sympy.diff(f, x).subs(x, 1) * (x - 1) + (at_zero - at_one) * (x - 1) ** 2
    remainder = ((A - x) ** 2 + A**2 + A * x**2) / (A * (A + x**2) * (A + 1) ** 2)
    yield identity(
        r"$f(1)+f'(1)(x-1)+(f(0)-f(1))(x-1)^2-f(x) = (x-1)^2\frac{(A-x)^2+A^2+Ax^2}{A(A+x^2)(A+1)^2}$ "
        r"for $f(x)=1/(A+x^2)$",
        majorant - f,
        (x - 1) ** 2 * remainder,
        "a parabola with f's value and slope at 1 and curvature f(0) - f(1) lies above f",
    )
    yield nonnegative(r"the right side is nonnegative for $x=-u\le0$", remainder, [A, u], {x: -u})
    yield nonnegative(r"and for $0\le x\le A$", remainder, [x, t], {A: x + t})
    yield nonnegative(r"and for $x\ge A$", remainder, [A, t], {x: A + t})
    yield nonnegative(
        r"$E f(X)\le f(1)+V(f(0)-f(1))\le(1-\eta^2)f(1)+\eta^2f(0)$ for $V=\mathrm{Var} X\le\eta^2$",
        constants.mixture(at_one, at_zero, eta) - (at_one + V * (at_zero - at_one)),
        [A, V, t],
        {eta: sympy.sqrt(V + t)},
        "the linear term has mean 0, and f(0) >= f(1)",
    )
    yield _stieltjes()
    yield prose(
        r"$E F(A+X^2)\le(1-\eta^2)F(A+1)+\eta^2F(A)$",
        "F is a mixture of the kernels 1 / (z + t) with a nonnegative density (A + t for A): Fubini. Where "
        "F(A) is infinite (A = 0, epsilon = 0) nothing is claimed.",
    )


def _stieltjes() -> Step:
    """1 / (Z + e) = (1 / pi) int_0^oo 2 p^2 dp / ((p^2 + e^2) (p^2 + Z^2)); e = 0 gives 1 / Z."""
    p, Z, e = sympy.symbols("p Z e", positive=True)

    density = 2 * p**2 / ((p**2 + e**2) * (p**2 + Z**2))
    primitive = 2 * (Z * sympy.atan(p / Z) - e * sympy.atan(p / e)) / (Z**2 - e**2)
    return vanishing(
        r"$\frac{1}{\sqrt z+\epsilon}=\frac1\pi\int_0^\infty\frac{\sqrt t}{t+\epsilon^2}\,\frac{dt}{z+t}$",
        lambda: [
            sympy.diff(primitive, p) - density,
            (sympy.limit(primitive, p, sympy.oo) - primitive.subs(p, 0)) / sympy.pi - 1 / (Z + e),
        ],
        "both functions are Stieltjes functions; t = p^2, z = Z^2, epsilon = e (e = 0 and e = Z by continuity)",
    )
