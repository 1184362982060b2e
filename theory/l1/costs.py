r"""What epsilon and a floor of the test cost in Theorem 3 and its twin, each in closed form.

Problem:
    A certificate (:mod:`theory.l1.theorem3`) is for steps m / sqrt(v) and for a test that is strict where the
    gradient vanishes. Adam divides by sqrt(v) + epsilon, and a test that ends, for samples' sake, has a floor:

        l1:        sum_i sd_i <= eta sum_i (|G_i| + eps_i),      variance:  sd_i^2 <= eta^2 max(G_i^2, eps_i^2).

Guarantee (all with c = 1 - beta2, C_m the largest step, Lambda and C the certificate's, x = sd(X), X = g / G):
    **A variance certificate is an l1 certificate** with the same h and J and the noise weight

        kappa = (C sqrt(c) + sqrt(C^2 c + 4 lambda (J + D))) / 2,       D = C_m + 2 Lambda + C sqrt(c),

    since no law can take more than D + C sqrt(c) x from z' + h(z', s') - h(z, s), and
    min(lambda x^2, J + D + C sqrt(c) x) <= kappa x. So a coordinate below its floor costs at most
    kappa eta eps_i a step; of the l1 test the floors cost lambda eta sum_i eps_i.

    **epsilon**: for every share q in (0, 1), with the probability that X <= q (Cantelli's inequality)

        G m/(sqrt(v) + epsilon) >= G m/sqrt(v) - C_m (epsilon / (q sqrt(c)) + |G| 1{X <= q}),
        P(X <= q) <= p_q(x) = x^2 / (x^2 + (1-q)^2),

    which is concave in x^2; in x its least concave majorant is x / (2 (1-q)) up to x = 1 - q. On average over the
    steps it is at most p_q(eta): epsilon costs C_m p_q(eta) of J, and C_m d epsilon / (q sqrt(c)) a step. The
    bound on the average gradient norm does not fall below a multiple of d epsilon.

References:
    :mod:`proofs.l1.costs`.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    >>> small_step_share(Kind.VARIANCE, eta=0.5, share=0.5), small_step_share(Kind.L1, eta=0.1, share=0.5)
    (0.5, 0.1)
"""

from __future__ import annotations

from enum import StrEnum

from adabatch.moments.numeric import Value, sqrt, where
from theory.adam.constants import normalized_step_bound, second_moment_weight

__all__ = ["Kind", "deviation_weight", "epsilon_step", "kept_gain", "small_step_share", "worst_loss"]


class Kind(StrEnum):
    """How a certificate weighs the noise of X = g / G: which test its theorem is for."""

    L1 = "l1"
    """lambda sd(X): the averaged l1 test."""
    VARIANCE = "variance"
    """lambda Var(X): the coordinate-wise test."""

    def cost(self, variance: Value) -> Value:
        """sd or Var of a law.

        >>> Kind.L1.cost(0.25), Kind.VARIANCE.cost(0.25)
        (0.5, 0.25)
        """
        return sqrt(variance) if self is Kind.L1 else variance


def kept_gain(kind: Kind, gain: Value, noise_weight: Value, eta: Value) -> Value:
    """J' = J - lambda eta, or J - lambda eta^2 for the variance: the gain that is left under the test.

    >>> kept_gain(Kind.L1, 1.0, 2.0, 0.25), kept_gain(Kind.VARIANCE, 1.0, 2.0, 0.25)
    (0.5, 0.875)
    """
    return gain - noise_weight * kind.cost(eta**2)


def worst_loss(beta1: Value, beta2: Value, tail_slope: Value, lipschitz_constant: Value) -> Value:
    """D = C_m + 2 Lambda + C sqrt(c): z' + h(z', s') - h(z, s) is at least -D - C sqrt(c) x in the mean."""
    drop = tail_slope * sqrt(second_moment_weight(beta2))
    return normalized_step_bound(beta1, beta2) + 2 * lipschitz_constant + drop


def deviation_weight(noise_weight: Value, slope: Value, kept: Value) -> Value:
    """kappa with min(lambda x^2, p + b x) <= kappa x for all x >= 0: kappa^2 = b kappa + lambda p.

    Args:
        noise_weight: lambda.
        slope: b = C sqrt(c).
        kept: p = J + D.

    >>> deviation_weight(2.0, 1.0, 3.0)             # at x = 1.5 both are 4.5
    3.0
    """
    return (slope + sqrt(slope**2 + 4 * noise_weight * kept)) / 2


def small_step_share(kind: Kind, eta: Value, share: Value) -> Value:
    """p_q(eta) >= the average of P(X <= q) over gradients under the kind's averaged test, q = ``share``."""
    gap = 1 - share
    chance = eta**2 / (eta**2 + gap**2)
    return chance if kind is Kind.VARIANCE else where(eta < gap, eta / (2 * gap), chance)


def epsilon_step(beta1: Value, beta2: Value, epsilon: Value, share: Value) -> Value:
    """C_m epsilon / (q sqrt(c)): what epsilon takes from a coordinate's step where X > q."""
    return normalized_step_bound(beta1, beta2) * epsilon / (share * sqrt(second_moment_weight(beta2)))
