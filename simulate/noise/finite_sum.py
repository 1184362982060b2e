r"""Batches of a finite sum, drawn without replacement, their size from exact variances or from estimates.

Algorithm:
    exact       b_k = smallest b with (n - b)/(n - 1) sigma^2(w_k) / b <= eta^2 signal(w_k) in the test's form
                (:mod:`simulate.noise.exact_tests`), sigma^2 over all n functions: known before the draw.
    estimated   b_{k+1} from batch k alone, as training does: sigma^2 estimated by (n-1)/n times the sample
                variance of the batch, the signal by the batch gradient (plug-in), the same inequality: Eq. (2)
                with the right factor. b_1 = ``minimum_batch``.
    constant    b_k = ``minimum_batch``.

    For ``estimated`` and ``constant``, the exact test is evaluated at every step too, and its violations are
    reported as misses.

References:
    Lau et al., arXiv 2412.21124, Eq. (2) and Algorithm 1; Cochran, Sampling Techniques (1977), chapter 2.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from simulate.noise.base import Draw, Source
from simulate.noise.exact_tests import Test, passes, replacement_free_batch_size, require_test
from simulate.objectives.base import FiniteSum, Objective
from simulate.optimizers import Optimizer, OptimizerState
from simulate.ranges import require
from simulate.streams import Array, SeedStreams
from theory.estimators.finite_population import batch_mean_variance

__all__ = ["FiniteSumBatches", "draw_batch", "estimated_variance"]


def draw_batch(keys: Array, size: Array) -> Array:
    """A uniformly random subset of each row's functions: those with the smallest keys.

    Args:
        keys: independent uniform numbers, [seeds, n].
        size: b, [seeds].

    Returns:
        1 for the functions in the batch and 0 for the others, [seeds, n].

    >>> draw_batch(np.array([[0.3, 0.1, 0.2]]), np.array([2.0]))
    array([[0., 1., 1.]])
    """
    ordered = np.sort(keys, axis=-1)
    threshold = np.take_along_axis(ordered, size.astype(np.intp)[:, None] - 1, axis=-1)
    return (keys <= threshold).astype(float)


def estimated_variance(mean: Array, mean_square: Array, size: Array, population: int) -> Array:
    """Unbiased estimate of sigma_i^2 (n in its denominator) from a batch drawn without replacement, [seeds, d].

    (n - 1)/n times the sample variance with b - 1 in the denominator; b >= 2.
    """
    sizes = size[:, None]
    sample_variance = np.maximum(mean_square - mean * mean, 0.0) * sizes / (sizes - 1.0)
    return sample_variance * (population - 1) / population


@dataclass(frozen=True)
class FiniteSumBatches:
    """Sampled batches of a finite-sum objective.

    Attributes:
        eta: of the test.
        test: which exact test.
        variance: "exact", "estimated" or "constant", see above.
        minimum_batch: smallest b; at least 2 if variances are estimated. 2 unless given (1 for "exact").
        monotone: whether an estimated b never shrinks, as in Algorithm 1.
    """

    eta: Any
    test: Test = "coordinate-wise"
    variance: Literal["exact", "estimated", "constant"] = "exact"
    minimum_batch: int | None = None
    monotone: bool = False

    def __post_init__(self) -> None:
        require_test(self.test)
        require("positive", eta=self.eta)
        if self.variance not in ("exact", "estimated", "constant"):
            raise ValueError(f"variance must be 'exact', 'estimated' or 'constant', not {self.variance!r}")
        least = 2 if self.variance == "estimated" else 1
        if int(self.least) != self.least or self.least < least:
            why = ", to estimate a variance" if least == 2 else ""
            raise ValueError(f"minimum_batch must be an integer of at least {least}{why}, not {self.least}")

    @property
    def least(self) -> int:
        """The smallest batch."""
        if self.minimum_batch is not None:
            return self.minimum_batch
        return 1 if self.variance == "exact" else 2

    def begin(self, objective: Objective, optimizer: Optimizer, streams: SeedStreams) -> Source:
        """Bind to a run.

        Raises:
            ValueError: if the objective is not a finite sum, or has fewer functions than the smallest batch.
        """
        if not isinstance(objective, FiniteSum):
            raise ValueError(f"finite-sum noise needs a finite sum, which {objective.name} is not")
        if self.least > objective.sample_count:
            raise ValueError(f"minimum_batch = {self.least} exceeds the {objective.sample_count} functions")
        n = objective.sample_count
        next_size: Array = np.full(len(streams), float(self.least))

        def demanded(variance: Array, signal: Array) -> Array:
            size = replacement_free_batch_size(self.test, variance, signal, self.eta, n)
            return np.maximum(size, float(self.least))

        def draw(w: Array, gradient: Array, step: int, state: OptimizerState) -> Draw:
            nonlocal next_size
            population = objective.population_variance(w, gradient)
            size = demanded(population, gradient) if self.variance == "exact" else next_size
            batch = draw_batch(streams.draw(0, (n,), "random"), size)
            mean, mean_square = objective.batch_moments(w, batch)
            variances = batch_mean_variance(population, size[:, None], float(n))
            missed = ~passes(self.test, variances, gradient, self.eta)
            if self.variance == "estimated":
                next_size = demanded(estimated_variance(mean, mean_square, size, n), mean)
                next_size = np.maximum(next_size, size) if self.monotone else next_size
            return Draw(mean, size, np.sqrt(variances), missed)

        return draw
