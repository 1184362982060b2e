"""Noise that meets the exact-variance norm test (4) with equality and violates the coordinate-wise one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from simulate.noise.base import Draw, Meets, Source
from simulate.objectives.base import Objective
from simulate.optimizers import Optimizer, OptimizerState
from simulate.streams import Array, SeedStreams, normal

__all__ = ["Concentrated", "Isotropic"]


def _norm(gradient: Array) -> Array:
    result: Array = np.sqrt((gradient * gradient).sum(axis=-1, keepdims=True))
    return result


@dataclass(frozen=True)
class Isotropic:
    """g_i = G_i + eta ||G|| Z_i / sqrt(d): the same deviation in every coordinate."""

    name: ClassVar[str] = "isotropic"
    meets: ClassVar[Meets] = "norm-wise"
    eta: Any

    def begin(self, objective: Objective, optimizer: Optimizer, streams: SeedStreams) -> Source:
        """Bind to a run."""
        return _IsotropicSource(self.eta, streams)


@dataclass
class _IsotropicSource:
    eta: Any
    streams: SeedStreams

    def draw(self, w: Array, gradient: Array, step: int, state: OptimizerState) -> Draw:
        deviation = self.eta * _norm(gradient) / np.sqrt(gradient.shape[-1])
        numbers = self.streams.draw(0, gradient.shape[1:], normal)
        return Draw(gradient + deviation * numbers, deviations=np.broadcast_to(deviation, gradient.shape))


@dataclass(frozen=True)
class Concentrated:
    """g_j = G_j + eta ||G|| Z in the coordinate j with the smallest |G_j|; exact in the others."""

    name: ClassVar[str] = "concentrated"
    meets: ClassVar[Meets] = "norm-wise"
    eta: Any

    def begin(self, objective: Objective, optimizer: Optimizer, streams: SeedStreams) -> Source:
        """Bind to a run."""
        return _ConcentratedSource(self.eta, streams)


@dataclass
class _ConcentratedSource:
    eta: Any
    streams: SeedStreams

    def draw(self, w: Array, gradient: Array, step: int, state: OptimizerState) -> Draw:
        smallest = np.abs(gradient).argmin(axis=-1)[:, None]
        deviations = np.zeros_like(gradient)
        np.put_along_axis(deviations, smallest, self.eta * _norm(gradient), axis=-1)
        return Draw(gradient + deviations * self.streams.draw(0, (1,), normal), deviations=deviations)
