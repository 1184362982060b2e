r"""Rastrigin-like: sum_i w_i^2 / 2 + A (1 - cos w_i), with many stationary points for A > 1 or so.

L = 1 + A, as the second derivative is 1 + A cos w. The infimum is 0, at w = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simulate.objectives.base import Objective, require_positive
from simulate.streams import Array

__all__ = ["Rastrigin"]


@dataclass(frozen=True)
class Rastrigin(Objective):
    """sum_i w_i^2 / 2 + A (1 - cos w_i).

    Attributes:
        dimension: d.
        amplitude: A > 0; local minima other than w = 0 appear at A = 4.60.
    """

    name: ClassVar[str] = "rastrigin"
    amplitude: float = 8.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(amplitude=self.amplitude)

    @property
    def smoothness(self) -> float:
        """L = 1 + A."""
        return 1.0 + self.amplitude

    def start(self) -> Array:
        """Spread over the basins from w = -8 to w = 8."""
        return np.linspace(-8.0, 8.0, self.dimension) if self.dimension > 1 else np.array([8.0])

    def value(self, w: Array) -> Array:
        """L(w), [seeds, d] -> [seeds]."""
        result: Array = (0.5 * w * w + 2.0 * self.amplitude * np.sin(0.5 * w) ** 2).sum(axis=-1)
        return result

    def gradient(self, w: Array) -> Array:
        """w_i + A sin w_i."""
        return w + self.amplitude * np.sin(w)
