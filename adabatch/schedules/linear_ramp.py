"""A linear ramp of the batch, counted in samples."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from adabatch.ranges import Range
from adabatch.schedules.base import BatchSizeSchedule, Decision
from adabatch.schedules.registry import RunContext, register

if TYPE_CHECKING:  # numpy, which the command's options need not wait for
    from adabatch.moments.gradient_moments import GradientMoments

__all__ = ["LinearRamp", "LinearRampOptions"]


@dataclass(frozen=True)
class LinearRampOptions:
    """Options of the linear ramp."""

    ramp_samples: Annotated[int, Range(1, 10**12)] = 8192
    """linear-ramp: samples until the largest batch."""


@register("linear-ramp", LinearRampOptions)
class LinearRamp(BatchSizeSchedule):
    """From the initial batch to the maximum linearly in the samples seen, then constant (GPT-3).

    Args:
        initial: first batch.
        maximum: reached after ``ramp_samples``.
        ramp_samples: > 0.
        multiple_of: see :class:`~adabatch.schedules.base.BatchSizeSchedule`.

    Raises:
        ValueError: unless ramp_samples > 0.

    >>> LinearRamp(4, 12, ramp_samples=8).update().batch_size
    8
    """

    def __init__(self, initial: int, maximum: int, ramp_samples: int, multiple_of: int = 1) -> None:
        if ramp_samples <= 0:
            raise ValueError(f"the ramp needs more than 0 samples, but has {ramp_samples} (--ramp-samples)")
        super().__init__(initial, maximum, multiple_of)
        self.ramp_samples = ramp_samples

    @classmethod
    def from_settings(cls, settings: Any, context: RunContext) -> LinearRamp:
        """From a run's settings."""
        return cls(settings.initial_batch, settings.max_batch, settings.ramp_samples)

    def _decide(self, moments: GradientMoments | None) -> Decision:
        progress = min(1.0, self.seen / self.ramp_samples)
        proposal = round(self.initial + progress * (self.maximum - self.initial))
        return Decision(proposal, proposal)
