"""Batch sizes by stages, counted in samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Annotated, Any

from adabatch.ranges import Range
from adabatch.schedules.base import BatchSizeSchedule, Decision
from adabatch.schedules.registry import RunContext, register
from adabatch.schedules.rounding import samples_of_share

if TYPE_CHECKING:  # numpy, which the command's options need not wait for
    from adabatch.moments.gradient_moments import GradientMoments

__all__ = ["Stagewise", "StagewiseOptions"]


@dataclass(frozen=True)
class StagewiseOptions:
    """Options of the stagewise schedule."""

    stage_batches: tuple[Annotated[int, Range(1, 2**24)], ...] = (32, 64, 128)
    """stagewise: a batch size for each stage."""
    stage_fractions: tuple[Annotated[float, Range(0, 1, above=True)], ...] = (0.025, 0.025, 0.95)
    """stagewise: the stages' fractions of the samples."""


@register("stagewise", StagewiseOptions)
class Stagewise(BatchSizeSchedule):
    """Batch sizes over fractions of the samples, such as 2.5% - 2.5% - 95% (Nemotron-4; the paper's baseline).

    Args:
        batch_sizes: one per stage.
        fractions: of ``total_samples``, one per stage, adding up to 1.
        total_samples: the budget.
        multiple_of: see :class:`~adabatch.schedules.base.BatchSizeSchedule`.

    Raises:
        ValueError: for other lengths, fractions that do not add up to 1, or a batch below 1.

    >>> schedule = Stagewise([4, 8], [0.25, 0.75], total_samples=16)
    >>> schedule.batch_size, schedule.update().batch_size
    (4, 8)
    """

    def __init__(
        self, batch_sizes: Sequence[int], fractions: Sequence[float], total_samples: int, multiple_of: int = 1
    ) -> None:
        if not batch_sizes or len(batch_sizes) != len(fractions):
            raise ValueError(
                f"{len(batch_sizes)} batch sizes for {len(fractions)} stages: give one batch size per fraction "
                "(--stage-batches 32,64,128, --stage-fractions)"
            )
        if not (min(fractions) > 0 and abs(sum(fractions) - 1) <= 1e-6):  # NaN too
            raise ValueError(
                f"the stages' fractions {list(fractions)} add up to {sum(fractions):g}: they must be positive and "
                "add up to 1 (such as 0.025,0.025,0.95)"
            )
        if min(batch_sizes) < 1:
            raise ValueError(f"every stage needs a batch of at least 1 sample, but they are {list(batch_sizes)}")
        super().__init__(batch_sizes[0], max(batch_sizes), multiple_of)
        self.batch_sizes = tuple(batch_sizes)
        self.ends = [samples_of_share(share, total_samples) for share in accumulate(fractions)]

    @classmethod
    def from_settings(cls, settings: Any, context: RunContext) -> Stagewise:
        """From a run's settings."""
        return cls(settings.stage_batches, settings.stage_fractions, context.samples)

    def _decide(self, moments: GradientMoments | None) -> Decision:
        stages = zip(self.batch_sizes, self.ends, strict=True)
        proposal = next((size for size, end in stages if self.seen < end), self.batch_sizes[-1])
        return Decision(proposal, proposal)
