r"""Lemma L5, the key inequality: a parabola below the normalised response.

It holds for every real x and is shown on four ranges: x < 0, 0 <= x <= 1, 1 <= x <= y and x >= y, with
y = 1 + eta^2. Everything is derived from :func:`theory.adam.key_inequality.minorant` itself: its tangent at y, its
slope and its curvature are computed, not retyped.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy

from proofs.adam.symbols import KAPPA_RHO, noise
from proofs.composition import Assumption, Conclusion, Ground, assumed, composed, granted
from proofs.relations import Range, Relation, equation, named
from proofs.steps import Derivation, Expression, Step, all_of, identity, nonnegative, proves
from proofs.sums import response, root_of_one
from theory.adam.constants import alignment_at, squared_noise_growth
from theory.adam.key_inequality import minorant as theory_minorant
from theory.adam.key_inequality import normalized_response

__all__ = ["UNIT", "lemma_l5", "mean", "minorant_mean"]

s, a, p, z, w = sympy.symbols("s a p z w", nonnegative=True)
x, u, y = sympy.symbols("x u y", positive=True)
rho = sympy.Symbol("rho", positive=True)
eta = noise

UNIT = Range(noise, 0, 1, power=2)
ETA, b = UNIT.parametrised, UNIT.variable
"""eta in [0, 1], as b ranges over [0, oo]; eta = 1 follows by continuity."""
mean = named("mean", r"E P(X)", real=True)
"""Of the parabola P on the right, at s."""


@proves(
    "L5",
    "key inequality",
    r"Let $s \ge 0$, $\rho \ge 1$, $0 \le \eta \le 1$, $y = 1+\eta^2$, $t = s(s+1)/(s+y^2)^2$ and "
    r"$f_s(x) = x/\sqrt{s+x^2}$ for $x \ge 0$, $\rho$ times that for $x < 0$. For all real $x$, "
    r"$\sqrt{s+1}\, f_s(x) \ge 1 + t(x-1) - (1+\rho)(x/y-1)^2$. Hence, where $E X = 1$ and "
    r"$\mathrm{Var} X \le \eta^2$:",
    concludes=tuple(
        Conclusion(
            Relation(left, ">=", right, {KAPPA_RHO: alignment_at(rho, eta)}, (UNIT, Range(rho, 1))),
            frozenset({Assumption.NORMALIZED}),
        )
        for left, right in ((response(rho), KAPPA_RHO * root_of_one), (mean, KAPPA_RHO))
    ),
    source="corrected Theorem 1",
)
def lemma_l5(least_amplification: int | Expression = 1) -> Derivation:
    """The response, the parabola below it and kappa, for all rho >= ``least_amplification``."""
    pointwise = yield from all_of(
        _negative(least_amplification), _below_one(least_amplification), _up_to_y(), _beyond_y(least_amplification)
    )
    yield from _expectation(least_amplification, pointwise)
    yield from _sharpness()


def _negative(least: Expression) -> Derivation:
    """x = -u < 0: the left side is at least -rho max(1, u), the right side at most that."""
    squared = (s + 1) * normalized_response(u, s) ** 2
    right = theory_minorant(-u, s, ETA, least + p)
    yield nonnegative(
        r"(s+1)u^2/(s+u^2) \le 1, \quad 0 < u \le 1",
        1 - squared,
        [s, a],
        {u: 1 / (1 + a)},
        "the left side is at least -rho",
    )
    yield nonnegative(
        r"(s+1)u^2/(s+u^2) \le u^2, \quad u \ge 1",
        u**2 - squared,
        [s, a],
        {u: 1 + a},
        "the left side is at least -rho u",
    )
    yield nonnegative(
        r"1 - t(u+1) - (1+\rho)(u/y+1)^2 \le -\rho, \quad u \ge 0", -(least + p) - right, [s, b, p, u]
    )
    yield nonnegative(
        r"1 - t(u+1) - (1+\rho)(u/y+1)^2 \le -\rho u, \quad u \ge 1",
        -(least + p) * u - right,
        [s, b, p, a],
        {u: 1 + a},
        "y <= 2",
    )


def _below_one(least: Expression) -> Derivation:
    """0 <= x <= 1: the root by the arithmetic-geometric mean, then positive coefficients."""
    half = 1 / (2 * (s + 1))
    mean = 1 - half * (1 - x**2)
    unit = {x: 1 - 1 / (1 + a)}
    yield nonnegative(
        r"\sqrt{(s+x^2)/(s+1)} \le 1 - (1-x^2)/(2(s+1)), \text{ squared}",
        mean**2 - (x / normalized_response(x, s)) ** 2 / (s + 1),
        [s, a],
        unit,
        "arithmetic-geometric mean",
    )
    yield nonnegative(r"1 - (1-x^2)/(2(s+1)) \ge 0", mean, [s, a], unit)
    yield nonnegative(
        r"\rho = 1 \text{ is worst}",
        theory_minorant(x, s, eta, least) - theory_minorant(x, s, eta, least + p),
        [p, w, eta],
        {x: (1 + eta**2) * (1 - w)},
        "the difference is rho - 1 times a square",
    )
    yield nonnegative(
        r"\frac{x}{1-(1-x^2)/(2(s+1))} \ge 1 + t(x-1) - 2(x/y-1)^2, \quad 0 \le x \le 1 \le y \le 2",
        x / mean - theory_minorant(x, s, ETA, least),
        [s, a, b],
        unit,
    )


def _tangent(noise: Expression) -> tuple[Expression, Expression]:
    """The minorant's tangent at x = y as (value, slope): 1 + t (y - 1) and t."""
    point = squared_noise_growth(noise)
    parabola = theory_minorant(x, s, noise, rho)
    return parabola.subs(x, point), sympy.diff(parabola, x).subs(x, point)


