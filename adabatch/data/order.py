"""The order of the samples: a function of the seed and of the number of samples seen, of nothing else.

The training set is an endless line of *positions* 0, 1, 2, ...: position p is sample p of the first epoch, and a
step with batch size b that begins after s samples takes positions s, ..., s + b - 1. Ranks, micro-batches and
changes of the batch size only decide which rank computes which positions, never which samples come next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from adabatch.schedules import MicroBatchPlan

__all__ = ["EpochOrder", "epoch_order", "group_positions", "samples_at", "seeded_permutation"]

EpochOrder = Callable[[int, int, int], npt.NDArray[np.int64]]
"""From a length, a seed and an epoch to the order of its samples."""


def group_positions(start: int, rank: int, plan: MicroBatchPlan) -> list[range]:
    """The positions of a rank's groups in a step: of what it computes in each of its micro-batches.

    A step from `start` with n = J M groups of m sequences takes [start, start + n m). Group q takes every n-th
    of them, start + q + n i for i < m, and rank j computes group q = a J + j in its micro-batch a. So the groups,
    and with them the group gradients of the norm test, are the same however n is split into J ranks and M
    micro-batches. And rank j computes the positions that are start + j modulo J, for all M and m: as batches are
    multiples of J, it does so at every step, and reads only its share of a stream.

    Args:
        start: samples seen before this step.
        rank: j, this data-parallel rank.
        plan: J, M and m.

    >>> from adabatch.schedules import MicroBatchPlan
    >>> plan = MicroBatchPlan(world_size=2, accumulation=2, micro_batch=3)
    >>> [list(group) for group in group_positions(100, rank=1, plan=plan)]
    [[101, 105, 109], [103, 107, 111]]
    """
    first = range(start + rank, start + rank + plan.groups, plan.world_size)
    return [range(position, position + plan.groups * plan.micro_batch, plan.groups) for position in first]


def epoch_order(length: int, seed: int, epoch: int) -> npt.NDArray[np.int64]:
    """pi_e, the order of the samples of an epoch, int64 [length]."""
    return seeded_permutation(length, [seed, epoch])


def samples_at(
    positions: Sequence[int] | range, length: int, seed: int, order: EpochOrder = epoch_order
) -> npt.NDArray[np.int64]:
    """The samples at these positions, int64 [len(positions)]: every epoch is a new permutation of all samples.

    Position p is sample pi_e(p mod N) of epoch e = p // N, where pi_e is :func:`epoch_order`.

    Args:
        positions: p.
        length: N, samples in the training set.
        seed: the seed of the order.
        order: pi_e, perhaps with a memory.

    >>> sorted(samples_at(range(5, 10), length=5, seed=0).tolist())
    [0, 1, 2, 3, 4]
    """
    where = np.asarray(positions, dtype=np.int64)
    epochs, within = np.divmod(where, length)
    result = np.empty_like(where)
    for epoch in np.unique(epochs):
        chosen = epochs == epoch
        result[chosen] = order(length, seed, int(epoch))[within[chosen]]
    return result


def seeded_permutation(length: int, seeds: Sequence[int]) -> npt.NDArray[np.int64]:
    """A permutation of 0 ... length - 1 that is the same in every version and on every machine, int64 [length].

    It sorts random 64-bit numbers of ``PCG64(SeedSequence(seeds))``. NumPy promises that this stream stays the
    same (it does not promise so for ``Generator.permutation``), hence a run resumes with the same order after an
    upgrade.
    """
    keys = np.random.PCG64(np.random.SeedSequence(seeds)).random_raw(length)
    return np.argsort(keys, kind="stable")
