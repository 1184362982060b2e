r"""What the estimators of the norm test measure: exact expectations and variances, effective eta, fixed points.

Problem:
    :mod:`adabatch.moments.gradient_moments` estimates tr Sigma and ||G||^2 from n groups of m samples. How large
    are the bias and the variance of each estimate, and at which batch size does a test built from them stop
    growing?

Guarantee:
    Group means independent with mean G and covariance Sigma / m, b = n m. Expectations need no more than that;
    variances are for Gaussian group means (then sum_j ||g_j - g||^2 and g are independent):

    ==========================  ======================  ====================================================
    estimator                   expectation             variance
    ==========================  ======================  ====================================================
    ``squared_deviation``       (n-1) tr Sigma / m      2 (n-1) tr Sigma^2 / m^2
    ``paper_variance``        tr Sigma (n-1) / b      2 (n-1) tr Sigma^2 / b^2
    ``covariance_trace``        tr Sigma                2 tr Sigma^2 / (n-1)
    ``squared_norm``            ||G||^2 + tr Sigma / b  2 tr Sigma^2 / b^2 + 4 G' Sigma G / b
    ``debiased_squared_norm``   ||G||^2                 2 tr Sigma^2 n / (b^2 (n-1)) + 4 G' Sigma G / b
    ==========================  ======================  ====================================================

    The ratio of expectations then gives, with B_noise = tr Sigma / ||G||^2:

    ============  =============================  =============================  ============================
    estimator     relative error enforced        batch stops growing at         as B_noise grows
    ============  =============================  =============================  ============================
    ``debiased``  eta                            B_noise / eta^2                grows with it
    ``unbiased``  eta / sqrt(1 - eta^2)          B_noise (1 / eta^2 - 1)        grows with it
    ``paper``     eta / sqrt((n-1)/b - eta^2)    root of b^2 + B_noise b        saturates: (n - 1) / eta^2
                                                 = B_noise (n-1) / eta^2
    ============  =============================  =============================  ============================

References:
    Lau et al., CPAL 2025, Eqs. (3), (5), Algorithm 1. McCandlish et al., arXiv 1812.06162, appendix A.

Shapes:
    Spectra and gradients (..., d) in the eigenbasis of Sigma; everything else broadcasts. Batch sizes in samples.

Example:
    Four workers, 16 accumulated micro-batches of 4 sequences; the paper's groups are the 4 workers.

    >>> import numpy as np
    >>> groups = GaussianGroups.from_spectrum(4, 16 * 4, np.ones(1000), np.zeros(1000))
    >>> float(moments(groups, "paper_variance").expectation / groups.trace)    # (J - 1) / b
    0.01171875
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adabatch.moments.gradient_moments import GradientMoments, require_groups
from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, is_symbolic, sqrt, where
from adabatch.moments.statistic import Estimator, estimates, statistic_from_estimates

__all__ = [
    "ESTIMATORS",
    "GaussianGroups",
    "Moments",
    "effective_eta",
    "eta_to_enforce",
    "expected_moments",
    "expected_statistic",
    "moments",
]

ESTIMATORS = ("squared_deviation", "paper_variance", "covariance_trace", "squared_norm", "debiased_squared_norm")
"""Names of the estimators that :func:`moments` knows."""


@dataclass(frozen=True)
class GaussianGroups:
    """n groups of m samples whose mean gradients are independent N(G, Sigma / m).

    Attributes:
        groups: n.
        group_size: m.
        squared_gradient: ||G||^2.
        trace: tr Sigma, Sigma the covariance of one sample's gradient.
        trace_of_square: tr Sigma^2.
        gradient_variance: G' Sigma G.
    """

    groups: Value
    group_size: Value
    squared_gradient: Value
    trace: Value
    trace_of_square: Value
    gradient_variance: Value

    @classmethod
    def from_spectrum(cls, groups: Value, group_size: Value, spectrum: Value, gradient: Value) -> GaussianGroups:
        """From the eigenvalues of Sigma and the components of G in its eigenbasis, both (..., d)."""
        spectrum, gradient = np.asarray(spectrum), np.asarray(gradient)
        return cls(
            groups=groups,
            group_size=group_size,
            squared_gradient=(gradient**2).sum(axis=-1),
            trace=spectrum.sum(axis=-1),
            trace_of_square=(spectrum**2).sum(axis=-1),
            gradient_variance=(spectrum * gradient**2).sum(axis=-1),
        )

    @property
    def batch_size(self) -> Value:
        """b = n m."""
        return self.groups * self.group_size


@dataclass(frozen=True)
class Moments:
    """Expectation and variance of an estimator."""

    expectation: Value
    variance: Value


def expected_moments(groups: GaussianGroups) -> GradientMoments:
    """The two sums of a step in expectation; the estimators are linear in them, so theirs follow from it."""
    squared_norm = groups.squared_gradient + groups.trace / groups.batch_size
    one_group = groups.squared_gradient + groups.trace / groups.group_size
    return GradientMoments(groups.groups, groups.group_size, groups.groups * one_group, squared_norm)


def moments(groups: GaussianGroups, estimator: str) -> Moments:
    """Exact expectation and (Gaussian) variance of one of :data:`ESTIMATORS`.

    Raises:
        ValueError: for an unknown estimator.
        HypothesisError: for fewer than two groups.
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"unknown estimator {estimator!r}; known are {', '.join(ESTIMATORS)}")
    require_groups(groups.groups)
    n, m, b = groups.groups, groups.group_size, groups.batch_size
    expected = expected_moments(groups)
    deviation = Moments(expected.paper_variance * n, 2 * (n - 1) * groups.trace_of_square / m**2)
    mean = Moments(expected.squared_norm, 2 * groups.trace_of_square / b**2 + 4 * groups.gradient_variance / b)
    if estimator == "squared_norm":
        return mean
    if estimator == "debiased_squared_norm":
        scale = 1 / (n * (n - 1))
        return Moments(expected.debiased_squared_norm, mean.variance + scale**2 * deviation.variance)
    scale = {"squared_deviation": 1, "paper_variance": 1 / n, "covariance_trace": m / (n - 1)}[estimator]
    return Moments(scale * deviation.expectation, scale**2 * deviation.variance)


