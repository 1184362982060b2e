"""Sums over the coordinates of a function of one variable, with the least value 0 at w = 0."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from simulate.objectives.base import Objective
from simulate.streams import Array

__all__ = ["GemanMcClure", "PseudoHuber", "Quadratic", "Rastrigin"]


class _Separable(Objective):
    """L(w) = sum_i phi_i(w_i)."""

    @abstractmethod
    def terms(self, w: Array) -> Array:
        """phi_i(w_i), elementwise."""

    def value(self, w: Array) -> Array:
        """L(w), [seeds, d] -> [seeds]."""
        result: Array = self.terms(w).sum(axis=-1)
        return result

    def _falling(self, largest: float, ratio: float) -> Array:
        """d positive numbers that fall geometrically, the first ``ratio`` times the last."""
        return largest * np.geomspace(1.0, 1.0 / ratio, self.dimension)


@dataclass(frozen=True)
class Quadratic(_Separable):
    """(1/2) sum_i lambda_i w_i^2. L = max_i lambda_i.

    Attributes:
        dimension: d.
        largest: lambda_1 = L.
        condition: lambda_1 / lambda_d >= 1; the lambda_i fall geometrically.
        initial: w_{1,i}, the same for all i.
    """

    name: ClassVar[str] = "quadratic"
    positive: ClassVar[tuple[str, ...]] = ("largest", "condition")
    largest: float = 1.0
    condition: float = 10.0
    initial: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.condition < 1:
            raise ValueError(f"condition must be at least 1, not {self.condition}: it is largest / smallest")

    @cached_property
    def _eigenvalues(self) -> Array:
        return self._falling(self.largest, self.condition)

    @property
    def smoothness(self) -> float:
        """L = max_i lambda_i."""
        return self.largest

    def start(self) -> Array:
        """``initial`` in every coordinate."""
        return np.full(self.dimension, float(self.initial))

    def terms(self, w: Array) -> Array:
        """``lambda_i w_i^2 / 2``."""
        return 0.5 * (self._eigenvalues * w * w)

    def gradient(self, w: Array) -> Array:
        """``lambda_i w_i``."""
        return self._eigenvalues * w


@dataclass(frozen=True)
class PseudoHuber(_Separable):
    """``lambda`` sum_i (sqrt(D^2 + w_i^2) - D), convex, linear far out.

    L = lambda / D: the second derivative is lambda D^2 / (D^2 + w^2)^{3/2}. One coordinate of it, with D = 1 or
    lambda = 1, is the family of the counterexamples to the theorem as published.

    Attributes:
        dimension: d.
        slope: lambda, the slope far out.
        width: D, where the quadratic part ends.
        initial: w_{1,i}, the same for all i; 2 D unless given.
    """

    name: ClassVar[str] = "pseudo-huber"
    positive: ClassVar[tuple[str, ...]] = ("slope", "width")
    slope: float = 1.0
    width: float = 1.0
    initial: float | None = None

    @property
    def smoothness(self) -> float:
        """L = lambda / D."""
        return self.slope / self.width

    def start(self) -> Array:
        """``initial`` in every coordinate."""
        return np.full(self.dimension, 2.0 * self.width if self.initial is None else float(self.initial))

    def terms(self, w: Array) -> Array:
        """``lambda`` w_i^2 / (D + sqrt(D^2 + w_i^2)): the same, without cancellation near 0."""
        squares = w * w
        return self.slope * (squares / (self.width + np.sqrt(self.width**2 + squares)))

    def gradient(self, w: Array) -> Array:
        """``lambda`` w_i / sqrt(D^2 + w_i^2)."""
        return self.slope * w / np.sqrt(self.width**2 + w * w)


@dataclass(frozen=True)
class Rastrigin(_Separable):
    """sum_i w_i^2 / 2 + A (1 - cos w_i), nonconvex for A > 1.

    L = 1 + A, as the second derivative is 1 + A cos w.

    Attributes:
        dimension: d.
        amplitude: A > 0; stationary points other than w = 0 appear at A = 4.60.
    """

    name: ClassVar[str] = "rastrigin"
    positive: ClassVar[tuple[str, ...]] = ("amplitude",)
    amplitude: float = 8.0

    @property
    def smoothness(self) -> float:
        """L = 1 + A."""
        return 1.0 + self.amplitude

    def start(self) -> Array:
        """Spread over the basins from w = -8 to w = 8."""
        return np.linspace(-8.0, 8.0, self.dimension) if self.dimension > 1 else np.array([8.0])

    def terms(self, w: Array) -> Array:
        """w_i^2 / 2 + 2 A sin(w_i / 2)^2."""
        return 0.5 * w * w + 2.0 * self.amplitude * np.sin(0.5 * w) ** 2

    def gradient(self, w: Array) -> Array:
        """w_i + A sin w_i."""
        return w + self.amplitude * np.sin(w)


@dataclass(frozen=True)
class GemanMcClure(_Separable):
    """sum_i a_i w_i^2 / (1 + w_i^2), nonconvex, with gradients that vanish at 0 and at infinity.

    L = 2 max_i a_i: the second derivative 2 a (1 - 3 w^2) / (1 + w^2)^3 lies in [-a/2, 2a], extreme at |w| = 1
    and 0.

    Attributes:
        dimension: d.
        scale: a_1, the largest of the a_i.
        spread: a_1 / a_d; the a_i fall geometrically from a_1 to a_d.
    """

    name: ClassVar[str] = "geman-mcclure"
    positive: ClassVar[tuple[str, ...]] = ("scale", "spread")
    scale: float = 1.0
    spread: float = 4.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.spread < 1:
            raise ValueError(f"spread must be at least 1, not {self.spread}: scale is the largest factor")

    @cached_property
    def _factors(self) -> Array:
        """The a_i, [d]."""
        return self._falling(self.scale, self.spread)

    @property
    def smoothness(self) -> float:
        """L = 2 max_i a_i."""
        return 2.0 * self.scale

    def start(self) -> Array:
        """From 0.5 to 2: on both sides of the steepest points |w| = 1/sqrt(3)."""
        return np.linspace(2.0, 0.5, self.dimension)

    def terms(self, w: Array) -> Array:
        """a_i w_i^2 / (1 + w_i^2)."""
        squares = w * w
        return self._factors * squares / (1.0 + squares)

    def gradient(self, w: Array) -> Array:
        """2 a_i w_i / (1 + w_i^2)^2."""
        base = 1.0 + w * w
        base *= base
        return 2.0 * self._factors * w / base
