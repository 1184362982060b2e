r"""A run that obeys a norm test pays at least the square of its steps in samples; what a bound says of one run.

Problem:
    Under a norm test the batch grows as the gradient falls. How many samples do K steps take at least? And the
    theorems bound expectations: what do they say of a single run?

Algorithm:
    Any optimizer, whose batches of b_k independent samples meet the exact l1 test, or the norm test (4):
    b_k >= (n / (eta x_k))^2 with x_k = ||G_k||_1 and n <= sum_i sigma_{k,i}, or x_k = ||G_k||_2 and
    n^2 <= tr Sigma_k.

Guarantee:
    - samples: with X = sum_{k<=K} E x_k,

          E sum_{k<=K} b_k >= (n / eta)^2 K^3 / X^2.

      Where a theorem bounds X by C sqrt(K), that is (n / (eta C))^2 K^2: samples grow at least as the square of
      the steps. Equality where all x_k are equal and b_k need not be whole. A floor on the test is the way out:
      then b_k <= max(1, ceil((n' / (eta f))^2)) for any noise up to n'.
    - one run: with probability at least 1 - delta, a sum that is at most S in expectation is at most S / delta.
      **From second moments nothing better follows**, up to a constant: on w^2 / 2 at alpha = 1 / (1 + eta^2),
      noise with one rare large value meets the test with equality, and ||G_1||^2 + ||G_2||^2, in expectation
      2 - alpha times ||G_1||^2, exceeds (alpha eta)^2 / (8 delta) times it with probability at least delta, for
      every delta <= 1/2 with (1 - delta) / delta >= 4 eta^2.

References:
    The power mean inequality; Markov's. Proof: :mod:`proofs.samples.growth`.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    A gradient that keeps its norm 2 for 5 steps, n = 6, eta = 0.5: 36 samples each.

    >>> least_samples(noise=6.0, eta=0.5, steps=5, gradient_sum=10.0)
    180.0
    >>> with_probability(3.0, 0.05)
    60.0
"""

from __future__ import annotations

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, sqrt
from theory.adam.constants import squared_noise_growth
from theory.samples.goal import require_positive

__all__ = ["gradient_after", "large_value", "least_samples", "with_probability"]


def least_samples(*, noise: Value, eta: Value, steps: Value, gradient_sum: Value) -> Value:
    """(n / eta)^2 K^3 / X^2, from below.

    Args:
        noise: n >= 0, what a sample has at least.
        eta: > 0.
        steps: K.
        gradient_sum: X > 0, or an upper bound on it.

    Raises:
        HypothesisError: for values out of range.
    """
    require_positive("eta", eta)
    require_positive("gradient_sum", gradient_sum)
    require(noise >= 0, "noise >= 0", describe("noise", noise), "take 0 for exact gradients")
    return (noise / eta) ** 2 * steps**3 / gradient_sum**2


def with_probability(expected: Value, failure: Value) -> Value:
    """S / delta: what a sum >= 0 of expectation at most S exceeds with probability at most delta.

    Raises:
        HypothesisError: unless 0 < delta <= 1.
    """
    require_positive("failure", failure)
    require(failure <= 1, "failure <= 1", describe("failure", failure), "a probability")
    return expected / failure


def large_value(eta: Value, probability: Value) -> Value:
    """1 + eta sqrt((1 - p) / p), taken with probability p by the law of mean 1 and variance eta^2 on two values.

    >>> large_value(0.5, 0.2)
    2.0
    """
    return 1 + eta * sqrt((1 - probability) / probability)


def gradient_after(eta: Value, value: Value) -> Value:
    """1 - X / (1 + eta^2): G_2 / G_1 on w^2 / 2 at alpha = 1 / (1 + eta^2), with g = X G_1.

    >>> gradient_after(1.0, 4.0)
    -1.0
    """
    return 1 - value / squared_noise_growth(eta)
