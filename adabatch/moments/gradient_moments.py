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

Weighted groups:
    Where groups differ in size, group j is of t_j tokens, N = sum_j t_j, and the loss is the sum of the tokens'
    losses over N, so that g = sum_j (t_j / N) g_j with g_j the group's mean gradient per token. The least squares
    weights t_j give

        S = n sum_j (t_j / N) ||g_j||^2,      m = N / n      (:func:`weighted_sum_of_squares`),

    and every formula above stays as it is, with the token as the unit: sum_j t_j ||g_j - g||^2 is
    m (S - n ||g||^2), ``covariance_trace`` is that over n - 1 and estimates tr Sigma of one token's gradient,
    ``batch_size`` is N, and ``samples`` keeps the number of samples behind g. Expectations are those of the table,
    exactly, for any t_j > 0 for which a group's sum of token gradients has mean t_j G and covariance t_j Sigma
    (tokens independent and identically distributed; no other property of the t_j). Where the tokens of a sequence
    are correlated, the trace is the groups' variance per token, which then depends on the lengths. Equal t_j give
    the formulas of equal groups.

Rounding:
    The difference S - n ||g||^2 cancels where groups are nearly alike. If both sums come from gradients whose mean
    is good to q relatively (to q sum_j |g_j| / n in each coordinate; q of k additions with unit roundoff u is
    :func:`accumulated_rounding`), and squared norms are good to v relatively, then the computed difference is off
    by at most rho S with rho = (1 + v) (1 + q)^2 - 1 + v (:func:`sums_rounding`), since ||g_j|| is sqrt(S / n) on
    average and n ||g||^2 <= S. Relative to the trace that is rho S / (S - n ||g||^2): ``trace_precision``.
    A test is not misled by it: where T = b, the trace is eta^2 b ||g||^2, and its precision is
    rho (1 + 1 / ((n - 1) eta^2)). Where the trace loses its digits, T is far below b. An infinite rho says that no
    bound is known.

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
    "weighted_sum_of_squares",
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


def weighted_sum_of_squares(groups: Value, total: Value, divisor: Value, sum_of_scaled_squares: Value) -> Value:
    """S of groups of t_j tokens: (n N / c^2) sum_j ||h_j||^2 / t_j, which is n sum_j (t_j / N) ||g_j||^2.

    h_j is the gradient of group j's part of the loss as its backward pass leaves it: (c / N) times the group's sum
    of token gradients, so that g_j = (N / (c t_j)) h_j and g = (1 / c) sum_j h_j.

    Args:
        groups: n, the number of groups with t_j > 0.
        total: N = sum_j t_j.
        divisor: c, by which the sum of the h_j over all groups is divided: the number of ranks where gradients are
            averaged over ranks, 1 where they are summed.
        sum_of_scaled_squares: sum_j ||h_j||^2 / t_j, over the groups with t_j > 0.

    Groups of 1 and 3 tokens whose mean gradients per token are 4 and 0, on one rank: h = (1, 0), g = 1.

    >>> weighted_sum_of_squares(2, 4, 1, 1.0**2 / 1 + 0.0**2 / 3)
    8.0
    """
    return groups * total * sum_of_scaled_squares / divisor**2


def accumulated_rounding(additions: Value, roundoff: Value) -> Value:
    """k u / (1 - k u): largest relative error of k roundings in a row; infinite where k u >= 1.

    Args:
        additions: k, roundings of a coordinate on its way into the mean: at most n + 1 for n groups, in any order.
        roundoff: u, of the arithmetic that takes the mean: 2^-24 for fp32, 2^-53 for fp64, 2^-8 for bf16; infinite
            where it is not known.

    Source: Higham, Accuracy and Stability of Numerical Algorithms (2002), lemma 3.1.

    >>> accumulated_rounding(128, 2**-8), accumulated_rounding(256, 2**-8)
    (1.0, inf)
    """
    product = additions * roundoff
    known = product < 1
    return where(known, product / (1 - where(known, product, 0.0)), float("inf"))


