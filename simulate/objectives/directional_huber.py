r"""Pseudo-Huber along a direction: sqrt(1 + (a.w)^2) - 1 with a = (1, g, ..., g), convex.

L = ||a||^2 = 1 + (d - 1) g^2; the infimum is 0, where a.w = 0. Adam follows signs, not sizes, so that many small
coordinates together outweigh the first: the scalar norm test does not protect it here
(:mod:`theory.training.scalar_divergence`).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from simulate.objectives.base import Objective
from simulate.streams import Array

__all__ = ["DirectionalHuber"]


@dataclass(frozen=True)
class DirectionalHuber(Objective):
    """sqrt(1 + (a.w)^2) - 1, a = (1, g, ..., g).

    Attributes:
        dimension: d >= 2.
        weight: g > 0.
        initial: a.w at the start, all of it in the first coordinate.
    """

    name: ClassVar[str] = "directional-huber"
    smallest_dimension: ClassVar[int] = 2
    positive: ClassVar[tuple[str, ...]] = ("weight",)
    weight: float = 0.1
    initial: float = 1.0

    @cached_property
    def direction(self) -> Array:
        """a = (1, g, ..., g), shape [d]."""
        return np.array([1.0, *[self.weight] * (self.dimension - 1)])

    @property
    def smoothness(self) -> float:
        """L = ||a||^2."""
        return 1.0 + (self.dimension - 1) * self.weight**2

    def start(self) -> Array:
        """(initial, 0, ..., 0)."""
        return np.array([self.initial, *[0.0] * (self.dimension - 1)])

    def projection(self, w: Array) -> Array:
        """a.w, [seeds, d] -> [seeds]."""
        result: Array = w[:, 0] + self.weight * w[:, 1:].sum(axis=-1)
        return result

    def value(self, w: Array) -> Array:
        """L(w), [seeds, d] -> [seeds], without cancellation near a.w = 0."""
        squares = self.projection(w) ** 2
        return squares / (1.0 + np.sqrt(1.0 + squares))

    def gradient(self, w: Array) -> Array:
        """``a`` (a.w) / sqrt(1 + (a.w)^2)."""
        projection = self.projection(w)
        slope = projection / np.sqrt(1.0 + projection * projection)
        return slope[:, None] * self.direction
