r"""Samples where gaps contract: a concave potential of the gap, and what a constant batch needs."""

from __future__ import annotations

import sympy

from proofs.adam.symbols import PROBLEM, alpha, gap, smoothness
from proofs.other_optimizers.sgd import sgd_theorem
from proofs.steps import Derivation, by_lemma, identity, nonnegative, prose, proves, vanishing
from theory.other_optimizers.sgd import best_step_size, descent_per_step
from theory.samples import contraction as theory
from theory.samples.goal import Goal

__all__ = ["constant_batch", "contracting_gaps"]

eta, level, variance, curvature = sympy.symbols("eta e sigma2 mu", positive=True)
x, q = sympy.symbols("x q", positive=True)
s, t = sympy.symbols("s t", nonnegative=True)
GOAL = Goal(level=level, noise=variance)
ABOVE = {q: 1 / (1 + s)}
"""0 < q < 1."""


def reciprocal_potential(value: sympy.Expr, weight: sympy.Expr) -> sympy.Expr:
    """-c / x, for x >= e = 1."""
    return -weight / value


def tangent(value: sympy.Expr, weight: sympy.Expr) -> sympy.Expr:
    """Its tangent at e = 1, by which it is continued to [0, 1): concave, and at least -2 c."""
    return weight * (value - 2)


@proves(
    "samples of SGD, contracting gaps",
    "SGD under the Polyak-Lojasiewicz condition: no logarithm in the samples",
    r"Let $\|\nabla L\|^2 \ge 2\mu(L-\inf L)$ everywhere, let SGD take a step size $\alpha$ with $q = "
    r"1-2\mu\alpha(1-\alpha L(1+\eta^2)/2) \in (0,1)$ and the smallest batches that pass the exact norm test, "
    r"and let $T$ be the number of steps before the first $k$ with $L(w_k)-\inf L \le e$. Then $E\,T \le "
    r"(1+\ln(\Delta/e))/(1-q)$ and $E\sum_{k\le T}b_k \le E\,T + "
    r"\frac{\sigma^2}{2\mu\eta^2(1-q)}(2/e-1/\Delta)$.",
    source="this project",
    uses=("SGD",),
)
def contracting_gaps() -> Derivation:
    """Two concave potentials of the gap; e = 1 without loss of generality, by scaling the objective."""
    c = 1 / (1 - q)
    yield by_lemma(r"L(w_k) - E_kL(w_{k+1}) \ge \text{descent}\cdot\|G_k\|^2", sgd_theorem)
    yield identity(
        r"E_k[\text{gap}'] \le q\,\text{gap}, \quad q = 1 - 2\mu\cdot\text{descent}",
        x - descent_per_step(smoothness, alpha, eta) * 2 * curvature * x,
        theory.contraction(PROBLEM, curvature, alpha, eta) * x,
    )
    yield prose(
        r"F \text{ concave, increasing}: E_kF(\text{gap}') \le F(q\,\text{gap})", "Jensen's inequality, twice"
    )
    # x >= 1/q: both values on the hyperbola. x in [1, 1/q]: x = 1 + t/(1+t) (1/q - 1).
    inside = {x: 1 + t / (1 + t) * s, **ABOVE}
    yield nonnegative(
        r"F(x)-F(qx) \ge 1/x, \; F = -c/x, \; qx \ge e",
        (reciprocal_potential(x, c) - reciprocal_potential(q * x, c) - 1 / x).subs(x, (1 + t) / q),
        [s, t],
        ABOVE,
        "c = 1/(1-q), e = 1",
    )
    yield nonnegative(
        r"F(x)-F(qx) \ge 1/x, \; qx \le e \le x, \text{ with the tangent below } e",
        (reciprocal_potential(x, c) - tangent(q * x, c) - 1 / x).subs(inside, simultaneous=True).subs(ABOVE),
        [s, t],
    )
    yield vanishing(
        r"\text{the tangent touches at } e: \text{ value and slope}",
        lambda: [
            tangent(x, c).subs(x, 1) - reciprocal_potential(x, c).subs(x, 1),
            (sympy.diff(tangent(x, c), x) - sympy.diff(reciprocal_potential(x, c), x)).subs(x, 1),
        ],
        "so that F is concave on [0, oo): -c/x is, and a tangent continues it",
    )
    yield from _steps()
    yield from _sums(c)


def _steps() -> Derivation:
    """The same with ln x, continued by its tangent x - 1 at e = 1."""
    yield prose(r"-\ln q \ge 1-q", "ln y <= y - 1")
    yield prose(
        r"\ln x - (qx-1) \ge 1-q \text{ on } [1, 1/q]",
        "concave in x: the ends decide, 1 - q at x = 1 and -ln q at x = 1/q",
    )
    yield identity(
        r"\ln x - (qx-1) \text{ at } x = 1, \; 1/q",
        (sympy.log(x) - (q * x - 1)).subs(x, 1) + (sympy.log(x) - (q * x - 1)).subs(x, 1 / q),
        2 - q + sympy.log(1 / q) - 1,
    )
    found = theory.steps_to_gap(PROBLEM, GOAL, curvature=curvature, step_size=alpha, eta=eta)
    yield identity(
        r"(1-q)\,\text{bound on } E\,T = \ln(\Delta/e) - (-1)",
        (1 - found.constants["q"]) * found.value,
        sympy.log(gap / level) + 1,
        "the potential starts at ln(Delta/e) and never falls below -1, its value at a gap of 0",
    )