def sums_rounding(mean_rounding: Value, norm_rounding: Value = 0.0) -> Value:
    """rho = (1 + v) (1 + q)^2 - 1 + v: the computed S - n ||g||^2 is off by at most rho S (module docstring).

    Args:
        mean_rounding: q, relative error of the mean (:func:`accumulated_rounding`); infinite if no bound is known.
        norm_rounding: v, relative error of a squared norm.

    >>> f"{sums_rounding(accumulated_rounding(4, 2**-24)):.2g}"
    '4.8e-07'
    """
    return mean_rounding * (2 + mean_rounding) * (1 + norm_rounding) + 2 * norm_rounding


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

    Its unit is the sample, or the token where groups of unequal size are weighted by their tokens (module
    docstring): then ``samples`` is given, and sizes, the trace and B_noise are in tokens.

    Attributes:
        groups: n = J M, the number of groups (ranks x micro-batches).
        group_size: m, the number of samples in a group (the micro-batch); N / n in tokens.
        sum_of_squares: S = sum_j ||g_j||^2; weighted: :func:`weighted_sum_of_squares`.
        squared_norm: ||g||^2, the plug-in estimate of ||G||^2.
        rounding: rho, what rounding may have done to the difference of both sums (:func:`sums_rounding`); 0 if
            the sums are exact, infinite if no bound is known.
        samples: the number of samples behind g where the unit is the token; None where it is the sample.
        parts: the moments of parts of the coordinates, by name, where they were measured. The two sums, the trace
            and both squared norms are the sums of those of the parts.
    """

    groups: Value
    group_size: Value
    sum_of_squares: Value
    squared_norm: Value
    rounding: Value = field(default=0.0, kw_only=True)
    samples: Value | None = field(default=None, kw_only=True)
    parts: Mapping[str, GradientMoments] = field(default_factory=dict, kw_only=True, compare=False, repr=False)

    @property
    def batch_size(self) -> Value:
        """b = n m, the number of samples behind g; of tokens where those are the unit."""
        return self.groups * self.group_size

    @property
    def samples_per_unit(self) -> Value:
        """What turns sizes in the moments' unit into samples: samples / tokens, or 1 where the unit is the sample.

        Two samples of 3 tokens together, in groups of 1.5 on average:

        >>> moments = GradientMoments(2, 1.5, 10.0, 4.0, samples=2)
        >>> moments.batch_size, round(moments.batch_size * moments.samples_per_unit, 12)
        (3.0, 2.0)
        """
        return 1 if self.samples is None else self.samples / self.batch_size

    @property
    def covariance_trace(self) -> Value:
        """Unbiased estimate of tr Sigma, see :func:`covariance_trace`."""
        return covariance_trace(self.groups, self.group_size, self.sum_of_squares, self.squared_norm)

    @property
    def trace_precision(self) -> Value:
        """rho S / (S - n ||g||^2): largest relative error of the trace by rounding.

        Relative to the computed trace; infinite where that is 0 (nothing is left of the difference), and where rho
        is.

        Two groups that differ by 3e-4 of their norm, in fp32: the trace has no digit that is sure.

        >>> rounding = sums_rounding(accumulated_rounding(3, 2**-24))
        >>> GradientMoments(2, 1, 2.0, 1 - 0.25e-7, rounding=rounding).trace_precision > 1
        True
        """
        deviation = squared_deviation(self.groups, self.sum_of_squares, self.squared_norm)
        bounded = (deviation > 0) & (self.rounding < float("inf"))
        safe = where(bounded, deviation, 1.0)
        return where(bounded, where(bounded, self.rounding, 0.0) * self.sum_of_squares / safe, float("inf"))

    @property
    def paper_variance(self) -> Value:
        """The paper's ||Var-hat||_1, see :func:`paper_variance`."""
        return paper_variance(self.groups, self.sum_of_squares, self.squared_norm)

    @property
    def debiased_squared_norm(self) -> Value:
        """Unbiased estimate of ||G||^2, see :func:`debiased_squared_norm`."""
        return debiased_squared_norm(self.groups, self.group_size, self.sum_of_squares, self.squared_norm)
