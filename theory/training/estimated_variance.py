r"""The norm test on estimated variances: how often does it pass when it should not?

Problem:
    J >= 2 independent groups have mean gradients g_1, ..., g_J, identically distributed with mean G and
    covariance S; V = tr S / J is the true variance of their mean gbar, which the exact test compares with
    eta^2 ||G||^2. How often does the test on estimates pass although V is well above?

Algorithm:
    Vh = sum_j ||g_j - gbar||^2 / (J (J-1)); pass if and only if Vh <= eta^2 (||gbar||^2 - Vh), the ``debiased``
    test of :mod:`adabatch.moments.statistic`.

Guarantee:
    Let beta = Var||g_1 - G||^2 / (tr S)^2 (2 / r_e for Gaussian gradients), r_e = (tr S)^2 / tr S^2 the effective
    rank and nu = lambda_max(S) / tr S. If V >= (1 + delta) eta^2 ||G||^2 with delta > 0, then

        P(pass) <= W / (W + (delta / (1+delta))^2),
        W = (sqrt(beta/J) + 2 eta sqrt(nu / (1+delta)))^2 + 2 (1 + eta^2 J)^2 / (J (J-1) r_e).

    So the scalar test is reliable where the noise has many directions. The *coordinate-wise* test is not: in one
    coordinate r_e = 1, and the estimated test is a t-test. With Gaussian gradients and theta = G_i / sqrt(V_i),
    t = gbar_i / sqrt(Vh_i) is noncentral Student t with J - 1 degrees of freedom, and the test passes where
    |t| >= 1/eta (plug-in norm) or sqrt(1 + eta^2)/eta (debiased). Where G_i = 0 the exact test cannot hold, and
    the estimated one passes with probability .0154 at J = 4, eta = .2; where it holds with equality
    (theta = 1/eta) it passes with probability .59, so that d coordinates practically never all pass.

References:
    Lau et al., arXiv 2412.21124, Eqs. 3 and 5 (tests on estimates). The bound is Cantelli's inequality; proof:
    :mod:`proofs.training.estimated_variance`.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions; the t-test on floats and arrays.

Example:
    Isotropic noise in 1000 dimensions, and noise with spectrum 1, 1/2, 1/3, ..., 1/1000:

    >>> flat, steep = Spectrum.of(np.ones(1000)), Spectrum.of(1 / np.arange(1, 1001))
    >>> round(flat.effective_rank), round(steep.effective_rank)
    (1000, 34)
    >>> [round(passing_probability_bound(4, 0.2, 1.0, spectrum), 3) for spectrum in (flat, steep)]
    [0.005, 0.186]
    >>> round(coordinate_passing_probability(4, 0.2), 4)
    0.0154
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import stats

from adabatch.moments.gradient_moments import require_groups
from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, sqrt, where

__all__ = [
    "Spectrum",
    "cantelli",
    "coordinate_passing_probability",
    "estimated_margin",
    "passing_probability_bound",
    "relative_margin",
    "relative_variance",
]


ROUNDING = 1e-9
"""How far r_e and nu may be beyond their limits, which spectra of nearly rank one attain."""


@dataclass(frozen=True)
class Spectrum:
    """What the bound needs to know of one group's mean gradient g_1, with mean G and covariance S.

    Attributes:
        squared_norm_variance: beta = Var||g_1 - G||^2 / (tr S)^2.
        effective_rank: r_e = (tr S)^2 / tr S^2, between 1 and d.
        largest_share: nu = lambda_max(S) / tr S, between 1/d and 1 / sqrt(r_e).
    """

    squared_norm_variance: Value
    effective_rank: Value
    largest_share: Value

    def __post_init__(self) -> None:
        """Raise ``HypothesisError`` for a value out of its range."""
        beta, rank, share = self.squared_norm_variance, self.effective_rank, self.largest_share
        require(beta >= 0, "beta >= 0", describe("beta", beta), "it is a variance")
        require(rank >= 1 - ROUNDING, "r_e >= 1", describe("r_e", rank), "take r_e = (tr S)^2 / tr S^2")
        given = f"{describe('nu', share)}, {describe('r_e', rank)}"
        advice = f"lambda_max^2 <= tr S^2: take {describe('nu', 1 / sqrt(rank))} at most"
        require((share * share * rank <= 1 + ROUNDING) & (share > 0), "0 < nu <= 1 / sqrt(r_e)", given, advice)

    @classmethod
    def of(cls, eigenvalues: Any) -> Spectrum:
        """Of Gaussian gradients, where beta = 2 / r_e, from the eigenvalues of S (in any unit)."""
        values = np.asarray(eigenvalues, dtype=float)
        trace = float(values.sum())
        rank = max(trace**2 / float((values**2).sum()), 1.0)  # of rank one it rounds to below 1
        return cls(2 / rank, rank, float(values.max()) / trace)


def estimated_margin(groups: Value, eta: Value, sum_of_squares: Value, squared_norm: Value) -> Value:
    """Z = eta^2 ||gbar||^2 - (1 + eta^2) Vh: the estimated test passes where Z >= 0; E Z = eta^2 ||G||^2 - V.

    Args:
        groups: J.
        eta: of the test.
        sum_of_squares: sum_j ||g_j||^2.
        squared_norm: ||gbar||^2.
    """
    variance = (sum_of_squares - groups * squared_norm) / (groups * (groups - 1))
    return eta**2 * squared_norm - (1 + eta**2) * variance


def relative_margin(delta: Value) -> Value:
    """delta / (1 + delta) = (V - eta^2 ||G||^2) / V where V = (1 + delta) eta^2 ||G||^2."""
    return delta / (1 + delta)


def relative_variance(
    groups: Value,
    eta: Value,
    delta: Value,
    squared_norm_variance: Value,
    effective_rank: Value,
    largest_share: Value,
) -> Value:
    """W >= Var Z / V^2, see the module's guarantee (``squared_norm_variance`` is beta, ``largest_share`` nu)."""
    linear = sqrt(squared_norm_variance / groups) + 2 * eta * sqrt(largest_share / (1 + delta))
    products = 2 * (1 + eta**2 * groups) ** 2 / (groups * (groups - 1) * effective_rank)
    return linear**2 + products


