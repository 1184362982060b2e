"""Checks of Lemmas B.1-B.4."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from adabatch.moments.numeric import Value
from theory.audit.checks.adam_runs import deterministic_adam
from theory.audit.corrected_adam import largest_root_bound
from theory.audit.evidence import Assertion, ClaimEvidence
from theory.audit.published_adam import (
    Array,
    PublishedProblem,
    UndefinedExpressionError,
    largest_published_beta1,
    lemma_b1_bound,
    lemma_b1_sum,
    lemma_b2_first,
    lemma_b2_second,
    published_constants,
)
from theory.problem import AdamParameters, Problem

__all__ = ["descent_leading_term", "momentum_sum", "preconditioner_sum", "step_bounds"]


def momentum_sum(
    beta1: float = -0.9,
    beta2: float = 0.95,
    steps: int = 200,
    bound: Callable[[Value, Value, Value, Value], Value] = lemma_b1_bound,
) -> ClaimEvidence:
    """Lemma B.1: its published range 0 < beta1^2 < beta2 lets in ``beta1`` < 0; there a_k = (-1)^k."""
    left, growth = lemma_b1_sum(_alternating(steps), beta1, beta2, 1.0)
    right = bound(beta1, beta2, steps, growth)
    largest, tried = 0.0, 0
    generator = np.random.default_rng(17)
    for second in (0.3, 0.9, 0.95, 0.999):
        for first in np.linspace(0.0, 0.99, 5) * math.sqrt(second):
            for sequence in _sequences(generator, float(first), second):
                one_left, one_growth = lemma_b1_sum(sequence, float(first), second, 1e-6)
                largest = max(largest, one_left / bound(first, second, len(sequence), one_growth))
                tried += 1
    return ClaimEvidence(
        published=(
            Assertion(f"sum c_k^2/b_k, beta1 = {beta1:g}, beta2 = {beta2:g}, a_k = (-1)^k", left, "<=", right),
        ),
        corrected=(Assertion("largest left/right for 0 <= beta1 < sqrt(beta2)", largest, "<=", 1.0),),
        supporting=(
            Assertion("beta1^2 < beta2", beta1**2, "<", beta2),
            Assertion("sequences tried in the corrected range", float(tried), ">=", 60.0),
        ),
        note="True for 0 <= beta1 < sqrt(beta2) (which the paper assumes elsewhere), false for negative beta1.",
    )


def _alternating(steps: int) -> Array:
    """(-1)^k for k = 1..steps."""
    return np.where(np.arange(1, steps + 1) % 2 == 0, 1.0, -1.0)


def _sequences(generator: np.random.Generator, beta1: float, beta2: float, steps: int = 80) -> list[Array]:
    """Sequences that load the lemma: constant, alternating, heavy-tailed, sparse, and Cauchy-Schwarz's own."""
    ones = np.ones(steps)
    extremal: Array = np.power(beta1 / beta2, np.arange(steps)[::-1], dtype=np.float64) if beta1 > 0 else ones
    heavy = generator.standard_normal(steps) * generator.lognormal(0.0, 2.0, steps)
    sparse = np.where(generator.random(steps) < 0.1, 1.0, 0.0)
    return [ones, _alternating(steps), extremal, heavy, sparse]


def step_bounds(beta1: float = 0.9, beta2: float = 0.85, rooted: bool = True) -> ClaimEvidence:
    """Lemma B.2: the step against its first bound, and the first against the second (``rooted`` as published)."""
    tightest, largest = 0.0, 0.0
    ordered = []
    for first, second in ((0.9, 0.95), (0.5, 0.9), (0.9, 0.999), (beta1, beta2)):
        step = _largest_step(first, second) / lemma_b2_first(1.0, first, second)
        largest, tightest = max(largest, step), max(tightest, step)
        place = f"at ({first:g}, {second:g})"
        try:
            ratio = lemma_b2_first(1.0, first, second) / lemma_b2_second(1.0, first, second, rooted)
            ordered.append(Assertion(f"first bound / second bound {place}", ratio, "<=", 1.0))
        except UndefinedExpressionError as undefined:
            what = f"1 - beta1/beta2 under the second bound's root {place}"
            ordered.append(Assertion(what, float(undefined.argument), ">", 0.0))
    grid = [(b1, b2) for b2 in np.linspace(0.01, 0.999, 60) for b1 in np.linspace(0.0, 0.999, 40) * np.sqrt(b2)]
    corrected = max(lemma_b2_first(1.0, *b) / lemma_b2_second(1.0, *b, rooted=False) for b in grid)
    first_holds = Assertion("largest step found / first bound", largest, "<=", 1.0 + 1e-12)
    return ClaimEvidence(
        published=(first_holds, *ordered),
        corrected=(
            first_holds,
            Assertion(
                "largest first bound / second with 1-r, over a grid of betas", float(corrected), "<=", 1 + 1e-12
            ),
        ),
        supporting=(
            Assertion("beta1^2 < beta2", beta1**2, "<", beta2),
            Assertion("the first bound is approached", tightest, ">=", 0.999),
        ),
        note="The first inequality is true; the second has no value where beta1 >= beta2. With 1 - r in place of "
        "sqrt(1 - beta1/beta2) it holds.",
    )


