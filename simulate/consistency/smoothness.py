r"""L against the gradient: the largest ``||grad L(x) - grad L(y)|| / ||x - y||`` over many pairs of points.

All pairs of the points given, and at each point the pairs that a power iteration on the Hessian finds. Any ratio
is a lower bound of the least valid L, however it was found.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulate.consistency.probe import Probe, point
from simulate.streams import Array

__all__ = ["require_smoothness"]

POWER_STEPS = 20
INCREMENT = 1e-4
"""Of the power iteration, in units of a point's scale."""

TOLERANCE = 1e-6
"""Relative, on top of rounding."""

NEAREST = 1e-100
"""Points that are nearer have a distance whose square underflows."""


def require_smoothness(probe: Probe, points: Array, scale: float) -> float:
    """Search for a pair of points that violates L.

    Args:
        probe: the objective.
        points: where, shape [points, d].
        scale: least length that increments are measured in.

    Returns:
        The largest ratio found.

    Raises:
        ValueError: naming the pair of the largest ratio.
    """
    stated, largest, worst = probe.objective.smoothness, 0.0, None
    noise, unit = _rounding(probe, points, scale), np.maximum(np.abs(points).max(axis=1), scale)[:, None]
    pairs = [_all_pairs(probe, points, noise), _power_iteration(probe, points, noise, INCREMENT * unit)]
    for x, y, change, error in (pair for search in pairs for pair in search):
        distance, size = np.linalg.norm(x - y, axis=1), np.linalg.norm(change, axis=1)
        ratio = np.divide(size, distance, out=np.zeros_like(size), where=distance > NEAREST)
        # Where rounding could explain an excess, the ratio shows nothing.
        certain = np.where(size - error <= stated * (1 + TOLERANCE) * distance, np.minimum(ratio, stated), ratio)
        i = int(certain.argmax())
        if certain[i] > largest:
            largest, worst = float(certain[i]), (x[i], y[i])
    if worst is not None and largest > stated * (1 + TOLERANCE):
        raise probe.refusal(
            f"smoothness {stated:.6g} is too small: from {point(worst[0])} to {point(worst[1])} its gradient "
            f"changes by {largest:.6g} per unit of distance, {largest / stated:.6g} times as much"
        )
    return largest


Pairs = Iterator[tuple[Array, Array, Array, Array]]
"""x, y and grad L(x) - grad L(y), each of shape [pairs, d], and how far rounding may move the latter, [pairs]."""


def _all_pairs(probe: Probe, points: Array, noise: Array) -> Pairs:
    gradients = probe.gradients(points)
    for i in range(1, len(points)):
        x = np.broadcast_to(points[i], points[:i].shape)
        yield x, points[:i], gradients[i] - gradients[:i], noise[i] + noise[:i]


def _power_iteration(probe: Probe, points: Array, noise: Array, increment: Array) -> Pairs:
    generator = np.random.default_rng(2)
    direction = generator.standard_normal(points.shape)
    for _ in range(POWER_STEPS):
        direction /= np.linalg.norm(direction, axis=1, keepdims=True)
        x, y = points + increment * direction, points - increment * direction
        change = probe.gradients(x) - probe.gradients(y)
        yield x, y, change, 2 * noise
        flat = np.linalg.norm(change, axis=1, keepdims=True) == 0
        direction = np.where(flat, generator.standard_normal(points.shape), change)


def _rounding(probe: Probe, points: Array, scale: float) -> Array:
    """How far rounding may move a gradient, [points]: by second differences over tiny increments."""
    unit = np.maximum(np.abs(points).max(axis=1), scale)[:, None]
    shift = 1e-6 * unit * np.random.default_rng(3).standard_normal(points.shape)
    middle = probe.gradients(points)
    second = probe.gradients(points + shift) - 2 * middle + probe.gradients(points - shift)
    relative = 16 * np.finfo(float).eps
    return np.asarray(4 * np.linalg.norm(second, axis=1) + relative * np.linalg.norm(middle, axis=1))
