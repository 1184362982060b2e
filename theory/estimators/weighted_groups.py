r"""Groups of unequal size: what the moments weighted by their tokens estimate, and the bias without weights.

Problem:
    Group j holds t_j > 0 tokens, N = sum_j t_j, and the loss is the sum of the tokens' losses over N, as for texts
    of different lengths. Its sum of token gradients is S_j, so that g = (1 / N) sum_j S_j. Which functions of the
    sums over groups estimate tr Sigma and ||G||^2 of one token's gradient?

Guarantee:
    S_j independent with mean t_j G and covariance t_j Sigma (as of independent tokens), any t_j > 0, n >= 2:

        E[ sum_j ||S_j||^2 / t_j - N ||g||^2 ] = (n - 1) tr Sigma,      E[ ||g||^2 ] = ||G||^2 + tr Sigma / N.

    Hence both sums of :class:`~adabatch.moments.gradient_moments.GradientMoments`, weighted
    (:func:`~adabatch.moments.gradient_moments.weighted_sum_of_squares`), have the expectations that equal groups
    of N / n tokens have (:func:`theory.estimators.expectations.expected_moments`): ``covariance_trace`` and
    ``debiased_squared_norm`` are unbiased, and for Gaussian S_j their variances are those of equal groups too.

    Without weights (S = (n / c)^2 sum_j ||h_j||^2, as if every t_j were N / n) the groups' sizes count as noise:
    ``covariance_trace`` is too large by ``unweighted_bias``, ``debiased_squared_norm`` too small by that over N.

References:
    Aitken, Proc. Roy. Soc. Edinburgh 55 (1935), 42-48 (least squares with known weights); McCandlish et al.,
    arXiv 1812.06162, appendix A (the debiased pair).

Shapes:
    Token counts (..., n); everything else broadcasts, on floats, numpy arrays or SymPy expressions. Batch sizes in
    tokens.

Example:
    Two groups of 1 and 3 tokens, no noise at all, G = 1: the trace without weights is 1 where it should be 0.

    >>> from adabatch.moments.gradient_moments import GradientMoments
    >>> GradientMoments(2, 2, (0.5**2 + 1.5**2), 1.0).covariance_trace
    1.0
    >>> unweighted_bias(2, 4, squared_variation(np.array([1.0, 3.0])), 1.0)
    1.0
"""

from __future__ import annotations

import numpy as np

from adabatch.moments.gradient_moments import require_groups
from adabatch.moments.numeric import Value, item

__all__ = ["squared_variation", "unweighted_bias"]


def squared_variation(tokens: Value) -> Value:
    """V^2 = n sum_j t_j^2 / N^2 - 1, the squared coefficient of variation of the groups' sizes; (..., n) -> (...).

    >>> squared_variation(np.array([2.0, 2.0])), squared_variation(np.array([1.0, 3.0]))
    (0.0, 0.25)
    """
    tokens = np.asarray(tokens)
    return item(variation_of_sums(tokens.shape[-1], (tokens**2).sum(axis=-1), tokens.sum(axis=-1)))


def variation_of_sums(groups: Value, sum_of_squares: Value, total: Value) -> Value:
    """V^2 = n sum_j t_j^2 / N^2 - 1, of n groups, by the sums of their sizes and of the squares.

    >>> variation_of_sums(2, 10.0, 4.0)
    0.25
    """
    return groups * sum_of_squares / total**2 - 1


def unweighted_bias(groups: Value, total: Value, squared_variation: Value, squared_gradient: Value) -> Value:
    """N V^2 ||G||^2 / (n - 1): by how much the trace is too large where the groups' sizes are left out.

    Args:
        groups: n.
        total: N.
        squared_variation: V^2 (:func:`squared_variation`).
        squared_gradient: ||G||^2.

    Raises:
        HypothesisError: for fewer than two groups.
    """
    require_groups(groups)
    return total * squared_variation * squared_gradient / (groups - 1)
