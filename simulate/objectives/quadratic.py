r"""Quadratic: (1/2) sum_i lambda_i w_i^2. L = max_i lambda_i; the infimum is 0, at w = 0."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from simulate.objectives.base import Objective, require_positive
from simulate.streams import Array

__all__ = ["Quadratic"]


@dataclass(frozen=True)
class Quadratic(Objective):
    """(1/2) sum_i lambda_i w_i^2.

    Attributes:
        dimension: d.
        largest: lambda_1 = L.
        condition: lambda_1 / lambda_d >= 1; the lambda_i fall geometrically.
        initial: w_{1,i}, the same for all i.
    """

    name: ClassVar[str] = "quadratic"
    largest: float = 1.0
    condition: float = 10.0
    initial: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        require_positive(largest=self.largest, condition=self.condition)
        if self.condition < 1:
            raise ValueError(f"condition must be at least 1, not {self.condition}: it is largest / smallest")

    @cached_property
    def _eigenvalues(self) -> Array:
        return self.largest * np.geomspace(1.0, 1.0 / self.condition, self.dimension)

    @property
    def smoothness(self) -> float:
        """L = max_i lambda_i."""
        return self.largest

    def start(self) -> Array:
        """``initial`` in every coordinate."""
        return np.full(self.dimension, float(self.initial))

    def value(self, w: Array) -> Array:
        """L(w), [seeds, d] -> [seeds]."""
        result: Array = 0.5 * (self._eigenvalues * w * w).sum(axis=-1)
        return result

    def gradient(self, w: Array) -> Array:
        """``lambda_i w_i``."""
        return self._eigenvalues * w
