r"""The test on estimated variances: Cantelli's inequality and the variance of the estimated margin."""

from __future__ import annotations

import itertools
from collections.abc import Generator, Sequence
from typing import Any

import numpy as np
import sympy

from proofs.calculus import square as squared_of
from proofs.composition import Ground, by_cases, composed, from_step, granted, summed
from proofs.relations import Relation, equation, inequality, named
from proofs.steps import (
    Derivation,
    Evidence,
    Step,
    all_of,
    checked,
    identity,
    nonnegative,
    prose,
    proves,
    vanishing,
)
from theory.training import estimated_variance as theory

__all__ = ["estimated_test"]


eta = sympy.Symbol("eta", positive=True)
variance, margin, more, delta = sympy.symbols("V m h delta", positive=True)
trace, largest, square, groups = sympy.symbols("t l t_2 J", positive=True)


@proves(
    "estimated test",
    "how often the estimated test passes when it should not",
    r"Let the gradients of $J$ groups be independent, with one law. If $V = \mathrm{tr}\,S/J \ge "
    r"(1+\delta)\eta^2\|G\|^2$, so that the norm test at $\eta$ is violated by the factor $1+\delta$, then "
    r"the estimated test $\hat V \le \eta^2(\|\bar g\|^2-\hat V)$ passes with probability at most "
    r"$W/(W+(\delta/(1+\delta))^2)$, with $W = (\sqrt{\beta/J}+2\eta\sqrt{\nu/(1+\delta)})^2 + "
    r"2(1+\eta^2J)^2/(J(J-1)r_e)$.",
    source="this project",
)
def estimated_test() -> Derivation:
    """The margin, the bound on its variance and the tail inequality."""
    yield _decomposition()
    yield from _expectation()
    parts = yield from all_of(_variances())
    yield from _cantelli(parts)
    yield _enumeration()
    yield from _student()


def _decomposition() -> Step:
    """Z in terms of Y_j = g_j - G: a linear part and the products of different groups."""
    gradient, along, own, products = sympy.symbols("G2 a T U", real=True)  # ||G||^2, <G, Y-bar>, T, U
    squares = groups * (gradient + 2 * along) + own
    norm = gradient + 2 * along + (own + 2 * products) / groups**2
    weight = 2 * (1 + eta**2 * groups) / (groups**2 * (groups - 1))
    return identity(
        r"Z = \eta^2\|G\|^2 + 2\eta^2\langle G,\bar Y\rangle - T/J^2 + \frac{2(1+\eta^2J)}{J^2(J-1)}U",
        theory.estimated_margin(groups, eta, squares, norm),
        eta**2 * (gradient + 2 * along) - own / groups**2 + weight * products,
        r"$T=\sum_j\|Y_j\|^2$ and $U=\sum_{i<j}\langle Y_i,Y_j\rangle$, so that $\|J\bar Y\|^2=T+2U$",
    )


def _expectation() -> Derivation:
    """E Z, and its distance from 0 in units of V."""
    norm = sympy.Symbol("g", positive=True)
    mean = eta**2 * norm - groups * trace / groups**2
    yield identity(
        r"E Z = \eta^2\|G\|^2 - \mathrm{tr}S/J = -\tfrac{\delta}{1+\delta}V, V = (1+\delta)\eta^2\|G\|^2",
        mean.subs(norm, trace / (groups * (1 + delta) * eta**2)),
        -theory.relative_margin(delta) * trace / groups,
        "E T = J tr S and E U = 0",
    )
    yield nonnegative(
        r"\delta/(1+\delta) \text{ grows with } \delta",
        sympy.diff(theory.relative_margin(delta), delta),
        [delta],
        reason="so a larger V is further away",
    )


