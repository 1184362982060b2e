"""Noise g_i = G_i X_i with independent factors of one law: the coordinate-wise test holds with equality."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from simulate.noise.base import Draw, Meets, Stateless
from simulate.noise.laws import Law
from simulate.streams import Array, SeedStreams

__all__ = ["Exact", "Multiplicative"]


@dataclass(frozen=True)
class Multiplicative(Stateless):
    """g_i = G_i X_i, the X_i independent of each other and of the past.

    Attributes:
        law: of X, from :mod:`simulate.noise.laws`.
    """

    law: Law

    @property
    def name(self) -> str:
        """The law's name."""
        return self.law.name

    @property
    def eta(self) -> Any:
        """The standard deviation of X."""
        return self.law.eta

    @property
    def meets(self) -> Meets:
        """The coordinate-wise test."""
        return "coordinate-wise"

    def sample(self, gradient: Array, streams: SeedStreams) -> Draw:
        """One step; see :class:`Stateless`."""
        numbers = streams.draw(0, gradient.shape[1:], self.law.sampler)
        return Draw(gradient * self.law.factor(numbers), deviations=self.law.eta * np.abs(gradient))


@dataclass(frozen=True)
class Exact(Stateless):
    """No noise: g = G."""

    name: ClassVar[str] = "none"
    eta: ClassVar[float] = 0.0
    meets: ClassVar[Meets] = "coordinate-wise"

    def sample(self, gradient: Array, streams: SeedStreams) -> Draw:
        """One step; see :class:`Stateless`."""
        return Draw(gradient)
