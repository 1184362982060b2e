r"""The l1 norm test: its key lemma, its theorem, the scalar test's analogue, and what its estimators measure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import numpy as np
import sympy

from adabatch.moments import l1 as estimators
from proofs.adam.assembly import DESCENT, QBAR, closing, preconditioned_bound
from proofs.adam.l4_swap import RHO_IS
from proofs.adam.l7_denominators import lemma_l7
from proofs.adam.symbols import (
    ADAM,
    BETA1,
    BETA2,
    BETAS,
    PROBLEM,
    RHO,
    SETTING,
    UNIT_INTERVALS,
    a,
    alpha,
    dimension,
    initial_sum,
    noise,
    open_roots,
    q,
    r,
    same,
)
from proofs.composition import Assumption, Fact
from proofs.relations import Relation, named
from proofs.steps import Evidence, Step, by_lemma, cauchy_schwarz, checked, identity, nonnegative, prose, proves
from proofs.sums import ALIGNED, NORMS, PRECONDITIONED
from theory.adam import constants
from theory.bound import Bound
from theory.l1 import theorem as theory

__all__ = ["effective_dimensions", "key_lemma", "l1_estimators", "l1_theorem", "scalar_theorem"]

Function = Callable[..., Any]
DEVIATIONS = named("SD_sum", r"{\textstyle\sum_k\sum_i} E\,\mathrm{sd}_{k,i}", nonnegative=True)
NOISE_COST = named("nu", r"\nu'", positive=True)
SOURCE = "the l1 norm test, a correction of the scalar test of arXiv 2412.21124"


# ----------------------------------------------------------------------------------------------------
# The key lemma.


@proves(
    "l1 key lemma",
    "conditional descent under any noise",
    r"$E_k[((Gg)^+ - \rho(Gg)^-)/\sqrt{v_k}] \ge G^2/\sqrt{D_k} - (1+\rho)\,\mathrm{sd}_k(g)/\sqrt c$ "
    r"with $D_k = \beta_2 v_{k-1} + c\,G^2$, for any noise with $E_k g = G$.",
    source=SOURCE,
)
def key_lemma() -> Iterator[Step]:
    """Noise of deviation sd costs at most ``noise_cost(beta1, beta2, sd)`` of descent, for any law."""
    deviation = sympy.Symbol("sigma", positive=True)
    root_weight = sympy.sqrt(constants.second_moment_weight(BETA2))
    weight = sympy.cancel(theory.l1_noise_cost(BETA1, BETA2, deviation) * root_weight / deviation)
    yield from _key_scaling()
    yield from _key_cases(weight, sympy.cancel(constants.momentum_amplification(BETA1, BETA2)))
    yield from _key_expectation()


def _key_scaling() -> Iterator[Step]:
    gradient, second_moment, x = sympy.symbols("G v x", positive=True)
    c = constants.second_moment_weight(BETA2)
    s = BETA2 * second_moment / (c * gradient**2)
    left = gradient * (x * gradient) / sympy.sqrt(BETA2 * second_moment + c * (x * gradient) ** 2)
    scaled = gradient * x / (sympy.sqrt(c) * sympy.sqrt(s + x**2))
    yield identity(
        r"Gg/\sqrt{v_k} = \tfrac{|G|}{\sqrt c}\,\tfrac{x}{\sqrt{s+x^2}}, \quad x = g/G, \;"
        r"s = \beta_2 v_{k-1}/(cG^2); \text{ squared}",
        left**2,
        scaled**2,
        "both sides have the sign of x; at x = 1 it is G^2 / sqrt(D_k)",
    )
    yield prose(r"G = 0: \text{ the left side is } 0, \text{ the right side is not positive}")


def _key_cases(weight: Any, rho: Any) -> Iterator[Step]:
    """f_s(x) + (1 + rho)|x - 1| >= f_s(1), f_s(x) = x / sqrt(s + x^2), times rho where x < 0."""
    s, u, h = sympy.symbols("s u h", nonnegative=True)
    x = 1 - 1 / (1 + u)
    at_one = 1 - 1 / (1 + h)  # f_s(1) = 1 / sqrt(s + 1), anywhere in (0, 1]
    yield nonnegative(r"f_s(1) \le 1: (s+1) - 1 \ge 0", (s + 1) - 1, [s])
    yield nonnegative(r"x = -u < 0: f_s(x) \ge -\rho, \text{ squared}", (s + u**2) - u**2, [s, u])
    yield nonnegative(
        r"x = -u < 0: -\rho + (1+\rho)(1+u) - 1 \ge 0", -rho + weight * (1 + u) - 1, [u, a], {r: UNIT_INTERVALS[r]}
    )
    yield nonnegative(r"0 \le x \le 1: f_s(x) \ge x f_s(1), \text{ squared}", (s + 1) - (s + x**2), [s, u])
    yield nonnegative(
        r"0 \le x \le 1: x f_s(1) + (1+\rho)(1-x) - f_s(1) \ge 0",
        x * at_one + weight * (1 - x) - at_one,
        [u, h, a],
        {r: UNIT_INTERVALS[r]},
    )
    yield nonnegative(
        r"x = 1+u \ge 1: f_s(x) \ge f_s(1), \text{ squared}", (1 + u) ** 2 * (s + 1) - (s + (1 + u) ** 2), [s, u]
    )


def _key_expectation() -> Iterator[Step]:
    y, deviation = sympy.symbols("y sigma", positive=True)
    yield identity(
        r"\frac{y^2+\sigma^2}{2\sigma} - y = \frac{(y-\sigma)^2}{2\sigma}",
        (y**2 + deviation**2) / (2 * deviation) - y,
        (y - deviation) ** 2 / (2 * deviation),
        "y = |X - 1|: E|X - 1| <= sd(X) = sd(g) / |G|",
    )
    yield prose(r"\text{expectation of the pointwise inequality, times } |G|/\sqrt c")


# ----------------------------------------------------------------------------------------------------
# The theorems.


@proves(
    "Theorem (l1 test)",
    "Adam under the l1 norm test",
    r"If $\sum_i \mathrm{sd}_k(g_{k,i}) \le \eta\|G_k\|_1$ at every step and $B\nu' < 1$, then "
    r"$S = \sum_k E\|G_k\|_1$ satisfies $S^2 \le (A + BS)(P/(1-\beta_1) + \nu' S)$, and so "
    r"$S \le [P/(1-\beta_1) + A/B^2]/[1/B - \nu']$, with $\nu' = (1+\rho)\eta/\sqrt c$, "
    r"$B = \sqrt c\,(1 + (1+\eta)\sqrt{\beta_2}/(1-\sqrt{\beta_2}))$.",
    source=SOURCE,
    uses=("L1", "L3", "L4", "l1 key lemma"),
)
def l1_theorem() -> Iterator[Step]:
    """The bound under the l1 norm test."""
    found = theory.l1_test_bound(PROBLEM, ADAM)
    yield from _descent(found, noise, SETTING | {Assumption.L1_TEST})
    yield identity(
        r"\nu'\,\|G_k\|_1 \text{ at } \nu = \eta",
        found.constants["nu'"],
        theory.l1_noise_cost(BETA1, BETA2, noise),
    )
    yield prose(
        r"E_k|g_{k,i}| \le |G_{k,i}| + \mathrm{sd}_k(g_{k,i}), \text{ so } "
        r"\textstyle\sum_i E_k|g_{k,i}| \le (1+\eta)\|G_k\|_1"
    )
    yield from _denominators(found, lambda growth: growth - 1, initial_sum)
    yield prose(r"S^2 \le \textstyle\sum E[G^2/\sqrt{D}]\,\sum E\sqrt{D}: \text{ Cauchy-Schwarz, as in L8}")
    yield from _solution(found)


@proves(
    "Theorem (scalar test)",
    "Adam under the scalar norm test, with a condition on the dimension",
    r"If $E_k\|g_k-G_k\|^2 \le \eta^2\|G_k\|^2$ at every step, the theorem of the l1 test holds for "
    r"$\sum_k E\|G_k\|_2$ with $\nu = \eta\sqrt d$, $\tau$ for $1+\eta$ and "
    r"$\sqrt{\sum_i v_{0,i}}$ in $A$.",
    source=SOURCE,
    uses=("L1", "L3", "L4", "L7", "l1 key lemma"),
)
def scalar_theorem() -> Iterator[Step]:
    """The bound under the scalar test, where eta sqrt(d) takes the place of eta."""
    squares = sympy.Symbol("V2", positive=True)
    found = theory.scalar_test_bound(PROBLEM, ADAM, squares)
    first, second, third = sympy.symbols("x_1:4", nonnegative=True)
    yield from _descent(found, noise * sympy.sqrt(dimension), SETTING | {Assumption.SCALAR_TEST})
    yield cauchy_schwarz(
        r"3\textstyle\sum x_i^2 - (\sum x_i)^2 = \sum_{i<j}(x_i-x_j)^2",
        (1, 1, 1),
        (first, second, third),
        "so that sum_i sd_i <= sqrt(d) sqrt(sum_i sd_i^2) <= eta sqrt(d) ||G||_2 (d = 3)",
    )
    yield identity(
        r"\nu'\,\|G_k\|_2 \text{ at } \nu = \eta\sqrt d",
        found.constants["nu'"],
        theory.l1_noise_cost(BETA1, BETA2, noise * sympy.sqrt(dimension)),
    )
    yield nonnegative(
        r"D_i \le \textstyle\sum_j D_j: \sum_i G_i^2/\sqrt{D_i} \ge \|G\|^2/\sqrt{\sum_j D_j}",
        (first + second) - first,
        [first, second],
    )
    yield prose(
        r"E_k\sqrt{\textstyle\sum_i v_{k,i}} \le \sqrt{\beta_2 \sum_i v_{k-1,i}} + \sqrt c\,\tau\|G_k\|_2",
        "as in L7, with the root of the sum for the sum of the roots",
    )
    yield by_lemma(r"\text{L7's inequalities}", lemma_l7)
    yield from _denominators(found, lambda growth: sympy.sqrt(growth**2 - 1), sympy.sqrt(squares))
    yield from _solution(found)


def _descent(found: Bound, tested: Any, assumes: frozenset[Assumption]) -> Iterator[Step]:
    budget = found.terms["initial gap"] + found.terms["drift"]
    yield by_lemma(r"\text{conditional descent}", key_lemma)
    share = theory.l1_noise_cost(BETA1, BETA2, 1)
    yield preconditioned_bound(
        Relation(
            PRECONDITIONED,
            "<=",
            QBAR + NOISE_COST * NORMS,
            {QBAR: budget, NOISE_COST: found.constants["nu'"], **RHO_IS},
            BETAS,
        ),
        (
            Fact(Relation(ALIGNED(RHO), ">=", PRECONDITIONED - share * DEVIATIONS), "l1 key lemma"),
            Fact(Relation(DEVIATIONS, "<=", tested * NORMS), "the test"),
        ),
        (DEVIATIONS, NORMS),
        assumes,
    )
    yield closing(climb=NOISE_COST)
    yield identity(
        r"\alpha(1-\beta_1)\,\frac{P}{1-\beta_1} = \Delta + \alpha^2 K L d\,\Gamma",
        sympy.expand(alpha * (1 - BETA1) * budget),
        sympy.expand(DESCENT),
    )


def _denominators(found: Bound, eta_of_growth: Function, start: Any) -> Iterator[Step]:
    """One step of the telescoping of L7, where the root mean square or mean of g is at most T times G's norm."""
    total, norm, growth = sympy.symbols("V G T", positive=True)
    root_weight = sympy.sqrt(constants.second_moment_weight(BETA2))
    new = q * total + root_weight * growth * norm
    stepped = (
        q * total
        + root_weight * norm
        + constants.preconditioner_start(BETA2, new)
        - constants.preconditioner_start(BETA2, total)
    )
    cost = open_roots(found.constants["B"].subs(noise, eta_of_growth(growth)))
    yield identity(
        r"\text{one step of the denominators costs } B\,\|G_k\|", stepped, cost * norm, "E_k|g| <= T |G|"
    )
    yield identity(r"A = \Phi(V_0)", found.constants["A"], constants.preconditioner_start(BETA2, start))


