r"""Samples grow at least as the square of the steps; Markov's inequality, and that second moments give no more."""

from __future__ import annotations

import sympy

from proofs.steps import Derivation, identity, nonnegative, prose, proves
from theory.adam.constants import squared_noise_growth
from theory.samples import growth as theory

__all__ = ["one_run", "square_of_the_steps"]

noise, eta, steps, total = sympy.symbols("n eta K X", positive=True)
odds, excess = sympy.symbols("o e", nonnegative=True)


@proves(
    "samples grow as the square of the steps",
    "a run that obeys a norm test pays at least the square of its steps",
    r"If the batches obey $b_k \ge (n/(\eta x_k))^2$ at every step, as those of a norm test do where the "
    r"noise of one sample is $n$, then $E\sum_{k\le K}b_k \ge (n/\eta)^2K^3/X^2$ with $X = \sum_{k\le "
    r"K}E\,x_k$, with equality where all $x_k$ are equal to one number and the batches are as small as they "
    r"may be. Where $X \le C\sqrt K$ this is at least $(n/(\eta C))^2K^2$.",
    source="power mean inequality",
)
def square_of_the_steps() -> Derivation:
    """The tangent of x^-2 at the mean X / K, summed."""
    x = sympy.Symbol("x", positive=True)
    mean = total / steps
    line = 3 / mean**2 - 2 * x / mean**3
    for case, shift in (("x \\ge X/K", {x: mean + excess}), ("x \\le X/K", {total: steps * (x + excess)})):
        yield nonnegative(
            rf"x^{{-2}} \ge 3(X/K)^{{-2}} - 2x(X/K)^{{-3}}, \; {case}",
            (x**-2 - line).subs(shift),
            [excess, total, steps, x],
            reason="the tangent at the mean: x^-2 is convex",
        )
    yield prose(r"\text{expectations and sums of the tangent: } \sum_k E\,x_k = X")
    found = theory.least_samples(noise=noise, eta=eta, steps=steps, gradient_sum=total)
    yield identity(
        r"(n/\eta)^2[3K(X/K)^{-2} - 2X(X/K)^{-3}] = (n/\eta)^2K^3/X^2",
        (noise / eta) ** 2 * (3 * steps / mean**2 - 2 * total / mean**3),
        found,
    )
    constant = sympy.Symbol("C", positive=True)
    yield identity(
        r"X = C\sqrt K: \; (n/(\eta C))^2K^2",
        found.subs(total, constant * sympy.sqrt(steps)),
        (noise / (eta * constant)) ** 2 * steps**2,
    )
    yield identity(r"x_k = x: \text{ equality}", found.subs(total, steps * x), steps * (noise / (eta * x)) ** 2)


@proves(
    "one run",
    "what a bound on an expectation says of one run, and that second moments say no more",
    r"If $Y \ge 0$ and $E\,Y \le S$, then $P(Y > S/\delta) \le \delta$. And a bound on second moments gives "
    r"no more: for SGD on $w^2/2$ at $\alpha = 1/(1+\eta^2)$, whenever $\delta \le 1/2$ and "
    r"$(1-\delta)/\delta \ge 4\eta^2$, there is a law of the noise with mean 0 and the largest variance that "
    r"the norm test allows, under which $G_1^2+G_2^2$, whose mean is $(2-\alpha)G_1^2$, exceeds "
    r"$\frac{(\alpha\eta)^2}{8\delta}G_1^2$ with a probability of at least $\delta$.",
    source="Markov's inequality; this project",
)
def one_run() -> Derivation:
    """Markov's inequality, and an instance on which it is right up to a constant."""
    delta, bound = sympy.symbols("delta S", positive=True)
    yield identity(
        r"\delta\cdot S/\delta = S: \; S \ge E\,Y \ge (S/\delta)\,P(Y > S/\delta)",
        delta * theory.with_probability(bound, delta),
        bound,
    )
    root = sympy.sqrt(odds)  # (1 - delta) / delta = o, so that delta = 1 / (1 + o)
    chance = 1 / (1 + odds)
    rare, usual = theory.large_value(eta, chance), 1 - eta / root
    yield identity(r"E X = 1", sympy.simplify(chance * rare + (1 - chance) * usual), 1)
    yield identity(
        r"\mathrm{Var}\,X = \eta^2",
        sympy.simplify(chance * (rare - 1) ** 2 + (1 - chance) * (usual - 1) ** 2),
        eta**2,
    )
    step = 1 / squared_noise_growth(eta)
    after = theory.gradient_after(eta, rare)
    size = sympy.Symbol("r", positive=True)  # sqrt((1 - delta) / delta)
    yield identity(
        r"G_2/G_1 = -\alpha\eta(r-\eta), \; r^2 = (1-\delta)/\delta",
        sympy.simplify(after.subs(odds, size**2)),
        -step * eta * (size - eta),
    )
    # r = 2 eta + e and r = 1 + ... : (r - eta)^2 >= r^2/4 and r^2 >= 1/(2 delta) where delta <= 1/2.
    yield nonnegative(
        r"(r-\eta)^2 \ge r^2/4 \text{ for } r \ge 2\eta",
        ((size - eta) ** 2 - size**2 / 4).subs(size, 2 * eta + excess),
        [eta, excess],
    )
    yield nonnegative(
        r"(1-\delta)/\delta \ge 1/(2\delta) \text{ for } \delta \le 1/2",
        ((1 - delta) / delta - 1 / (2 * delta)).subs(delta, sympy.Rational(1, 2) / (1 + excess)),
        [excess],
        reason="so G_2^2 >= (alpha eta)^2 / (8 delta) G_1^2",
    )
    yield identity(
        r"E[G_1^2+G_2^2] = (2-\alpha)\,G_1^2, \; E(1-\alpha X)^2 = 1-\alpha",
        1 + 1 - 2 * step + step**2 * squared_noise_growth(eta),
        2 - step,
    )
