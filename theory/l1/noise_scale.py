r"""The l1 noise scale, for optimizers whose step is close to the sign of the gradient (Adam).

Problem:
    SGD's simple noise scale tr Sigma / ||G||^2 weighs a coordinate by the size of its gradient. A step of
    Adam is nearly alpha in every coordinate: there the l1 norm is the one that descends.

Algorithm:
    N / M = (sum_i sigma_i)^2 / (sum_i |G_i|)^2, numerator N and denominator M each averaged over steps by an
    exponential moving average; b = ceil(N / (theta^2 M)).

Guarantee:
    With sd_i = sigma_i / sqrt(b) the deviation of the batch gradient, the l1 norm test
    sum_i sd_i <= eta sum_i |G_i| (:mod:`theory.l1.theorem`, whose statistic at eta = 1 this is) passes exactly
    where b >= (N / M) / eta^2: theta is its eta.

References:
    arXiv 2602.03001 (theta = 0.6, averages with factor 0.9, learning rate multiplied by sqrt(b_new / b_old)).

Shapes:
    Coordinates on the last axis (..., d); results of shape (...). Noise scales and batch sizes in samples.

Example:
    >>> import numpy as np
    >>> scale = l1_noise_scale(np.array([3.0, 1.0]), np.array([1.0, -1.0]))
    >>> float(scale), l1_batch_size(float(scale), theta=0.5)
    (4.0, 16)
"""

from __future__ import annotations

import numpy as np

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, ceiling, sqrt
from theory.l1.theorem import l1_statistic

__all__ = ["l1_batch_size", "l1_noise_scale", "learning_rate_multiplier"]


def l1_noise_scale(sample_deviations: Value, gradient: Value) -> Value:
    """(sum_i sigma_i)^2 / (sum_i |G_i|)^2, in samples.

    Args:
        sample_deviations: sigma_i, the standard deviation of coordinate i of one sample's gradient, (..., d).
        gradient: G, shape (..., d).

    Raises:
        HypothesisError: where the gradient vanishes.
    """
    gradient_norm = np.abs(np.asarray(gradient)).sum(axis=-1)
    require(gradient_norm > 0, "a gradient that is not 0", describe("||G||_1", gradient_norm))
    return l1_statistic(np.asarray(sample_deviations).sum(axis=-1), gradient_norm, 1.0)


def l1_batch_size(noise_scale: Value, theta: Value) -> Value:
    """b = ceil(noise scale / theta^2): the smallest batch that passes the l1 norm test with eta = theta.

    Raises:
        HypothesisError: unless theta > 0.
    """
    require(theta > 0, "theta > 0", describe("theta", theta), "take theta near 0.6")
    size = ceiling(noise_scale / theta**2)
    return int(size) if isinstance(size, float) else size


def learning_rate_multiplier(new_batch_size: Value, old_batch_size: Value) -> Value:
    """sqrt(b_new / b_old), by which that paper multiplies the learning rate when the batch changes.

    >>> learning_rate_multiplier(64, 16)
    2.0
    """
    return sqrt(new_batch_size / old_batch_size)
