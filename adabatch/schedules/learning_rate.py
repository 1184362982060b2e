"""The learning rate by the samples seen (linear warm-up, then cosine) and by the batch."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["BatchScaling", "LearningRate"]

RULES = ("none", "sqrt", "linear")


@dataclass(frozen=True)
class BatchScaling:
    """What a batch other than the reference multiplies the learning rate by: (b / reference)^p.

    Attributes:
        rule: ``none`` (p = 0; Lau et al.), ``sqrt`` (p = 1/2; keeps the noise of an Adam step, whose size does not
            depend on the gradient's: Malladi et al., arXiv 2205.10287) or ``linear`` (p = 1; the rule for SGD).
        reference: the batch that the peak learning rate was chosen for.

    Raises:
        ValueError: for an unknown rule, or a reference below 1.

    >>> BatchScaling("sqrt", reference=16).factor(64)
    2.0
    """

    rule: str = "none"
    reference: int = 1

    def __post_init__(self) -> None:
        if self.rule not in RULES:
            raise ValueError(f"the scaling {self.rule!r} is not known: take one of {', '.join(RULES)}")
        if self.reference < 1:
            raise ValueError(f"the reference batch must be at least 1, but is {self.reference}")

    def factor(self, batch_size: int) -> float:
        """The factor for this batch."""
        if self.rule == "sqrt":
            return math.sqrt(batch_size / self.reference)
        return batch_size / self.reference if self.rule == "linear" else 1.0


@dataclass(frozen=True)
class LearningRate:
    """Linear from 0 to ``peak`` over ``warmup_samples``, then a cosine to ``minimum`` at ``total_samples``.

    Attributes:
        scaling: applied by the schedules, which know the batch
            (:meth:`adabatch.schedules.BatchSizeSchedule.learning_rate`).

    Raises:
        ValueError: for rates that are not 0 <= minimum <= peak, peak > 0, or a warm-up longer than the budget.

    >>> LearningRate(peak=1.0, minimum=0.0, warmup_samples=10, total_samples=20).at(5)
    0.5
    """

    peak: float
    minimum: float
    warmup_samples: int
    total_samples: int
    scaling: BatchScaling = BatchScaling()

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
        """The rate of the step that brings the samples seen to ``samples``, before scaling."""
        if samples < self.warmup_samples:
            return self.warm_up(samples)
        progress = (samples - self.warmup_samples) / max(1, self.total_samples - self.warmup_samples)
        return self.minimum + (self.peak - self.minimum) * 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))

    def warm_up(self, samples: int) -> float:
        """The rate without its fall: linear to the peak, and the peak from there on."""
        return self.peak * samples / self.warmup_samples if samples < self.warmup_samples else self.peak

    def cuts(self, divisor: float) -> list[int]:
        """The samples seen at which the cosine has fallen to peak / divisor, peak / divisor^2 and so on.

        Args:
            divisor: at least 1.01.

        Returns:
            Those below the budget, in order.

        Raises:
            ValueError: for a smaller divisor.

        >>> LearningRate(peak=1.0, minimum=0.1, warmup_samples=0, total_samples=300).cuts(2.0)
        [161, 220, 269]
        """
        if not 1.01 <= divisor < math.inf:
            raise ValueError(
                f"the learning rate falls by a factor above 1 (at least 1.01), but {divisor} was given "
                "(--seesaw-factor)"
            )
        found: list[int] = []
        while self.minimum < (rate := self.peak * divisor ** -(len(found) + 1)):
            cosine = 2 * (rate - self.minimum) / (self.peak - self.minimum) - 1
            falling = self.total_samples - self.warmup_samples
            samples = self.warmup_samples + math.ceil(falling * math.acos(cosine) / math.pi)
            if samples >= self.total_samples:
                break
            found.append(samples)
        return found