def expected_statistic(groups: GaussianGroups, eta: Value, estimator: Estimator | str) -> Value:
    """T with expectations in place of the estimates: E[variance] / (eta^2 E[squared norm]), in samples.

    >>> import numpy as np
    >>> groups = GaussianGroups.from_spectrum(4, 1000, np.ones(10), np.zeros(10))
    >>> round(expected_statistic(groups, 0.2, "paper"), 6)
    75.0
    """
    variance, squared_norm = estimates(expected_moments(groups), estimator)
    return statistic_from_estimates(variance, squared_norm, eta)


def effective_eta(eta: Value, estimator: Estimator | str, groups: Value = None, batch_size: Value = None) -> Value:
    """The relative error sqrt(tr Sigma / b) / ||G|| at which the test is an equality in expectation.

    Args:
        eta: what the test was given, > 0.
        estimator: ``paper``, ``unbiased`` or ``debiased``.
        groups: n, for ``paper`` only.
        batch_size: b, for ``paper`` only.

    Returns:
        Infinity where the test passes in expectation however small the gradient is.

    >>> round(effective_eta(0.6, "unbiased"), 9), effective_eta(0.2, "paper", groups=4, batch_size=75)
    (0.75, inf)
    """
    require(eta > 0, "eta > 0", describe("eta", eta), "take eta between about 0.05 and 1")
    estimator = Estimator(estimator)
    if estimator is Estimator.DEBIASED:
        return eta
    if estimator is Estimator.UNBIASED:
        return _eta_over_root(eta, 1 - eta**2)
    require_groups(groups)
    return _eta_over_root(eta, (groups - 1) / batch_size - eta**2)


def _eta_over_root(eta: Value, radicand: Value) -> Value:
    """eta / sqrt(radicand), infinite where the radicand is not above rounding."""
    if is_symbolic(eta, radicand):
        return eta / sqrt(radicand)
    positive = np.asarray(radicand) > 1e-15
    return where(positive, eta / sqrt(where(positive, radicand, 1.0)), np.inf)


def eta_to_enforce(eta: Value) -> Value:
    """eta / sqrt(1 + eta^2): what to give the ``unbiased`` test so that it enforces the relative error eta.

    >>> round(effective_eta(eta_to_enforce(0.5), "unbiased"), 12)
    0.5
    """
    return eta / sqrt(1 + eta**2)
