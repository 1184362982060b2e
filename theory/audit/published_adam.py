r"""The paper's theorem on Adam as published, with its lemmas: kept apart, in order to be refuted.

Problem:
    Adam without bias correction and without epsilon (Eq. (6)) under the coordinate-wise exact-variance norm
    test with eta, on an L-smooth function of d variables, K steps of size alpha from w_1, v_0 > 0.

Algorithm:
    m_k = beta1 m_{k-1} + (1 - beta1) g_k, v_k = beta2 v_{k-1} + (1 - beta2) g_k^2,
    w_{k+1} = w_k - alpha m_k / sqrt(v_k).

Guarantee as published (Theorem B.1; false, see :mod:`theory.audit.claims`):
    If 0 < beta1 <= sqrt(beta2) - 8 tau^2 (1 - beta2) / beta2^2, then for any sigma > 0

        sum_{k<=K} E||grad L(w_k)|| <= sqrt(c2 + 2 c1 sum_i log Z) sqrt(Z)                        (B.2)

    with c1, c2 and Z of :func:`first_constant`, :func:`second_constant` and :func:`preconditioner_total`. The
    published c2 lacks the factor L(u_1) - inf L, the published c1 has sigma where tau is meant:
    :mod:`theory.audit.corrected_adam` puts them back with the same functions.

    The published expression is not always a number: where the argument of log Z or of the root is not positive,
    :class:`UndefinedExpressionError` says so. No NaN is ever returned.

References:
    Lau et al., CPAL 2025, Theorem B.1, Lemmas B.1, B.2 and B.4. The quantity vt_k = beta2 v_{k-1} +
    (1 - beta2) sigma^2 is not defined there; this is what its proof uses.

Shapes:
    Scalars, except ``v0`` and ``gradient`` (G_1), which have shape (d,).

Example:
    >>> import numpy as np
    >>> run = PublishedProblem(
    ...     Problem(smoothness=1e-6, dimension=1, initial_gap=1.0, steps=1000),
    ...     AdamParameters(beta1=0.5, beta2=0.99, eta=0.5, step_size=1.0), v0=np.ones(1), gradient=np.ones(1),
    ... )
    >>> round(published_bound(run, sigma=1e-6).value)
    766
    >>> round(largest_published_beta1(0.95, eta=0.0), 3)
    0.531
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, is_symbolic, log, sqrt
from theory.adam.constants import (
    momentum_gap,
    momentum_ratio,
    second_moment_weight,
    squared_noise_growth,
)
from theory.bound import Bound
from theory.problem import AdamParameters, Problem, require_betas

__all__ = [
    "PublishedProblem",
    "UndefinedExpressionError",
    "combine",
    "first_constant",
    "largest_published_beta1",
    "lemma_b1_bound",
    "lemma_b1_sum",
    "lemma_b2_first",
    "lemma_b2_second",
    "preconditioner_total",
    "published_bound",
    "published_constants",
    "require_published_hypotheses",
    "second_constant",
]

Array = NDArray[np.float64]


class UndefinedExpressionError(ValueError):
    """A published expression has no value: a logarithm or a root of what is not positive.

    Attributes:
        expression: which one.
        argument: the argument it was given.
    """

    def __init__(self, expression: str, argument: Value) -> None:
        self.expression, self.argument = expression, argument
        super().__init__(f"the published expression {expression} is undefined: its argument is {argument:.6g}")


@dataclass(frozen=True)
class PublishedProblem:
    """What Theorem B.1 is about.

    Attributes:
        problem: L, d, K, and the initial gap that the published c2 has lost.
        adam: betas, eta and alpha.
        v0: initial second moments, shape (d,).
        gradient: G_1 = grad L(w_1), shape (d,).
    """

    problem: Problem
    adam: AdamParameters
    v0: Array
    gradient: Array


def largest_published_beta1(beta2: Value, eta: Value) -> Value:
    """sqrt(beta2) - 8 tau^2 (1 - beta2) / beta2^2: Theorem B.1 asks for 0 < beta1 <= this.

    >>> round(largest_published_beta1(0.999, eta=0.0), 3)
    0.991
    """
    return sqrt(beta2) - 8 * squared_noise_growth(eta) * second_moment_weight(beta2) / beta2**2


def require_published_hypotheses(run: PublishedProblem, sigma: Value) -> None:
    """Raise ``HypothesisError`` outside the published hypotheses of Theorem B.1."""
    beta1 = run.adam.beta1
    limit = largest_published_beta1(run.adam.beta2, run.adam.eta)
    given = f"{describe('beta1', beta1)}, the right side = {limit:.6g}"
    condition = "0 < beta1 <= sqrt(beta2) - 8 tau^2 (1 - beta2) / beta2^2"
    require(beta1 > 0, condition, given, "take beta1 > 0")
    require(beta1 <= limit, condition, given, f"take beta1 <= {limit:.6g}, or beta2 nearer to 1")
    require(sigma > 0, "sigma > 0", describe("sigma", sigma))
    require(run.v0 > 0, "v_0 > 0", describe("v0", run.v0), "Theorem B.1 has a logarithm of v_0")


def first_constant(run: PublishedProblem, sigma: Value, growth_squared: Value = None) -> Value:
    """c1 = 32 L alpha (1+r)^3/(c (1-r)^3) + 16 beta1^2 sigma (1-beta1)/(beta2 sqrt(c) (1-r)^3) + third term.

    The third term is 64 (1 + q) q L^2 alpha^2 d / (beta2^2 (1-r)^4 sigma c^{3/2}).

    Args:
        run: betas, L, alpha, d.
        sigma: > 0, free.
        growth_squared: q; as published (None) it is sigma^2, meant is tau^2 = 1 + eta^2.
    """
    beta1, beta2, smoothness, alpha = run.adam.beta1, run.adam.beta2, run.problem.smoothness, run.adam.alpha
    r, gap, c = momentum_ratio(beta1, beta2), momentum_gap(beta1, beta2), second_moment_weight(beta2)
    q = sigma**2 if growth_squared is None else growth_squared
    drift = 32 * smoothness * alpha * (1 + r) ** 3 / (c * gap**3)
    momentum = 16 * beta1**2 * sigma * (1 - beta1) / (beta2 * sqrt(c) * gap**3)
    noise = 64 * (1 + q) * q * smoothness**2 * alpha**2 * run.problem.dimension
    return drift + momentum + noise / (beta2**2 * gap**4 * sigma * c * sqrt(c))


def second_constant(run: PublishedProblem, sigma: Value, c1: Value, initial_gap: Value = 1) -> Value:
    """c2 = 8 (1-r)/(alpha (1-beta1)) gap + 32/(beta2 (1-r)^2) sum_i G_1i^2/sqrt(vt_1i) + 2 c1 sum_i (log ...).

    The last sum is over log(1 / sqrt(beta2 v_0i)) - K log beta2.

    Args:
        run: betas, alpha, K, v0, G_1.
        sigma: > 0, free.
        c1: see :func:`first_constant`.
        initial_gap: L(u_1) - inf L, which the published c2 has lost: 1 is as published.
    """
    beta1, beta2, v0 = run.adam.beta1, run.adam.beta2, run.v0
    gap = momentum_gap(beta1, beta2)
    first_denominator = np.sqrt(beta2 * v0 + second_moment_weight(beta2) * sigma**2)
    descent = 8 * gap / (run.adam.alpha * (1 - beta1)) * initial_gap
    start = 32 / (beta2 * gap**2) * np.sum(run.gradient**2 / first_denominator)
    logarithms = np.sum(-np.log(beta2 * v0) / 2 - run.problem.steps * np.log(beta2))
    return float(descent + start + 2 * c1 * logarithms)


def preconditioner_total(run: PublishedProblem, sigma: Value, c1: Value, c2: Value, log_scale: Value = 1) -> Value:
    """Z = 2 (K+1) sum_i sqrt(v_0i + sigma^2) + 24 q log(log_scale q) + 12 tau^2 c2/sqrt(beta2).

    q = d tau^2 c1 / sqrt(beta2). As published ``log_scale`` is 1, and Z can be negative; the inequality behind
    it, x <= a + b log x => x <= 2a + 2b log(2b/e) with b = 12 q, gives ``log_scale`` = 24/e.
    """
    growth, beta2 = squared_noise_growth(run.adam.eta), run.adam.beta2
    q = run.problem.dimension * growth * c1 / sqrt(beta2)
    start = 2 * (run.problem.steps + 1) * np.sum(np.sqrt(run.v0 + sigma**2))
    return float(start + 24 * q * log(log_scale * q) + 12 * growth * c2 / sqrt(beta2))


def published_constants(run: PublishedProblem, sigma: Value) -> dict[str, Value]:
    """c1, c2 and Z as published. Z, the right side of Lemma B.4 (sum_{k<=K+1} sum_i E sqrt(vt_{k,i})), can be < 0.

    Raises:
        HypothesisError: outside the published hypotheses.
    """
    require_published_hypotheses(run, sigma)
    c1 = first_constant(run, sigma)
    c2 = second_constant(run, sigma, c1)
    return {"c1": c1, "c2": c2, "Z": preconditioner_total(run, sigma, c1, c2)}


def combine(run: PublishedProblem, constants: Mapping[str, Value]) -> Value:
    """sqrt(c2 + 2 c1 sum_i log Z) sqrt(Z), the right side of (B.2).

    Raises:
        UndefinedExpressionError: where Z or the first radicand is not positive.
    """
    c1, c2, total = constants["c1"], constants["c2"], constants["Z"]
    if not total > 0:
        raise UndefinedExpressionError("log Z", total)
    radicand = c2 + 2 * c1 * run.problem.dimension * log(total)
    if radicand < 0:
        raise UndefinedExpressionError("sqrt(c2 + 2 c1 sum_i log Z)", radicand)
    return sqrt(radicand) * sqrt(total)


def published_bound(run: PublishedProblem, sigma: Value) -> Bound:
    """The right side of (B.2) as published.

    Args:
        run: all of it but the initial gap.
        sigma: > 0, free.

    Raises:
        HypothesisError: outside the published hypotheses.
        UndefinedExpressionError: where the published expression has no value.
    """
    constants = published_constants(run, sigma)
    return Bound(
        value=combine(run, constants),
        quantity="sum_k E||grad L(w_k)||",
        theorem="Theorem B.1 as published, (B.2)",
        constants=constants,
        parameters={"sigma": sigma},
    )


def lemma_b1_sum(a: Array, beta1: float, beta2: float, b0: float) -> tuple[float, float]:
    """Left side of Lemma B.1 and log(b_K / b_0), for the sequence a_1..a_K.

    b_k = beta2 b_{k-1} + (1 - beta2) a_k^2, c_k = beta1 c_{k-1} + (1 - beta1) a_k, c_0 = 0: sum_k c_k^2 / b_k.

    >>> import numpy as np
    >>> left, growth = lemma_b1_sum(np.ones(3), 0.0, 0.5, 1.0)
    >>> left, growth
    (3.0, 0.0)
    """
    require(b0 > 0, "b_0 > 0", describe("b0", b0))
    total, b, c = 0.0, b0, 0.0
    for value in np.asarray(a, dtype=float):
        b = beta2 * b + (1 - beta2) * value**2
        c = beta1 * c + (1 - beta1) * value
        total += c**2 / b
    return float(total), float(np.log(b / b0))


def lemma_b1_bound(beta1: Value, beta2: Value, steps: Value, log_growth: Value) -> Value:
    """Right side of Lemma B.1: (1 - beta1)^2 / ((1 - beta2)(1 - r)^2) (log(b_K / b_0) - K log beta2).

    Evaluated as published, also for the negative beta1 that the lemma's range 0 < beta1^2 < beta2 lets in.

    Raises:
        HypothesisError: unless beta1^2 < beta2 < 1.
    """
    given = f"{describe('beta1', beta1)}, {describe('beta2', beta2)}"
    require(beta1**2 < beta2, "beta1^2 < beta2", given, "take beta2 > beta1^2")
    require(beta2 < 1, "beta2 < 1", given, "take beta2 < 1")
    factor = (1 - beta1) ** 2 / (second_moment_weight(beta2) * momentum_gap(beta1, beta2) ** 2)
    return factor * (log_growth - steps * log(beta2))


def lemma_b2_first(alpha: Value, beta1: Value, beta2: Value) -> Value:
    """alpha (1 - beta1) / (sqrt(1 - beta2) sqrt(1 - beta1^2/beta2)), the first bound of Lemma B.2.

    Raises:
        HypothesisError: unless 0 <= beta1 < sqrt(beta2) < 1.
    """
    require_betas(beta1, beta2)
    return alpha * (1 - beta1) / (sqrt(1 - beta2) * sqrt(1 - beta1**2 / beta2))


def lemma_b2_second(alpha: Value, beta1: Value, beta2: Value, rooted: bool = True) -> Value:
    """alpha (1 - beta1) / (sqrt(1 - beta2) sqrt(1 - beta1/beta2)), the second bound of Lemma B.2 as published.

    Args:
        alpha: step size.
        beta1: in [0, sqrt(beta2)).
        beta2: in (0, 1).
        rooted: as published; False for what does hold, with 1 - r in place of sqrt(1 - beta1/beta2).

    Raises:
        HypothesisError: unless 0 <= beta1 < sqrt(beta2) < 1.
        UndefinedExpressionError: as published, where beta1 >= beta2.

    >>> lemma_b2_second(1.0, 0.9, 0.85)
    Traceback (most recent call last):
    ...
    theory.audit.published_adam.UndefinedExpressionError: the published expression 1/sqrt(1 - beta1/beta2) is \
undefined: its argument is -0.0588235
    """
    require_betas(beta1, beta2)
    scale = alpha * (1 - beta1) / sqrt(1 - beta2)
    if not rooted:
        return scale / momentum_gap(beta1, beta2)
    radicand = 1 - beta1 / beta2
    if not is_symbolic(radicand) and not np.all(radicand > 0):
        raise UndefinedExpressionError("1/sqrt(1 - beta1/beta2)", np.min(radicand))
    return scale / sqrt(radicand)
