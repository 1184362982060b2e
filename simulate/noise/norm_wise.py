"""Noise that meets the exact-variance norm test (4) with equality and violates the coordinate-wise one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from simulate.noise.base import Draw, Stateless
from simulate.streams import Array, SeedStreams

__all__ = ["Concentrated", "Isotropic"]


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
