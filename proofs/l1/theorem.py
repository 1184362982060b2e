r"""The l1 norm test: its key lemma, its theorem, the scalar test's analogue, and what its estimators measure."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
import sympy

from adabatch.moments import l1 as estimators
from proofs.adam.assembly import DESCENT, QBAR, closing, preconditioned_bound
from proofs.adam.l4_swap import RHO_IS
from proofs.adam.l6_descent import in_units
from proofs.adam.l7_denominators import C_IS, PHI, ROOT_C, TAU_IS, growing, lemma_l7, tau
from proofs.adam.symbols import (
    ADAM,
    BETA1,
    BETA2,
    BETAS,
    BUDGET,
    GAMMA_IS,
    PROBLEM,
    RHO,
    SETTING,
    UNIT_INTERVALS,
    A,
    B,
    a,
    alpha,
    dimension,
    initial_sum,
    noise,
    r,
    same,
)
from proofs.calculus import square
from proofs.composition import (
    Assumption,
    Conclusion,
    Fact,
    Ground,
    assumed,
    cite,
    composed,
    from_step,
    granted,
    rooted,
    stated,
    summed,
)
from proofs.grounds import norm as norm_2
from proofs.grounds import norm_1
from proofs.relations import Relation, equation, named
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
)
from proofs.sums import (
    ALIGNED,
    DENOMINATORS,
    DEVIATIONS,
    MOMENTS,
    NORMS,
    PRECONDITIONED,
    aligned,
    deviation,
    epsilon,
    norm,
    preconditioned,
    response_e,
    root_moment,
    root_of_one_e,
)
from theory.adam import constants
from theory.bound import Bound
from theory.l1 import theorem as theory

__all__ = ["effective_dimensions", "key_lemma", "l1_estimators", "l1_theorem", "scalar_theorem"]

NOISE_COST = named("nu", r"\nu'", positive=True)
SOURCE = "the l1 norm test, a correction of the scalar test of arXiv 2412.21124"


# ----------------------------------------------------------------------------------------------------
# The key lemma.


KEY = Relation(aligned, ">=", preconditioned - theory.l1_noise_cost(BETA1, BETA2, 1) * deviation, ranges=BETAS)
KEY_SUM = Relation(
    ALIGNED(RHO), ">=", PRECONDITIONED - theory.l1_noise_cost(BETA1, BETA2, 1) * DEVIATIONS, ranges=BETAS
)
NOISY = frozenset({Assumption.UNBIASED, Assumption.KNOWN_BEFORE, Assumption.ADAM})


@proves(
    "l1 key lemma",
    "conditional descent under any noise",
    r"With $D_k = \beta_2 v_{k-1} + c\,G^2$, for any noise with $E_k g = G$:",
    concludes=(Conclusion(KEY_SUM, NOISY),),
    source=SOURCE,
)
def key_lemma() -> Derivation:
    """Noise of deviation sd costs at most ``noise_cost(beta1, beta2, sd)`` of descent, for any law."""
    sigma = sympy.Symbol("sigma", positive=True)
    root_weight = sympy.sqrt(constants.second_moment_weight(BETA2))
    weight = sympy.cancel(theory.l1_noise_cost(BETA1, BETA2, sigma) * root_weight / sigma)
    pointwise = yield from all_of(_key_cases(weight, sympy.cancel(constants.momentum_amplification(BETA1, BETA2))))
    yield from _key_expectation(weight, pointwise)


def _key_cases(weight: Any, rho: Any) -> Derivation:
    """f(x) + (1 + rho)|x - 1| >= f(1), f(x) = x / (sqrt(s + x^2) + e), times rho where x < 0."""
    s, u, h, e, t, T = sympy.symbols("s u h e t T", nonnegative=True)
    x = 1 - 1 / (1 + u)
    at_one = 1 - 1 / (1 + h)  # f(1) = 1 / (sqrt(s + 1) + e), anywhere in (0, 1]
    yield nonnegative(r"f(1) \le 1: (s+1) - 1 \ge 0", (s + 1) - 1, [s])
    yield nonnegative(
        r"x = -u < 0: \sqrt{s+u^2} + e \ge u, \text{ squared}: f(x) \ge -\rho", (s + u**2) - u**2, [s, u]
    )
    yield nonnegative(
        r"x = -u < 0: -\rho + (1+\rho)(1+u) - 1 \ge 0", -rho + weight * (1 + u) - 1, [u, a], {r: UNIT_INTERVALS[r]}
    )
    yield nonnegative(r"0 \le x \le 1: \sqrt{s+x^2} \le \sqrt{s+1}, \text{ squared}", (s + 1) - (s + x**2), [s, u])
    yield nonnegative(
        r"0 \le x \le 1: f(x) \ge x f(1), \; \sqrt{s+1} = T + t", x / (T + e) - x / (T + t + e), [u, T, e, t]
    )
    yield nonnegative(
        r"0 \le x \le 1: x f(1) + (1+\rho)(1-x) - f(1) \ge 0",
        x * at_one + weight * (1 - x) - at_one,
        [u, h, a],
        {r: UNIT_INTERVALS[r]},
    )
    yield nonnegative(
        r"x = 1+u \ge 1: x\sqrt{s+1} \ge \sqrt{s+x^2}, \text{ squared}",
        (1 + u) ** 2 * (s + 1) - (s + (1 + u) ** 2),
        [s, u],
    )
    yield nonnegative(
        r"x = 1+u \ge 1: x(\sqrt{s+1}+e) \ge \sqrt{s+x^2}+e, \; x\sqrt{s+1} = T + t",
        (T + t + (1 + u) * e) - (T + e),
        [T, t, u, e],
    )


def _key_expectation(weight: Any, pointwise: Sequence[Step]) -> Derivation:
    """In expectation, in the units of one coordinate, and summed."""
    spread = named("spread", "E|X-1|", nonnegative=True)
    relative = named("sd_X", r"\mathrm{sd}(X)", nonnegative=True)
    terms, at_one = yield from in_units(response_e(RHO))
    scale = named("scale", r"|G_k|/\sqrt c", positive=True)
    root = sympy.sqrt(constants.second_moment_weight(BETA2))
    in_gradient = yield equation(
        relative, deviation / (scale * root), "X = g / G", {relative: deviation / (scale * root)}
    )
    distance = named("|X-1|", "|X-1|", nonnegative=True)
    mean_2 = named("spread_2", r"(E|X-1|)^2", nonnegative=True)
    deviates = yield square(distance - spread)
    of_variance = yield composed(
        Relation(mean_2, "<=", relative**2),
        (granted(Relation(mean_2, "<=", relative**2), Ground.EXPECTATION, deviates),),
        (mean_2,),
    )
    below = yield rooted(of_variance, mean_2, spread, relative)
    each = yield composed(
        KEY,
        (
            terms,
            at_one,
            granted(
                Relation(response_e(RHO), ">=", root_of_one_e - weight * spread), Ground.EXPECTATION, *pointwise
            ),
            below,
            in_gradient,
        ),
        (aligned, preconditioned, response_e(RHO), root_of_one_e, spread, relative, deviation),
        NOISY,
    )
    yield prose(r"G = 0: \text{ the left side is } 0, \text{ the right side is not positive}")
    yield summed(each, {aligned: ALIGNED(RHO), preconditioned: PRECONDITIONED, deviation: DEVIATIONS})


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
    uses=("descent lemma", "L1", "L3", "L4", "L7", "L8", "l1 key lemma"),
)
def l1_theorem() -> Derivation:
    """The bound under the l1 norm test."""
    found = theory.l1_test_bound(PROBLEM, ADAM)
    assumes = SETTING | {Assumption.L1_TEST}
    tested = assumed(Relation(DEVIATIONS, "<=", noise * NORMS), Assumption.L1_TEST)
    bound = yield _descent(noise, NORMS, (), tested, assumes=assumes)
    true, rest = sympy.symbols("G_k g_k-G_k", real=True)
    moment = yield stated(
        granted(
            Relation(root_moment, "<=", norm + deviation),
            Ground.MINKOWSKI,
            meaning={root_moment: norm_2(true + rest), norm: norm_2(true), deviation: norm_2(rest)},
        ),
        "g = G + (g - G), in the norm $\\sqrt{E_k(\\cdot)^2}$ of random variables",
    )
    moments = yield summed(moment, {root_moment: MOMENTS, norm: NORMS, deviation: DEVIATIONS})
    denominators = yield composed(
        Relation(DENOMINATORS, "<=", A + B * NORMS, growing(initial_sum, 1 + noise), BETAS[1:]),
        (cite(lemma_l7, {epsilon: 0}, part=1), moments, tested),
        (DENOMINATORS, NORMS, MOMENTS, DEVIATIONS),
        assumes,
    )
    yield closing(bound, from_step(denominators, opaque=(A, B)), NOISE_COST, assumes=assumes)
    yield from _solution(found, initial_sum, 1 + noise, noise)


@proves(
    "Theorem (scalar test)",
    "Adam under the scalar norm test, with a condition on the dimension",
    r"If $E_k\|g_k-G_k\|^2 \le \eta^2\|G_k\|^2$ at every step, the theorem of the l1 test holds for $S = "
    r"\sum_k E\|G_k\|_2$, with $\nu = \eta\sqrt d$ in the place of $\eta$ in $\nu'$, $\tau$ in the place of "
    r"$1+\eta$ in $B$, and $\sqrt{\sum_i v_{0,i}}$ in the place of $V_0$ in $A$.",
    source=SOURCE,
    uses=("descent lemma", "L1", "L3", "L4", "L7", "L8", "l1 key lemma"),
)
def scalar_theorem() -> Derivation:
    """The bound under the scalar test, where eta sqrt(d) takes the place of eta; L7 is about vectors."""
    squares = sympy.Symbol("V2", positive=True)
    found = theory.scalar_test_bound(PROBLEM, ADAM, squares)
    assumes = SETTING | {Assumption.SCALAR_TEST}
    norms = named("S_2", r"{\textstyle\sum_k} E\|G_k\|_2", nonnegative=True)
    whole = named("Q_2", r"{\textstyle\sum_k} E[\|G_k\|_2^2/(\sum_iD_{k,i})^{1/2}]", nonnegative=True)
    roots = named("R_2", r"{\textstyle\sum_k} E(\sum_iD_{k,i})^{1/2}", nonnegative=True)
    moments = named("T_2", r"{\textstyle\sum_k} E(E_k\|g_k\|_2^2)^{1/2}", nonnegative=True)
    spread = named("SD_2", r"{\textstyle\sum_k} E(\sum_i\mathrm{sd}_{k,i}^2)^{1/2}", nonnegative=True)
    larger, one, two = sympy.symbols("h D_1 D_2", nonnegative=True)
    root = yield nonnegative(r"D_i \le \textstyle\sum_j D_j", (one + two + larger) - one, [one, two, larger])
    all_sd = named("sd_k_1", r"{\textstyle\sum_i}\mathrm{sd}_{k,i}", nonnegative=True)
    size = named("sd_k_l2", r"(\sum_i\mathrm{sd}_{k,i}^2)^{1/2}", nonnegative=True)
    vector = sympy.Symbol("sd_k", real=True)
    in_a_step = yield stated(
        granted(
            Relation(all_sd, "<=", sympy.sqrt(dimension) * size),
            Ground.CAUCHY_SCHWARZ,
            meaning={all_sd: norm_1(vector), size: norm_2(vector)},
        )
    )
    deviations = yield summed(
        in_a_step, {all_sd: DEVIATIONS, size: spread}, reason="over the steps, in expectation"
    )
    bound = yield _descent(
        sympy.sqrt(dimension) * noise,
        norms,
        (whole, spread),
        deviations,
        assumed(Relation(spread, "<=", noise * norms), Assumption.SCALAR_TEST),
        granted(Relation(whole, "<=", PRECONDITIONED), Ground.EXPECTATION, root),
        left=whole,
        assumes=assumes,
    )
    vectors = {DENOMINATORS: roots, NORMS: norms, MOMENTS: moments, initial_sum: sympy.sqrt(squares), epsilon: 0}
    denominators = yield composed(
        Relation(roots, "<=", A + B * norms, growing(sympy.sqrt(squares), tau) | TAU_IS, BETAS[1:]),
        (
            cite(lemma_l7, vectors, part=1),
            assumed(Relation(moments, "<=", tau * norms, TAU_IS), Assumption.SCALAR_TEST),
        ),
        (roots, norms, moments),
        assumes,
    )
    yield closing(
        bound, from_step(denominators, opaque=(A, B)), NOISE_COST, sums=(whole, roots, norms), assumes=assumes
    )
    yield from _solution(found, sympy.sqrt(squares), sympy.sqrt(1 + noise**2), sympy.sqrt(dimension) * noise)


def _descent(
    noise_of_test: Any,
    norms: Any,
    sums: Sequence[Any],
    *facts: Fact | Step,
    left: Any = PRECONDITIONED,
    assumes: frozenset[Assumption],
) -> Step:
    """Q <= P / (1 - beta1) + nu' S: the descent lemma, L1, L3, L4 and the key lemma."""
    cost = (1 + RHO) * noise_of_test / ROOT_C
    where = {QBAR: BUDGET / (1 - BETA1), NOISE_COST: cost, **GAMMA_IS, **RHO_IS, **C_IS}
    return preconditioned_bound(
        Relation(left, "<=", QBAR + NOISE_COST * norms, where, BETAS),
        (cite(key_lemma), *facts),
        (DEVIATIONS, norms, *sums),
        assumes,
    )


