"""Sums over groups, coordinate by coordinate, in buckets of parameters that are reduced together.

A bucket keeps, for each of its parameters, the groups' squares (and, for the conservative denominator, their
values with the sign of their half) in the layout that a reduce-scatter takes: [ranks, sums, coordinates of one
rank]. The hook adds to it in place, so that nothing is copied. Where FSDP2 reduces the gradient at once, so does a
bucket that is full; where gradients are accumulated whole (DDP, FSDP2 without synchronisation), sums are too.

With a stride, sums are kept of every so many-th block of ``BLOCK`` neighbours: a cache line, so that what is left
out is not even read.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from adabatch.statistics.data_parallel import DataParallel, Leaf, Scratch, copies, like, reduce_scatter
from adabatch.statistics.norms import local

__all__ = ["Bucket", "Share", "buckets_of", "coprime_stride"]

BUCKET = 1 << 22
"""Coordinates in a bucket, unless one parameter alone has more."""

SMALL = 1 << 16
"""Coordinates of a parameter of which all count, whatever the stride is."""

BLOCK = 16
"""Neighbouring coordinates that are taken or left out together."""


@dataclass(frozen=True)
class Sample:
    """Some blocks of a flat tensor, as a view: one operation however they lie.

    Attributes:
        shape: [ranks, blocks, block].
        steps: between neighbours, in each of these dimensions.
        start: of the first block.
    """

    shape: tuple[int, int, int]
    steps: tuple[int, int, int]
    start: int

    @property
    def size(self) -> int:
        """Coordinates of one rank."""
        return self.shape[1] * self.shape[2]

    def of(self, flat: Tensor) -> Tensor:
        """The view of a contiguous tensor.

        >>> Sample((2, 2, 1), (5, 3, 1), 0).of(torch.arange(10)).flatten(1).tolist()
        [[0, 3], [5, 8]]
        """
        return flat.as_strided(self.shape, self.steps, flat.storage_offset() + self.start)


@dataclass(frozen=True)
class Share:
    """How one leaf's coordinates are divided over ranks.

    Attributes:
        leaf: the parameter.
        ranks: among which its coordinates are divided.
        size: coordinates of one rank, the last ranks' padded.
        dtype: in which sums are taken.
        stride: sums are kept of every this-many-th block of a rank's coordinates (:func:`coprime_stride`).
        scatter: the group of these ranks, None for one rank.
        replicas: the group of ranks that end with the same share (hybrid sharding).
        rank: this rank's number in ``scatter``.
        group: this rank's data-parallel number.
        copies: how many ranks end with this share.
    """

    leaf: Leaf
    ranks: int
    size: int
    dtype: torch.dtype
    stride: int = 1
    scatter: dist.ProcessGroup | None = None
    replicas: dist.ProcessGroup | None = None
    rank: int = 0
    group: int = 0
    copies: int = 1

    @classmethod
    def of(cls, leaf: Leaf, layout: DataParallel, stride: int = 1) -> Share:
        """How the layout divides this leaf.

        Args:
            leaf: the parameter.
            layout: of the ranks.
            stride: at least, for leaves with more than ``SMALL`` coordinates; of smaller ones all count.

        Raises:
            ValueError: for a parameter that FSDP2 shards along another dimension than the first.
        """
        whole = local(leaf.tensor)
        dtype = torch.promote_types(leaf.tensor.dtype, torch.float32)
        if layout.replicated:
            rank, size = dist.get_rank(layout.process_groups[0]), -(-whole.numel() // layout.ranks)
            every, scatter = _every(stride, size, whole), layout.process_groups[0]
            return cls(leaf, layout.ranks, size, dtype, every, scatter, rank=rank, group=rank)
        count = copies(leaf.parameter, layout.world_size)
        mesh = _sharding(leaf)
        if mesh is None:
            return cls(leaf, 1, whole.numel(), dtype, _every(stride, whole.numel(), whole), copies=count)
        dimensions = mesh.ndim - _dimensions(leaf.tensor)
        place = mesh.get_coordinate()
        assert place is not None
        group = 0
        for length, position in zip(mesh.shape[:dimensions], place, strict=False):
            group = group * length + position
        ranks, rank = mesh.shape[dimensions - 1], place[dimensions - 1]
        size = -(-whole.shape[0] // ranks) * math.prod(whole.shape[1:])
        replicas = mesh.get_group(0) if dimensions == 2 else None
        scatter, every = mesh.get_group(dimensions - 1), _every(stride, size, whole)
        return cls(leaf, ranks, size, dtype, every, scatter, replicas, rank, group, count)

    @property
    def kept(self) -> int:
        """Coordinates of one rank whose sums are kept, padding included."""
        return self.sample(self.size).size

    def sample(self, length: int, ranks: int = 1, start: int = 0) -> Sample:
        """What is kept of so many coordinates of each of some ranks, which lie in a flat tensor from start on."""
        blocks, block = (1, length) if self.stride == 1 else (-(-(length // BLOCK) // self.stride), BLOCK)
        return Sample((ranks, blocks, block), (self.size, self.stride * BLOCK, 1), start)

    @property
    def samples(self) -> list[Sample]:
        """What is kept of the whole leaf: of the ranks with all their coordinates, then of one with fewer."""
        full, rest = divmod(local(self.leaf.tensor).numel(), self.size)
        return [self.sample(self.size, full), *([self.sample(rest, 1, full * self.size)] if rest else [])]

    def gradient(self) -> Tensor:
        """This rank's part of the reduced gradient, flat, without padding."""
        parameter = self.leaf.parameter
        assert parameter.grad is not None
        flat = local(like(parameter.grad, parameter)).reshape(-1)
        return flat if isinstance(parameter, DTensor) else flat[self.rank * self.size :][: self.size]


