r"""The coordinate-wise test costs infinitely many samples in expectation; the scalar and l1 tests do not.

Problem:
    The batch of step k + 1 is asked for by G_{k+1}, which step k's noise has made random. How large may it become?

Algorithm:
    One step of SGD on a quadratic with independent Gaussian noise: G_i is normal with mean m_i and deviation
    s_i > 0, independent over i. The smallest batches of the exact tests, before they are rounded up: with
    t = sigma / (eta sqrt(B)), b > B means

        coordinate-wise: |G_i| < t for some i,           scalar, l1: ||G|| < t (in its own norm),
        coordinate-wise with a share: |G_i| < t for more than d - ceil(share d) coordinates.

    Call j the number of coordinates that must be small at once: 1, d, and d - ceil(share d) + 1.

Guarantee:
    - coordinate-wise, any B >= B_0 > 0: 2 t rho(B_0) <= P(b > B) <= 2 t sum_i 1 / (s_i sqrt(2 pi)), with rho the
      density of a G_i at the far end of [-t_0, t_0]. So the tail index is 1/2 exactly, E b = oo, and
      E min(b, B) >= c sqrt(B): no bound on expected samples can hold. It is enough that G_i has a density that is
      positive near 0.
    - scalar: for m = 0 and equal s, E ||G||^-2 = 1 / (s^2 (d - 2)) for d >= 3, and infinite for d <= 2.
    - in general the tail index is j / 2, and E b < oo if and only if j >= 3: a share below 1, or a floor, makes
      the coordinate-wise test's finite.

References:
    Proof: :mod:`proofs.samples.tails`. Hill (1975) for the estimate of the index in the experiment.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    >>> tail_index(1), tail_index(100), coordinates_at_once(100, 0.99)
    (0.5, 50.0, 2)
    >>> low, high = tail_probability(1e6, mean=0.4, deviation=0.5, noise=1.0, eta=0.8)
    >>> 0.0014 < low < high < 0.0020
    True
"""

from __future__ import annotations

import math

from adabatch.moments.numeric import Value, exp, sqrt

__all__ = [
    "coordinates_at_once",
    "mean_reciprocal_square",
    "normal_density",
    "small_gradient",
    "tail_index",
    "tail_probability",
]


def small_gradient(batch: Value, noise: Value, eta: Value) -> Value:
    """t = sigma / (eta sqrt(B)): the gradient below which the test asks for more than B samples."""
    return noise / (eta * sqrt(batch))


def normal_density(x: Value, mean: Value, deviation: Value) -> Value:
    """The density of a normal variable, but for the factor 1 / sqrt(2 pi)."""
    return exp(-(((x - mean) / deviation) ** 2) / 2) / deviation


def tail_probability(
    batch: float, *, mean: float, deviation: float, noise: float, eta: float
) -> tuple[float, float]:
    """P(b > B) of the coordinate-wise test in one dimension, from below and from above.

    Args:
        batch: B.
        mean: m, of the gradient.
        deviation: s > 0, of the gradient.
        noise: sigma, of a sample.
        eta: of the test.
    """
    t = small_gradient(batch, noise, eta)
    far = abs(mean) + t
    scale = 2 * t / math.sqrt(2 * math.pi)
    return scale * float(normal_density(far, 0.0, deviation)), min(1.0, scale / deviation)


def coordinates_at_once(dimension: int, share: float = 1.0) -> int:
    """j = d - ceil(share d) + 1: how many small coordinates make the test of a share of them fail."""
    return dimension - math.ceil(share * dimension * (1 - 1e-12)) + 1


def tail_index(at_once: Value) -> Value:
    """j / 2: P(b > B) falls as B^(-j/2)."""
    return at_once / 2


def mean_reciprocal_square(dimension: Value, deviation: Value) -> Value:
    """E ||G||^-2 = 1 / (s^2 (d - 2)) of a centred isotropic Gaussian, d >= 3.

    >>> mean_reciprocal_square(6, 0.5)
    1.0
    """
    return 1 / (deviation**2 * (dimension - 2))