def _solution(found: Bound, initial: Any, moment: Any, noise_of_test: Any) -> Derivation:
    """S^2 <= (A + B S)(P + nu' S) solved; P, nu' and 1 - B nu' > 0 stand for themselves."""
    start, growth, descent, kept, total = sympy.symbols("A B P kappa_nu S", positive=True)
    cost = (1 - kept) / growth
    root = theory.solve_with_noise(start, growth, descent, cost)
    other = -start * descent / (kept * root)
    residual = total**2 - (start + growth * total) * (descent + cost * total)
    simpler = found.terms["simpler form"]
    budget = found.terms["initial gap"] + found.terms["drift"]
    a_0, b_0, nu = (found.constants[name] for name in ("A", "B", "nu'"))
    yield same(
        r"A, \; B, \; \nu': \text{ the functions}",
        (a_0, PHI * initial),
        (nu, (1 + 1 / (1 - r)) * noise_of_test / sympy.sqrt(1 - BETA2)),
        (b_0, sympy.sqrt(1 - BETA2) * (1 + moment * PHI)),
    )
    yield same(r"\alpha P = \Delta + \alpha^2KLd\,\Gamma", (alpha * (1 - BETA1) * budget, DESCENT))
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
def effective_dimensions() -> Derivation:
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
def l1_estimators() -> Derivation:
    """The numerator is unbiased for Gaussians; the conservative denominator is at most ||G||_1 on average."""
    yield _unbiased()
    yield from _helmert()
    yield prose(
        r"E[\mathrm{sgn}(\textstyle\sum_{l \ne j} g_l)\,g_j] = G\,E\,\mathrm{sgn}(\sum_{l\ne j} g_l) "
        r"\le |G|",
        "g_j is independent of the other groups",
    )
    yield checked(
        r"E N \le |G|: \text{ the function at all outcomes of } J = 2, 3, 4 \text{ groups, of five laws}",
        _conservative,
        "a check of the function: it is the mean over j of what the step before bounds, for any J",
    )


