"""Seesaw: where the learning rate would be cut, the batch grows and the learning rate is cut by less."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.schedules.base import BatchSizeSchedule
from adabatch.schedules.learning_rate import BatchScaling, LearningRate
from adabatch.schedules.rounding import Rounding

__all__ = ["Seesaw"]


class Seesaw(BatchSizeSchedule):
    """Wherever the cosine would halve the learning rate, divide it by sqrt(2) and double the batch.

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
        rounding: see :class:`~adabatch.schedules.base.BatchSizeSchedule`.

    >>> rates = LearningRate(peak=1.0, minimum=0.0, warmup_samples=0, total_samples=64)
    >>> schedule = Seesaw(8, 16, rates.cuts(2.0))
    >>> history = []
    >>> while schedule.samples < 64:
    ...     history.append((schedule.batch_size, round(schedule.learning_rate(rates), 3)))
    ...     _ = schedule.update()
    >>> history
    [(8, 1.0), (8, 1.0), (8, 1.0), (8, 1.0), (16, 0.707), (16, 0.354)]
    """

    def __init__(
        self,
        initial: int,
        maximum: int,
        cuts: Sequence[int],
        factor: float = 2.0,
        rounding: Rounding | int = 1,
    ) -> None:
        super().__init__(initial, maximum, rounding)
        self.initial, self.cuts, self.factor = initial, tuple(cuts), factor

    def learning_rate(self, rates: LearningRate) -> float:
        """Warm-up, then the rate of the stage that the next step begins in."""
        stage = self._stage(self.samples)
        level = rates.peak * self.factor**-stage
        if stage == 0:
            level = min(level, rates.warm_up(self.samples + self.batch_size))
        return level * BatchScaling("sqrt", self.initial).factor(self.batch_size)

    def _propose(self, moments: GradientMoments | None) -> int:
        stage = self._stage(self.samples + self.batch_size)
        return math.ceil(min(self.initial * self.factor**stage, float(self.maximum)))

    def _stage(self, samples: int) -> int:
        return bisect_right(self.cuts, samples)
