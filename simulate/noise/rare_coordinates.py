r"""The noise of the divergence under the scalar test: exact in the first coordinate, rare in the others.

g_1 = G_1 and g_i = G_i X_i for i >= 2, X_i the mean of ``batch_size`` independent draws of the two-point law
(-delta, or with probability p what makes E X = 1). On :class:`~simulate.objectives.DirectionalHuber` with
g = :func:`theory.training.scalar_divergence.noisy_direction` one draw meets the scalar test (4) with equality at
every step, and Adam climbs in high dimension; with the batch that the l1 or the coordinate-wise test asks for
it converges.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simulate.noise.base import Draw, Meets, Source
from simulate.noise.exact_tests import Test, independent_batch_size, passes, require_test
from simulate.objectives.base import Objective
from simulate.optimizers import Optimizer, OptimizerState
from simulate.streams import Array, Sampler, SeedStreams
from theory.adam.normalized_step import rare_value, rare_variance

__all__ = ["RareCoordinates"]


@dataclass(frozen=True)
class RareCoordinates:
    """Two-point noise in all coordinates but the first.

    Attributes:
        eta: of the test.
        delta: the common value of one draw is -delta.
        probability: p of the rare value.
        test: which exact test the batch is chosen for and misses are counted of.
        batch_size: how many draws are averaged; the smallest that passes the test at the start if None.
    """

    name: ClassVar[str] = "rare-coordinates"
    eta: float
    delta: float = 0.1
    probability: float = 0.03
    test: Test = "norm-wise"
    batch_size: int | None = None

    def __post_init__(self) -> None:
        require_test(self.test)
        if not self.eta > 0:
            raise ValueError(f"eta must be positive, not {self.eta}")
        if not 0 < self.probability < 1:
            raise ValueError(f"probability must lie in (0, 1), not {self.probability}")

    @property
    def meets(self) -> Meets:
        """Nothing by construction: it depends on the objective, and misses are counted."""
        return "nothing"

    def variances(self, gradient: Array) -> Array:
        """Var g_i of one draw, [seeds, d]."""
        variances: Array = rare_variance(self.delta, self.probability) * gradient * gradient
        variances[:, 0] = 0.0
        return variances

    def begin(self, objective: Objective, optimizer: Optimizer, streams: SeedStreams) -> Source:
        """Bind to a run."""
        size = self.batch_size
        if size is None:
            gradient = objective.gradient(objective.start()[None])
            demanded = float(independent_batch_size(self.test, self.variances(gradient), gradient, self.eta)[0])
            if not np.isfinite(demanded):
                raise ValueError("no batch passes at the start: a gradient coordinate is 0; give batch_size")
            size = int(demanded)
        return _RareSource(self, size, _rare_counts(size, self.probability), streams)


def _rare_counts(draws: int, probability: float) -> Sampler:
    """How many of the draws are rare, as floats."""

    def sampler(generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
        return generator.binomial(draws, probability, shape).astype(float)

    return sampler


@dataclass
class _RareSource:
    noise: RareCoordinates
    batch_size: int
    sampler: Sampler
    streams: SeedStreams

    def draw(self, w: Array, gradient: Array, step: int, state: OptimizerState) -> Draw:
        noise, seeds = self.noise, len(gradient)
        shares = self.streams.draw(0, (gradient.shape[1] - 1,), self.sampler) / self.batch_size
        g = gradient.copy()
        g[:, 1:] *= -noise.delta + (rare_value(noise.delta, noise.probability) + noise.delta) * shares
        variances = noise.variances(gradient) / self.batch_size
        missed = ~passes(noise.test, variances, gradient, noise.eta)
        return Draw(g, np.full(seeds, float(self.batch_size)), np.sqrt(variances), missed)
