r"""The integrals of learning-rate shapes: their derivatives are the powers that they integrate."""

from __future__ import annotations

import sympy

from proofs.relations import certified, equation, named
from proofs.steps import Derivation, prose, proves, vanishing
from theory.schedules.shapes import OneMinusSqrt, Power, StableThenDecay

__all__ = ["shapes"]

m, e, y, excess = sympy.symbols("m e y t", positive=True)


@proves(
    "shapes",
    "the integrals of learning-rate shapes",
    r"The functions that compute $\int_x^1p^e$ have the derivative $-p(x)^e$ and are 0 at $x = 1$, for the "
    r"shapes $(1-x)^m$, $1-\sqrt x$, $\cos(\pi x/2)^m$, and a constant followed by one of them.",
    source="elementary",
)
def shapes() -> Derivation:
    """By the functions that schedules use, at x = 1 - y; the cosine by its incomplete beta integral."""
    for name, shape in (("(1-x)^m", Power(m)), (r"1-\sqrt x", OneMinusSqrt())):
        x = 1 - y**2 if name == "(1-x)^m" else y**2
        left = shape.remaining(x, e)
        slope = sympy.diff(left, y) / sympy.diff(x, y)
        integrand = named(f"slope of {name}", rf"-\frac{{d}}{{dx}}\int_x^1p^e, \; p = {name}", real=True)
        yield equation(integrand, shape(x) ** e, "at x = y^2, or 1 - y^2", {integrand: -slope})
    yield from _stable_then_decay()
    yield from _cosine()
    yield prose(r"\text{all of them are 0 at } x = 1", "an integral from 1 to 1")


def _opened(expression: sympy.Expr) -> sympy.Expr:
    """Max(0, a) is a or 0, whichever is certified."""
    return expression.replace(
        sympy.Max, lambda *parts: next((p for p in parts if p != 0 and certified(p, ()).holds), sympy.Integer(0))
    )


def _stable_then_decay() -> Derivation:
    """Before the decay at (1 - x) = f (1 + t), within it at (1 - x) = f / (1 + t); 0 < f <= 1 is 1 / (1 + y)."""
    fraction = 1 / (1 + y)
    shape = StableThenDecay(fraction, Power(m))
    for name, left in ((r"1-x = f(1+t)", fraction * (1 + excess)), (r"1-x = f/(1+t)", fraction / (1 + excess))):
        remaining = _opened(shape.remaining(1 - left, e))
        slope = sympy.diff(remaining, excess) / sympy.diff(left, excess)
        integrand = named(f"slope at {name}", rf"-\frac{{d}}{{dx}}\int_x^1p^e, \; {name}", real=True)
        yield equation(integrand, _opened(shape(1 - left)) ** e, "f = 1 / (1 + y)", {integrand: slope})


def _cosine() -> Derivation:
    """t = sin(pi (1 - x) / 2)^2 makes it 1 / pi of an incomplete beta integral of a = (m e + 1) / 2 and 1/2."""
    angle = sympy.Symbol("phi", positive=True)  # pi (1 - x) / 2
    a = (m * e + 1) / 2
    sine, cosine = sympy.sin(angle), sympy.cos(angle)
    inside = (sine**2) ** (a - 1) * (1 - sine**2) ** sympy.Rational(-1, 2) * 2 * sine * cosine / sympy.pi
    yield vanishing(
        r"\frac1\pi t^{a-1}(1-t)^{-1/2}\frac{dt}{d\varphi} = \frac2\pi\sin(\varphi)^{me}, \; t = \sin(\varphi)^2, "
        r"\varphi = \pi(1-x)/2",
        lambda: [_over(inside, sine, cosine) - 2 / sympy.pi],
        "so the integral is one of a power of the sine",
    )
    beta = named("beta_function", r"B(a, \frac12)", positive=True)
    yield equation(
        beta / sympy.pi,
        sympy.gamma(a) / sympy.gamma(a + sympy.Rational(1, 2)) / sympy.sqrt(sympy.pi),
        "the factor of the regularised integral",
        {beta: sympy.gamma(a) * sympy.gamma(sympy.Rational(1, 2)) / sympy.gamma(a + sympy.Rational(1, 2))},
    )


def _over(inside: sympy.Expr, sine: sympy.Expr, cosine: sympy.Expr) -> sympy.Expr:
    """The integrand over sin^{me}, with sin = s and cos = sqrt(1 - s^2) for an angle below pi / 2."""
    s = 1 / sympy.sqrt(1 + y**2)
    value = inside.subs({cosine: y / sympy.sqrt(1 + y**2)}).subs(sine, s) / s ** (m * e)
    return sympy.simplify(sympy.powsimp(sympy.expand_power_base(sympy.powdenest(value, force=True), force=True)))
