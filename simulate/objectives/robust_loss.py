r"""The robust loss phi(t) = t^2 / (1 + t^2) of a residual: bounded, so that outliers cost at most 1.

phi' = 2 t / (1 + t^2)^2, largest at t = 1/sqrt(3): |phi'| <= 3 sqrt(3) / 8.
phi'' = 2 (1 - 3 t^2) / (1 + t^2)^3 lies in [-1/2, 2].
"""

from __future__ import annotations

import math

from simulate.streams import Array

__all__ = ["LARGEST_CURVATURE", "LARGEST_SLOPE", "loss", "loss_derivative"]

LARGEST_SLOPE = 3.0 * math.sqrt(3.0) / 8.0
LARGEST_CURVATURE = 2.0


def loss(residual: Array) -> Array:
    """phi(t), elementwise."""
    squares = residual * residual
    return squares / (1.0 + squares)


def loss_derivative(residual: Array) -> Array:
    """phi'(t), elementwise."""
    base = 1.0 + residual * residual
    return 2.0 * residual / (base * base)
