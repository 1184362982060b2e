"""The constant schedules' frontier: validation loss against optimizer steps, and how far a run lies from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["Bound", "Frontier", "Steps"]

Bound = Literal["exact", "at least", "at most"]


@dataclass(frozen=True)
class Steps:
    """A number of steps, or a bound on it where the frontier ends."""

    number: float
    bound: Bound


@dataclass(frozen=True)
class Frontier:
    """What constant batches reach with one seed: losses at different numbers of steps, for equal samples.

    Between two constant batches the loss is interpolated linearly in the logarithm of the steps; outside nothing
    is claimed.

    Attributes:
        steps: of the constant runs, ascending and different.
        losses: their validation losses.

    Raises:
        ValueError: for lengths that differ, or steps that do not ascend.

    >>> frontier = Frontier((100, 400), (2.0, 1.0))
    >>> round(frontier.loss_at(200), 6), frontier.loss_at(50)
    (1.5, None)
    >>> round(frontier.steps_for(1.5).number), frontier.steps_for(0.5)
    (200, Steps(number=400, bound='at least'))
    """

    steps: tuple[float, ...]
    losses: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.losses) or not self.steps:
            raise ValueError(
                f"{len(self.steps)} numbers of steps and {len(self.losses)} losses do not go together"
            )
        if self.steps[0] <= 0 or any(a >= b for a, b in zip(self.steps, self.steps[1:], strict=False)):
            raise ValueError(f"the constant schedules' steps must be positive and ascend, but are {self.steps}")

    @classmethod
    def of_points(cls, points: Sequence[tuple[float, float]]) -> Frontier:
        """From (steps, loss) in any order; of equal steps the smaller loss counts."""
        best: dict[float, float] = {}
        for steps, loss in points:
            best[steps] = min(loss, best.get(steps, math.inf))
        ascending = sorted(best)
        return cls(tuple(ascending), tuple(best[steps] for steps in ascending))

    def loss_at(self, steps: float) -> float | None:
        """The loss interpolated at a number of steps; None outside of the constant runs."""
        if not self.steps[0] <= steps <= self.steps[-1]:
            return None
        return _interpolate(math.log(steps), [math.log(known) for known in self.steps], self.losses)

    def gap(self, steps: float, loss: float) -> float | None:
        """How much a run's loss lies above the frontier at its own number of steps (below: negative)."""
        reference = self.loss_at(steps)
        return None if reference is None else loss - reference

    def steps_for(self, loss: float) -> Steps:
        """The fewest steps at which the frontier reaches a loss, or what its nearer end says of them."""
        if self.losses[0] <= loss:
            return Steps(self.steps[0], "exact" if self.losses[0] == loss else "at most")
        for i in range(1, len(self.steps)):
            if self.losses[i] <= loss:
                logs = [math.log(self.steps[i - 1]), math.log(self.steps[i])]
                share = (self.losses[i - 1] - loss) / (self.losses[i - 1] - self.losses[i])
                return Steps(math.exp(logs[0] + share * (logs[1] - logs[0])), "exact")
        return Steps(self.steps[-1], "at least")


def _interpolate(x: float, known: Sequence[float], values: Sequence[float]) -> float:
    """Linear between the neighbours of x, which lies within ``known``."""
    for i in range(1, len(known)):
        if x <= known[i]:
            share = (x - known[i - 1]) / (known[i] - known[i - 1])
            return (1 - share) * values[i - 1] + share * values[i]  # exact at both ends
    return values[0]  # a frontier of one point