def coprime_stride(stride: int, size: int) -> int:
    """The smallest number from ``stride`` on without a common divisor with the parameter's size.

    Every 16th block of a matrix with rows of 512 would see the same input features in every row; without a common
    divisor, blocks pass through all columns (and heads) alike.

    >>> coprime_stride(16, 512 * 1408), coprime_stride(4, 3 * 5 * 7), coprime_stride(1, 512)
    (17, 4, 1)
    """
    return next(step for step in itertools.count(stride) if math.gcd(step, size) == 1)


def _every(stride: int, size: int, whole: Tensor) -> int:
    large = whole.numel() > SMALL and size >= BLOCK * stride  # each rank has some
    return coprime_stride(stride, whole.numel()) if large else 1


def _sharding(leaf: Leaf) -> DeviceMesh | None:
    """The mesh over whose first dimensions FSDP2 shards the parameter; None if nothing does."""
    parameter = leaf.parameter
    if not isinstance(parameter, DTensor) or parameter.device_mesh.ndim == _dimensions(leaf.tensor):
        return None
    placement = parameter.placements[parameter.device_mesh.ndim - _dimensions(leaf.tensor) - 1]
    if getattr(placement, "dim", None) != 0:
        raise ValueError(
            f"{leaf.name} is laid out as {parameter.placements}; coordinate-wise statistics need parameters "
            "sharded along their first dimension, as fully_shard does"
        )
    return parameter.device_mesh


def _dimensions(tensor: Tensor) -> int:
    """Mesh dimensions over which the leaf itself is still spread: those of tensor parallelism."""
    return tensor.device_mesh.ndim if isinstance(tensor, DTensor) else 0