def _solution(found: Bound) -> Iterator[Step]:
    """S^2 <= (A + B S)(P + nu' S) solved; P, nu' and 1 - B nu' > 0 stand for themselves."""
    start, growth, descent, kept, total = sympy.symbols("A B P kappa_nu S", positive=True)
    cost = (1 - kept) / growth
    root = theory.solve_with_noise(start, growth, descent, cost)
    other = -start * descent / (kept * root)
    residual = total**2 - (start + growth * total) * (descent + cost * total)
    simpler = found.terms["simpler form"]
    budget = found.terms["initial gap"] + found.terms["drift"]
    a_0, b_0, nu = (found.constants[name] for name in ("A", "B", "nu'"))
    yield identity(
        r"S^2 - (A+BS)(P+\nu'S) = (1-B\nu')(S-S_+)(S-S_-), \quad S_- = -\frac{AP}{(1-B\nu')S_+} < 0",
        residual,
        kept * (total - root) * (total - other),
        "so that S <= S_+ where 1 - B nu' > 0",
    )
    yield identity(
        r"B^2S^2 - (A+BS)(BS-A) = A^2 \ge 0",
        growth**2 * total**2 - (start + growth * total) * (growth * total - start),
        start**2,
        "so S/B - A/B^2 <= S^2/(A + B S): the simpler form",
    )
    yield same(r"\text{the bound is } S_+", (found.value, theory.solve_with_noise(a_0, b_0, budget, nu)))
    yield same(
        r"(1/B - \nu')\,\text{(simpler form)} = P/(1-\beta_1) + A/B^2",
        (simpler * (1 / b_0 - nu), budget + a_0 / b_0**2),
    )


