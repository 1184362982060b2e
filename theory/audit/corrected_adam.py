r"""The paper's bound on Adam with its misprints set right, and the choice of sigma that makes it a rate.

Problem:
    As in :mod:`theory.audit.published_adam`, with L bounded below.

Guarantee (the published (B.2) with three corrections; what :mod:`proofs` establishes is not this bound but the
corrected Theorem 1, :mod:`theory.adam.theorem1`, which also covers the betas (.9, .95)):
    1. the first term of c2 gets back its factor L(u_1) - inf L, where u_1 = w_1;
    2. c1's third term has tau^2 = 1 + eta^2 where sigma^2 was published;
    3. Z's logarithm is log(24 q / e), q = d tau^2 c1 / sqrt(beta2), as x <= a + b log x => x <= 2a + 2b log(2b/e)
       gives with b = 12 q.

    sigma is free, and v_0 and alpha are the user's. At fixed alpha, v_0 and sigma the bound grows like K, which
    says nothing; at alpha = K^{-1/2}, sigma = alpha / sqrt(1 - beta2), v_0 = sigma^2 it grows like K^{1/2}: the
    average gradient norm is O(K^{-1/2}).

References:
    Lau et al., CPAL 2025, Theorem B.1, whose constants follow Wang et al., "Closing the gap between the upper
    bound and lower bound of Adam's iteration complexity", NeurIPS 2023.

Shapes:
    Scalars, except ``v0`` and ``gradient`` (G_1), which have shape (d,).

Example:
    >>> import numpy as np
    >>> adam = AdamParameters(beta1=0.5, beta2=0.99, eta=0.5)
    >>> problems = [Problem(smoothness=1.0, dimension=1, initial_gap=1.0, steps=K) for K in (1e10, 1e12)]
    >>> averages = [scaled_bound(problem, adam, np.ones(1)).value / problem.steps for problem in problems]
    >>> round(float(np.log(averages[1] / averages[0]) / np.log(100)), 2)
    -0.5
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, log, sqrt
from theory.adam.constants import second_moment_weight, squared_noise_growth
from theory.adam_sharp.parameters import golden_section
from theory.audit.published_adam import (
    Array,
    PublishedProblem,
    UndefinedExpressionError,
    combine,
    first_constant,
    preconditioner_total,
    require_published_hypotheses,
    second_constant,
)
from theory.bound import Bound
from theory.problem import AdamParameters, Problem

__all__ = ["best_sigma", "corrected_bound", "largest_root_bound", "scaled_bound"]

LOGARITHM_SCALE = 24 / float(np.e)
"""(2b/e) / q for b = 12 q: the argument that the logarithm in Z should have, in units of the published one."""


def largest_root_bound(a: Value, b: Value) -> Value:
    """2a + 2b log(2b/e): what x <= a + b log x implies for x > 0, b > 0.

    From the tangent of log at 2b: log x <= x/(2b) + log(2b) - 1.

    >>> round(largest_root_bound(1.0, 12.0), 2)
    54.27
    """
    require(b > 0, "b > 0", describe("b", b))
    return 2 * a + 2 * b * (log(2 * b) - 1)


def corrected_bound(run: PublishedProblem, sigma: Value) -> Bound:
    """The right side of (B.2), corrected.

    Args:
        run: the problem with its initial gap, and Adam.
        sigma: > 0, free: see :func:`best_sigma`.

    Raises:
        HypothesisError: outside the published hypotheses.
        UndefinedExpressionError: where the expression has no value.
    """
    require_published_hypotheses(run, sigma)
    c1 = first_constant(run, sigma, growth_squared=squared_noise_growth(run.adam.eta))
    c2 = second_constant(run, sigma, c1, run.problem.initial_gap)
    constants = {"c1": c1, "c2": c2, "Z": preconditioner_total(run, sigma, c1, c2, log_scale=LOGARITHM_SCALE)}
    return Bound(
        value=combine(run, constants),
        quantity="sum_k E||grad L(w_k)||",
        theorem="Theorem B.1 corrected",
        constants=constants,
        parameters={"sigma": sigma},
    )


def best_sigma(bound: Callable[[float], Bound], low: float = 1e-12, high: float = 1e6, points: int = 73) -> Bound:
    """The smallest bound over the free sigma: a grid in log sigma, then golden sections around its best point.

    Args:
        bound: of sigma, for example ``lambda s: corrected_bound(run, s)``. A sigma at which it
            raises UndefinedExpressionError is passed over.
        low: smallest sigma.
        high: largest sigma.
        points: of the grid.

    Returns:
        The bound at the best sigma found, which is in its ``parameters``.

    Raises:
        ValueError: if the bound is undefined on the whole grid.
    """

    def value(log_sigma: float) -> float:
        try:
            return float(bound(float(np.exp(log_sigma))).value)
        except UndefinedExpressionError:
            return float("inf")

    grid = np.linspace(np.log(low), np.log(high), points)
    values = [value(x) for x in grid]
    best = int(np.argmin(values))
    if not np.isfinite(values[best]):
        raise ValueError(f"the bound is undefined for every sigma in [{low:g}, {high:g}]")
    left, right = grid[max(best - 1, 0)], grid[min(best + 1, points - 1)]
    return bound(float(np.exp(golden_section(np.vectorize(value), left, right, steps=40))))


def scaled_bound(problem: Problem, adam: AdamParameters, gradient: Array) -> Bound:
    """The corrected bound at alpha = K^{-1/2}, sigma = alpha / sqrt(1 - beta2), v_0 = sigma^2, of order K^{1/2}.

    Args:
        problem: L, d, Delta and K.
        adam: betas within the published hypotheses, and eta.
        gradient: G_1, shape (d,).
    """
    alpha = 1 / sqrt(problem.steps)
    sigma = alpha / sqrt(second_moment_weight(adam.beta2))
    v0 = np.full(np.shape(gradient), sigma**2)
    return corrected_bound(PublishedProblem(problem, replace(adam, step_size=alpha), v0, gradient), sigma)
