"""Seesaw: where the learning rate would be cut, the batch grows, and the learning rate is cut by less."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from adabatch.ranges import Range
from adabatch.schedules.base import BatchSizeSchedule, Decision, NeverGrowsError
from adabatch.schedules.learning_rate import BatchScaling, LearningRate
from adabatch.schedules.registry import RunContext, register

if TYPE_CHECKING:  # numpy, which the command's options need not wait for
    from adabatch.moments.gradient_moments import GradientMoments

__all__ = ["Seesaw", "SeesawOptions"]


@dataclass(frozen=True)
class SeesawOptions:
    """Options of Seesaw."""

    seesaw_factor: Annotated[float, Range(1.01, 1e6)] = 2.0
    """seesaw: by how much the cosine falls and the batch grows from stage to stage."""


@register("seesaw", SeesawOptions)
class Seesaw(BatchSizeSchedule):
    """Where the cosine would halve the learning rate, divide it by sqrt(2) and double the batch.

    Meterez et al., arXiv 2510.14717: for normalised steps such as Adam's, when noise dominates, both do the same
    to the loss. This schedule prescribes its own learning rate: after the warm-up, in stage i (after i cuts),

        rate = peak factor^-i sqrt(b / initial),

    which falls by sqrt(factor) where b can grow by ``factor``, and by ``factor`` (as the cosine does) where b is
    at its maximum. Rounding of b is accounted for in the same way. Between cuts both stay as they are.

    Args:
        initial: first batch; ``rates.peak`` belongs to it.
        maximum: cap.
        cuts: samples seen at which a stage ends (:meth:`adabatch.schedules.learning_rate.LearningRate.cuts`).
        factor: by which the batch grows at each cut.
        multiple_of: see :class:`~adabatch.schedules.base.BatchSizeSchedule`.

    >>> rates = LearningRate(peak=1.0, minimum=0.0, warmup_samples=0, total_samples=64)
    >>> schedule = Seesaw(8, 16, rates.cuts(2.0))
    >>> history = []
    >>> while schedule.samples < 64:
    ...     history.append((schedule.batch_size, round(schedule.learning_rate(rates), 3)))
    ...     _ = schedule.update()
    >>> history
    [(8, 1.0), (8, 1.0), (8, 1.0), (8, 1.0), (16, 0.707), (16, 0.354)]
    """

    learning_rate_scaling = "sqrt"

    def __init__(
        self, initial: int, maximum: int, cuts: Sequence[int], factor: float = 2.0, multiple_of: int = 1
    ) -> None:
        super().__init__(initial, maximum, multiple_of)
        self.initial, self.cuts, self.factor = initial, tuple(cuts), factor

    @classmethod
    def from_settings(cls, settings: Any, context: RunContext) -> Seesaw:
        """From a run's settings.

        Raises:
            ValueError: for a factor by which the learning rate never falls.
        """
        cuts = context.learning_rate().cuts(settings.seesaw_factor)
        if not cuts:
            raise NeverGrowsError(
                f"the learning rate never falls by the factor {settings.seesaw_factor:g} within the budget, so "
                "that Seesaw never grows the batch: lower --seesaw-factor or --min-lr"
            )
        return cls(settings.initial_batch, settings.max_batch, cuts, settings.seesaw_factor)

    def learning_rate(self, rates: LearningRate) -> float:
        """Warm-up, then the rate of the stage that the next step begins in."""
        stage = self._stage(self.samples)
        level = rates.peak * self.factor**-stage
        if stage == 0:
            level = min(level, rates.warm_up(self.samples + self.batch_size))
        return level * BatchScaling(self.learning_rate_scaling, self.initial).factor(self.batch_size)

    def _decide(self, moments: GradientMoments | None) -> Decision:
        stage = self._stage(self.samples + self.batch_size)
        proposal = math.ceil(min(self.initial * self.factor**stage, float(self.maximum)))
        return Decision(proposal, proposal)

    def _stage(self, samples: int) -> int:
        return bisect_right(self.cuts, samples)
