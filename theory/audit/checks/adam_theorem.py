"""Checks of Theorem B.1 and of Theorem 1: the published bound, its rate and its condition on the betas."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

import numpy as np

from adabatch.moments.numeric import Value
from theory.adam.constants import momentum_gap
from theory.adam.theorem1 import gradient_norm_sum_bound
from theory.audit.checks.adam_runs import far_away, steep
from theory.audit.corrected_adam import best_sigma, corrected_bound, scaled_bound
from theory.audit.evidence import Assertion, ClaimEvidence
from theory.audit.published_adam import PublishedProblem, largest_published_beta1, published_bound
from theory.bound import Bound
from theory.problem import AdamParameters, Problem

__all__ = ["beta_condition", "rate", "theorem_bound"]

BoundOnSum = Callable[[PublishedProblem, float], Bound]


def theorem_bound(bound: BoundOnSum = published_bound) -> ClaimEvidence:
    """Theorem B.1, (B.2), on two convex functions of one variable with exact gradients (g = G, any eta).

    Args:
        bound: of (run, sigma).
    """
    published, supporting = [], []
    for steps in (1000, 10_000, 100_000):
        run, total = far_away(steps)
        what = f"sum of |G_k|, sqrt(D^2+w^2)-D from 1e7, K = {steps}"
        published.append(Assertion(what, total, "<=", bound(run, 1e-6).value))
        supporting += _what_holds_instead(run, total)
    run, total = steep(20_000)
    best = best_sigma(partial(bound, run), low=1e-10, high=1e10, points=61)
    what = "sum of |G_k| over the bound at its best sigma, 1e4 (sqrt(1+w^2)-1) from 10, K = 20000"
    published.append(Assertion(what, total / best.value, "<=", 1.0))
    supporting += _what_holds_instead(run, total)
    for beta1, beta2 in ((0.5, 0.99), (0.1, 0.99)):
        limit = largest_published_beta1(beta2, 0.5)
        supporting.append(Assertion(f"published condition at ({beta1}, {beta2}), eta .5", beta1, "<=", limit))
    return ClaimEvidence(
        published=tuple(published),
        supporting=tuple(supporting),
        note="The first term of c2 has lost the factor L(u_1) - inf L, c1's third term has sigma where tau is "
        "meant, and L is nowhere assumed bounded below.",
    )


def _what_holds_instead(run: PublishedProblem, total: float) -> list[Assertion]:
    """The same sum against the corrected (B.2) at its best sigma, and against the corrected Theorem 1."""
    best = best_sigma(partial(corrected_bound, run), points=37)
    adam = replace(run.adam, sum_sqrt_v0=float(np.sum(np.sqrt(run.v0))))
    corrected, steps = gradient_norm_sum_bound(run.problem, adam), run.problem.steps
    return [
        Assertion(f"the same sum against the corrected (B.2), K = {steps}", total, "<=", best.value),
        Assertion(f"the same sum against the corrected Theorem 1, K = {steps}", total, "<=", corrected.value),
    ]


def slope(values: list[float], steps: list[float]) -> float:
    """Least-squares slope of log value over log K."""
    return float(np.polyfit(np.log(steps), np.log(values), 1)[0])


def rate(scaled: bool = False) -> ClaimEvidence:
    """Theorem 1: what sum_k E||G_k|| <= O~(K) says of the average, at fixed alpha, v_0 (``scaled``: as K^-1/2)."""
    horizons = [1e8, 1e10, 1e12, 1e14]
    gradient, adam = np.ones(1), AdamParameters(beta1=0.5, beta2=0.99, eta=0.5, step_size=0.01)

    def over(steps: float) -> Problem:
        return Problem(smoothness=1.0, dimension=1, initial_gap=1.0, steps=steps)

    def fixed(steps: float) -> float:
        run = PublishedProblem(over(steps), adam, np.ones(1), gradient)
        return float(best_sigma(partial(corrected_bound, run), points=37).value)

    def rescaled(steps: float) -> float:
        return float(scaled_bound(over(steps), adam, gradient).value)

    chosen = [(rescaled if scaled else fixed)(k) for k in horizons]
    average = slope([value / k for value, k in zip(chosen, horizons, strict=True)], horizons)
    recovered = slope([rescaled(k) / k for k in horizons], horizons)
    return ClaimEvidence(
        published=(
            Assertion("slope of the (corrected) bound on the sum over K", slope(chosen, horizons), "<=", 1.01),
        ),
        content=(Assertion("slope of the bound on the average gradient norm over K", average, "<=", -0.1),),
        supporting=(
            Assertion(
                "the same slope at alpha = K^-1/2, sigma = alpha/sqrt(1-beta2), v_0 = sigma^2",
                recovered,
                "~",
                -0.5,
                0.01,
            ),
        ),
        note="A sum of K bounded gradient norms is O(K) by itself: at fixed alpha and v_0 the average stays "
        "O~(1). The corrected bound does give K^-1/2 once alpha, sigma and v_0 shrink with K.",
    )


def beta_condition(beta1: float = 0.9, beta2: float = 0.95) -> ClaimEvidence:
    """Theorem 1's condition at the paper's own betas, eta = 0 (any eta > 0 is worse)."""
    lowest = _smallest_beta2(0.9)
    allowed = max(largest_published_beta1(b2, 0.0) for b2 in np.linspace(0.01, 0.9, 90))
    return ClaimEvidence(
        published=(
            Assertion(
                f"beta1 = {beta1:g} against the right side at beta2 = {beta2:g}",
                beta1,
                "<=",
                largest_published_beta1(beta2, 0.0),
            ),
        ),
        corrected=(
            Assertion(
                f"eta^2 = .04 against 1 - r of the corrected Theorem 1 at ({beta1:g}, {beta2:g})",
                0.04,
                "<",
                momentum_gap(beta1, beta2),
            ),
        ),
        supporting=(
            Assertion("smallest beta2 that the condition allows with beta1 = .9", lowest, "~", 0.9885, 5e-5),
            Assertion("largest beta1 allowed at any beta2 <= .9", float(allowed), "<", 0.0),
        ),
        note="The text allows any beta2 in (0, 1); the condition excludes (.9, .95).",
    )


def _smallest_beta2(beta1: Value) -> float:
    """Smallest beta2 with beta1 <= sqrt(beta2) - 8 (1 - beta2)/beta2^2, by bisection: the right side increases."""
    low, high = 0.1, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if largest_published_beta1(middle, 0.0) >= beta1 else (middle, high)
    return high
