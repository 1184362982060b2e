"""Functions of one variable whose gradient is piecewise linear: dense among all L-smooth ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from simulate.streams import Array

__all__ = ["PiecewiseLinear"]


@dataclass(frozen=True)
class PiecewiseLinear:
    """A gradient that is linear on n cells of one width around 0, and beyond them falls to 0 at slope L.

    Attributes:
        smoothness: L.
        width: of a cell, shape [...].
        first: the gradient at 0, shape [...].
        slopes: of the n cells from left to right, within [-L, L], shape [..., n]; cell n // 2 begins at 0.

    >>> quadratic = PiecewiseLinear(2.0, np.array(1.0), np.array(3.0), np.array([2.0, 2.0]))
    >>> quadratic.gradient(np.array([0.5, 2.0, -9.0])), float(quadratic.gap)
    (array([4., 3., 0.]), 2.25)
    """

    smoothness: float
    width: Array
    first: Array
    slopes: Array

    @cached_property
    def _knots(self) -> tuple[Array, Array]:
        """The points between cells and the gradients there, shape [..., n + 1]."""
        cells = self.slopes.shape[-1]
        rises = self.slopes * self.width[..., None]
        climbed = np.concatenate([np.zeros_like(rises[..., :1]), np.cumsum(rises, -1)], -1)
        heights = climbed - climbed[..., cells // 2, None] + self.first[..., None]
        return (np.arange(cells + 1) - cells // 2) * self.width[..., None], heights

    @cached_property
    def _levels(self) -> Array:
        """The function at those points, 0 at 0, shape [..., n + 1]."""
        heights, middle = self._knots[1], self.slopes.shape[-1] // 2
        areas = self.width[..., None] * (heights[..., :-1] + heights[..., 1:]) / 2
        # From 0 outwards, so that what is far away and high costs no digits.
        climbs = np.cumsum(areas[..., middle:], -1)
        falls = -np.cumsum(areas[..., :middle][..., ::-1], -1)[..., ::-1]
        return np.concatenate([falls, np.zeros_like(climbs[..., :1]), climbs], -1)

    def gradient(self, w: Array) -> Array:
        """G(w), shape [..., points]."""
        points, heights = self._knots
        left, outside, _, end = self._place(w)
        inside = _of(heights, left) + _of(self.slopes, left) * (w - _of(points, left))
        faded = np.sign(end) * np.maximum(np.abs(end) - self.smoothness * outside, 0)
        return np.where(outside > 0, faded, inside)

    def value(self, w: Array) -> Array:
        """f(w) - f(0), shape [..., points]."""
        (points, heights), levels = self._knots, self._levels
        left, outside, before, end = self._place(w)
        way = w - _of(points, left)
        inside = _of(levels, left) + (_of(heights, left) + _of(self.slopes, left) * way / 2) * way
        fading = np.minimum(np.maximum(outside, 0), np.abs(end) / self.smoothness)
        climbed = np.sign(end) * (np.abs(end) - self.smoothness * fading / 2) * fading
        edge = np.where(before, levels[..., :1] - climbed, levels[..., -1:] + climbed)
        return np.where(outside > 0, edge, inside)

    def _place(self, w: Array) -> tuple[NDArray[np.int64], Array, NDArray[np.bool_], Array]:
        """The cell; how far outside all, whether before the first, and the gradient at that end."""
        (points, heights), cells = self._knots, self.slopes.shape[-1]
        left = np.clip(np.floor(w / self.width[..., None]).astype(np.int64) + cells // 2, 0, cells - 1)
        before = w < points[..., :1]
        outside = np.maximum(points[..., :1] - w, w - points[..., -1:])
        return left, outside, before, np.where(before, heights[..., :1], heights[..., -1:])

    @property
    def gap(self) -> Array:
        """f(0) - inf f, shape [...]."""
        heights, values = self._knots[1], self._levels
        low, high = heights[..., :-1], heights[..., 1:]
        bottom = (low < 0) & (high > 0)
        nearer = np.where(np.abs(low) < np.abs(high), values[..., :-1], values[..., 1:])  # costs the fewest digits
        depth = np.minimum(np.abs(low), np.abs(high)) ** 2 / (2 * np.where(bottom, self.slopes, 1))
        valleys = np.where(bottom, nearer - depth, 0.0)
        beyond = (np.maximum(heights[..., 0], 0) ** 2, np.minimum(heights[..., -1], 0) ** 2)
        left, right = (square / (2 * self.smoothness) for square in beyond)
        ends = np.minimum(values[..., 0] - left, values[..., -1] - right)
        gap: Array = -np.minimum(np.minimum(values.min(-1), valleys.min(-1)), ends)
        return gap


def _of(values: Array, cells: NDArray[np.int64]) -> Array:
    """For each point the value of its cell."""
    return np.take_along_axis(np.broadcast_to(values, (*cells.shape[:-1], values.shape[-1])), cells, -1)
