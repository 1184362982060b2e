r"""The best path where the price of noise is known: r grows as the square root of what noise costs.

Problem:
    On a path of intrinsic time T and D samples, D = int_0^T r du, let the noise cost int_0^T w(u) / r(u) du, with
    weights w(u) >= 0 that do not depend on r: for example w = k(T - u) (F(u) + sigma^2) with the kernel k by which
    noise is forgotten. Which ratio r(u) of batch and rate costs least?

Guarantee:
    (int sqrt(w) du)^2 <= D int w / r du, with equality iff r = D sqrt(w) / int sqrt(w). If r may not be less
    than r_lo (the largest stable rate of the smallest batch), D >= r_lo T, the best is r = max(r_lo, m sqrt(w))
    with the m that uses D samples: constant, then decay, where w increases.

    For the last iterate of convex SGD (:mod:`theory.schedules.convex_sgd`) the weight is 1 / (T - u): linear
    decay, r = r_0 / (1 - x), is the best of all paths fixed before the run on which theta <= 1 does not bind,
    and the integral is 4 T / D. w = (1 + T - u)^{-k}, 0 < k < 2, gives p close to (1 - x)^{k / (2 - k)}, linear
    iff k = 1.

References:
    arXiv 2602.14208, 2602.04774, 2609.40148 (best batches and rates of functional scaling laws); Defazio et al.,
    arXiv 2310.07831 (linear decay).
    Proof: :mod:`proofs.schedules.best_path`.

Shapes:
    Cells of intrinsic time on the last axis: weights, lengths and ratios of shape [cells].

Example:
    >>> weights, lengths = np.array([1.0, 4.0, 16.0]), np.array([1.0, 1.0, 1.0])
    >>> free = best_ratios(weights, lengths, samples=14.0)
    >>> free.tolist(), noise_cost(weights, free, lengths), least_noise_cost(weights, lengths, samples=14.0)
    ([2.0, 4.0, 8.0], 3.5, 3.5)
    >>> best_ratios(weights, lengths, samples=14.0, smallest=3.5).tolist()
    [3.5, 3.5, 7.0]
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, sqrt, total
from theory.schedules.path import ROUNDING

__all__ = ["best_ratios", "least_noise_cost", "noise_cost"]

Array = NDArray[np.float64]


def noise_cost(weights: Value, ratios: Value, lengths: Value) -> Value:
    """int w / r du."""
    return total(weights / ratios * lengths)


def least_noise_cost(weights: Value, lengths: Value, samples: Value) -> Value:
    """(int sqrt(w) du)^2 / D, below which no path of D samples is."""
    return total(sqrt(weights) * lengths) ** 2 / samples


def best_ratios(weights: Any, lengths: Any, samples: float, smallest: float = 0.0) -> Array:
    """r = max(r_lo, m sqrt(w)) with int r du = D, which makes the noise cost least.

    Args:
        weights: w >= 0 of each cell, not all 0.
        lengths: the intrinsic time of each cell, > 0.
        samples: D.
        smallest: r_lo >= 0.

    Raises:
        HypothesisError: unless the weights are not all 0 and D >= r_lo T, D > 0.
    """
    roots, lengths = np.sqrt(np.asarray(weights, dtype=float)), np.asarray(lengths, dtype=float)
    require(
        roots.max() > 0, "weights that are not all 0", describe("weights", weights), "noise must cost something"
    )
    time = float(lengths.sum())
    given = f"{describe('samples', samples)}, {describe('smallest r times T', smallest * time)}"
    require(
        samples > 0 and samples >= smallest * time * (1 - ROUNDING),
        "D > 0 and D >= r_lo T",
        given,
        "take a shorter path",
    )
    order = np.argsort(roots)
    # with the j cells of least weight at r_lo, m uses up D; the right j is the first that leaves the others above
    held = np.concatenate([[0.0], np.cumsum(lengths[order])[:-1]])
    free = np.cumsum((roots * lengths)[order][::-1])[::-1]
    levels = (samples - smallest * held) / np.where(free > 0, free, np.inf)
    enough = levels * roots[order] >= smallest
    enough[-1] = True  # where D = r_lo T, up to rounding
    first = int(np.argmax(enough))
    result: Array = np.maximum(smallest, levels[first] * roots)
    return result
