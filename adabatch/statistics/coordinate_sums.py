"""Sums over groups, coordinate by coordinate, in buckets of parameters that are reduced together.

A bucket keeps, for each of its parameters, the groups' squares (and, for the conservative denominator, their
values with the sign of their half) in the layout that a reduce-scatter takes: [ranks, sums, coordinates of one
rank]. The hook adds to it in place, so that nothing is copied. Where FSDP2 reduces the gradient at once, so does a
bucket that is full; where gradients are accumulated whole (DDP, FSDP2 without synchronisation), sums are too.
"""

from __future__ import annotations

import itertools
import math

import torch
import torch.distributed as dist
from torch import Tensor

from adabatch.statistics.coordinate_shards import Sample, Shard, coprime_stride, dense
from adabatch.statistics.leaves import Leaf
from adabatch.statistics.reductions import DataParallel, Workspace, reduce_scatter

__all__ = ["Bucket", "buckets_of"]

BUCKET = 1 << 22
"""Coordinates in a bucket, unless one parameter alone has more."""


class Bucket:
    """The sums of several leaves that are divided over the same ranks.

    Args:
        shards: of the leaves.
        sums: kept for each coordinate, 1 or 2.
        workspace: what all buckets receive into.
    """

    def __init__(self, shards: list[Shard], sums: int, workspace: Workspace) -> None:
        self.shards, self._sums, self._workspace = shards, sums, workspace
        self._offsets = list(itertools.accumulate((shard.kept for shard in shards), initial=0))
        self._whole: Tensor | None = None
        self._part: Tensor | None = None
        self._views: list[list[tuple[Sample, Tensor]]] = [[] for _ in shards]
        self._added = [0] * len(shards)

    @property
    def size(self) -> int:
        """Numbers kept at the moment."""
        return sum(tensor.numel() for tensor in (self._whole, self._part) if tensor is not None)

    def coprime(self, stride: int) -> int:
        """:func:`coprime_stride` for all of the bucket's parameters."""
        return coprime_stride(stride, math.prod(shard.leaf.tensor.numel() for shard in self.shards))

    def clear(self) -> None:
        """Forget, and free."""
        self.forget()
        self._release()
        self._workspace.clear()

    def forget(self) -> None:
        """Begin a new step; what is allocated is kept, and overwritten by the first group."""
        self._part = None
        self._added = [0] * len(self.shards)

    def add(self, number: int, gradient: Tensor, negative: bool) -> None:
        """Add a group's gradient of one leaf; the sums are reduced where FSDP2 reduces the gradients.

        Args:
            number: which of the shards.
            gradient: of the whole leaf.
            negative: whether the group counts negatively in the second sum.
        """
        shard = self.shards[number]
        flat = dense(gradient).reshape(-1).contiguous()  # an expanded gradient has a stride of 0
        if self._whole is None:
            self._allocate(flat.device)
        for sample, sums in self._views[number]:
            values = sample.of(flat).to(shard.dtype)
            if self._added[number]:
                sums[0].addcmul_(values, values)
            else:
                torch.mul(values, values, out=sums[0])
            if self._sums == 2:
                signed = -values if negative else values
                sums[1].add_(signed) if self._added[number] else sums[1].copy_(signed)
        self._added[number] += 1
        whole_group = len(set(self._added)) == 1
        if whole_group and all(shard.leaf.reduced_at_once for shard in self.shards):
            every_micro_batch = self._added[number] == 1
            self._reduce()
            if every_micro_batch:
                self._release()  # so that few parameters are whole at a time

    def skip(self, number: int) -> None:
        """Count a group in which one leaf got no gradient: its coordinates are 0."""
        if self._whole is None:
            self._allocate(self.shards[number].leaf.tensor.device)
        if not self._added[number]:
            for _, sums in self._views[number]:
                sums.zero_()
        self._added[number] += 1

    def _allocate(self, device: torch.device) -> None:
        """Make room for the sums, and keep each leaf's views of it, [sums, ranks, blocks, block]."""
        shape = (self.shards[0].ranks, self._sums, self._offsets[-1])
        self._whole = torch.zeros(shape, dtype=self.shards[0].dtype, device=device)
        for views, shard, offset in zip(self._views, self.shards, self._offsets, strict=False):
            first = 0
            for sample in shard.samples:
                ranks = self._whole[first : first + sample.shape[0], :, offset : offset + sample.size]
                views.append((sample, ranks.transpose(0, 1).unflatten(2, sample.shape[1:])))
                first += sample.shape[0]

    def _release(self) -> None:
        self._whole = None
        self._views = [[] for _ in self.shards]

    def _reduce(self) -> None:
        """Sum over ranks; each keeps its shard."""
        assert self._whole is not None
        scatter = self.shards[0].scatter
        part = self._whole[0] if scatter is None else reduce_scatter(self._whole, scatter, self._workspace)
        self._part = part if self._part is None else self._part.add_(part)
        self._added = [0] * len(self.shards)

    def finish(self) -> tuple[Tensor, Tensor, float]:
        """This rank's shard, without padding.

        Returns:
            The sums, [sums, coordinates kept]; the reduced gradient there, [coordinates kept]; and how many
            coordinates of the model each of them stands for.
        """
        if any(self._added):
            self._reduce()
        part, self._part = self._part, None
        assert part is not None
        if self.shards[0].replicas is not None:
            dist.all_reduce(part, group=self.shards[0].replicas)
        gradients = [shard.gradient() for shard in self.shards]
        samples = [
            shard.sample(len(one)).of(one.contiguous()) for shard, one in zip(self.shards, gradients, strict=True)
        ]
        mean = torch.cat([sample.reshape(-1) for sample in samples])
        kept = [
            part[:, start : start + sample.numel()] for start, sample in zip(self._offsets, samples, strict=False)
        ]
        values = part if len(mean) == part.shape[1] else torch.cat(kept, dim=1)  # padding is left out
        whole = sum(len(gradient) for gradient in gradients) / self.shards[0].replica_count
        return values, mean, whole / max(len(mean), 1)


def buckets_of(leaves: list[Leaf], layout: DataParallel, sums: int, stride: int = 1) -> list[Bucket]:
    """Leaves that are divided over the same ranks, in buckets of about ``BUCKET`` coordinates."""
    kinds: dict[tuple[object, ...], list[Shard]] = {}
    for leaf in leaves:
        shard = Shard.of(leaf, layout, stride)
        kinds.setdefault(_kind(shard), []).append(shard)
    workspace, buckets = Workspace(), []
    for shards in kinds.values():
        gathered: list[Shard] = []
        for shard in shards:
            if gathered and shard.ranks * sum(other.kept for other in [shard, *gathered]) > BUCKET:
                buckets.append(Bucket(gathered, sums, workspace))
                gathered = []
            gathered.append(shard)
        buckets.append(Bucket(gathered, sums, workspace))
    return buckets


def _kind(shard: Shard) -> tuple[object, ...]:
    """Shares of one kind can lie in one bucket."""
    types = shard.dtype, shard.leaf.parameter.dtype
    return shard.scatter, shard.replicas, *types, shard.leaf.wrapper, shard.replica_count, shard.stride
