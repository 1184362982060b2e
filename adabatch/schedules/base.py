"""The interface of every batch-size schedule: a small state machine counted in samples."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.schedules.learning_rate import LearningRate
from adabatch.schedules.rounding import MultipleOf, Rounding

__all__ = ["BatchSizeSchedule"]


class BatchSizeSchedule(ABC):
    """Says how many samples the next step takes.

    A training loop asks :attr:`batch_size` before a step and calls :meth:`update` after it::

        while schedule.samples < budget:
            statistics.enable(schedule.needs_moments)
            ...                                   # a step on schedule.batch_size samples
            schedule.update(statistics.finish() if schedule.needs_moments else None)

    Args:
        initial: samples of the first batch.
        maximum: no proposal goes beyond it (rounding up may, by less than a unit).
        rounding: what can be realised: a :class:`~adabatch.schedules.rounding.Rounding`, or an int for multiples.

    Attributes:
        batch_size: samples of the next step.
        samples: samples of all steps so far.
        steps: number of steps so far.

    Raises:
        ValueError: unless 1 <= initial <= maximum.
    """

    def __init__(self, initial: int, maximum: int, rounding: Rounding | int = 1) -> None:
        if initial < 1:
            raise ValueError(f"the initial batch must be at least 1 sample, but is {initial}")
        if maximum < initial:
            raise ValueError(
                f"the maximum batch {maximum} is below the initial batch {initial}: raise --max-batch or lower "
                "--initial-batch"
            )
        self.maximum = maximum
        self.rounding = MultipleOf(rounding) if isinstance(rounding, int) else rounding
        self.batch_size = self.rounding.round_up(initial)
        self.samples = 0
        self.steps = 0

    @property
    def needs_moments(self) -> bool:
        """Whether :meth:`update` after the next step needs that step's gradient moments."""
        return False

    def learning_rate(self, rates: LearningRate) -> float:
        """The learning rate of the next step: the curve where that step ends, scaled by its batch."""
        return rates.at(self.samples + self.batch_size) * rates.scaling.factor(self.batch_size)

    def update(self, moments: GradientMoments | None = None) -> int:
        """Count the step just done and decide the next batch size, which is returned.

        Args:
            moments: of the step's gradients; ignored unless :attr:`needs_moments`.
        """
        proposal = self._propose(moments)
        return self._advance(proposal)

    def skip(self) -> int:
        """Count a step whose gradients were thrown away (not finite): its samples are seen, b stays."""
        return self._advance(self.batch_size)

    @abstractmethod
    def _propose(self, moments: GradientMoments | None) -> int:
        """The batch size wanted after the step just done, before cap and rounding."""

    def _advance(self, proposal: int) -> int:
        self.samples += self.batch_size
        self.steps += 1
        self.batch_size = self.rounding.round_up(max(1, min(proposal, self.maximum)))
        return self.batch_size

    def state_dict(self) -> dict[str, Any]:
        """All that changes, as ints and exact floats."""
        return {"batch_size": self.batch_size, "samples": self.samples, "steps": self.steps}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state."""
        self.batch_size, self.samples, self.steps = state["batch_size"], state["samples"], state["steps"]
