r"""Gradient moments from groups: the variance and the squared norm that the norm tests compare.

Problem:
    A batch of b = n m samples is split into n = J M groups (ranks x micro-batches) of m samples each. Group j
    has the mean gradient g_j, and g = (1/n) sum_j g_j is the batch gradient. With tr Sigma the trace of the
    covariance of one sample's gradient and G the true gradient, which functions of the g_j estimate tr Sigma
    and ||G||^2?

Algorithm:
    Two numbers suffice, and both are sums over ranks: S = sum_j ||g_j||^2 and ||g||^2, because
    sum_j ||g_j - g||^2 = S - n ||g||^2.

Guarantee (samples independent and identically distributed; expectations, exact for any n >= 2):
    ==================================  ==================================  ==========================
    estimator                           formula                             expectation
    ==================================  ==================================  ==========================
    ``covariance_trace``                m (S - n ||g||^2) / (n - 1)         tr Sigma
    ``paper_variance``                (S - n ||g||^2) / n                 tr Sigma (n - 1) / b
    ``squared_norm``                    ||g||^2                             ||G||^2 + tr Sigma / b
    ``debiased_squared_norm``           ||g||^2 - covariance_trace / b      ||G||^2
    ==================================  ==================================  ==========================

Rounding:
    The difference S - n ||g||^2 cancels where groups are nearly alike. If both sums come from gradients whose mean
    took k additions with unit roundoff u, and squared norms are good to v relatively, then the computed difference
    is off by at most rho S with rho = (1 + k u)^2 - 1 + 2 v (:func:`sums_rounding`), since ||g_j|| is sqrt(S / n)
    on average and n ||g||^2 <= S. Relative to the trace that is rho S / (S - n ||g||^2): ``trace_precision``.
    A test is not misled by it: where T = b, the trace is eta^2 b ||g||^2, and its precision is
    rho (1 + 1 / ((n - 1) eta^2)). Where the trace loses its digits, T is far below b.

References:
    Lau, Li, Xu, Liu, Kolar, "Adaptive Batch Size Schedules for Distributed Training of Language Models with
    Data and Model Parallelism", CPAL 2025, Eq. 5 and Algorithm 1 (the published variance, with the J workers as
    groups). McCandlish et al., arXiv 1812.06162, appendix A (the debiased pair for two batch sizes).

Shapes:
    Every argument is a float, a numpy array (all broadcast together) or a SymPy expression.

Example:
    Two groups of three samples with gradients 1 and 3: the mean is 2.

    >>> moments = GradientMoments(groups=2, group_size=3, sum_of_squares=1.0 + 9.0, squared_norm=4.0)
    >>> moments.covariance_trace, moments.paper_variance, moments.debiased_squared_norm
    (6.0, 1.0, 3.0)
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, is_symbolic, maximum, where

__all__ = [
    "GradientMoments",
    "accumulated_rounding",
    "covariance_trace",
    "debiased_squared_norm",
    "paper_variance",
    "squared_deviation",
    "sums_rounding",
]


def squared_deviation(groups: Value, sum_of_squares: Value, squared_norm: Value) -> Value:
    """sum_j ||g_j - g||^2 = sum_j ||g_j||^2 - n ||g||^2, not below 0 (rounding may take the difference there).

    Args:
        groups: n, the number of groups.
        sum_of_squares: S = sum_j ||g_j||^2.
        squared_norm: ||g||^2, g the mean of the g_j.
    """
    difference = sum_of_squares - groups * squared_norm
    if is_symbolic(difference):
        return difference
    return maximum(difference, 0.0)


def covariance_trace(groups: Value, group_size: Value, sum_of_squares: Value, squared_norm: Value) -> Value:
    """Unbiased estimate of tr Sigma, the trace of the covariance of one sample's gradient.

    m / (n - 1) * sum_j ||g_j - g||^2: a group mean has covariance Sigma / m.

    Raises:
        HypothesisError: for fewer than two groups.

    >>> covariance_trace(2, 3, 10.0, 4.0)
    6.0
    """
    require_groups(groups)
    return group_size * squared_deviation(groups, sum_of_squares, squared_norm) / (groups - 1)


def paper_variance(groups: Value, sum_of_squares: Value, squared_norm: Value) -> Value:
    """The paper's ||Var-hat||_1 = (1/n) sum_j ||g_j - g||^2 (Eq. 5), as published.

    It stands there for tr Sigma, but its expectation is tr Sigma (n - 1) / b.

    >>> paper_variance(2, 10.0, 4.0)
    1.0
    """
    return squared_deviation(groups, sum_of_squares, squared_norm) / groups


def debiased_squared_norm(groups: Value, group_size: Value, sum_of_squares: Value, squared_norm: Value) -> Value:
    """Unbiased estimate of ||G||^2: ||g||^2 - covariance_trace / b. It can be negative.

    Raises:
        HypothesisError: for fewer than two groups.

    >>> debiased_squared_norm(2, 3, 10.0, 4.0)
    3.0
    """
    trace = covariance_trace(groups, group_size, sum_of_squares, squared_norm)
    return squared_norm - trace / (groups * group_size)


def sums_rounding(additions: Value, roundoff: Value, norm_rounding: Value = 0.0) -> Value:
    """rho = (1 + k u)^2 - 1 + 2 v: the computed S - n ||g||^2 is off by at most rho S (module docstring).

    Args:
        additions: k, roundings of a coordinate on its way into the mean: at most n + 1 for n groups, in any order.
        roundoff: u, of the arithmetic that takes the mean: 2^-24 for fp32, 2^-53 for fp64, 2^-8 for bf16.
        norm_rounding: v, relative error of a squared norm.

    >>> f"{sums_rounding(4, 2**-24):.2g}"
    '4.8e-07'
    """
    return additions * roundoff * (2 + additions * roundoff) + 2 * norm_rounding


def accumulated_rounding(additions: float, roundoff: float) -> float:
    """gamma_k = k u / (1 - k u): the largest relative error of a sum of positive numbers after k roundings.

    Args:
        additions: k, roundings that a number takes on its way into the sum.
        roundoff: u, the unit roundoff of the arithmetic.

    Returns:
        The bound; infinite where k u >= 1, since none is known there.

    >>> accumulated_rounding(1, 0.25), accumulated_rounding(8, 0.125)
    (0.3333333333333333, inf)
    """
    product = additions * roundoff
    return product / (1 - product) if product < 1 else math.inf


def require_groups(groups: Value) -> None:
    """Raise unless there are at least two groups: one group has no variance between groups."""
    require(
        groups >= 2,
        "at least 2 groups (ranks x micro-batches)",
        describe("groups", groups),
        "add ranks, or raise gradient accumulation so that each step has 2 micro-batches or more",
    )


@dataclass(frozen=True)
class GradientMoments:
    """What one step's gradients say: the two sums, and the estimates made from them.

    Attributes:
        groups: n = J M, the number of groups (ranks x micro-batches).
        group_size: m, the number of samples in a group (the micro-batch).
        sum_of_squares: S = sum_j ||g_j||^2.
        squared_norm: ||g||^2, the plug-in estimate of ||G||^2.
        rounding: rho, what rounding may have done to the difference of both sums (:func:`sums_rounding`); 0 if
            the sums are exact.
        parts: the moments of parts of the coordinates, by name, where they were measured. The two sums, the trace
            and both squared norms are the sums of those of the parts.
    """

    groups: Value
    group_size: Value
    sum_of_squares: Value
    squared_norm: Value
    rounding: Value = field(default=0.0, kw_only=True)
    parts: Mapping[str, GradientMoments] = field(default_factory=dict, kw_only=True, compare=False, repr=False)

    @property
    def batch_size(self) -> Value:
        """b = n m, the number of samples behind g."""
        return self.groups * self.group_size

    @property
    def covariance_trace(self) -> Value:
        """Unbiased estimate of tr Sigma, see :func:`covariance_trace`."""
        return covariance_trace(self.groups, self.group_size, self.sum_of_squares, self.squared_norm)

    @property
    def trace_precision(self) -> Value:
        """rho S / (S - n ||g||^2): largest relative error of the trace by rounding.

        Relative to the computed trace; infinite where that is 0 (nothing is left of the difference).

        Two groups that differ by 3e-4 of their norm, in fp32: the trace has no digit that is sure.

        >>> GradientMoments(2, 1, 2.0, 1 - 0.25e-7, rounding=sums_rounding(3, 2**-24)).trace_precision > 1
        True
        """
        deviation = squared_deviation(self.groups, self.sum_of_squares, self.squared_norm)
        if is_symbolic(deviation, self.rounding):
            return self.rounding * self.sum_of_squares / deviation
        safe = where(deviation > 0, deviation, 1.0)
        return where(deviation > 0, self.rounding * self.sum_of_squares / safe, float("inf"))

    @property
    def paper_variance(self) -> Value:
        """The paper's ||Var-hat||_1, see :func:`paper_variance`."""
        return paper_variance(self.groups, self.sum_of_squares, self.squared_norm)

    @property
    def debiased_squared_norm(self) -> Value:
        """Unbiased estimate of ||G||^2, see :func:`debiased_squared_norm`."""
        return debiased_squared_norm(self.groups, self.group_size, self.sum_of_squares, self.squared_norm)
