r"""Batches drawn without replacement: the variance of their mean, and the factor of Eq. (2).

Problem:
    A batch of b samples is drawn without replacement from a population of n. How large is the variance of the
    batch mean, and by which factor must the variance within the batch be multiplied to estimate it without bias?

Guarantee (exact, coordinate-wise, for 2 <= b <= n; s^2 is the sample variance with b - 1 in the denominator,
sigma^2 the population variance with n in the denominator):
    Var(mean) = sigma^2 / b * (n - b) / (n - 1)        :func:`batch_mean_variance`
    Var(mean) = E[s^2] / b * (n - b) / n               :func:`sample_variance_factor`

    Eq. (2) of the paper multiplies s^2 by (n - b) / (n - 1), the factor that belongs to sigma^2
    (:func:`published_factor`): its left-hand side is too large by n / (n - 1).

References:
    Lau et al., CPAL 2025, Eq. (2). Cochran, Sampling Techniques (1977), theorems 2.2 and 2.4.

Shapes:
    Floats, fractions, numpy arrays (broadcast together) or SymPy expressions. Batch sizes count samples.

Example:
    >>> from fractions import Fraction
    >>> n, b = Fraction(4), Fraction(2)
    >>> sample_variance_factor(b, n) / published_factor(b, n)
    Fraction(3, 4)
"""

from __future__ import annotations

import numpy as np

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, ceiling, is_symbolic, where

__all__ = [
    "batch_mean_variance",
    "published_factor",
    "require_batch",
    "sample_variance_factor",
    "smallest_batch_size",
]


def require_batch(batch_size: Value, population: Value, smallest: int = 1) -> None:
    """Raise :class:`~adabatch.moments.hypotheses.HypothesisError` unless smallest <= b <= n and n >= 2."""
    given = f"{describe('b', batch_size)}, {describe('n', population)}"
    require(population >= 2, "a population of n >= 2 samples", given, "take n >= 2")
    require(batch_size >= smallest, f"a batch of b >= {smallest} samples", given, f"take b >= {smallest}")
    require(batch_size <= population, "b <= n", given, "take b = n at most")


def published_factor(batch_size: Value, population: Value) -> Value:
    """(n - b) / (n - 1), the factor published in Eq. (2): right for the population variance sigma^2 only.

    >>> published_factor(2.0, 4.0)
    0.6666666666666666
    """
    require_batch(batch_size, population)
    return (population - batch_size) / (population - 1)


def sample_variance_factor(batch_size: Value, population: Value) -> Value:
    """(n - b) / n, the factor for the sample variance s^2 (b - 1 in its denominator): Eq. (2) corrected.

    >>> sample_variance_factor(2.0, 4.0)
    0.5
    """
    require_batch(batch_size, population)
    return (population - batch_size) / population


def batch_mean_variance(population_variance: Value, batch_size: Value, population: Value) -> Value:
    """Variance of the mean of b samples drawn without replacement, sigma^2 / b * (n - b) / (n - 1).

    Args:
        population_variance: sigma^2 with n in the denominator, per coordinate or summed over coordinates.
        batch_size: b.
        population: n.

    >>> batch_mean_variance(3.0, 2.0, 4.0)
    1.0
    """
    return population_variance / batch_size * published_factor(batch_size, population)


def smallest_batch_size(
    population_variance: Value, squared_gradient: Value, eta: Value, population: Value
) -> Value:
    """Smallest b in 1..n whose mean has variance at most eta^2 G^2.

    ceil(n sigma^2 / (sigma^2 + (n - 1) eta^2 G^2)), by solving the inequality for b.
    Elementwise: apply it to each coordinate and take the maximum for the coordinate-wise exact-variance norm
    test, or to tr Sigma and ||G||^2 for the exact-variance norm test (4). Where the variance vanishes one
    sample is enough; where the gradient vanishes and the variance does not, only b = n passes.

    Raises:
        HypothesisError: unless eta > 0, n >= 2, sigma^2 >= 0 and G^2 >= 0.

    >>> smallest_batch_size(3.0, 1.0, 0.5, 100.0), smallest_batch_size(3.0, 0.0, 0.5, 100.0)
    (11.0, 100.0)
    """
    require(eta > 0, "eta > 0", describe("eta", eta), "take eta between about 0.05 and 1")
    require_batch(1, population)
    for name, value in (("sigma^2", population_variance), ("G^2", squared_gradient)):
        require(value >= 0, f"{name} >= 0", describe(name, value), "it is a square, and not NaN")
    slack = (population - 1) * eta**2 * squared_gradient
    if is_symbolic(slack, population_variance):
        return ceiling(population * population_variance / (population_variance + slack))
    noisy = np.asarray(population_variance) > 0
    share = population_variance / where(noisy, population_variance + slack, 1.0)
    candidate = where(noisy, ceiling(population * share), 1.0)
    candidate = np.clip(candidate, 1.0, population)
    return _settled(candidate, population_variance, eta**2 * squared_gradient, population)


def _settled(candidate: Value, variance: Value, level: Value, population: Value) -> Value:
    """Undo a rounding of the division by one sample either way, by the test itself."""
    smaller = np.maximum(candidate - 1.0, 1.0)
    settled = where(batch_mean_variance(variance, smaller, population) <= level, smaller, candidate)
    larger = np.minimum(settled + 1.0, population)
    passes = batch_mean_variance(variance, settled, population) <= level
    return where(passes, settled, larger)
