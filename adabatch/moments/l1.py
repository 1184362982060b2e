r"""The l1 norm test's statistic and its estimators from groups; what the scalar test is worth next to it.

Problem:
    The **l1 norm test** asks at every step for sum_i sqrt(Var_k g_{k,i}) <= eta ||G_k||_1, where G is the true
    gradient. What do n groups (ranks x micro-batches) of m samples say about both sides?

Algorithm:
    With sigma_i^2 the variance of coordinate i of *one sample's* gradient, the next batch size is

        b' = ceil( (sum_i sigma_i)^2 / (eta^2 ||g||_1^2) ).

    The test is implied by the coordinate-wise test, and it is the square root of the l1 noise scale.

Guarantee:
    **Scalar against l1.** With d_sd = (sum_i sd_i)^2 / sum_i sd_i^2 and d_G = ||G||_1^2 / ||G||_2^2, the scalar
    test at eta_s implies the l1 test at eta_s sqrt(d_sd / d_G), equal where the scalar test is.

References:
    Lau et al., CPAL 2025 (the tests); arXiv 2602.03001 (the l1 noise scale for sign-like optimizers).

Shapes:
    Statistics: floats, numpy arrays (broadcast together) or SymPy expressions. Estimators from groups: arrays or
    tensors whose last axis runs over the d coordinates; the group axis, if there is one, is the first.

Example:
    >>> import numpy as np
    >>> groups = np.array([[1.0, -2.0], [3.0, -2.0]])                    # J = 2 groups, d = 2
    >>> deviations = sum_of_standard_deviations(2, 3, (groups**2).sum(0), groups.mean(0))
    >>> round(deviations, 4)                                             # sqrt(3 * 2) / c4(2)
    3.07
    >>> plug_in_l1_norm(groups.mean(0)), conservative_l1_norm(groups)
    (4.0, 4.0)
    >>> round(l1_statistic(deviations, 4.0, eta=0.5), 4)
    2.3562
"""

from __future__ import annotations

from dataclasses import dataclass

from adabatch.moments.gradient_moments import covariance_trace, require_groups, squared_deviation
from adabatch.moments.numeric import (
    Value,
    absolute,
    exp,
    is_symbolic,
    log_gamma,
    maximum,
    quotient,
    sign,
    sqrt,
    total,
)
from adabatch.moments.statistic import statistic_from_estimates

__all__ = [
    "EffectiveDimensions",
    "conservative_l1_norm",
    "deviation_correction",
    "effective_dimensions",
    "implied_l1_eta",
    "l1_statistic",
    "noise_to_gradient",
    "plug_in_l1_norm",
    "standard_deviation",
    "sum_of_standard_deviations",
]


def l1_statistic(sum_of_standard_deviations: Value, l1_norm: Value, eta: Value) -> Value:
    """T = (sum_i sigma_i)^2 / (eta^2 ||g||_1^2), in samples: the l1 test passes where T <= b, else b' = ceil(T).

    Decide and round with :func:`adabatch.moments.statistic.norm_test_passes` and
    :func:`adabatch.moments.statistic.next_batch_size`.

    Args:
        sum_of_standard_deviations: sum_i sigma_i, of one sample's gradient.
        l1_norm: an estimate of ||G||_1. Where it is not positive (the conservative estimate can be), the gradient
            is not resolved and the statistic is NaN.
        eta: > 0, the relative error asked for.

    Raises:
        HypothesisError: unless eta > 0.

    >>> l1_statistic(6.0, 4.0, 0.5)
    9.0
    >>> l1_statistic(6.0, -4.0, 0.5)
    nan
    """
    signed_square = l1_norm**2 if is_symbolic(l1_norm) else l1_norm * absolute(l1_norm)
    return statistic_from_estimates(sum_of_standard_deviations**2, signed_square, eta)


def deviation_correction(groups: Value) -> Value:
    """c4(J) = sqrt(2/(J-1)) Gamma(J/2) / Gamma((J-1)/2): E[sample standard deviation] / sigma for Gaussians.

    Raises:
        HypothesisError: for fewer than two groups.

    >>> round(deviation_correction(2), 6), round(deviation_correction(4), 6)
    (0.797885, 0.921318)
    """
    require_groups(groups)
    if is_symbolic(groups):
        import sympy

        return sympy.sqrt(sympy.S(2) / (groups - 1)) * sympy.gamma(groups / 2) / sympy.gamma((groups - 1) / 2)
    return sqrt(2 / (groups - 1)) * exp(log_gamma(groups / 2) - log_gamma((groups - 1) / 2))


def standard_deviation(groups: Value, group_size: Value, sum_of_squares: Value, mean: Value) -> Value:
    """sigma_i of one sample's gradient, coordinate by coordinate: sqrt(m sum_j (g_ji - g_i)^2 / (J-1)) / c4(J).

    Unbiased for Gaussian gradients (which the mean of a micro-batch is close to). The batch gradient's own
    standard deviation is sigma_i / sqrt(b), b = J m.

    Args:
        groups: J, the number of groups (ranks x micro-batches).
        group_size: m, samples in a group.
        sum_of_squares: sum_j g_ji^2, any shape.
        mean: g_i = (1/J) sum_j g_ji, the same shape.

    Raises:
        HypothesisError: for fewer than two groups.

    >>> round(standard_deviation(2, 1, 10.0, 2.0), 6)                    # g_1 = 1, g_2 = 3
    1.772454
    """
    variance = covariance_trace(groups, group_size, sum_of_squares, mean**2)  # of each coordinate alone
    return sqrt(variance) / deviation_correction(groups)