# ----------------------------------------------------------------------------------------------------
# Scalar against l1, and the estimators.


@proves(
    "effective dimensions",
    "the scalar test against the l1 test",
    r"The scalar test with $\eta_s$ implies the l1 test with $\eta = \eta_s\sqrt{d_{\mathrm{sd}}/d_G}$, "
    r"$d_{\mathrm{sd}} = (\sum_i\mathrm{sd}_i)^2/\sum_i\mathrm{sd}_i^2$, $d_G = \|G\|_1^2/\|G\|_2^2$, with "
    r"equality where the scalar test is an equality.",
    source=SOURCE,
)
def effective_dimensions() -> Iterator[Step]:
    """The relative error in the l1 sense is the scalar one times sqrt(d_sd / d_G), exactly."""
    sum_sd, sum_var, l1, square = sympy.symbols("s_1 s_2 n_1 n_2", positive=True)
    eta_l1 = estimators.implied_l1_eta(
        sympy.sqrt(sum_var) / sympy.sqrt(square), estimators.effective_dimensions(sum_sd, sum_var, l1, square)
    )
    larger, factor = sympy.symbols("h f", positive=True)
    yield identity(
        r"\frac{\sum_i \mathrm{sd}_i}{\|G\|_1} = \eta_s\sqrt{d_{\mathrm{sd}}/d_G} \text{ at } "
        r"\eta_s = \sqrt{\textstyle\sum_i \mathrm{sd}_i^2}/\|G\|_2",
        sum_sd / l1,
        eta_l1,
    )
    yield nonnegative(
        r"\eta \text{ increases with } \eta_s",
        sympy.sympify(estimators.implied_l1_eta(noise + larger, estimators.EffectiveDimensions(factor**2, 1)))
        - estimators.implied_l1_eta(noise, estimators.EffectiveDimensions(factor**2, 1)),
        [noise, larger, factor],
    )


