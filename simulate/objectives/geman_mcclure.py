r"""Geman-McClure: sum_i a_i w_i^2 / (1 + w_i^2), nonconvex, with gradients that vanish at 0 and at infinity.

L = 2 max_i a_i: the second derivative 2 a (1 - 3 w^2) / (1 + w^2)^3 lies in [-a/2, 2a], extreme at |w| = 1 and 0.
The infimum is 0, at w = 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from simulate.objectives.base import Objective, require_positive
from simulate.streams import Array

__all__ = ["GemanMcClure"]


@dataclass(frozen=True)
class GemanMcClure(Objective):
    """sum_i a_i w_i^2 / (1 + w_i^2).

    Attributes:
        dimension: d.
        scale: a_1, the largest of the a_i.
        spread: a_1 / a_d; the a_i fall geometrically from a_1 to a_d.
    """

    name: ClassVar[str] = "geman-mcclure"
    scale: float = 1.0
    spread: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(scale=self.scale, spread=self.spread)
        if self.spread < 1:
            raise ValueError(f"spread must be at least 1, not {self.spread}: scale is the largest factor")

    @cached_property
    def _factors(self) -> Array:
        """The a_i, [d]."""
        return self.scale * np.geomspace(1.0, 1.0 / self.spread, self.dimension)

    @property
    def smoothness(self) -> float:
        """L = 2 max_i a_i."""
        return 2.0 * self.scale

    def start(self) -> Array:
        """From 0.5 to 2: on both sides of the steepest points |w| = 1/sqrt(3)."""
        return np.linspace(2.0, 0.5, self.dimension)

    def value(self, w: Array) -> Array:
        """L(w), [seeds, d] -> [seeds]."""
        squares = w * w
        result: Array = (self._factors * squares / (1.0 + squares)).sum(axis=-1)
        return result

    def gradient(self, w: Array) -> Array:
        """2 a_i w_i / (1 + w_i^2)^2."""
        base = 1.0 + w * w
        base *= base
        return 2.0 * self._factors * w / base
