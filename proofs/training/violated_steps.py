r"""Violated steps: what they can climb, and what they leave in the second moment."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any

import sympy

from proofs.adam.assembly import (
    ADMISSIBLE,
    DESCENT,
    GROWTH,
    KAPPA,
    QBAR,
    START,
    closing,
    preconditioned_bound,
    self_bounding,
)
from proofs.adam.l2_decay import fresh_share, lemma_l2
from proofs.adam.l4_swap import RHO_IS
from proofs.adam.l6_descent import KAPPA_IS, lemma_l6
from proofs.adam.l6_descent import NEEDED as NEEDED_BY_L6
from proofs.adam.l7_denominators import C_IS, PHI, ROOT_C, TAU_IS, growing, lemma_l7, tau
from proofs.adam.symbols import (
    ADAM,
    BETA1,
    BETA2,
    BETAS,
    BUDGET,
    GAMMA_IS,
    KAPPA_RHO,
    PROBLEM,
    RHO,
    SETTING,
    A,
    B,
    alpha,
    initial_sum,
    noise,
    same,
)
from proofs.composition import (
    Assumption,
    Ground,
    assumed,
    by_cases,
    cite,
    composed,
    from_step,
    granted,
    hypothesis,
    rooted,
    stated,
    summed,
)
from proofs.grounds import inner, supremum
from proofs.grounds import norm as norm_2
from proofs.relations import Range, Relation, equation, inequality, named
from proofs.steps import Derivation, Step, proves
from proofs.sums import (
    ALIGNED,
    DENOMINATORS,
    MOMENTS,
    NORMS,
    PRECONDITIONED,
    aligned,
    epsilon,
    norm,
    preconditioned,
    root_moment,
)
from proofs.sums import deviation as spread
from theory.adam.constants import momentum_amplification, second_moment_weight
from theory.training import violated_steps as theory

__all__ = ["violated_steps"]


violated = named("violated", r"1\{V_k\}|G_k|", nonnegative=True)
deviation = named("sd_2", r"E_k g_k^2", nonnegative=True)
excess = named("excess", r"(\mathrm{sd}_k - \eta|G_k|)^+", nonnegative=True)
VIOLATED, EXCESS = sympy.symbols("F X", nonnegative=True)
CLIMBING = (*BETAS, Range(RHO, 1), Range(noise, 0, sympy.sqrt(1 / RHO), power=2))
NEEDED = SETTING | {Assumption.NORMALIZED}
"""The test holds off V_k, which is decided before step k."""


@proves(
    "violated steps",
    "Adam where the test is violated now and then",
    r"Let the coordinate-wise test be violated at some steps and coordinates, with $F = \sum_{k,i} "
    r"E[|G_{k,i}|1\{V_{k,i}\}]$ and $X = \sum_{k,i} E(\mathrm{sd}_{k,i}-\eta|G_{k,i}|)^+$. Then the corrected "
    r"Theorem 1 holds with $\bar Q + (\kappa+\rho)F/(\kappa\sqrt c)$ in the place of $\bar Q$ and $A + "
    r"\frac{\sqrt{\beta_2}}{1-\sqrt{\beta_2}}\sqrt c\,X$ in the place of $A$.",
    source="this project",
    uses=("L2", "L6", "L7", "L8"),
)
def violated_steps() -> Derivation:
    """The costs of a violation, and the bound."""
    found = theory.violated_bound(PROBLEM, ADAM, violated_gradient=VIOLATED, excess_deviation=EXCESS)
    lost = (KAPPA_RHO + RHO) * VIOLATED / (KAPPA_RHO * ROOT_C)
    total = found.terms["Qbar"] + found.terms["violated gradient"]
    where = {QBAR: BUDGET / ((1 - BETA1) * KAPPA_RHO) + lost, **GAMMA_IS, **KAPPA_IS, **RHO_IS, **C_IS}
    climbed = theory.uphill_cost(momentum_amplification(BETA1, BETA2), KAPPA, BETA2) * VIOLATED
    aligned_sum = yield from _climb()
    bound = yield preconditioned_bound(
        Relation(PRECONDITIONED, "<=", QBAR, where, ADMISSIBLE), (aligned_sum,), assumes=NEEDED
    )
    denominators = yield from _memory(found.constants)
    yield closing(bound, from_step(denominators, opaque=(A, B)), assumes=NEEDED)
    yield same(
        r"\alpha(1-\beta_1)\kappa\,\bar Q' = \Delta + \alpha^2KLd\,\Gamma + "
        r"\alpha(1-\beta_1)\tfrac{\kappa+\rho}{\sqrt c}F",
        (alpha * (1 - BETA1) * KAPPA * found.terms["Qbar"], DESCENT),
        (KAPPA * found.terms["violated gradient"], climbed),
        reason="the descent lemma summed, with the loss on the violated steps",
    )
    yield from self_bounding(found.value, total, START + theory.excess_memory(BETA2) * EXCESS)


def _climb() -> Generator[Step, Step, Step]:
    """On V_k the conditional descent is at least kappa G^2 / sqrt(D) - (kappa + rho) |G| / sqrt(c)."""
    cost, more = theory.uphill_cost(RHO, KAPPA_RHO, BETA2), sympy.Symbol("x", nonnegative=True)
    goal = Relation(aligned, ">=", KAPPA_RHO * preconditioned - cost * violated, KAPPA_IS, CLIMBING)
    off = yield composed(
        goal.at({violated: 0}), (cite(lemma_l6, part=1),), (aligned, preconditioned), NEEDED_BY_L6
    )
    root_c = sympy.sqrt(second_moment_weight(BETA2))
    largest = norm**2 / (root_c * norm + more + epsilon)
    small = yield inequality(
        preconditioned, "<=", norm / root_c, BETAS[1:], "sqrt(D_k) = sqrt(c) |G| + x", {preconditioned: largest}
    )
    uphill = yield from _uphill()
    on = yield composed(
        goal.at({violated: norm}),
        (uphill, cite(lemma_l2, part=2), small),
        (aligned, preconditioned, fresh_share),
        NEEDED,
    )
    each = yield by_cases(goal, ({violated: 0}, off), ({violated: norm}, on))
    total = yield summed(each, {aligned: ALIGNED(RHO), preconditioned: PRECONDITIONED, violated: VIOLATED})
    return total


def _uphill() -> Generator[Step, Step, Step]:
    """(x)^+ - rho (x)^- >= -rho |x| with x = G g / (sqrt(v) + epsilon)."""
    product = named("x_of_g", r"G_kg_k/(\sqrt{v_k}+\epsilon)", real=True)
    true, own = sympy.symbols(r"G_k g_k/(\sqrt{v_k}+\epsilon)", real=True)
    size = norm * fresh_share
    parts = yield equation(
        aligned,
        (1 + RHO) / 2 * product + (1 - RHO) / 2 * size,
        "the positive part of a number is the mean of it and its size",
        {aligned: (size + product) / 2 - RHO * (size - product) / 2},
    )
    meaning = {product: inner(true, own), norm: norm_2(true), fresh_share: norm_2(own)}
    least = granted(Relation(product, ">=", -size), Ground.CAUCHY_SCHWARZ, meaning=meaning)
    found = yield composed(
        Relation(aligned, ">=", -RHO * size),
        (from_step(parts, opaque=(aligned,)), least),
        (aligned, product),
    )
    return found


def _memory(constants: Mapping[str, Any]) -> Generator[Step, Step, Step]:
    """sqrt(G^2 + sd^2) <= tau |G| + (sd - eta |G|)^+, which enters L7's moments."""
    bound = tau * norm + excess
    cross = named("cross_excess", r"2e|G_k|/(\tau+\eta)", nonnegative=True)
    most = noise * norm + excess
    squares = norm**2 + most**2
    exact = equation(
        cross, bound**2 - squares, "tau^2 = 1 + eta^2", {cross: 2 * excess * norm / (tau + noise), **TAU_IS}
    )
    spread_2 = named("sd_k_2", r"\mathrm{sd}_k^2", nonnegative=True)
    over = {excess: supremum(spread - noise * norm)}
    no_more = stated(
        granted(Relation(spread, "<=", most), Ground.EXTREMUM, meaning=over),
        "of $\\mathrm{sd}_k - \\eta|G_k|$ and 0",
    )
    enough = inequality(spread_2, "<=", most**2, (Range(spread, 0, most),), where={spread_2: spread**2})
    yield exact
    yield no_more
    yield enough
    below = yield composed(
        Relation(deviation, "<=", bound**2, TAU_IS),
        (
            assumed(Relation(deviation, "=", norm**2 + spread_2), Assumption.UNBIASED),
            from_step(enough, {spread: (no_more,)}),
            exact,
            hypothesis(Relation(cross, ">=", 0)),
        ),
        (deviation, cross, spread_2),
        frozenset({Assumption.UNBIASED}),
    )
    rms = yield rooted(below, deviation, root_moment, bound)
    moments = yield summed(rms, {root_moment: MOMENTS, norm: NORMS, excess: EXCESS})
    denominators = yield composed(
        Relation(
            DENOMINATORS, "<=", A + B * NORMS, growing(initial_sum + ROOT_C * EXCESS, tau) | TAU_IS, BETAS[1:]
        ),
        (cite(lemma_l7, {epsilon: 0}, part=1), moments),
        (DENOMINATORS, NORMS, MOMENTS),
        NEEDED,
    )
    yield same(
        r"A, \; B: \text{ the functions}",
        (constants["A"], PHI * (initial_sum + sympy.sqrt(1 - BETA2) * EXCESS)),
        (constants["B"], GROWTH),
    )
    return denominators