def sum_of_standard_deviations(groups: Value, group_size: Value, sum_of_squares: Value, mean: Value) -> Value:
    """sum_i sigma_i from per-coordinate sums; shards of coordinates may be summed apart and then added.

    Args:
        groups: J.
        group_size: m.
        sum_of_squares: sum_j g_ji^2, shape [..., d].
        mean: (1/J) sum_j g_ji, shape [..., d].

    Returns:
        Shape [...].

    >>> import numpy as np
    >>> round(sum_of_standard_deviations(2, 1, np.array([10.0, 8.0]), np.array([2.0, 2.0])), 6)
    1.772454
    """
    deviations = total(sqrt(squared_deviation(groups, sum_of_squares, mean**2)))
    return sqrt(group_size / (groups - 1)) * deviations / deviation_correction(groups)


def plug_in_l1_norm(mean: Value) -> Value:
    """||g||_1 of the batch gradient, shape [..., d] -> [...]. E ||g||_1 >= ||G||_1: biased up, by noise.

    When noise dominates it grows with the noise, so that the ratio (sum sd)/(plug-in) saturates near
    sqrt(pi/2) = 1.25 for every true ratio.

    >>> import numpy as np
    >>> plug_in_l1_norm(np.array([2.0, -2.0]))
    4.0
    """
    return total(absolute(mean))


def conservative_l1_norm(group_gradients: Value) -> Value:
    """N = (1/J) sum_j sum_i sgn(g_i - g_ji/J) g_ji, with E N <= ||G||_1 for independent groups.

    Every group's gradient is measured along the signs of the *other* groups' mean: underestimating ||G||_1 makes
    the test ask for more samples, not fewer. J = 2 halves of a batch are enough: the signs of one, the values of
    the other.

    Args:
        group_gradients: shape [J, ..., d].

    Returns:
        Shape [...]; it can be negative, which means that the gradient is not resolved.

    Raises:
        HypothesisError: for fewer than two groups.

    >>> import numpy as np
    >>> conservative_l1_norm(np.array([[1.0, -1.0], [2.0, 0.5]]))        # (1 - 1 + 2 - 0.5) / 2
    0.75
    """
    groups = len(group_gradients)
    require_groups(groups)
    others = group_gradients.sum(axis=0) - group_gradients
    return total((sign(others) * group_gradients).mean(axis=0))


def noise_to_gradient(
    groups: Value, group_size: Value, sum_of_squares: Value, mean: Value, floor: Value = 0.0
) -> Value:
    """sigma_i^2 / max(g_i^2, f^2) in samples, coordinate by coordinate.

    The coordinate-wise test at eta wants it <= eta^2 b.

    The batch that a quantile of the coordinates asks for is the quantile of this ratio over eta^2. The variance is
    the unbiased m sum_j (g_ji - g_i)^2 / (J-1). Without noise the ratio is 0, with noise and without gradient
    infinite.

    Args:
        groups: J.
        group_size: m.
        sum_of_squares: sum_j g_ji^2, any shape.
        mean: g_i, the same shape.
        floor: f >= 0; a smaller g_i counts as this.

    Raises:
        HypothesisError: for fewer than two groups.

    >>> noise_to_gradient(2, 3, 10.0, 2.0), noise_to_gradient(2, 3, 0.0, 0.0), noise_to_gradient(2, 3, 2.0, 0.0)
    (1.5, 0.0, inf)
    """
    counted = maximum(mean**2, floor**2) if floor else mean**2
    return quotient(covariance_trace(groups, group_size, sum_of_squares, mean**2), counted)


@dataclass(frozen=True)
class EffectiveDimensions:
    """What the scalar test is worth: d_sd of the noise and d_G of the gradient, each between 1 and d.

    Attributes:
        noise: d_sd = (sum_i sd_i)^2 / sum_i sd_i^2.
        gradient: d_G = ||G||_1^2 / ||G||_2^2.
    """

    noise: Value
    gradient: Value


def effective_dimensions(
    sum_of_standard_deviations: Value, sum_of_variances: Value, l1_norm: Value, squared_norm: Value
) -> EffectiveDimensions:
    """d_sd and d_G from four sums. Both are free of units and of the batch size.

    Args:
        sum_of_standard_deviations: sum_i sd_i, of one sample or of the batch, as the next.
        sum_of_variances: sum_i sd_i^2 (the trace of the covariance).
        l1_norm: ||G||_1.
        squared_norm: ||G||_2^2.

    Returns:
        0 for the dimension of nothing: no noise, or a gradient that vanishes.

    >>> effective_dimensions(10.0, 10.0, 3.0, 9.0)                       # noise on 10 coordinates, gradient on one
    EffectiveDimensions(noise=10.0, gradient=1.0)
    """
    return EffectiveDimensions(
        quotient(sum_of_standard_deviations**2, sum_of_variances), quotient(l1_norm**2, squared_norm)
    )


def implied_l1_eta(scalar_eta: Value, dimensions: EffectiveDimensions) -> Value:
    """eta_s sqrt(d_sd / d_G): the eta of the l1 test that the scalar test at eta_s implies.

    >>> implied_l1_eta(0.2, EffectiveDimensions(noise=400.0, gradient=4.0))
    2.0
    """
    return scalar_eta * sqrt(dimensions.noise / dimensions.gradient)
