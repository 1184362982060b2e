"""The simple noise scale, and the batch at which each estimator's norm test stops growing.

With B_noise = tr Sigma / ||G||^2, in the moments' unit (samples, or tokens where they were told), a test stops
growing (in expectation) at

    ============  ==================================================
    ``debiased``  B_noise / eta^2
    ``unbiased``  B_noise (1 / eta^2 - 1)
    ``paper``     the root of b^2 + B_noise b = B_noise (n - 1) / eta^2, which saturates at (n - 1) / eta^2
    ============  ==================================================

References:
    McCandlish et al., arXiv 1812.06162 (the noise scale); Lau et al., CPAL 2025, Eq. 5 (the test).

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    >>> stationary_batch_size(noise_scale(40.0, 2.0), eta=0.5, estimator="unbiased")
    60.0
"""

from __future__ import annotations

from adabatch.moments.gradient_moments import require_groups
from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, sqrt
from adabatch.moments.statistic import Estimator

__all__ = ["noise_scale", "saturation_level", "stationary_batch_size"]


def noise_scale(trace: Value, squared_gradient: Value) -> Value:
    """B_noise = tr Sigma / ||G||^2, the simple noise scale, in samples.

    >>> noise_scale(40.0, 2.0)
    20.0
    """
    return trace / squared_gradient


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