class Bucket:
    """The sums of several leaves that are divided over the same ranks.

    Args:
        shares: of the leaves.
        sums: kept for each coordinate, 1 or 2.
        scratch: what all buckets receive into.
    """

    def __init__(self, shares: list[Share], sums: int, scratch: Scratch) -> None:
        self.shares, self._sums, self._scratch = shares, sums, scratch
        self._offsets = list(itertools.accumulate((share.kept for share in shares), initial=0))
        self._whole: Tensor | None = None
        self._part: Tensor | None = None
        self._release()
        self._added = [0] * len(shares)

    @property
    def size(self) -> int:
        """Numbers kept at the moment."""
        return sum(tensor.numel() for tensor in (self._whole, self._part) if tensor is not None)

    def coprime(self, stride: int) -> int:
        """:func:`coprime_stride` for all of the bucket's parameters."""
        return coprime_stride(stride, math.prod(share.leaf.tensor.numel() for share in self.shares))

    def clear(self) -> None:
        """Forget, and free."""
        self._release()
        self._part = None
        self._added = [0] * len(self.shares)
        self._scratch.clear()

    def add(self, number: int, gradient: Tensor, negative: bool) -> None:
        """Add a group's gradient of one leaf; the sums are reduced where FSDP2 reduces the gradients.

        Args:
            number: which of the shares.
            gradient: of the whole leaf.
            negative: whether the group counts negatively in the second sum.
        """
        share = self.shares[number]
        flat = gradient.reshape(-1).to(share.dtype)
        if self._whole is None:
            self._allocate(flat)
        for sample, sums in self._views[number]:
            values = sample.of(flat)
            if self._added[number]:
                sums[0].addcmul_(values, values)
            else:
                torch.mul(values, values, out=sums[0])
            if self._sums == 2:
                signed = -values if negative else values
                sums[1].add_(signed) if self._added[number] else sums[1].copy_(signed)
        self._added[number] += 1
        whole_group = len(set(self._added)) == 1
        if whole_group and all(share.leaf.reduced_at_once for share in self.shares):
            every_micro_batch = self._added[number] == 1
            self._reduce()
            if every_micro_batch:
                self._release()  # so that few parameters are whole at a time

    def _allocate(self, like: Tensor) -> None:
        """Make room for the sums, and keep each leaf's views of it, [sums, ranks, blocks, block]."""
        shape = (self.shares[0].ranks, self._sums, self._offsets[-1])
        self._whole = torch.zeros(shape, dtype=like.dtype, device=like.device)
        for views, share, offset in zip(self._views, self.shares, self._offsets, strict=False):
            first = 0
            for sample in share.samples:
                ranks = self._whole[first : first + sample.shape[0], :, offset : offset + sample.size]
                views.append((sample, ranks.transpose(0, 1).unflatten(2, sample.shape[1:])))
                first += sample.shape[0]

    def _release(self) -> None:
        self._whole = None
        self._views: list[list[tuple[Sample, Tensor]]] = [[] for _ in self.shares]

    def _reduce(self) -> None:
        """Sum over ranks; each keeps its share."""
        assert self._whole is not None
        scatter = self.shares[0].scatter
        part = self._whole[0] if scatter is None else reduce_scatter(self._whole, scatter, self._scratch)
        self._part = part if self._part is None else self._part.add_(part)
        self._added = [0] * len(self.shares)

    def finish(self) -> tuple[Tensor, Tensor, float]:
        """This rank's share, without padding.

        Returns:
            The sums, [sums, coordinates kept]; the reduced gradient there, [coordinates kept]; and how many
            coordinates of the model each of them stands for.
        """
        if any(self._added):
            self._reduce()
        part, self._part = self._part, None
        assert part is not None
        if self.shares[0].replicas is not None:
            dist.all_reduce(part, group=self.shares[0].replicas)
        gradients = [share.gradient() for share in self.shares]
        samples = [
            share.sample(len(one)).of(one.contiguous()) for share, one in zip(self.shares, gradients, strict=True)
        ]
        mean = torch.cat([sample.reshape(-1) for sample in samples])
        kept = [
            part[:, start : start + sample.numel()] for start, sample in zip(self._offsets, samples, strict=False)
        ]
        values = part if len(mean) == part.shape[1] else torch.cat(kept, dim=1)  # padding is left out
        whole = sum(len(gradient) for gradient in gradients) / self.shares[0].copies
        return values, mean, whole / max(len(mean), 1)


def buckets_of(leaves: list[Leaf], layout: DataParallel, sums: int, stride: int = 1) -> list[Bucket]:
    """Leaves that are divided over the same ranks, in buckets of about ``BUCKET`` coordinates."""
    kinds: dict[tuple[object, ...], list[Share]] = {}
    for leaf in leaves:
        share = Share.of(leaf, layout, stride)
        kinds.setdefault(_kind(share), []).append(share)
    scratch, buckets = Scratch(), []
    for shares in kinds.values():
        gathered: list[Share] = []
        for share in shares:
            if gathered and share.ranks * sum(other.kept for other in [share, *gathered]) > BUCKET:
                buckets.append(Bucket(gathered, sums, scratch))
                gathered = []
            gathered.append(share)
        buckets.append(Bucket(gathered, sums, scratch))
    return buckets


def _kind(share: Share) -> tuple[object, ...]:
    """Shares of one kind can lie in one bucket."""
    return share.scatter, share.replicas, share.dtype, share.leaf.wrapper, share.copies, share.stride > 1
