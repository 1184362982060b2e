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

Muon steps along each matrix's nearest orthogonal one, whose size the spectral norm measures. The dual of that is
the nuclear norm ||G||_* (the sum of the singular values), and the noise X of one sample has
E||X||_* <= tr (E X X^T)^(1/2), since the trace of a root is concave; so that

    B_* = (sum tr (E X X^T)^(1/2))^2 / (sum ||G||_*)^2,

summed over the matrices, is to Muon what B_1 is to a sign: on diagonal matrices it is B_1.

With B_noise = tr Sigma / ||G||^2, in the moments' unit (samples, or tokens where they were told), a test stops
growing (in expectation) at

    ============  ==================================================
    ``debiased``  B_noise / eta^2
    ``unbiased``  B_noise (1 / eta^2 - 1)
    ``paper``     the root of b^2 + B_noise b = B_noise (n - 1) / eta^2, which saturates at (n - 1) / eta^2
    ============  ==================================================

References:
    McCandlish et al., arXiv 1812.06162 (the noise scale); arXiv 2602.03001 (the l1 noise scale and that of the
    nuclear norm);
    Lau et al., CPAL 2025, Eq. 5 (the test).

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions. Of ``l1`` and ``weighted`` the arguments are
    arrays or tensors whose last axis runs over the coordinates.

Example:
    >>> stationary_batch_size(noise_scale(40.0, 2.0), eta=0.5, estimator="unbiased")
    60.0
"""

from __future__ import annotations

from collections.abc import Sequence

from adabatch.moments.gradient_moments import covariance_trace, require_groups
from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, eigenvalues, exp, log, log_gamma, maximum, quotient, sqrt, total
from adabatch.moments.statistic import Estimator

__all__ = [
    "l1_noise_scale",
    "noise_covariance",
    "noise_scale",
    "nuclear_noise_scale",
    "saturation_level",
    "stationary_batch_size",
    "weighted_noise_scale",
    "weighted_sums",
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


def noise_covariance(groups: Value, group_size: Value, products: Value, mean: Value) -> Value:
    """Unbiased estimate of E X X^T, X the noise of one sample's gradient of a matrix: m (S - n g g^T) / (n - 1).

    Args:
        groups: n >= 2.
        group_size: m, samples in a group.
        products: S = sum_j g_j g_j^T, shape [rows, rows].
        mean: g = (1/n) sum_j g_j, shape [rows, columns].

    Raises:
        HypothesisError: for fewer than two groups.

    >>> import numpy as np
    >>> groups = np.array([[[1.0, 0.0], [0.0, 3.0]], [[3.0, 0.0], [0.0, 1.0]]])
    >>> noise_covariance(2, 1, (groups @ groups.mT).sum(0), groups.mean(0))
    array([[2., 0.],
           [0., 2.]])
    """
    require_groups(groups)
    return group_size * (products - groups * (mean @ mean.T)) / (groups - 1)


def nuclear_noise_scale(gradients: Sequence[Value], covariances: Sequence[Value]) -> Value:
    """B_* = (sum tr C^(1/2))^2 / (sum ||G||_*)^2 over matrices, in samples; infinite where the gradients vanish.

    Of a batch's own gradients it is too small: noise adds to their nuclear norms. Where a gradient has more rows
    than columns, its transpose may be taken, which bounds the same noise.

    Args:
        gradients: G of each matrix, shape [rows, columns], rows <= columns for speed.
        covariances: C = E X X^T of one sample's noise (:func:`noise_covariance`), shape [rows, rows] each.

    >>> import numpy as np
    >>> nuclear_noise_scale([np.diag([1.0, 2.0])], [np.diag([9.0, 36.0])])                 # B_1 of (1, 2), (9, 36)
    9.0
    """
    deviations = sum(_trace_of_root(covariance) for covariance in covariances)
    norms = sum(_trace_of_root(gradient @ gradient.T) for gradient in gradients)
    return quotient(deviations, norms) ** 2


def _trace_of_root(matrix: Value) -> Value:
    """tr A^(1/2) of a symmetric matrix, whose eigenvalues below 0 are rounding."""
    return total(sqrt(maximum(eigenvalues(matrix), 0.0)))


ROUNDED = 2.0**-20
"""Of a micro-batch's squared mean in a coordinate: variances below that are rounding in sums of fp32."""


def weighted_sums(groups: Value, group_size: Value, sum_of_squares: Value, mean: Value) -> tuple[Value, Value]:
    r"""Estimates of sum_i G_i^2 / V_i^(1/2) and sum_i G_i^4 / V_i^(3/2), whose ratio is B_w, from groups.

    The batch's own g_i^2 is G_i^2 + V_i / b on average, and g_i^4 is G_i^4 + 6 G_i^2 V_i / b + 3 V_i^2 / b^2: put
    in for G_i they take B_w to b / 3 where noise dominates. With v_i the unbiased variance from n groups, this is

        sum_i  g_i^2 / (c(-1/2) v_i^(1/2)) - v_i^(1/2) / (c(1/2) b),
        sum_i  g_i^4 / (c(-3/2) v_i^(3/2)) - 6 g_i^2 / (c(-1/2) b v_i^(1/2)) + 3 v_i^(1/2) / (c(1/2) b^2),

    c(p) = E[v_i^p] / V_i^p = (2 / (n-1))^p Gamma((n-1)/2 + p) / Gamma((n-1)/2). Both are unbiased for Gaussian
    groups, whose g_i and v_i are independent. Sums of shards of coordinates may be added.

    Args:
        groups: n >= 5; their variance is finite from n = 8 on.
        group_size: m, samples in a group.
        sum_of_squares: sum_j g_ji^2, shape [..., d].
        mean: g_i, shape [..., d].

    Returns:
        Both, of shape [...], each of which can be negative where the gradient is not resolved.

    Raises:
        HypothesisError: for fewer than five groups: the inverse of their variance has no mean.

    Many groups without noise to speak of: G = 2, V = 0.01.

    >>> import numpy as np
    >>> descent, lost = weighted_sums(10**6, 1, np.array([4.01e6]), np.array([2.0]))
    >>> round(descent, 3), round(lost / 1000, 3)                        # 4 / 0.1 and 16 / 0.001
    (40.0, 16.0)
    """
    require(
        groups >= 5,
        "at least 5 groups (ranks x micro-batches)",
        describe("groups", groups),
        "add ranks, or raise gradient accumulation",
    )
    batch = groups * group_size
    # sums of fp32 know no smaller variance
    variance = maximum(
        covariance_trace(groups, group_size, sum_of_squares, mean**2), ROUNDED * group_size * mean**2
    )
    ratio, root = quotient(mean**2, variance), sqrt(variance)
    noise = root / (_power_bias(groups, 0.5) * batch)
    linear = root * ratio / _power_bias(groups, -0.5)
    descent = total(linear - noise)
    lost = total(root * ratio**2 / _power_bias(groups, -1.5) - 6 * linear / batch + 3 * noise / batch)
    return descent, lost


def _power_bias(groups: Value, power: float) -> Value:
    """c(p) = E[v^p] / V^p of the unbiased variance v of n Gaussian groups."""
    half = (groups - 1) / 2
    return exp(log_gamma(half + power) - log_gamma(half) - power * log(half))


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
