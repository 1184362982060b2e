"""How long steps take, as all ranks know it: the main rank's seconds, one step late, in the one all-reduce."""

from __future__ import annotations

import torch
from torch import Tensor

from adabatch.distributed.parallel import DistributedContext
from adabatch.schedules import BatchSizeSchedule, MicroBatchPlan

__all__ = ["StepClock"]

WARM_UP = 3
"""Steps of a start or resumption that do not count: they compile, allocate and read what is not cached."""


class StepClock:
    """Brings the main rank's time of each step to all ranks with the next step's sums.

    So that decisions on times are the same everywhere, although clocks differ. The time of a step before a
    checkpoint is not carried over to the run that resumes.

    Args:
        ranks: this process among the others.
    """

    def __init__(self, ranks: DistributedContext) -> None:
        self._ranks, self._steps = ranks, 0
        self._seconds, self._plan, self._length = 0.0, MicroBatchPlan(1, 1, 1), 0

    def share(self) -> Tensor:
        """The last step's seconds on the main rank, else 0: to be summed over ranks with the step's scalars."""
        seconds = self._seconds if self._ranks.is_main else 0.0
        return torch.full((), seconds, dtype=torch.float64, device=self._ranks.device)

    def deliver(self, schedule: BatchSizeSchedule, seconds: float) -> None:
        """Let the schedule know the last step's time, the sum of the shares, if it counts."""
        if seconds > 0:
            schedule.observe_seconds(seconds, self._plan.batch_size, self._plan.micro_batch, self._length)

    def stop(self, seconds: float, plan: MicroBatchPlan, length: int, taken: bool) -> None:
        """A step ended.

        Args:
            seconds: that it took on this rank.
            plan: how it was split.
            length: of its sequences.
            taken: whether it was not skipped.
        """
        self._steps += 1
        self._seconds = seconds if taken and self._steps > WARM_UP else 0.0
        self._plan, self._length = plan, length
