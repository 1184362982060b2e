"""Schedules that do not look at gradients: constant, stagewise, linear ramp. All are counted in samples."""

from __future__ import annotations

from collections.abc import Sequence

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.schedules.base import BatchSizeSchedule
from adabatch.schedules.rounding import Rounding

__all__ = ["Constant", "LinearRamp", "Stagewise"]


class Constant(BatchSizeSchedule):
    """The same batch size throughout.

    >>> Constant(64).update()
    64
    """

    def __init__(self, batch_size: int, rounding: Rounding | int = 1) -> None:
        super().__init__(batch_size, batch_size, rounding)

    def _propose(self, moments: GradientMoments | None) -> int:
        return self.maximum


class Stagewise(BatchSizeSchedule):
    """Batch sizes over fractions of the samples, such as 2.5% - 2.5% - 95% (Nemotron-4; the paper's baseline).

    Args:
        batch_sizes: one a stage.
        fractions: of ``total_samples``, one a stage, adding up to 1.
        total_samples: the budget.
        rounding: see :class:`~adabatch.schedules.base.BatchSizeSchedule`.

    Raises:
        ValueError: for other lengths, fractions that do not add up to 1, or a batch below 1.

    >>> schedule = Stagewise([4, 8], [0.25, 0.75], total_samples=16)
    >>> schedule.batch_size, schedule.update()
    (4, 8)
    """

    def __init__(
        self,
        batch_sizes: Sequence[int],
        fractions: Sequence[float],
        total_samples: int,
        rounding: Rounding | int = 1,
    ) -> None:
        if not batch_sizes or len(batch_sizes) != len(fractions):
            raise ValueError(
                f"{len(batch_sizes)} batch sizes for {len(fractions)} stages: give one batch size a fraction "
                "(--stage-batches, --stage-fractions)"
            )
        if min(fractions) <= 0 or abs(sum(fractions) - 1) > 1e-6:
            raise ValueError(
                f"the stages' fractions {list(fractions)} add up to {sum(fractions):g}: they must be positive and "
                "add up to 1 (such as 0.025,0.025,0.95)"
            )
        if min(batch_sizes) < 1:
            raise ValueError(f"every stage needs a batch of at least 1 sample, but they are {list(batch_sizes)}")
        super().__init__(batch_sizes[0], max(batch_sizes), rounding)
        self.batch_sizes = tuple(batch_sizes)
        self.ends = [total_samples * sum(fractions[: i + 1]) for i in range(len(fractions))]

    def _propose(self, moments: GradientMoments | None) -> int:
        seen = self.samples + self.batch_size
        for size, end in zip(self.batch_sizes, self.ends, strict=True):
            if seen < end:
                return size
        return self.batch_sizes[-1]


class LinearRamp(BatchSizeSchedule):
    """From ``initial`` to ``maximum`` linearly in the samples seen, then constant (GPT-3).

    Args:
        initial: first batch.
        maximum: reached after ``ramp_samples``.
        ramp_samples: > 0.
        rounding: see :class:`~adabatch.schedules.base.BatchSizeSchedule`.

    Raises:
        ValueError: unless ramp_samples > 0.

    >>> LinearRamp(4, 12, ramp_samples=8).update()
    8
    """

    def __init__(self, initial: int, maximum: int, ramp_samples: int, rounding: Rounding | int = 1) -> None:
        if ramp_samples <= 0:
            raise ValueError(f"the ramp needs more than 0 samples, but has {ramp_samples} (--ramp-samples)")
        super().__init__(initial, maximum, rounding)
        self.initial, self.ramp_samples = initial, ramp_samples

    def _propose(self, moments: GradientMoments | None) -> int:
        progress = min(1.0, (self.samples + self.batch_size) / self.ramp_samples)
        return round(self.initial + progress * (self.maximum - self.initial))