def _largest_step(beta1: float, beta2: float, steps: int = 4000) -> float:
    """|m_K| / sqrt(v_K) for Cauchy-Schwarz's own sequence g_j ~ (beta1/beta2)^(K-j), v_0 = 0."""
    # Both sums in closed form over the age n = K - j: terms (beta1^2/beta2)^n.
    ages = np.arange(steps)
    weight = (beta1**2 / beta2) ** ages
    momentum = (1 - beta1) * weight.sum()
    second = (1 - beta2) * weight.sum()
    return float(momentum / np.sqrt(second))


def descent_leading_term(sign: float = -1.0, alpha_power: int = 1, copies: int | None = None) -> ClaimEvidence:
    """Lemma B.3: the leading term -coefficient * sum_i phi with phi = sign alpha^alpha_power <G, G/sqrt(vt)>.

    As published sign = -1 and alpha_power = 1, and the whole inner product is summed over all d coordinates; the
    coefficient alpha (1 - beta1) / (1 - r), up to a positive number, has its own alpha. Corrected: +1, 0, 1 copy.
    """
    gradient, second = np.array([1.0, -2.0, 0.5]), np.array([1.0, 4.0, 0.25])
    dimension = gradient.size

    def leading(alpha: float, sign: float, power: int, copies: int) -> float:
        phi = sign * alpha**power * float(np.sum(gradient**2 / np.sqrt(second)))
        return -alpha * copies * phi

    def assertions(sign: float, power: int, copies: int) -> tuple[Assertion, ...]:
        one, two = leading(1.0, sign, power, copies), leading(2.0, sign, power, copies)
        target = -float(np.sum(gradient**2 / np.sqrt(second)))
        return (
            Assertion("leading term: a descent", one, "<", 0.0),
            Assertion("doubling alpha multiplies it by", two / one, "==", 2.0),
            Assertion("how often it counts sum_i G_i^2/sqrt(vt_i)", abs(one / target), "==", 1.0),
        )

    return ClaimEvidence(
        published=assertions(sign, alpha_power, dimension if copies is None else copies),
        supporting=assertions(1.0, 0, 1),
        note="phi must be +E<G, G/sqrt(vt)>: as published the leading term is an ascent, quadratic in alpha, and "
        "counted d times. Only the leading term is checked here.",
    )


def preconditioner_sum(sigma: float = 10**-3.5, alpha: float = 1e3) -> ClaimEvidence:
    """Lemma B.4 on L = 5e-15 w^2, w_1 = 1, v_0 = 1, betas (.5, .999), eta = .2, K = 1, exact gradients."""
    beta1, beta2, curvature = 0.5, 0.999, 1e-14
    run = deterministic_adam(lambda w: curvature * w, 1.0, alpha, beta1, beta2, 1.0, 1)
    left = sum(math.sqrt(beta2 * v + (1 - beta2) * sigma**2) for v in run.second_moments)
    problem = Problem(smoothness=curvature, dimension=1, initial_gap=curvature / 2, steps=1)
    adam = AdamParameters(beta1=beta1, beta2=beta2, eta=0.2, step_size=alpha)
    published = PublishedProblem(problem, adam, np.ones(1), np.array([curvature]))
    right = published_constants(published, sigma)["Z"]
    root = _largest_root(1.0, 12.0)
    return ClaimEvidence(
        published=(
            Assertion("sum of sqrt(vt_k), k = 1, 2, against Z", left, "<=", right),
            Assertion("largest x with x = 1 + 12 log x, against 2a + 2b log(b/12)", root, "<=", 2.0),
        ),
        supporting=(
            Assertion("beta1 within the published condition", beta1, "<=", largest_published_beta1(beta2, 0.2)),
            Assertion("the same root against 2a + 2b log(2b/e)", root, "<=", largest_root_bound(1.0, 12.0)),
        ),
        note="x <= a + b log x gives 2a + 2b log(2b/e), not 2a + 2b log(b/12); the published logarithm can be "
        "negative, and then so can Z.",
    )


def _largest_root(a: float, b: float) -> float:
    """Largest x with x = a + b log x, by iterating from above."""
    x = float(largest_root_bound(a, b)) + 1.0
    for _ in range(10_000):
        x = a + b * math.log(x)
    return x
