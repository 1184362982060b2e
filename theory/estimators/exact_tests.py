r"""The norm tests on exact or per-sample variances: Eqs. (2) and (4), the coordinate-wise test, and Sec. 3.1.

Problem:
    Is the batch large enough for the relative error of its gradient to be at most eta? What training runs is
    :mod:`adabatch.moments.statistic`; here are the forms that theorems and exact enumerations need.

Algorithm (g the batch gradient, G = grad L, Var over the draw of the batch):
    =====================  ==================================================  ==============================
    test                   passes where                                        function
    =====================  ==================================================  ==============================
    Eq. (2)                ||s^2||_1 / b * factor <= eta^2 ||g||^2             :func:`sample_variance_test`
    Eq. (4)                tr Var(g) <= eta^2 ||G||^2                          :func:`exact_variance_test`
    coordinate-wise        Var(g_i) <= eta^2 G_i^2 for every i                 :func:`coordinate_wise_test`
    =====================  ==================================================  ==============================

    The factor of Eq. (2) is (n - b) / n for the b - 1 sample variance s^2 (the paper prints (n - b) / (n - 1))
    and 1 for a population so large that drawing with or without replacement is the same (Eq. (3)).

Guarantee:
    - coordinate-wise test => Eq. (4) with the same eta (sum over i); the converse is false.
    - coordinate-wise test => E g_i^2 <= (1 + eta^2) G_i^2 for every i (Proposition 1).
    - ||g - G|| <= eta ||G|| => <g, G> >= (1 - eta) ||G||^2; the converse of Sec. 3.1 is false: g = 10 G.

References:
    Lau et al., CPAL 2025, Eqs. (2)-(4), Sec. 3.1, Proposition 1.

Shapes:
    Vectors have the coordinates on the last axis, (..., d); everything else broadcasts over the leading axes.

Example:
    >>> import numpy as np
    >>> gradient, variance = np.array([1.0, 0.0]), np.array([0.0, 0.04])
    >>> bool(exact_variance_test(variance.sum(), (gradient**2).sum(), eta=0.2))
    True
    >>> bool(coordinate_wise_test(variance, gradient, eta=0.2))
    False
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, sqrt
from theory.adam.constants import squared_noise_growth
from theory.estimators.finite_population import sample_variance_factor

__all__ = [
    "coordinate_wise_test",
    "exact_variance_test",
    "inner_product",
    "inner_product_floor",
    "norm_condition",
    "relative_error",
    "sample_variance_test",
    "second_moment_bound",
]


def _require_eta(eta: Value) -> None:
    require(eta > 0, "eta > 0", describe("eta", eta), "take eta between about 0.05 and 1")


def sample_variance_test(
    gradients: Value,
    eta: Value,
    population: Value | None = None,
    factor: Callable[[Value, Value], Value] = sample_variance_factor,
) -> tuple[Value, Value]:
    """Both sides of Eq. (2) for per-sample gradients: the test passes where left <= right.

    Args:
        gradients: per-sample gradients of the batch, shape (..., b, d).
        eta: > 0.
        population: n, the size of the data set; None for Eq. (3), without a factor.
        factor: of (b, n). The default is unbiased; :func:`theory.estimators.finite_population.published_factor` is
        as published.

    Returns:
        (||s^2||_1 / b * factor, eta^2 ||g||^2), each of shape (...).

    Raises:
        HypothesisError: for fewer than two samples, or unless eta > 0.
    """
    _require_eta(eta)
    gradients = np.asarray(gradients)
    batch_size = gradients.shape[-2]
    require(batch_size >= 2, "at least 2 samples", f"b = {batch_size}", "take b >= 2")
    correction = 1.0 if population is None else factor(batch_size, population)
    left = gradients.var(axis=-2, ddof=1).sum(axis=-1) / batch_size * correction
    return left, eta**2 * (gradients.mean(axis=-2) ** 2).sum(axis=-1)


def relative_error(batch_variance: Value, squared_gradient: Value) -> Value:
    """sqrt(tr Var(g)) / ||G||, the root mean square relative error of the batch gradient.

    >>> relative_error(0.04, 1.0)
    0.2
    """
    return sqrt(batch_variance / squared_gradient)


def exact_variance_test(batch_variance: Value, squared_gradient: Value, eta: Value) -> Value:
    """Eq. (4): E||g - G||^2 <= eta^2 ||G||^2.

    Args:
        batch_variance: tr Var(g) = E||g - G||^2, of the batch gradient and not of one sample.
        squared_gradient: ||G||^2.
        eta: > 0.

    >>> exact_variance_test(0.03, 1.0, 0.2), exact_variance_test(0.05, 1.0, 0.2)
    (True, False)
    """
    _require_eta(eta)
    return batch_variance <= eta**2 * squared_gradient


def coordinate_wise_test(batch_variances: Value, gradient: Value, eta: Value) -> Value:
    """The coordinate-wise exact-variance norm test: Var(g_i) <= eta^2 G_i^2 for every coordinate i.

    Args:
        batch_variances: Var(g_i), shape (..., d).
        gradient: G, shape (..., d).
        eta: > 0.

    Returns:
        Array of bool of shape (...).
    """
    _require_eta(eta)
    return np.all(np.asarray(batch_variances) <= eta**2 * np.asarray(gradient) ** 2, axis=-1)


def second_moment_bound(gradient: Value, eta: Value) -> Value:
    """(1 + eta^2) G_i^2, which bounds E g_i^2 under the coordinate-wise test (Proposition 1).

    >>> second_moment_bound(2.0, 0.5)
    5.0
    """
    return squared_noise_growth(eta) * gradient**2


def inner_product(batch_gradient: Value, gradient: Value) -> Value:
    """<g, G>, over the last axis."""
    return (np.asarray(batch_gradient) * np.asarray(gradient)).sum(axis=-1)


def norm_condition(batch_gradient: Value, gradient: Value, eta: Value) -> Value:
    """Whether ||g - G|| <= eta ||G||, over the last axis: the norm condition of Sec. 3.1, for one batch."""
    batch_gradient, gradient = np.asarray(batch_gradient), np.asarray(gradient)
    return ((batch_gradient - gradient) ** 2).sum(axis=-1) <= eta**2 * (gradient**2).sum(axis=-1)


def inner_product_floor(squared_gradient: Value, eta: Value) -> Value:
    """(1 - eta) ||G||^2: the norm condition keeps <g, G> above it, by Cauchy-Schwarz.

    >>> inner_product_floor(4.0, 0.25)
    3.0
    """
    return (1 - eta) * squared_gradient
