"""Which batch sizes can be realised, and how: ranks x accumulation steps x micro-batch."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import Protocol

__all__ = ["MicroBatchPlan", "MicroBatching", "MultipleOf", "Rounding", "round_down", "samples_of_share"]


class Rounding(Protocol):
    """Rounds a proposed batch size up to one that can be realised."""

    def round_up(self, batch_size: int) -> int:
        """The smallest realisable batch size not below ``batch_size``; idempotent."""
        ...


def round_down(rounding: Rounding, batch_size: int) -> int:
    """The largest realisable batch size not above ``batch_size``; the smallest of all where there is none.

    >>> round_down(MultipleOf(8), 23), round_down(MultipleOf(8), 3)
    (16, 8)
    """
    fitting = bisect_right(range(1, batch_size + 1), batch_size, key=rounding.round_up)
    return rounding.round_up(max(1, fitting))


def samples_of_share(share: float, samples: int) -> int:
    """The samples seen at which this share of a budget is over: share x samples, rounded up.

    Floats make 100 x (0.1 + 0.2) a little more than 30, which would take a stage one step further.

    >>> samples_of_share(0.1 + 0.2, 100), samples_of_share(1 / 3, 100)
    (30, 34)
    """
    product = share * samples
    nearest = round(product)
    return nearest if math.isclose(product, nearest, rel_tol=4e-15) else math.ceil(product)


@dataclass(frozen=True)
class MultipleOf:
    """Multiples of a fixed unit, such as world size x micro-batch.

    >>> MultipleOf(8).round_up(17)
    24
    """

    unit: int

    def __post_init__(self) -> None:
        if self.unit < 1:
            raise ValueError(
                f"batch sizes are multiples of a unit of at least 1 sample, but the unit is {self.unit}"
            )

    def round_up(self, batch_size: int) -> int:
        """The next multiple of the unit."""
        return -(-batch_size // self.unit) * self.unit


@dataclass(frozen=True)
class MicroBatchPlan:
    """How a step's batch is split: b = J M m.

    Attributes:
        world_size: J, data-parallel ranks.
        accumulation: M, micro-batches that a rank accumulates.
        micro_batch: m, sequences in a micro-batch.
    """

    world_size: int
    accumulation: int
    micro_batch: int

    @property
    def batch_size(self) -> int:
        """b = J M m."""
        return self.world_size * self.accumulation * self.micro_batch

    @property
    def groups(self) -> int:
        """n = J M, the groups of the norm test."""
        return self.world_size * self.accumulation


@dataclass(frozen=True)
class MicroBatching:
    """The micro-batch grows up to its maximum before accumulation does (Algorithm 1).

    Attributes:
        world_size: J.
        accumulation: M at the start; it never falls below.
        max_micro_batch: the largest m wanted.
        micro_batch_limit: the largest m that fits in memory, if that is less. The batches that can be made do not
            depend on it: they are split into more micro-batches.
        present: ranks that are at work, a divisor of J; 0: all. They make the batches and the groups of J ranks,
            in more micro-batches.

    >>> batching = MicroBatching(world_size=2, accumulation=2, max_micro_batch=8)
    >>> batching.plan(18)
    MicroBatchPlan(world_size=2, accumulation=2, micro_batch=5)
    >>> batching.plan(50)
    MicroBatchPlan(world_size=2, accumulation=4, micro_batch=7)
    >>> MicroBatching(world_size=2, accumulation=2, max_micro_batch=8, micro_batch_limit=3).plan(32)
    MicroBatchPlan(world_size=2, accumulation=8, micro_batch=2)
    >>> MicroBatching(world_size=2, accumulation=2, max_micro_batch=8, present=1).plan(18)
    MicroBatchPlan(world_size=1, accumulation=4, micro_batch=5)
    """

    world_size: int
    accumulation: int
    max_micro_batch: int
    micro_batch_limit: int | None = None
    present: int = 0

    @classmethod
    def starting_at(
        cls, batch_size: int, world_size: int, micro_batch: int, max_micro_batch: int
    ) -> MicroBatching:
        """Micro-batches whose first batch is ``batch_size`` in micro-batches of ``micro_batch``.

        Raises:
            ValueError: if ranks x micro-batch does not divide the batch.
        """
        _check_sizes(world_size, micro_batch, max_micro_batch)
        unit = world_size * micro_batch
        if batch_size < 1 or batch_size % unit:
            below, above = batch_size // unit * unit, (batch_size // unit + 1) * unit
            nearest = f"{below} or {above}" if below else f"{above}"
            raise ValueError(
                f"an initial batch of {batch_size} cannot be made from {world_size} ranks x micro-batches "
                f"of {micro_batch}: take a multiple of {unit}, such as {nearest}, or another --micro-batch"
            )
        return cls(world_size, batch_size // unit, max_micro_batch)

    @classmethod
    def resuming(cls, first_batch: int, world_size: int, micro_batch: int, max_micro_batch: int) -> MicroBatching:
        """Micro-batches that continue a run that began on another number of ranks.

        The number of groups (ranks x accumulation) stays what it was at the start, or the next one that this
        number of ranks can realise; whether the first batch could be made no longer matters.

        Raises:
            ValueError: for sizes below 1, or a maximum micro-batch below the micro-batch.

        >>> MicroBatching.resuming(12, world_size=4, micro_batch=2, max_micro_batch=8).accumulation
        2
        """
        _check_sizes(world_size, micro_batch, max_micro_batch)
        groups = -(-first_batch // micro_batch)
        return cls(world_size, -(-groups // world_size), max_micro_batch)

    def plan(self, batch_size: int) -> MicroBatchPlan:
        """The split of the smallest realisable batch not below ``batch_size``."""
        accumulation = max(self.accumulation, -(-batch_size // (self.world_size * self.max_micro_batch)))
        micro_batch = max(1, -(-batch_size // (self.world_size * accumulation)))
        ranks = self.present or self.world_size
        return self._within_limit(MicroBatchPlan(ranks, accumulation * self.world_size // ranks, micro_batch))

    def _within_limit(self, plan: MicroBatchPlan) -> MicroBatchPlan:
        """The same batch in micro-batches that fit: the largest divisor of a rank's share."""
        if self.micro_batch_limit is None or plan.micro_batch <= self.micro_batch_limit:
            return plan
        share = plan.accumulation * plan.micro_batch
        micro_batch = max(size for size in range(1, self.micro_batch_limit + 1) if share % size == 0)
        return MicroBatchPlan(plan.world_size, share // micro_batch, micro_batch)

    def round_up(self, batch_size: int) -> int:
        """The batch that :meth:`plan` makes."""
        return self.plan(batch_size).batch_size


def _check_sizes(world_size: int, micro_batch: int, max_micro_batch: int) -> None:
    if world_size < 1 or micro_batch < 1:
        raise ValueError(f"ranks and micro-batch must be at least 1, but are {world_size} and {micro_batch}")
    if max_micro_batch < micro_batch:
        raise ValueError(
            f"the maximum micro-batch {max_micro_batch} is below the initial micro-batch {micro_batch}; "
            "raise --max-micro-batch"
        )