@proves(
    "l1 estimators",
    "what the l1 test's estimators measure",
    r"For $J$ independent groups: $E\hat\sigma_i = \sigma_i$ for Gaussian groups, with the correction "
    r"$c_4(J)$; and $E N \le \|G\|_1$ for $N = \frac1J\sum_j\sum_i \mathrm{sgn}(\bar g_i - "
    r"g_{ji}/J)\,g_{ji}$, for any law.",
    source=SOURCE,
)
def l1_estimators() -> Iterator[Step]:
    """The numerator is unbiased for Gaussians; the conservative denominator is at most ||G||_1 on average."""
    yield from (_unbiased(groups) for groups in (2, 3, 4, 7))
    yield from _helmert()
    yield prose(
        r"E[\mathrm{sgn}(\textstyle\sum_{l \ne j} g_l)\,g_j] = G\,E\,\mathrm{sgn}(\sum_{l\ne j} g_l) "
        r"\le |G|",
        "g_j is independent of the other groups",
    )
    yield checked(r"E N \le |G|: \text{ all outcomes of small groups}", _conservative)


def _unbiased(groups: int) -> Step:
    """E of the estimator where J times the groups' variance is sigma^2/m times a chi-squared of J - 1 degrees."""
    chi, sigma, size = sympy.symbols("chi sigma m", positive=True)
    freedom = sympy.Integer(groups - 1)
    density = chi ** (freedom / 2 - 1) * sympy.exp(-chi / 2) / (2 ** (freedom / 2) * sympy.gamma(freedom / 2))
    estimate = estimators.standard_deviation(sympy.Integer(groups), size, sigma**2 / size * chi, sympy.Integer(0))
    mean = sympy.integrate(sympy.expand_power_base(estimate * density), (chi, 0, sympy.oo))
    return identity(rf"E\hat\sigma = \sigma \text{{ at }} J = {groups}", mean, sigma)


