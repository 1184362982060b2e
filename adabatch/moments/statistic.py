r"""The norm test as training runs it: statistic, decision, next batch size.

Problem:
    A step used a batch of b samples, and its n >= 2 groups gave the moments of
    :mod:`adabatch.moments.gradient_moments`. Was b large enough for the gradient's relative error to be about eta,
    and if not, which batch would have been?

Algorithm (Eqs. 3 and 5, Algorithm 1):
    T = variance / (eta^2 * squared norm); the test passes where T <= b; otherwise b' = ceil(T).

    ============  =======================  ========================  ============================================
    estimator     variance                 squared norm              what the test enforces, in expectation
    ============  =======================  ========================  ============================================
    ``paper``     ``paper_variance``     ``squared_norm``          no level: T saturates near (n - 1) / eta^2
    ``unbiased``  ``covariance_trace``     ``squared_norm``          relative error eta / sqrt(1 - eta^2)
    ``debiased``  ``covariance_trace``     ``debiased_squared_norm`` relative error eta
    ============  =======================  ========================  ============================================

    T is in the moments' unit, as b is: samples, or tokens where groups are weighted by their tokens. Schedules
    count samples and convert it (:func:`in_samples`).

    A denominator that is not positive means that the batch is too small to resolve the gradient at all: the
    statistic is then NaN ("not resolved"), the test neither passes nor fails, and the batch stays.

References:
    Lau et al., CPAL 2025, Eqs. 3 and 5, Algorithm 1; McCandlish et al., arXiv 1812.06162 (the noise scale
    B_noise = tr Sigma / ||G||^2: ``debiased`` stops growing at B_noise / eta^2, ``unbiased`` at
    B_noise (1 / eta^2 - 1)).

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    >>> from adabatch.moments.gradient_moments import GradientMoments
    >>> moments = GradientMoments(groups=2, group_size=3, sum_of_squares=10.0, squared_norm=4.0)
    >>> norm_test_statistic(moments, eta=0.5)                      # 6 / (0.25 * 4)
    6.0
    >>> norm_test_passes(6.0, moments.batch_size)
    True
    >>> next_batch_size(norm_test_statistic(moments, eta=0.4), moments.batch_size)
    10
"""

from __future__ import annotations

from enum import StrEnum

import numpy as np

from adabatch.moments.gradient_moments import GradientMoments, require_groups
from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, ceiling, is_symbolic, where

__all__ = [
    "Estimator",
    "estimates",
    "in_samples",
    "next_batch_size",
    "norm_test_passes",
    "norm_test_statistic",
    "statistic_from_estimates",
]


class Estimator(StrEnum):
    """Which variance and which squared norm the test compares (table above)."""

    PAPER = "paper"
    UNBIASED = "unbiased"
    DEBIASED = "debiased"


def estimates(moments: GradientMoments, estimator: Estimator | str = Estimator.UNBIASED) -> tuple[Value, Value]:
    """The pair (variance, squared norm) that the estimator compares.

    They are kept apart so that each can be averaged over steps before the division.

    Raises:
        HypothesisError: for fewer than two groups.
        ValueError: for an unknown estimator.
    """
    estimator = Estimator(estimator)
    require_groups(moments.groups)
    if estimator is Estimator.PAPER:
        return moments.paper_variance, moments.squared_norm
    if estimator is Estimator.UNBIASED:
        return moments.covariance_trace, moments.squared_norm
    return moments.covariance_trace, moments.debiased_squared_norm


def statistic_from_estimates(variance: Value, squared_norm: Value, eta: Value) -> Value:
    """T = variance / (eta^2 squared_norm), in the moments' unit; NaN where squared_norm <= 0 ("not resolved").

    Raises:
        HypothesisError: unless eta > 0.

    >>> statistic_from_estimates(6.0, 4.0, 0.5)
    6.0
    >>> statistic_from_estimates(6.0, -1.0, 0.5)
    nan
    """
    require(eta > 0, "eta > 0", describe("eta", eta), "take eta between about 0.05 and 1")
    if is_symbolic(variance, squared_norm, eta):
        return variance / (eta**2 * squared_norm)
    resolved = np.asarray(squared_norm) > 0
    safe = where(resolved, squared_norm, 1.0)
    return where(resolved, variance / (eta**2 * safe), np.nan)


def norm_test_statistic(
    moments: GradientMoments, eta: Value, estimator: Estimator | str = Estimator.UNBIASED
) -> Value:
    """The statistic T of the approximate norm test (Eqs. 3 and 5), in the moments' unit.

    Args:
        moments: of one step.
        eta: > 0, the relative error asked for.
        estimator: see the table above.

    Raises:
        HypothesisError: for fewer than two groups or eta <= 0.
    """
    variance, squared_norm = estimates(moments, estimator)
    return statistic_from_estimates(variance, squared_norm, eta)


def in_samples(
    statistic: Value, moments: GradientMoments, estimator: Estimator | str = Estimator.UNBIASED
) -> Value:
    """T in samples, from T in the moments' unit: T samples / b.

    ``paper`` is as published: its T counts samples in any unit, since its variance is not that of one sample.

    Tokens of groups of 1 and 3, two samples: T = 12 tokens are 6 samples.

    >>> in_samples(12.0, GradientMoments(2, 2.0, 8.0, 1.0, samples=2))
    6.0
    """
    return statistic if Estimator(estimator) is Estimator.PAPER else statistic * moments.samples_per_unit


def norm_test_passes(statistic: Value, batch_size: Value) -> Value:
    """Whether the batch was large enough: T <= b. A statistic that is NaN passes nothing."""
    return statistic <= batch_size


def next_batch_size(statistic: Value, batch_size: Value) -> Value:
    """b' = ceil(T) if T > b, else b (Algorithm 1); an unresolved (NaN) statistic leaves b.

    >>> next_batch_size(100.2, 64), next_batch_size(3.0, 64), next_batch_size(float("nan"), 64)
    (101, 64, 64)
    """
    proposal = where(statistic > batch_size, ceiling(statistic), batch_size)
    return int(proposal) if isinstance(proposal, float) and np.isfinite(proposal) else proposal