def _variances() -> Derivation:
    """Var Z / V^2 from its three parts."""
    mean_variance = trace / groups
    beta = sympy.Symbol("beta", positive=True)
    weight = 2 * (1 + eta**2 * groups) / (groups**2 * (groups - 1))
    products = weight**2 * groups * (groups - 1) / 2 * square / mean_variance**2
    norm = mean_variance / ((1 + delta) * eta**2)
    inner = 2 * eta**2 * sympy.sqrt(largest * norm / groups) / mean_variance
    squares = sympy.sqrt(groups * beta * trace**2) / groups**2 / mean_variance
    claimed = theory.relative_variance(groups, eta, delta, beta, trace**2 / square, largest / trace)
    yield prose(
        r"\mathrm{Var} Z = \mathrm{Var}(\text{linear part}) + \mathrm{Var}(U\text{-part})",
        "given one group, its products with the others have mean 0: U is uncorrelated with sums over groups",
    )
    yield prose(
        r"\mathrm{Var} U = \tfrac{J(J-1)}{2}\mathrm{tr}S^2, \quad \mathrm{Var}\langle G,\bar Y\rangle \le "
        r"\lambda_{\max}\|G\|^2/J, \quad \mathrm{Var} T = J\beta(\mathrm{tr}S)^2",
        "standard deviations add in the linear part; all of it is enumerated exactly below",
    )
    yield vanishing(
        r"W V^2 = (\sigma_T/J^2 + 2\eta^2\sigma_{\langle G,\bar Y\rangle})^2 + (\ldots)^2\,\mathrm{Var} U",
        lambda: [claimed - (inner + squares) ** 2 - products],
        "with r_e = (tr S)^2 / tr S^2 and nu = lambda_max / tr S",
    )


def _cantelli(parts: Sequence[Step]) -> Derivation:
    """P(Z - E Z >= m) <= E (Z - E Z + s)^2 / (m + s)^2 at s = V / m."""
    shift = variance / margin
    yield identity(
        r"\frac{V+s^2}{(m+s)^2} = \frac{V}{V+m^2} \text{ at } s = V/m",
        (variance + shift**2) / (margin + shift) ** 2,
        theory.cantelli(variance, margin),
        "Markov for the square: 1{x >= m} <= ((x + s)/(m + s))^2",
    )
    yield from _tail(parts)
    yield nonnegative(
        r"\text{it grows with } V",
        theory.cantelli(variance + more, margin) - theory.cantelli(variance, margin),
        [variance, more, margin],
    )


def _tail(parts: Sequence[Step]) -> Derivation:
    """P (m + s)^2 <= E (Z - E Z + s)^2 = Var Z + s^2 and Var Z <= W V^2, m = delta / (1 + delta) V."""
    passed = named("p_pass", r"P(Z \ge 0)", nonnegative=True)
    spread = named("Var_Z", r"\mathrm{Var} Z", nonnegative=True)
    relative, away = named("W", "W", positive=True), theory.relative_margin(delta) * variance
    shift = relative * variance**2 / away
    slack = sympy.Symbol("s", positive=True)
    markov = yield from _markov(passed, spread, slack)
    yield composed(
        Relation(passed, "<=", theory.cantelli(relative, theory.relative_margin(delta))),
        (
            from_step(markov, at={margin: away, slack: shift}),
            granted(Relation(spread, "<=", relative * variance**2), Ground.EXPECTATION, *parts),
        ),
        (passed, spread),
    )


def _markov(passed: Any, spread: Any, slack: Any) -> Generator[Step, Step, Step]:
    """1{Z >= 0} (m + s)^2 <= (Z + m + s)^2, in expectation, where E Z = -m."""
    indicator = named("indicator", r"1\{Z\ge0\}", nonnegative=True)
    squared = named("shifted_2", r"(Z+m+s)^2", nonnegative=True)
    goal = Relation(indicator * (margin + slack) ** 2, "<=", squared)
    above, value = sympy.Symbol("Z", nonnegative=True), sympy.Symbol("Z", real=True)
    passes = inequality(
        (margin + slack) ** 2, "<=", squared, (), "where Z >= 0", {squared: (above + margin + slack) ** 2}
    )
    fails = squared_of(value + margin + slack, {sympy.expand((value + margin + slack) ** 2): squared})
    each = by_cases(goal, ({indicator: 1}, passes), ({indicator: 0}, fails))
    of_square, deviation = named("shifted_sum", r"E(Z+m+s)^2", nonnegative=True), named("Z+m", "Z + m", real=True)
    deviation_2 = named("Z+m_2", "(Z+m)^2", nonnegative=True)
    parts = equation(
        squared,
        deviation_2 + 2 * slack * deviation + slack**2,
        where={
            squared: (value + margin + slack) ** 2,
            deviation: value + margin,
            deviation_2: (value + margin) ** 2,
        },
    )
    in_mean = summed(each, {indicator: passed, squared: of_square}, reason="in expectation")
    opened = summed(
        parts,
        {squared: of_square, deviation_2: spread, deviation: sympy.Integer(0)},
        count=sympy.Integer(1),
        reason="in expectation: $Z+m$ has mean 0",
    )
    yield passes
    yield fails
    yield each
    yield parts
    yield in_mean
    yield opened
    said = yield composed(
        Relation(passed * (margin + slack) ** 2, "<=", spread + slack**2),
        (in_mean, opened),
        (passed, of_square, spread),
    )
    return said


