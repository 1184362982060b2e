"""The infimum against values, those that gradient descent finds among them."""

from __future__ import annotations

import numpy as np

from simulate.consistency.probe import Probe, point
from simulate.streams import Array

__all__ = ["descend", "require_infimum"]

DESCENTS, STEPS, EARLY = 16, 200, 10

RELATIVE = 1e-9
"""Allowed below the infimum, in units of Delta = L(w_1) - inf L."""


def require_infimum(probe: Probe, points: Array) -> None:
    """Compare the infimum with values.

    Args:
        probe: the objective.
        points: where, shape [points, d].

    Raises:
        ValueError: naming the point with the lowest value, if it is below.
    """
    stated, values = probe.objective.infimum, probe.values(points)
    gap = abs(float(probe.values(probe.start[None])[0]) - stated)
    i = int(values.argmin())
    if values[i] < stated - RELATIVE * gap - 64 * np.finfo(float).eps * abs(stated):
        raise probe.refusal(
            f"infimum {stated:.6g} is too high: the value at {point(points[i])} is {values[i]:.6g}, "
            f"{stated - values[i]:.6g} lower"
        )


def descend(probe: Probe, points: Array, curvature: float) -> Array:
    """Gradient descent with step size 1 / curvature, from the lowest of the points and from random ones.

    Args:
        probe: the objective.
        points: shape [points, d].
        curvature: the largest change of the gradient per unit of distance.

    Returns:
        Where the descents are after a few steps, and where they end.

    Raises:
        ValueError: if a value on the way is below the infimum.
    """
    values = probe.values(points)
    lowest = np.argsort(values, kind="stable")[: DESCENTS // 2]
    others = np.random.default_rng(4).choice(len(points), DESCENTS - len(lowest))
    w = early = points[np.concatenate([lowest, others])]
    for step in range(1, STEPS + 1):
        w = w - probe.gradients(w) / (curvature or 1.0)
        require_infimum(probe, w)
        if step == EARLY:
            early = w
    return np.concatenate([early, w])
