"""The learning rate as a function of the samples seen: linear warm-up, then cosine."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["LearningRate", "square_root_scaling"]


def square_root_scaling(batch_size: int, first_batch: int) -> float:
    """What the square-root rule multiplies the learning rate by when the batch has grown.

    >>> square_root_scaling(64, 16)
    2.0
    """
    return math.sqrt(batch_size / first_batch)


@dataclass(frozen=True)
class LearningRate:
    """Linear from 0 to ``peak`` over ``warmup_samples``, then a cosine to ``minimum`` at ``total_samples``.

    Raises:
        ValueError: for rates that are not 0 <= minimum <= peak, peak > 0, or a warm-up longer than the budget.

    >>> LearningRate(peak=1.0, minimum=0.0, warmup_samples=10, total_samples=20).at(5)
    0.5
    """

    peak: float
    minimum: float
    warmup_samples: int
    total_samples: int

    def __post_init__(self) -> None:
        if not (0 <= self.minimum <= self.peak and 0 < self.peak < math.inf):
            raise ValueError(
                f"learning rates need 0 <= minimum <= peak and peak > 0, but peak is {self.peak} and minimum "
                f"{self.minimum} (--lr, --min-lr)"
            )
        if not 0 <= self.warmup_samples <= self.total_samples:
            raise ValueError(
                f"a warm-up of {self.warmup_samples} samples does not fit into a budget of {self.total_samples}: "
                "lower --warmup-samples or raise --samples"
            )

    def at(self, samples: int) -> float:
        """The rate of the step that brings the samples seen to ``samples``."""
        if samples < self.warmup_samples:
            return self.peak * samples / self.warmup_samples
        progress = (samples - self.warmup_samples) / max(1, self.total_samples - self.warmup_samples)
        return self.minimum + (self.peak - self.minimum) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
