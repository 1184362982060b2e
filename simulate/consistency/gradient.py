r"""The gradient against central differences of the value, along coordinates and random directions.

The allowance is the differences' own error, estimated for each point and direction over a ladder of increments h:
what halving h changes, and what rounding moves. No L enters, so that a wrong gradient and a wrong L are told
apart.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from simulate.consistency.probe import Probe, point
from simulate.streams import Array

__all__ = ["derivatives", "require_gradient"]

INCREMENTS = 1.37 * np.geomspace(1e-2, 1e-7, 6)
"""In units of a point's scale. Not round: a period of the function would look like a derivative of 0."""

TINY, STENCIL = (1e-6, 1e-8, 1e-10), np.arange(-3.0, 4.0)
"""Increments, in the same units, between neighbours whose values are to differ by rounding alone."""

RANDOM_DIRECTIONS = 3
MOST_COORDINATES = 64
"""Up to this dimension each coordinate is a direction too; beyond, the random ones see all of them together."""

RELATIVE, ABSOLUTE = 1e-6, 1e-10
"""Allowed on top of the differences' own error, in units of the gradient's norm there and at the start."""

NUMBERS = 2_000_000
"""Held at once, about."""


def require_gradient(probe: Probe, points: Array, scale: float) -> None:
    """Compare the gradient with differences of the value.

    Args:
        probe: the objective.
        points: where, shape [points, d].
        scale: least length that increments are measured in.

    Raises:
        ValueError: naming the point and coordinate of the largest deviation.
    """
    coordinates, generator = _coordinates(points.shape[1]), np.random.default_rng(1)
    floor = ABSOLUTE * np.linalg.norm(probe.gradients(probe.start[None]))
    for chunk in _chunks(points, len(coordinates) + RANDOM_DIRECTIONS):
        drawn = generator.standard_normal((len(chunk), RANDOM_DIRECTIONS, points.shape[1]))
        drawn /= np.linalg.norm(drawn, axis=-1, keepdims=True)
        repeated = np.broadcast_to(coordinates, (len(chunk), *coordinates.shape))
        directions = np.concatenate([repeated, drawn], axis=1)
        gradients = probe.gradients(chunk)
        stated = np.einsum("pkd,pd->pk", directions, gradients)
        found, error = derivatives(probe, chunk, directions, scale)
        allowed = error + RELATIVE * np.linalg.norm(gradients, axis=1)[:, None] + floor
        if (np.abs(found - stated) > allowed).any():
            i, k = np.unravel_index((np.abs(found - stated) - allowed).argmax(), stated.shape)
            along = f"coordinate {k} (the first is 0)" if k < len(coordinates) else "a random direction"
            raise probe.refusal(
                f"its gradient is not that of its value: at {point(chunk[i])}, along {along}, the gradient says "
                f"{stated[i, k]:.6g} and differences of the value {found[i, k]:.6g}"
            )


def derivatives(probe: Probe, points: Array, directions: Array, scale: float) -> tuple[Array, Array]:
    """Central differences of the value, and how far off they may be.

    Args:
        probe: the objective.
        points: shape [points, d].
        directions: of length 1, shape [points, directions, d].
        scale: least length that increments are measured in; a point far from 0 has a larger one.

    Returns:
        The derivatives and their errors, shape [points, directions].
    """
    unit = np.maximum(np.abs(points).max(axis=1), scale)[:, None, None]

    def values(increments: Array) -> Array:  # [increments] -> [increments, points, directions]
        w = points[:, None, :] + increments[:, None, None, None] * (unit * directions)
        found: Array = probe.values(w.reshape(-1, w.shape[-1])).reshape(w.shape[:-1])
        return found

    def differences(increments: Array) -> Array:
        change = values(increments) - values(-increments)
        return np.asarray(change / (2 * increments[:, None, None] * unit[:, :, 0]))

    coarse, fine = differences(INCREMENTS), differences(INCREMENTS / 2)
    change = np.abs(coarse - fine)
    change[:-1] = np.maximum(change[:-1], np.abs(np.diff(fine, axis=0)))
    # Second differences over tiny increments show what rounding moves, and of the function the less the tinier.
    # None at all: the increments themselves were rounded away, as in single precision.
    wobble = np.stack([np.abs(np.diff(values(tiny * STENCIL), n=2, axis=0)).max(axis=(0, 2)) for tiny in TINY])
    least = np.where(wobble > 0, wobble, np.inf).min(axis=0)
    rounding = np.where(np.isfinite(least), least, 0.0) + 4 * np.finfo(float).eps * np.abs(probe.values(points))
    error = 4 * (change + rounding[:, None] / (INCREMENTS[:, None, None] * unit[:, :, 0]))
    best = error.argmin(axis=0)[None]
    return np.take_along_axis(fine, best, 0)[0], np.take_along_axis(error, best, 0)[0]


def _coordinates(dimension: int) -> Array:
    """Unit vectors, shape [d, d]; none in a high dimension."""
    return np.eye(dimension)[: dimension if dimension <= MOST_COORDINATES else 0]


def _chunks(points: Array, directions: int) -> Iterator[Array]:
    """The points in pieces whose differences need about ``NUMBERS`` numbers."""
    evaluations = 2 * len(INCREMENTS)  # at once
    size = max(1, NUMBERS // (directions * evaluations * points.shape[1]))
    return (points[begin : begin + size] for begin in range(0, len(points), size))