def cantelli(variance: Value, margin: Value) -> Value:
    """Var / (Var + margin^2) >= P(Z >= E Z + margin)."""
    return variance / (variance + margin**2)


def passing_probability_bound(groups: Value, eta: Value, delta: Value, spectrum: Spectrum) -> Value:
    """P(the estimated scalar test passes) is at most this, if V >= (1 + delta) eta^2 ||G||^2.

    Args:
        groups: J >= 2.
        eta: of the test, > 0.
        delta: > 0, how far the exact test is violated.
        spectrum: of a group's mean gradient.

    Raises:
        HypothesisError: for an argument out of range.
    """
    require_groups(groups)
    require(eta > 0, "eta > 0", describe("eta", eta), "take eta > 0")
    require(delta > 0, "delta > 0", describe("delta", delta), "a test that is not violated may well pass")
    beta, rank, share = spectrum.squared_norm_variance, spectrum.effective_rank, spectrum.largest_share
    return cantelli(relative_variance(groups, eta, delta, beta, rank, share), relative_margin(delta))


def coordinate_passing_probability(
    groups: Value, eta: Value, signal: Value = 0.0, debiased: bool = False
) -> Value:
    """P(the estimated test of one coordinate passes), Gaussian gradients: a t-test, exact.

    Args:
        groups: J >= 2.
        eta: of the test.
        signal: G_i / sqrt(V_i); the exact test holds where it is at least 1/eta.
        debiased: compare Vh with eta^2 (gbar^2 - Vh) rather than with eta^2 gbar^2.

    >>> round(coordinate_passing_probability(4, 0.2, signal=5.0), 3)       # the exact test holds with equality
    0.593
    """
    require_groups(groups)
    require(eta > 0, "eta > 0", describe("eta", eta), "take eta > 0")
    groups, eta, signal = (np.asarray(value, float) for value in (groups, eta, signal))
    level = np.sqrt(1 + np.square(eta)) / eta if debiased else 1 / eta
    freedom = groups - 1
    upper = stats.nct.sf(level, freedom, signal) + stats.nct.cdf(-level, freedom, signal)
    central = 2 * stats.t.sf(level, freedom)
    return where(signal == 0, central, upper)
