"""The constant schedules' frontier: validation loss against optimizer steps, and how far a run lies from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np

__all__ = ["Bound", "Frontier"]

Bound = Literal["exact", "at least", "at most"]
"""Whether a number is meant, or a bound on it, as where the frontier ends."""


@dataclass(frozen=True)
class Frontier:
    """What constant batches reach with one seed: losses at different numbers of steps, for equal samples.

    Between two constant batches the loss is interpolated linearly in the logarithm of the steps; outside nothing
    is claimed.

    Attributes:
        steps: of the constant runs, ascending and different.
        losses: their validation losses.

    >>> frontier = Frontier((100, 400), (2.0, 1.0))
    >>> round(frontier.loss_at(200), 6), frontier.loss_at(50)
    (1.5, None)
    >>> round(frontier.steps_for(1.5)[0]), frontier.steps_for(0.5)
    (200, (400, 'at least'))
    """

    steps: tuple[float, ...]
    losses: tuple[float, ...]

    @classmethod
    def of_points(cls, points: Sequence[tuple[float, float]]) -> Frontier:
        """From (steps, loss) in any order; of equal steps the smaller loss counts."""
        best = dict(sorted(points, key=lambda point: (point[0], -point[1])))  # the last of equal steps remains
        return cls(tuple(best), tuple(best.values()))

    def loss_at(self, steps: float) -> float | None:
        """The loss interpolated at a number of steps; None outside of the constant runs."""
        if not self.steps[0] <= steps <= self.steps[-1]:
            return None
        return float(np.interp(math.log(steps), np.log(self.steps), self.losses))

    def steps_for(self, loss: float) -> tuple[float, Bound]:
        """The fewest steps at which the frontier reaches a loss, or the bound that its nearer end gives."""
        if self.losses[0] <= loss:
            return self.steps[0], "exact" if self.losses[0] == loss else "at most"
        for (before, above), (after, below) in pairwise(zip(np.log(self.steps), self.losses, strict=True)):
            if below <= loss:
                return float(np.exp(np.interp(loss, (below, above), (after, before)))), "exact"
        return self.steps[-1], "at least"
