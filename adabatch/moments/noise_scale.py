"""Noise scales, and the batch at which each estimator's norm test stops growing.

The simple noise scale is a ratio of two sums over the coordinates. With G_i^2 the squared true gradient and V_i
the variance of one sample's gradient in coordinate i, two more look at each coordinate, as Adam does:

    ============  ===================================================================
    ``trace``     B_tr = (sum_i V_i) / (sum_i G_i^2)
    ``l1``        B_1 = (sum_i sqrt(V_i))^2 / (sum_i |G_i|)^2
    ``weighted``  B_w = (sum_i G_i^2 / V_i^(1/2)) / (sum_i G_i^4 / V_i^(3/2))
    ============  ===================================================================

B_w is the harmonic mean of B_i = V_i / G_i^2 with the weights G_i^2 / sqrt(V_i), what each coordinate adds to the
descent of an Adam step where noise dominates; B_w <= B_1 always, and neither B_tr nor B_1 sees that a batch is too
large for the coordinates that descend while others are only noise.

With B_noise = tr Sigma / ||G||^2, in the moments' unit (samples, or tokens where they were told), a test stops
growing (in expectation) at

    ============  ==================================================
    ``debiased``  B_noise / eta^2
    ``unbiased``  B_noise (1 / eta^2 - 1)
    ``paper``     the root of b^2 + B_noise b = B_noise (n - 1) / eta^2, which saturates at (n - 1) / eta^2
    ============  ==================================================

References:
    McCandlish et al., arXiv 1812.06162 (the noise scale); arXiv 2602.03001 (the l1 noise scale);
    Lau et al., CPAL 2025, Eq. 5 (the test).

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions. Of ``l1`` and ``weighted`` the arguments are
    arrays or tensors whose last axis runs over the coordinates.

Example:
    >>> stationary_batch_size(noise_scale(40.0, 2.0), eta=0.5, estimator="unbiased")
    60.0
"""

from __future__ import annotations

from adabatch.moments.gradient_moments import require_groups
from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, quotient, sqrt, total
from adabatch.moments.statistic import Estimator

__all__ = [
    "l1_noise_scale",
    "noise_scale",
    "saturation_level",
    "stationary_batch_size",
    "weighted_noise_scale",
]


def noise_scale(trace: Value, squared_gradient: Value) -> Value:
    """B_noise = tr Sigma / ||G||^2, the simple noise scale, in samples.

    >>> noise_scale(40.0, 2.0)
    20.0
    """
    return trace / squared_gradient


def l1_noise_scale(squared_gradients: Value, variances: Value, multiplicities: Value = 1) -> Value:
    """B_1 = (sum_i sqrt(V_i))^2 / (sum_i |G_i|)^2, in samples; infinite where the gradient vanishes.

    Args:
        squared_gradients: G_i^2, shape [..., d].
        variances: V_i of one sample's gradient, shape [..., d].
        multiplicities: how many coordinates each entry stands for.

    Returns:
        Shape [...].

    >>> import numpy as np
    >>> l1_noise_scale(np.array([1.0, 4.0]), np.array([9.0, 36.0]))
    9.0
    """
    deviations = total(multiplicities * sqrt(variances))
    return quotient(deviations, total(multiplicities * sqrt(squared_gradients))) ** 2


def weighted_noise_scale(squared_gradients: Value, variances: Value, multiplicities: Value = 1) -> Value:
    """B_w = (sum_i G_i^2 / V_i^(1/2)) / (sum_i G_i^4 / V_i^(3/2)), in samples; infinite without gradient.

    An Adam step whose batch is at most B_w / eta^2 keeps at least 1 / sqrt(1 + 1 / eta^2) of the descent that its
    learning rate would give without the gradient's own share of the second moment.

    Args:
        squared_gradients: G_i^2, shape [..., d].
        variances: V_i of one sample's gradient, shape [..., d]; positive wherever the gradient is not 0.
        multiplicities: how many coordinates each entry stands for.

    Returns:
        Shape [...].

    Noise of variance 1e6 on a coordinate without gradient leaves it as it is, and takes B_tr to 1e6.

    >>> import numpy as np
    >>> weighted_noise_scale(np.array([1.0, 0.0]), np.array([4.0, 1e6]))
    4.0
    """
    weights = multiplicities * quotient(squared_gradients, sqrt(variances))
    inverse = quotient(total(weights * quotient(squared_gradients, variances)), total(weights))
    return quotient(1.0, inverse)


def stationary_batch_size(scale: Value, eta: Value, estimator: Estimator | str, groups: Value = None) -> Value:
    """b*, where T = b in expectation: the batch grows below it and stays above it.

    Args:
        scale: B_noise = tr Sigma / ||G||^2, in samples.
        eta: > 0.
        estimator: ``paper``, ``unbiased`` or ``debiased``.
        groups: n, for ``paper`` only.

    Returns:
        In samples; not positive where the ``unbiased`` test passes at any batch (eta >= 1).

    >>> stationary_batch_size(100.0, 0.5, "unbiased"), stationary_batch_size(100.0, 0.5, "debiased")
    (300.0, 400.0)
    """
    require(eta > 0, "eta > 0", describe("eta", eta), "take eta between about 0.05 and 1")
    estimator = Estimator(estimator)
    if estimator is Estimator.DEBIASED:
        return scale / eta**2
    if estimator is Estimator.UNBIASED:
        return scale * (1 / eta**2 - 1)
    level = saturation_level(eta, groups)
    return 2 * level / (1 + sqrt(1 + 4 * level / scale))


def saturation_level(eta: Value, groups: Value) -> Value:
    """(n - 1) / eta^2: no batch larger than this is asked for by the published estimator, in expectation.

    >>> round(saturation_level(0.1, 2), 6)
    100.0
    """
    require_groups(groups)
    return (groups - 1) / eta**2
