"""Checks of Theorem B.1 and of Theorem 1: the printed bound, its rate and its condition on the betas."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

from adabatch.moments.numeric import Value
from theory.adam.constants import momentum_gap
from theory.adam.theorem1 import gradient_norm_sum_bound
from theory.audit.checks.adam_runs import deterministic_adam
from theory.audit.corrected_adam import best_sigma, repaired_bound, scaled_bound
from theory.audit.evidence import Certificate, Comparison
from theory.audit.published_adam import PrintedProblem, largest_printed_beta1, printed_bound
from theory.bound import Bound

__all__ = ["beta_condition", "rate", "theorem_bound"]

BoundOnSum = Callable[[PrintedProblem, float, int, float], Bound]


def _as_printed(problem: PrintedProblem, sigma: float, steps: int, initial_gap: float) -> Bound:
    """The printed bound, which has no initial gap in it."""
    return printed_bound(problem, sigma, steps)


def _at_sigma(bound: BoundOnSum, problem: PrintedProblem, steps: int, gap: float, sigma: float) -> Bound:
    """The bound as a function of its last argument."""
    return bound(problem, sigma, steps, gap)


def theorem_bound(bound: BoundOnSum = _as_printed) -> Certificate:
    """Theorem B.1, (B.2), on two convex functions of one variable with exact gradients (g = G, any eta).

    Args:
        bound: of (problem, sigma, K, initial gap).
    """
    printed, supporting = [], []
    for steps in (1000, 10_000, 100_000):
        problem, total, gap = _far_away(steps)
        value = bound(problem, 1e-6, steps, gap).value
        printed.append(Comparison(f"sum of |G_k|, sqrt(D^2+w^2)-D from 1e7, K = {steps}", total, "<=", value))
        supporting += _what_holds_instead(problem, total, steps, gap)
    problem, total, gap = _steep(20_000)
    best = best_sigma(partial(_at_sigma, bound, problem, 20_000, gap), low=1e-10, high=1e10, points=61)
    what = "sum of |G_k| over the bound at its best sigma, 1e4 (sqrt(1+w^2)-1) from 10, K = 20000"
    printed.append(Comparison(what, total / best.value, "<=", 1.0))
    supporting += _what_holds_instead(problem, total, 20_000, gap)
    for beta1, beta2 in ((0.5, 0.99), (0.1, 0.99)):
        limit = largest_printed_beta1(beta2, 0.5)
        supporting.append(Comparison(f"printed condition at ({beta1}, {beta2}), eta .5", beta1, "<=", limit))
    return Certificate(
        printed=tuple(printed),
        supporting=tuple(supporting),
        note="The first term of c2 has lost the factor L(u_1) - inf L, c1's third term has sigma where tau is "
        "meant, and L is nowhere assumed bounded below.",
    )


def _what_holds_instead(problem: PrintedProblem, total: float, steps: int, gap: float) -> list[Comparison]:
    """The same sum against the repaired bound at its best sigma, and against the corrected Theorem 1."""
    best = best_sigma(partial(_at_sigma, repaired_bound, problem, steps, gap), points=37)
    corrected = gradient_norm_sum_bound(
        smoothness=problem.smoothness,
        dimension=problem.dimension,
        initial_gap=gap,
        steps=steps,
        step_size=problem.alpha,
        beta1=problem.beta1,
        beta2=problem.beta2,
        eta=problem.eta,
        sum_sqrt_v0=float(np.sum(np.sqrt(problem.v0))),
    )
    return [
        Comparison(f"the same sum against the repaired bound, K = {steps}", total, "<=", best.value),
        Comparison(f"the same sum against the corrected Theorem 1, K = {steps}", total, "<=", corrected.value),
    ]


def _far_away(steps: int) -> tuple[PrintedProblem, float, float]:
    """sqrt(D^2 + w^2) - D with D = 1e6 from w = 1e7, alpha = 1, v_0 = 1: problem, sum of |G_k|, initial gap."""
    scale, start = 1e6, 1e7

    def derivative(w: float) -> float:
        return w / math.hypot(scale, w)

    run = deterministic_adam(derivative, start, 1.0, 0.5, 0.99, 1.0, steps)
    gradient = np.array([derivative(start)])
    problem = PrintedProblem(0.5, 0.99, 0.5, 1 / scale, 1.0, np.ones(1), gradient)
    return problem, run.gradient_sum, math.hypot(scale, start) - scale


def _steep(steps: int) -> tuple[PrintedProblem, float, float]:
    """1e4 (sqrt(1 + w^2) - 1) from w = 10, alpha = 1e-4, v_0 = G_1^2: problem, sum of |G_k|, initial gap."""
    scale, start = 1e4, 10.0

    def derivative(w: float) -> float:
        return scale * w / math.hypot(1.0, w)

    gradient = derivative(start)
    run = deterministic_adam(derivative, start, 1e-4, 0.1, 0.99, gradient**2, steps)
    problem = PrintedProblem(0.1, 0.99, 0.5, scale, 1e-4, np.array([gradient**2]), np.array([gradient]))
    return problem, run.gradient_sum, scale * (math.hypot(1.0, start) - 1)


def slope(values: list[float], steps: list[float]) -> float:
    """Least-squares slope of log value over log K."""
    return float(np.polyfit(np.log(steps), np.log(values), 1)[0])


def rate(scaled: bool = False) -> Certificate:
    """Theorem 1: what sum_k E||G_k|| <= O~(K) says of the average, at fixed alpha, v_0 (``scaled``: as K^-1/2)."""
    horizons = [1e8, 1e10, 1e12, 1e14]
    gradient = np.ones(1)

    def fixed(steps: float) -> float:
        problem = PrintedProblem(0.5, 0.99, 0.5, 1.0, 0.01, np.ones(1), gradient)
        return float(best_sigma(lambda s: repaired_bound(problem, s, steps, 1.0), points=37).value)

    def rescaled(steps: float) -> float:
        return float(scaled_bound(0.5, 0.99, 0.5, 1.0, 1.0, gradient, steps).value)

    chosen = [(rescaled if scaled else fixed)(k) for k in horizons]
    average = slope([value / k for value, k in zip(chosen, horizons, strict=True)], horizons)
    recovered = slope([rescaled(k) / k for k in horizons], horizons)
    return Certificate(
        printed=(
            Comparison("slope of the (repaired) bound on the sum over K", slope(chosen, horizons), "<=", 1.01),
        ),
        content=(Comparison("slope of the bound on the average gradient norm over K", average, "<=", -0.1),),
        supporting=(
            Comparison(
                "the same slope at alpha = K^-1/2, sigma = alpha/sqrt(1-beta2), v_0 = sigma^2",
                recovered,
                "~",
                -0.5,
                0.01,
            ),
        ),
        note="A sum of K bounded gradient norms is O(K) by itself: at fixed alpha and v_0 the average stays "
        "O~(1). The repaired bound does give K^-1/2 once alpha, sigma and v_0 shrink with K.",
    )


def beta_condition(beta1: float = 0.9, beta2: float = 0.95) -> Certificate:
    """Theorem 1's condition at the paper's own betas, eta = 0 (any eta > 0 is worse)."""
    lowest = _smallest_beta2(0.9)
    allowed = max(largest_printed_beta1(b2, 0.0) for b2 in np.linspace(0.01, 0.9, 90))
    return Certificate(
        printed=(
            Comparison(
                f"beta1 = {beta1:g} against the right side at beta2 = {beta2:g}",
                beta1,
                "<=",
                largest_printed_beta1(beta2, 0.0),
            ),
        ),
        corrected=(
            Comparison(
                f"eta^2 = .04 against 1 - r of the corrected Theorem 1 at ({beta1:g}, {beta2:g})",
                0.04,
                "<",
                momentum_gap(beta1, beta2),
            ),
        ),
        supporting=(
            Comparison("smallest beta2 that the condition allows with beta1 = .9", lowest, "~", 0.9885, 5e-5),
            Comparison("largest beta1 allowed at any beta2 <= .9", float(allowed), "<", 0.0),
        ),
        note="The text allows any beta2 in (0, 1); the condition excludes (.9, .95).",
    )


def _smallest_beta2(beta1: Value) -> float:
    """Smallest beta2 with beta1 <= sqrt(beta2) - 8 (1 - beta2)/beta2^2, by bisection: the right side increases."""
    low, high = 0.1, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if largest_printed_beta1(middle, 0.0) >= beta1 else (middle, high)
    return high