def _helmert() -> Iterator[Step]:
    """For J = 3: sum (g_j - g)^2 is a sum of J - 1 squares of orthonormal combinations, free of G."""
    first, second, third = sympy.symbols("g_1:4", real=True)
    mean = (first + second + third) / 3
    yield identity(
        r"\textstyle\sum_j (g_j-\bar g)^2 = \frac{(g_1-g_2)^2}{2} + \frac{(g_1+g_2-2g_3)^2}{6}",
        first**2 + second**2 + third**2 - 3 * mean**2,
        (first - second) ** 2 / 2 + (first + second - 2 * third) ** 2 / 6,
        "orthonormal combinations of Gaussians are independent: a chi-squared of J - 1 degrees (J = 3)",
    )


def _conservative() -> Evidence:
    """E N over all outcomes of 2, 3 and 4 groups whose law has two or three integer atoms."""
    laws: list[list[tuple[int, float]]] = [
        [(-1, 0.5), (1, 0.5)],
        [(-1, 0.4), (2, 0.6)],
        [(-3, 0.25), (1, 0.75)],
        [(-2, 0.25), (0, 0.25), (1, 0.5)],
        [(-5, 0.125), (1, 0.875)],
    ]
    for law in laws:
        gradient = sum(value * probability for value, probability in law)
        for groups in (2, 3, 4):
            mean = 0.0
            for outcome in product(law, repeat=groups):
                values = np.array([[value] for value, _ in outcome], float)
                mean += float(np.prod([p for _, p in outcome])) * estimators.conservative_l1_norm(values)
            if mean > abs(gradient) + 1e-12:
                return Evidence(False, f"E N = {mean:.4g} > |G| = {abs(gradient):.4g} with {groups} groups, {law}")
    return Evidence(True, f"{len(laws)} laws, 2 to 4 groups, all outcomes")
