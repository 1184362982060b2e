"""Additive Gaussian noise: of a fixed variance, so that the batch must grow as the gradient shrinks, or norm-wise.

Norm-wise noise meets the exact-variance norm test (4) with equality and violates the coordinate-wise one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from simulate.noise.base import Draw, Stateless
from simulate.noise.exact_tests import Test, independent_batch_size, require_test
from simulate.ranges import require
from simulate.streams import Array, SeedStreams

__all__ = ["Additive", "Concentrated", "Isotropic"]


@dataclass(frozen=True)
class Additive(Stateless):
    """g = G + sigma Z / sqrt(b), b the smallest batch of independent samples that passes an exact test.

    Attributes:
        eta: of the test.
        sigma: standard deviation of one sample, a float or [d].
        test: which exact test chooses b.
        maximum_batch: the cap; steps that would need more are counted as misses.
        batch_size: a constant b instead; misses are then counted too.
    """

    eta: Any
    sigma: Any = 1.0
    test: Test = "coordinate-wise"
    maximum_batch: float = np.inf
    batch_size: float | None = None

    def __post_init__(self) -> None:
        require_test(self.test)
        require("positive", eta=self.eta)
        require("0 or more", sigma=self.sigma)
        require("1 or more", maximum_batch=self.maximum_batch)
        if self.batch_size is not None:
            require("1 or more", batch_size=self.batch_size)

    def sample(self, gradient: Array, streams: SeedStreams) -> Draw:
        """One step; see :class:`Stateless`."""
        sigma = np.broadcast_to(np.asarray(self.sigma, dtype=float), gradient.shape)
        demanded = independent_batch_size(self.test, sigma * sigma, gradient, self.eta)
        wanted = demanded if self.batch_size is None else np.full_like(demanded, self.batch_size)
        size = np.minimum(wanted, self.maximum_batch)
        deviations = sigma / np.sqrt(size)[:, None]
        g = gradient + deviations * streams.draw(0, gradient.shape[1:], "standard_normal")
        return Draw(g, size, deviations, size < demanded)


def _norm(gradient: Array) -> Array:
    result: Array = np.sqrt((gradient * gradient).sum(axis=-1, keepdims=True))
    return result


@dataclass(frozen=True)
class Isotropic(Stateless):
    """g_i = G_i + eta ||G|| Z_i / sqrt(d): the same deviation in every coordinate."""

    eta: Any

    def sample(self, gradient: Array, streams: SeedStreams) -> Draw:
        """One step; see :class:`Stateless`."""
        deviation = self.eta * _norm(gradient) / np.sqrt(gradient.shape[-1])
        numbers = streams.draw(0, gradient.shape[1:], "standard_normal")
        return Draw(gradient + deviation * numbers, deviations=np.broadcast_to(deviation, gradient.shape))


@dataclass(frozen=True)
class Concentrated(Stateless):
    """g_j = G_j + eta ||G|| Z in the coordinate j with the smallest |G_j|; exact in the others."""

    eta: Any

    def sample(self, gradient: Array, streams: SeedStreams) -> Draw:
        """One step; see :class:`Stateless`."""
        smallest = np.abs(gradient).argmin(axis=-1)[:, None]
        deviations = np.zeros_like(gradient)
        np.put_along_axis(deviations, smallest, self.eta * _norm(gradient), axis=-1)
        return Draw(gradient + deviations * streams.draw(0, (1,), "standard_normal"), deviations=deviations)
