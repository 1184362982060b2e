r"""Adam's mean step E[m / sqrt(v)] on a coordinate whose gradient keeps its law: exact, by one quadrature.

Problem:
    g_k = X_k G with G > 0 fixed and X_1, X_2, ... independent with a finite law. In the stationary state
    m = (1 - beta1) sum_j beta1^j X_j and v = (1 - beta2) sum_j beta2^j X_j^2 (the scale G cancels). What is the
    mean step E[m / sqrt(v)]? It is the sign that matters: where it is negative, Adam climbs.

Algorithm:
    1/sqrt(v) = (2/sqrt(pi)) int_0^oo exp(-v t^2) dt and the X_j are independent, so

        E[m/sqrt(v)] = (2/sqrt(pi)) (1-beta1) int_0^oo [ sum_j beta1^j N_j(t)/D_j(t) ] prod_j D_j(t) dt,
        D_j(t) = E exp(-c beta2^j t^2 X^2),    N_j(t) = E X exp(-c beta2^j t^2 X^2).

    The integral is taken by the trapezoidal rule in log t, where it converges exponentially.

Guarantee:
    An equality, but for the rule's error of at most :func:`quadrature_error` (1e-16 at its default step) and what
    its ends and the oldest gradients are cut off by (below 1e-9). Started from m_0 = v_0 = 0, the mean steps from
    the K-th on, and their limit, are within :func:`forgetting_error` of the K-th.

References:
    The mean step of an adaptive method under noise decides the drift in :mod:`theory.training.scalar_divergence`
    and the Frank-Wolfe gap in :mod:`theory.training.weight_decay`. Proof, and enclosures of the mean steps with
    outward rounding: :mod:`proofs.adam.normalized_step`.

Example:
    Without noise the step is 1. A rare, large gradient and a common, small opposite one: downhill in the mean,
    and yet Adam steps uphill.

    >>> round(mean_normalized_step(Law((1.0,), (1.0,)), 0.9, 0.95), 9)
    1.0
    >>> law = two_point_law(delta=0.1, probability=0.0025)
    >>> round(law.mean, 12), round(law.variance, 2)
    (1.0, 482.79)
    >>> round(mean_normalized_step(law, 0.9, 0.95), 4)
    -0.5346
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, exp
from theory.adam.constants import momentum_ratio, normalized_step_bound, second_moment_weight
from theory.problem import require_betas

__all__ = [
    "Law",
    "forgetting_error",
    "mean_normalized_step",
    "quadrature_error",
    "rare_value",
    "rare_variance",
    "two_point_law",
]

_LOG_STEP = 0.1
_CHUNK = 64


@dataclass(frozen=True)
class Law:
    """A finite law: X = ``values[i]`` with probability ``probabilities[i]``."""

    values: tuple[float, ...]
    probabilities: tuple[float, ...]

    def __post_init__(self) -> None:
        total, least = math.fsum(self.probabilities), float(min(self.probabilities))
        require(
            least >= 0 and abs(total - 1) < 1e-12,
            "probabilities >= 0 that sum to 1",
            f"they sum to {total:.12g}, the least is {least:.6g}",
            "divide them by their sum",
        )

    @property
    def mean(self) -> float:
        """E X."""
        return math.fsum(x * p for x, p in zip(self.values, self.probabilities, strict=True))

    @property
    def variance(self) -> float:
        """E (X - E X)^2."""
        return math.fsum(p * (x - self.mean) ** 2 for x, p in zip(self.values, self.probabilities, strict=True))


def rare_value(delta: Value, probability: Value) -> Value:
    """(1 + (1 - p) delta) / p: what X must be with probability p for E X = 1, if it is -delta otherwise."""
    return (1 + (1 - probability) * delta) / probability


def rare_variance(delta: Value, probability: Value) -> Value:
    """(1 + delta)^2 (1 - p) / p: the variance of that law."""
    return (1 + delta) ** 2 * (1 - probability) / probability


def two_point_law(delta: float, probability: float) -> Law:
    """X = -delta with probability 1 - p, else :func:`rare_value`: mean 1, variance :func:`rare_variance`.

    Args:
        delta: the common value is -delta (a negative delta makes it positive).
        probability: p in (0, 1), of the rare value.
    """
    require(0 < probability < 1, "0 < p < 1", describe("p", probability), "take p in (0, 1)")
    return Law((-delta, rare_value(delta, probability)), (1 - probability, probability))


def quadrature_error(beta1: Value, beta2: Value, log_step: Value) -> Value:
    """6 C_m / (e^(4/h) - 1): the largest error of the trapezoidal rule with step h in log t.

    As a function of s = log t the integrand is analytic where |Im s| <= 2/3 < pi/4, and its integral along such a
    line is at most C_m / sqrt(cos(4/3)) <= 3 C_m in the units of the result.

    >>> quadrature_error(0.9, 0.95, log_step=0.1) < 1e-16
    True
    """
    return 6 * normalized_step_bound(beta1, beta2) / (exp(4 / log_step) - 1)


def forgetting_error(beta1: Value, beta2: Value, steps: Value, mean_square: Value, least: Value) -> Value:
    """C_m (r^K + beta2^K E X^2 / (2 least^2 (1 - beta2^K))): at least |u_k - u_K| for k >= K.

    Here u_k = E m_k/sqrt(v_k), from m_0 = v_0 = 0.

    Args:
        beta1: decay of m.
        beta2: decay of v.
        steps: K.
        mean_square: E X^2.
        least: the least |X|, positive.

    >>> forgetting_error(0.9, 0.95, steps=800, mean_square=483.0, least=0.1) < 1e-12
    True
    """
    kept = beta2**steps
    memory = momentum_ratio(beta1, beta2) ** steps + kept * mean_square / (2 * least**2 * (1 - kept))
    return normalized_step_bound(beta1, beta2) * memory


def mean_normalized_step(
    law: Law, beta1: float, beta2: float, steps: int | None = None, log_step: float = _LOG_STEP
) -> float:
    """E[m / sqrt(v)], exact up to the quadrature's error (about 1e-9).

    Args:
        law: of X; its values must not be 0.
        beta1: decay of m.
        beta2: decay of v.
        steps: k >= 1, for E[m_k / sqrt(v_k)] after k steps from m_0 = v_0 = 0 (without bias correction); None for
            the stationary state.
        log_step: step of the trapezoidal rule in log t.

    Raises:
        HypothesisError: unless 0 <= beta1 < sqrt(beta2) < 1, X is never 0 and k >= 1.

    Early steps are longer, since v forgets more slowly than m:

    >>> law = two_point_law(delta=0.1, probability=5e-5)
    >>> [round(mean_normalized_step(law, 0.9, 0.999, steps=k), 2) for k in (500, 2000, None)]
    [-1.55, -0.97, -0.44]
    """
    require_betas(beta1, beta2)
    require(steps is None or steps >= 1, "steps >= 1", f"steps = {steps}", "take None for the stationary state")
    x, p = np.array(law.values, dtype=float), np.array(law.probabilities, dtype=float)
    least, largest = float(np.min(np.abs(x))), float(np.max(np.abs(x)))
    require(
        least > 0, "X never 0", "a value of X is 0", "replace 0 by a small number: the step is continuous there"
    )
    c = second_moment_weight(beta2)
    total_weight = 1.0 if steps is None else -math.expm1(steps * math.log(beta2))
    end = 7 / (least * math.sqrt(total_weight))
    log_t = np.arange(math.log(1e-13 / largest), math.log(end), log_step)
    t_squared = np.exp(2 * log_t)
    # The factors D_j beyond this lag together differ from 1 by less than 1e-11 wherever the integrand lives.
    lags = 2 + math.ceil(math.log(1e-11 / (end**2 * float(p @ x**2))) / math.log(beta2))
    lags = lags if steps is None else min(lags, steps)
    weighted, log_product = np.zeros_like(t_squared), -t_squared * least**2 * total_weight
    for first in range(0, lags, _CHUNK):
        lag = np.arange(first, min(lags, first + _CHUNK))
        scale = t_squared[:, None] * (c * beta2**lag)
        terms = [weight * np.exp(-scale * (value**2 - least**2)) for weight, value in zip(p, x, strict=True)]
        total = sum(terms[1:], terms[0])
        mean = sum((value * term for value, term in zip(x[1:], terms[1:], strict=True)), x[0] * terms[0])
        weighted += (mean / total) @ beta1 ** lag.astype(float)
        log_product += np.log(total).sum(axis=1)
    integral = float(np.sum(weighted * np.exp(log_product + log_t)) * log_step)
    return (1 - beta1) * 2 / math.sqrt(math.pi) * integral
