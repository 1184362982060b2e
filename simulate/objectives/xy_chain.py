r"""XY chain: sum_i (1 - cos(w_i - w_{i+1})) + mu ||w||^2 / 2, nonconvex and coupled.

L = 4 + mu: with cosines c_i in [-1, 1], x'Hx = sum_i c_i (x_i - x_{i+1})^2 + mu ||x||^2, and
sum_i (x_i - x_{i+1})^2 <= 2 sum_i (x_i^2 + x_{i+1}^2) <= 4 ||x||^2. The infimum is 0, at w = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simulate.objectives.base import Objective
from simulate.streams import Array

__all__ = ["XYChain"]


@dataclass(frozen=True)
class XYChain(Objective):
    """An open chain of d angles with a field that pulls them to 0.

    Attributes:
        dimension: d >= 2.
        field: mu > 0.
    """

    name: ClassVar[str] = "xy-chain"
    smallest_dimension: ClassVar[int] = 2
    positive: ClassVar[tuple[str, ...]] = ("field",)
    field: float = 0.1

    @property
    def smoothness(self) -> float:
        """L = 4 + mu."""
        return 4.0 + self.field

    def start(self) -> Array:
        """Angles far apart: 2.4 i modulo 2 pi, in (-pi, pi]."""
        angles = 2.4 * np.arange(1.0, self.dimension + 1.0)
        return np.asarray(np.pi - (np.pi - angles) % (2 * np.pi), dtype=float)

    def value(self, w: Array) -> Array:
        """L(w), [seeds, d] -> [seeds]."""
        bonds = 2.0 * np.sin(0.5 * (w[:, :-1] - w[:, 1:])) ** 2
        result: Array = bonds.sum(axis=-1) + 0.5 * self.field * (w * w).sum(axis=-1)
        return result

    def gradient(self, w: Array) -> Array:
        """sin(w_i - w_{i+1}) - sin(w_{i-1} - w_i) + mu w_i."""
        torque = np.sin(w[:, :-1] - w[:, 1:])
        gradient = self.field * w
        gradient[:, :-1] += torque
        gradient[:, 1:] -= torque
        return gradient