def _sums(c: sympy.Expr) -> Derivation:
    found = theory.samples_to_gap(PROBLEM, GOAL, curvature=curvature, step_size=alpha, eta=eta)
    start, least = reciprocal_potential(gap / level, c), tangent(sympy.Integer(0), c)
    yield identity(
        r"e\,E\sum_{k\le T}1/\text{gap}_k \le F(\Delta/e) - F(0) = c\,(2 - e/\Delta)",
        (start - least).subs(q, found.constants["q"]),
        level * found.constants["sum of 1 / gap"],
    )
    yield identity(
        r"\frac{\sigma^2}{\eta^2\|G_k\|^2} \le \frac{\sigma^2}{2\mu\eta^2}\,\frac1{\text{gap}_k}",
        variance / (2 * curvature * eta**2) * found.constants["sum of 1 / gap"],
        found.terms["noise"],
        "b_k <= 1 + sigma^2/(eta^2 ||G_k||^2)",
    )
    at_best = {alpha: best_step_size(smoothness, eta)}
    yield identity(
        r"\alpha = 1/(L(1+\eta^2)), \Delta = e: \; (1+1/\eta^2)\,L\sigma^2/(2\mu^2e)",
        found.terms["noise"].subs(at_best).subs(gap, level),
        (1 + 1 / eta**2) * smoothness * variance / (2 * curvature**2 * level),
        "attained: mu = L, X in {0, 1 + eta^2} stays at the gap e a geometric time of mean 1 + eta^2",
    )


@proves(
    "constant batch",
    "what SGD needs with a constant batch",
    r"Let SGD with a constant batch $b$ and a step size $\alpha = a/\mu$, $0 < a < 1$, run on $L(w) = \mu "
    r"w^2/2$, where the gradient of one sample has the variance $\sigma^2$. If after $K$ steps $E\,L(w_{K+1}) "
    r"\le e < \Delta$, then the run has used $Kb \ge \varphi(a)\ln(\Delta/e)\,\sigma^2/(4\mu e)$ samples, "
    r"with $\varphi(a) = a/((2-a)(-\ln(1-a)))$, which falls from $1/2$ as $a$ grows.",
    source="this project",
)
def constant_batch() -> Derivation:
    """The exact recursion of the expected gap; its stationary part and its number of steps, each from below."""
    a, batch, value, share = sympy.symbols("a b w2 xi", positive=True)
    stationary = a * variance / (2 * curvature * batch * (2 - a))
    yield identity(
        r"E[\text{gap}'] = (1-a)^2\,\text{gap} + a^2\sigma^2/(2\mu b), \text{ stationary at } "
        r"\frac{a\sigma^2}{2\mu b(2-a)}",
        (1 - a) ** 2 * stationary + curvature / 2 * (a / curvature) ** 2 * variance / batch,
        stationary,
    )
    yield identity(
        r"\tfrac\mu2(1-a)^2w^2 = (1-a)^2\,\text{gap}",
        curvature / 2 * (1 - a) ** 2 * value,
        (1 - a) ** 2 * (curvature * value / 2),
    )
    # xi = (1-a)^(2K) Delta / e in (0, 1]: E gap = xi e + stationary (1 - xi e / Delta) <= e.
    yield nonnegative(
        r"\frac{1-\xi e/\Delta}{1-\xi} \ge 1: \; \text{stationary} \le e\,\frac{1-\xi}{1-\xi e/\Delta} \le e",
        (1 - share * level / gap) / (1 - share) - 1,
        [s, t, level],
        {share: 1 / (1 + s + level), gap: level + t},
        "so b >= a sigma^2 / (2 mu e (2 - a)); e <= Delta, xi < 1 (at xi = 1 by continuity)",
    )
    needed = theory.constant_batch_samples(PROBLEM, GOAL, curvature=curvature, step_size=a / curvature)
    yield identity(
        r"\frac{a\sigma^2}{2\mu e(2-a)}\cdot\frac{\ln(\Delta/e)}{-2\ln(1-a)} = \text{bound}",
        a * variance / (2 * curvature * level * (2 - a)) * sympy.log(gap / level) / (-2 * sympy.log(1 - a)),
        needed,
        "K >= ln(Delta/e) / (-2 ln(1-a)), as xi <= 1",
    )
    factor = theory.constant_batch_factor(a)
    yield vanishing(r"\varphi(0+) = 1/2", lambda: [sympy.limit(factor, a, 0, "+") - sympy.Rational(1, 2)])
    yield identity(
        r"\frac{d}{da}\ln\varphi = \frac{2}{a(2-a)} - \frac{1}{(1-a)(-\ln(1-a))}",
        sympy.diff(sympy.log(factor), a) - (2 / (a * (2 - a)) + 1 / ((1 - a) * sympy.log(1 - a))),
        0,
    )
    y = sympy.Symbol("y", positive=True)
    yield identity(
        r"\frac{2}{a(2-a)} = \frac{1}{(1-a)\sinh y} \le \frac{1}{(1-a)\,y}, \; y = -\ln(1-a)",
        (2 / (a * (2 - a))).subs(a, 1 - sympy.exp(-y)),
        (sympy.exp(y) / sympy.sinh(y)).rewrite(sympy.exp),
        "sinh y >= y: the derivative is not positive",
    )
