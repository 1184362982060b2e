"""The constant schedules' frontier: validation loss against optimizer steps, for equal samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.interpolate import PchipInterpolator

__all__ = ["Frontier"]


@dataclass(frozen=True)
class Frontier:
    """What constant batches reach with one seed: losses at different numbers of steps, for equal samples.

    Between two constant batches the loss is interpolated by monotone cubics (PCHIP) in the logarithm of the steps.
    A straight line would lie above the frontier wherever that is convex, so that a schedule between two constant
    batches would look better than it is. Outside of the constant batches nothing is claimed.

    Attributes:
        steps: of the constant runs, ascending and different.
        losses: their validation losses, all finite.

    >>> frontier = Frontier((100, 200, 400), (2.0, 1.5, 1.25))
    >>> frontier.loss_at(200), frontier.loss_at(50)
    (1.5, None)
    >>> frontier.loss_at(283) < (1.5 + 1.25) / 2
    True
    """

    steps: tuple[float, ...]
    losses: tuple[float, ...]

    @classmethod
    def of_points(cls, points: Sequence[tuple[float, float]]) -> Frontier:
        """From (steps, loss) in any order; of equal steps the smaller loss counts, infinite ones never."""
        finite = [point for point in points if math.isfinite(point[1])]  # the others' runs diverged
        best = dict(sorted(finite, key=lambda point: (point[0], -point[1])))  # the last of equal steps remains
        return cls(tuple(best), tuple(best.values()))

    def loss_at(self, steps: float) -> float | None:
        """The loss interpolated at a number of steps; None outside of the constant runs."""
        if steps in self.steps:
            return self.losses[self.steps.index(steps)]
        if not self.steps or not self.steps[0] < steps < self.steps[-1]:
            return None
        return float(PchipInterpolator(np.log(self.steps), self.losses)(math.log(steps)))