def _unbiased() -> Step:
    """E of the estimator where J times the groups' variance is sigma^2/m times a chi-squared of J - 1 degrees."""
    chi, sigma, size, freedom = sympy.symbols("chi sigma m f", positive=True)
    density = chi ** (freedom / 2 - 1) * sympy.exp(-chi / 2) / (2 ** (freedom / 2) * sympy.gamma(freedom / 2))
    estimate = estimators.standard_deviation(freedom + 1, size, sigma**2 / size * chi, sympy.Integer(0))
    mean = sympy.integrate(sympy.expand_power_base(estimate * density), (chi, 0, sympy.oo))
    return identity(r"E\hat\sigma = \sigma", sympy.simplify(mean), sigma, "any J, with J - 1 degrees of freedom")


def _helmert() -> Derivation:
    """One more group adds the square of a combination that is orthonormal to all before it, and free of G."""
    count, mean, new, squares = sympy.symbols("n a g q", positive=True)  # a, q: mean and sum of squares so far
    after = squares + new**2 - (count * mean + new) ** 2 / (count + 1)
    weight = count / (count + 1)
    yield identity(
        r"\textstyle\sum_{j\le n+1}(g_j-\bar g_{n+1})^2 = \sum_{j\le n}(g_j-\bar g_n)^2 + "
        r"\frac n{n+1}(g_{n+1}-\bar g_n)^2",
        after - (squares - count * mean**2),
        weight * (new - mean) ** 2,
        "any n: so the sum over J groups is one of J - 1 squares",
    )
    yield identity(
        r"\tfrac n{n+1}(1 + n\cdot\tfrac1{n^2}) = 1",
        weight * (1 + count / count**2),
        1,
        r"$h_n$ has norm 1 as a combination of the groups, its weights add up "
        r"to 0, and those on the groups before are equal, so that it is orthogonal to each $h_j$, $j<n$: for "
        r"Gaussians all are independent, and their squares add up to a chi-squared of J - 1 degrees",
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
