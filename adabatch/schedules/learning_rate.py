"""The learning rate by the samples seen (linear warm-up, then a path) and by the batch.

The rate of a step on samples S to S + b is

    (b / reference)^p (1 / b) int_S^{S+b} rate(s) ds,

with p of the scaling. With p = 1/2 (Adam) or 1 (SGD) the integral of lr / sqrt(b), or of lr / b, over the samples
is then the same for all batches: how samples are divided into steps changes the number of steps and, to first
order, not the path that training takes (see :mod:`theory.schedules`).
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

from adabatch.schedules.paths import Cosine, LearningRatePath, Stairs

__all__ = ["BatchScaling", "LearningRate", "rule_of_optimizer"]

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

    @property
    def exponent(self) -> float:
        """p."""
        return {"none": 0.0, "sqrt": 0.5, "linear": 1.0}[self.rule]

    def factor(self, batch_size: float) -> float:
        """The factor for this batch."""
        ratio = batch_size / self.reference
        return math.sqrt(ratio) if self.rule == "sqrt" else float(ratio**self.exponent)


def rule_of_optimizer(optimizer: str) -> str:
    """Which scaling of the learning rate keeps an optimizer's path at other batches, to first order.

    SGD's step grows with its gradient, with or without momentum (Goyal et al., arXiv 1706.02677). A step of the
    others has a size of its own, so that where noise dominates it is the root.

    >>> rule_of_optimizer("sgd"), rule_of_optimizer("adamw")
    ('linear', 'sqrt')
    """
    return "linear" if optimizer == "sgd" else "sqrt"


@dataclass(frozen=True)
class LearningRate:
    """Linear from 0 to ``peak`` over ``warmup_samples``, then a path to ``minimum`` at ``total_samples``.

    Attributes:
        path: what the rate does after the warm-up.
        scaling: applied by the schedules, which know the batch
            (:meth:`adabatch.schedules.BatchSizeSchedule.learning_rate`).

    Raises:
        ValueError: for rates that are not 0 <= minimum <= peak, peak > 0, or a warm-up longer than the budget.

    >>> rates = LearningRate(peak=1.0, minimum=0.0, warmup_samples=10, total_samples=20)
    >>> rates.at(5), round(rates.mean(4, 8), 12)
    (0.5, 0.6)
    """

    peak: float
    minimum: float
    warmup_samples: int
    total_samples: int
    scaling: BatchScaling = BatchScaling()
    path: LearningRatePath = field(default_factory=Cosine)

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

    @classmethod
    def of_records(cls, records: Sequence[Mapping[str, Any]], total_samples: int) -> LearningRate:
        """The learning rates of another run (its records' ``samples`` and ``lr``), by the samples seen.

        Each holds for the samples of its step; beyond the other run's end its last rate stays.

        Args:
            records: of the other run (:func:`adabatch.reporting.metrics.read_metrics`).
            total_samples: the budget of this run.

        Raises:
            ValueError: without records, with one that has no learning rate, or where samples do not ascend.

        >>> other = [{"samples": 4, "lr": 0.5}, {"samples": 8, "lr": 0.25}]
        >>> replayed = LearningRate.of_records(other, total_samples=8)
        >>> replayed.mean(0, 4), replayed.mean(2, 6), replayed.mean(4, 8)
        (0.5, 0.375, 0.25)
        """
        rates = [float("nan") if record.get("lr") is None else float(record["lr"]) for record in records]
        ends = [record["samples"] for record in records]
        rising = all(a < b for a, b in pairwise((0, *ends)))
        if not (rates and rising and all(0 <= rate < math.inf for rate in rates) and max(rates) > 0):
            raise ValueError(
                "a replay of learning rates needs records with ascending samples and an lr each, one above 0: "
                "name a run with complete metrics (--lr-replay)"
            )
        peak = max(rates)
        stairs = Stairs([end / max(1, total_samples) for end in ends[:-1]], [rate / peak for rate in rates])
        return cls(peak, 0.0, 0, total_samples, path=stairs)

    def at(self, samples: float) -> float:
        """The rate after this many samples, before scaling."""
        if samples < self.warmup_samples:
            return self.peak * samples / self.warmup_samples
        return self._between(self.path.level(self._progress(samples)))

    def fallen(self, samples: float) -> float:
        """The rate over its peak, 1 until the warm-up ends."""
        return self.at(max(samples, self.warmup_samples)) / self.peak

    def mean(self, start: float, stop: float) -> float:
        """The mean rate over the samples from ``start`` to ``stop``, before scaling; over none, the rate there."""
        if stop <= start:
            return self.at(start)
        rising = self._rising(stop) - self._rising(start)
        begin = max(start, self.warmup_samples)
        falling = self._mean_level(begin, stop) * (stop - begin) if stop > begin else 0.0
        return (rising + falling) / (stop - start)

    def _mean_level(self, start: float, stop: float) -> float:
        """The path's rate on average; the difference of integrals has few digits over few samples of many."""
        first, last = self._progress(start), self._progress(stop)
        if last - first < 1e-9:
            return self._between(self.path.level(first))
        area = self.path.integral(min(last, 1.0)) - self.path.integral(min(first, 1.0))
        area += (max(last, 1.0) - max(first, 1.0)) * self.path.level(1.0)
        return self._between(min(max(area / (last - first), 0.0), 1.0))

    def _rising(self, samples: float) -> float:
        """The integral of the warm-up."""
        risen = min(samples, self.warmup_samples)
        return self.peak * risen**2 / (2 * self.warmup_samples) if self.warmup_samples else 0.0

    def _progress(self, samples: float) -> float:
        """x; beyond 1 after the budget."""
        return (samples - self.warmup_samples) / max(1, self.total_samples - self.warmup_samples)

    def _between(self, level: float) -> float:
        return self.minimum + (self.peak - self.minimum) * level

    def cuts(self, divisor: float) -> list[int]:
        """The samples seen at which the path has fallen to peak / divisor, peak / divisor^2 and so on.

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
        falling = range(self.warmup_samples, self.total_samples)
        while self.path.falls and self.minimum < (rate := self.peak * divisor ** -(len(found) + 1)):
            cut = bisect_left(falling, -rate, key=lambda samples: -self.at(samples))
            if cut == len(falling):
                break
            found.append(falling[cut])
        return found

    def in_stairs(self, divisor: float) -> LearningRate:
        """This path in stairs: the peak until the first cut, then peak / divisor until the second, and so on.

        Raises:
            ValueError: see :meth:`cuts`.

        >>> LearningRate(1.0, 0.1, 0, 300).in_stairs(2.0).at(200)
        0.5
        """
        cuts = self.cuts(divisor)
        levels = [divisor**-stage for stage in range(len(cuts) + 1)]
        stairs = Stairs(tuple(map(self._progress, cuts)), tuple(levels))
        return replace(self, minimum=0.0, path=stairs)