def _up_to_y() -> Derivation:
    """1 <= x <= y: the tangent at y lies above the parabola and, squared, below (s + 1) f^2."""
    noise = sympy.sqrt(y - 1)
    value, slope = _tangent(noise)
    line = value + slope * (x - y)
    ordered = {x: 1 + z, y: 1 + z + w}
    yield identity(
        r"1 + t(x-1) - [\text{parabola}] = (1+\rho)(x/y-1)^2 \ge 0",
        line - theory_minorant(x, s, noise, rho),
        (1 + rho) * (x / y - 1) ** 2,
    )
    yield nonnegative(r"1 + t(x-1) \ge 0, \quad 1 \le x \le y", line, [s, z, w], ordered)
    yield nonnegative(
        r"(s+1)x^2/(s+x^2) \ge (1 + t(x-1))^2, \quad 1 \le x \le y",
        (s + 1) * normalized_response(x, s) ** 2 - line**2,
        [s, z, w],
        ordered,
    )


def _beyond_y(least: Expression) -> Derivation:
    """x >= y: the difference is >= 0 at y, its slope is >= 0 there, and it is convex."""
    noise = sympy.sqrt(y - 1)
    _, slope = _tangent(noise)
    left = sympy.sqrt(s + 1) * normalized_response(x, s)
    first, second = sympy.diff(left, x), sympy.diff(left, x, 2)
    convexity = -sympy.diff(theory_minorant(x, s, ETA, least + p), x, 2)
    yield nonnegative(
        r"h'(y)^2 \ge t^2, \quad h(x) = \sqrt{s+1}\, x/\sqrt{s+x^2}",
        sympy.simplify(first.subs(x, y) ** 2) - slope**2,
        [s, w],
        {y: 1 + w},
        "the difference is >= 0 at y by the range before",
    )
    yield nonnegative(
        r"h''(x)^2 \le (3 s x/(s+x^2)^2)^2, \quad x \ge 1",
        (3 * s * x / (s + x**2) ** 2) ** 2 - sympy.simplify(second**2),
        [s, a],
        {x: 1 + a},
    )
    yield identity(
        r"1/(4x) - s x/(s+x^2)^2 = (s-x^2)^2/(4x(s+x^2)^2)",
        1 / (4 * x) - s * x / (s + x**2) ** 2,
        (s - x**2) ** 2 / (4 * x * (s + x**2) ** 2),
        "so h'' >= -3/(4x) >= -3/4",
    )
    yield nonnegative(r"2(1+\rho)/y^2 - 3/4 \ge 0", convexity - sympy.Rational(3, 4), [s, b, p])


def minorant_mean(noise: Expression, amplification: Expression, variance: Expression) -> Expression:
    """E of the parabola at X with mean 1 and this variance."""
    parabola = sympy.Poly(sympy.expand(theory_minorant(x, s, noise, amplification)), x)
    return sum(parabola.coeff_monomial(x**power) * moment for power, moment in enumerate((1, 1, 1 + variance)))


def _expectation(least: Expression, pointwise: Sequence[Step]) -> Derivation:
    """The parabola's expectation is at least kappa, and sqrt(s + 1) E f_s(X) is at least that."""
    variance = named("Var", r"\mathrm{Var} X", nonnegative=True)
    ranges = (UNIT, Range(rho, least))
    moments = yield equation(
        mean,
        minorant_mean(eta, rho, variance),
        "P the parabola, E X = 1",
        {mean: minorant_mean(eta, rho, variance)},
    )
    bounded = yield composed(
        Relation(mean, ">=", KAPPA_RHO, {KAPPA_RHO: alignment_at(rho, eta)}, ranges),
        (moments, assumed(Relation(variance, "<=", eta**2), Assumption.NORMALIZED)),
        (mean, variance),
        frozenset({Assumption.NORMALIZED}),
    )
    yield composed(
        Relation(response(rho), ">=", KAPPA_RHO * root_of_one, {KAPPA_RHO: alignment_at(rho, eta)}, ranges),
        (granted(Relation(response(rho), ">=", root_of_one * mean), Ground.EXPECTATION, *pointwise), bounded),
        (response(rho), mean),
        frozenset({Assumption.NORMALIZED}),
    )


def _sharpness() -> Derivation:
    """s = 0, X in {0-, y} with probabilities eta^2 / y and 1 / y."""
    top = squared_noise_growth(eta)
    high = 1 / top
    yield identity(r"E X = 1 \text{ for } P(X=y) = 1/y, P(X=0-) = \eta^2/y", high * top, 1)
    yield identity(r"\mathrm{Var} X = \eta^2 \text{ for this } X", high * top**2 - 1, eta**2)
    yield identity(
        r"E f_0(X) = \kappa \text{ for this } X\text{: L5 is sharp}",
        high * normalized_response(u, 0) - (1 - high) * rho * normalized_response(u, 0),
        alignment_at(rho, eta),
    )