def _enumeration() -> Step:
    """All outcomes of J = 2 and 3 groups with a finite law in two dimensions."""
    points = np.array([[3.0, 0.0], [-1.0, 2.0], [-2.0, -2.0]])  # of mean 0
    eta_value, excess = 0.5, 2.0
    covariance = points.T @ points / len(points)
    whole, norms = np.trace(covariance), np.sum(points**2, axis=1)
    rank, top = whole**2 / np.sum(covariance**2), np.linalg.eigvalsh(covariance)[-1]
    shape = float(np.var(norms) / whole**2), float(rank), float(top / whole)  # beta, r_e and nu

    def check() -> Evidence:
        details = []
        for count in (2, 3):
            expected = float(whole) / count
            true = np.array([np.sqrt(expected / ((1 + excess) * eta_value**2)), 0.0])
            outcomes = true + np.array(list(itertools.product(points, repeat=count)))
            squares, norm = np.sum(outcomes**2, axis=(1, 2)), np.sum(outcomes.mean(axis=1) ** 2, axis=1)
            values = np.asarray(theory.estimated_margin(count, eta_value, squares, norm))
            mean, seen, passed = float(values.mean()), float(values.var()), float(np.mean(values >= 0))
            limit = theory.relative_variance(count, eta_value, excess, *shape)
            if abs(mean + 2 / 3 * expected) > 1e-12 or seen > limit * expected**2 * (1 + 1e-12):
                return Evidence(False, f"J = {count}: mean {mean}, variance {seen}, limit {limit * expected**2}")
            if passed > theory.cantelli(limit, 2 / 3):
                return Evidence(False, f"J = {count}: passes with probability {passed}")
            details.append(f"J = {count}: variance {seen / expected**2:.3f} <= {limit:.3f}")
        return Evidence(True, "; ".join(details))

    return checked(r"\text{all outcomes of a three-point law in two dimensions}, J = 2, 3", check)


def _student() -> Derivation:
    """One coordinate: the margin is a multiple of t^2 - (1 + eta^2)/eta^2, and the value at J = 4."""
    t, estimate = sympy.symbols("t v", positive=True)
    mean_square = t**2 * estimate
    squares = groups * (groups - 1) * estimate + groups * mean_square
    x = sympy.Integer(5)
    cdf = sympy.atan(x / sympy.sqrt(3)) + sympy.sqrt(3) * x / (3 + x**2)
    exact = float(1 - 2 / sympy.pi * cdf)
    yield identity(
        r"Z = \hat V(\eta^2t^2 - (1+\eta^2)), \quad t = \bar g/\sqrt{\hat V}",
        sympy.expand(theory.estimated_margin(groups, eta, squares, mean_square)),
        sympy.expand(estimate * (eta**2 * t**2 - (1 + eta**2))),
        "in one coordinate the test passes iff |t| >= sqrt(1 + eta^2)/eta; t is Student's where G = 0 in it",
    )
    yield checked(
        r"P(|t_3| \ge 5) = 1 - \frac2\pi\Bigl(\arctan\frac{5}{\sqrt3}+\frac{5\sqrt3}{28}\Bigr)",
        lambda: Evidence(
            abs(theory.coordinate_passing_probability(4, 0.2) - exact) < 1e-12, f"{exact:.5f} at J = 4, eta = .2"
        ),
    )
