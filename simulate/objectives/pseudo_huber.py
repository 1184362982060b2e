r"""Pseudo-Huber: lambda sum_i (sqrt(D^2 + w_i^2) - D), convex, linear far out.

L = lambda / D: the second derivative is lambda D^2 / (D^2 + w^2)^{3/2}. The infimum is 0, at w = 0. One
coordinate of it, with D = 1 or lambda = 1, is the family of the counterexamples to the theorem as published.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simulate.objectives.base import Objective, require_positive
from simulate.streams import Array

__all__ = ["PseudoHuber"]


@dataclass(frozen=True)
class PseudoHuber(Objective):
    """lambda sum_i (sqrt(D^2 + w_i^2) - D).

    Attributes:
        dimension: d.
        slope: lambda, the slope far out.
        width: D, where the quadratic part ends.
        initial: w_{1,i}, the same for all i; 2 D unless given.
    """

    name: ClassVar[str] = "pseudo-huber"
    slope: float = 1.0
    width: float = 1.0
    initial: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(slope=self.slope, width=self.width)

    @property
    def smoothness(self) -> float:
        """L = lambda / D."""
        return self.slope / self.width

    def start(self) -> Array:
        """``initial`` in every coordinate."""
        return np.full(self.dimension, 2.0 * self.width if self.initial is None else float(self.initial))

    def value(self, w: Array) -> Array:
        """L(w), [seeds, d] -> [seeds], without cancellation near 0."""
        squares = w * w
        result: Array = self.slope * (squares / (self.width + np.sqrt(self.width**2 + squares))).sum(axis=-1)
        return result

    def gradient(self, w: Array) -> Array:
        """``lambda`` w_i / sqrt(D^2 + w_i^2)."""
        return self.slope * w / np.sqrt(self.width**2 + w * w)
