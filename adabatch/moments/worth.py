r"""What a batch costs in time, and the most that a batch schedule can save.

Problem:
    A step on b samples takes t0 + t1 b seconds, and where the gradient's noise scale is B it makes 1 / (1 + B / b)
    of the progress of a step without noise. Which batch makes most progress per second, what does another one
    cost, and how much faster is the best schedule of batches than the best constant one?

Guarantee (within that model; the noise scale depends on the progress made, not on the batches that made it):
    ================================  =================================================================
    time per unit of progress         (1 + B / b) (t0 + t1 b)
    best batch                        b* = sqrt(B B_sat), B_sat = t0 / t1
    least time                        (sqrt t0 + sqrt(t1 B))^2
    a batch c b*, over the least      (c + 1/c + r) / (2 + r), r = sqrt(B_sat / B) + sqrt(B / B_sat) >= 2
    best schedule / best constant     (1 + rho + 2 s sqrt rho) / (1 + sqrt rho)^2 >= (1 + s) / 2
    ================================  =================================================================

    with rho = mean B / B_sat and s = mean sqrt(B) / sqrt(mean B) <= 1, means over progress. So a schedule saves at
    most (1 - s) / 2 of the time, and that much only where rho = 1. Where a step takes max(t0, t1 b) (a roofline),
    b* = B_sat for every B, and a schedule saves nothing. At equal samples the smallest batch makes most
    progress, 1 / (b + B) per sample, and a schedule saves nothing either.

References:
    McCandlish et al., arXiv 1812.06162, section 2.2 (the progress of a step).

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    The noise scale grows from 4 to 64 halfway through the progress, on a machine with B_sat = 16.

    >>> import numpy as np
    >>> scales, progress = np.array([4.0, 64.0]), np.array([1.0, 1.0])
    >>> best_batch(scales, 16.0)
    array([ 8., 32.])
    >>> rho, s = mean_noise_scale(scales, progress) / 16.0, evenness(scales, progress)
    >>> round(schedule_over_constant(rho, s), 4), round(lowest_ratio(s), 4)
    (0.9312, 0.9287)
"""

from __future__ import annotations

from adabatch.moments.numeric import Value, maximum, sqrt, total

__all__ = [
    "best_batch",
    "evenness",
    "least_time",
    "lowest_ratio",
    "mean_noise_scale",
    "price_of_factor",
    "progress",
    "roofline_time",
    "schedule_over_constant",
    "time_of_progress",
]


def progress(batch: Value, scale: Value) -> Value:
    """1 / (1 + B / b), the progress of a step on b samples in units of a step without noise.

    Args:
        batch: b > 0, in samples.
        scale: B >= 0, the noise scale in samples.

    >>> progress(64.0, 64.0), progress(64.0, 0.0)
    (0.5, 1.0)
    """
    return batch / (batch + scale)


def time_of_progress(batch: Value, scale: Value, fixed: Value, per_sample: Value) -> Value:
    """(1 + B / b) (t0 + t1 b), seconds per unit of progress.

    Args:
        batch: b > 0, in samples.
        scale: B >= 0, in samples.
        fixed: t0 >= 0, seconds per step.
        per_sample: t1 > 0, seconds per sample.

    >>> time_of_progress(16.0, 64.0, fixed=4.0, per_sample=1.0)
    100.0
    """
    return (fixed + per_sample * batch) / progress(batch, scale)


def roofline_time(batch: Value, scale: Value, fixed: Value, per_sample: Value) -> Value:
    """(1 + B / b) max(t0, t1 b), seconds per unit of progress: least at b = t0 / t1 for every B.

    Args:
        batch: b > 0, in samples.
        scale: B >= 0, in samples.
        fixed: t0 >= 0, the seconds of the smallest step.
        per_sample: t1 > 0, seconds per sample.

    >>> roofline_time(4.0, 64.0, fixed=4.0, per_sample=1.0), roofline_time(16.0, 64.0, fixed=4.0, per_sample=1.0)
    (68.0, 80.0)
    """
    return maximum(fixed, per_sample * batch) / progress(batch, scale)


def best_batch(scale: Value, saturation: Value) -> Value:
    """b* = sqrt(B B_sat), the batch that makes most progress per second.

    Args:
        scale: B, in samples.
        saturation: B_sat = t0 / t1, in samples.

    >>> best_batch(100.0, 4.0)
    20.0
    """
    return sqrt(scale * saturation)


def least_time(scale: Value, fixed: Value, per_sample: Value) -> Value:
    """(sqrt t0 + sqrt(t1 B))^2, seconds per unit of progress at b*.

    >>> least_time(100.0, fixed=4.0, per_sample=1.0)
    144.0
    """
    return (sqrt(fixed) + sqrt(per_sample * scale)) ** 2


def price_of_factor(factor: Value, scale: Value, saturation: Value) -> Value:
    """(c + 1/c + r) / (2 + r) with r = sqrt(B_sat / B) + sqrt(B / B_sat): the time at c b* over that at b*.

    Args:
        factor: c > 0.
        scale: B > 0, in samples.
        saturation: B_sat > 0, in samples.

    >>> price_of_factor(2.0, 64.0, 64.0), price_of_factor(0.5, 64.0, 64.0)
    (1.125, 1.125)
    """
    root = sqrt(saturation / scale)
    ratios = root + 1 / root
    return (factor + 1 / factor + ratios) / (2 + ratios)


def mean_noise_scale(scales: Value, weights: Value) -> Value:
    """The mean of B over progress.

    Args:
        scales: B at some points, a vector.
        weights: the progress made at each.

    >>> import numpy as np
    >>> mean_noise_scale(np.array([1.0, 4.0]), np.array([2.0, 1.0]))
    2.0
    """
    return total(weights * scales) / total(weights)


def evenness(scales: Value, weights: Value) -> Value:
    """s = mean sqrt(B) / sqrt(mean B), means over progress: 1 where B never changes, smaller the more it does.

    Args:
        scales: B at some points, a vector.
        weights: the progress made at each.

    >>> import numpy as np
    >>> round(evenness(np.array([1.0, 9.0]), np.array([1.0, 1.0])), 6)    # 2 / sqrt(5)
    0.894427
    """
    return mean_noise_scale(sqrt(scales), weights) / sqrt(mean_noise_scale(scales, weights))


def schedule_over_constant(relative_scale: Value, evenness: Value) -> Value:
    """(1 + rho + 2 s sqrt rho) / (1 + sqrt rho)^2, the time of the best schedule over that of the best constant.

    It is (1 + s) / 2 + (1 - s) / 2 ((1 - sqrt rho) / (1 + sqrt rho))^2, and the best constant batch is
    sqrt(mean B B_sat).

    Args:
        relative_scale: rho = mean B / B_sat.
        evenness: s, see :func:`evenness`.

    >>> schedule_over_constant(1.0, 0.5), schedule_over_constant(9.0, 1.0)
    (0.75, 1.0)
    """
    root = sqrt(relative_scale)
    return lowest_ratio(evenness) + (1 - evenness) / 2 * ((1 - root) / (1 + root)) ** 2


def lowest_ratio(evenness: Value) -> Value:
    """(1 + s) / 2, below which :func:`schedule_over_constant` is at no rho; it is reached at rho = 1.

    >>> lowest_ratio(0.5)
    0.75
    """
    return (1 + evenness) / 2
