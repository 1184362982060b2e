"""How a parameter's coordinates are divided over ranks, and which of them are looked at.

With a stride these are every n-th block of ``BLOCK`` neighbours on each rank: a cache line, so that what is
left out is not even read.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.tensor import DTensor

from adabatch.statistics.leaves import Leaf
from adabatch.statistics.norms import local
from adabatch.statistics.reductions import DataParallel, like, replica_count

__all__ = ["BLOCK", "SMALL", "Sample", "Shard", "coprime_stride", "dense"]

SMALL = 1 << 16
"""Coordinates of a parameter of which all count at any stride."""

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
class Shard:
    """How one leaf's coordinates are divided over ranks.

    Attributes:
        leaf: the parameter.
        ranks: among which its coordinates are divided.
        size: coordinates of one rank, the last ranks' padded.
        dtype: in which sums are taken.
        stride: sums are kept of every this-many-th block of a rank's coordinates (:func:`coprime_stride`).
        scatter: the group of these ranks, None for one rank.
        replicas: the group of ranks that end with the same shard (hybrid sharding).
        rank: this rank's number in ``scatter``.
        group: this rank's data-parallel number.
        replica_count: how many ranks end with this shard.
        held_whole: whether this rank has all of the reduced gradient, of which the shard is a part.
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
    replica_count: int = 1
    held_whole: bool = False

    @classmethod
    def of(cls, leaf: Leaf, layout: DataParallel, stride: int = 1) -> Shard:
        """How the layout divides this leaf.

        Args:
            leaf: the parameter.
            layout: of the ranks.
            stride: at least, for leaves with more than ``SMALL`` coordinates, and enough of them on each rank.

        Raises:
            ValueError: for a parameter that FSDP2 shards along another dimension than the first.
        """
        whole = local(leaf.tensor)
        dtype = torch.promote_types(leaf.tensor.dtype, torch.float32)
        if layout.replicated:
            rank, size = dist.get_rank(layout.process_groups[0]), -(-whole.numel() // layout.ranks)
            every, scatter = _every(stride, size, whole), layout.process_groups[0]
            return cls(leaf, layout.ranks, size, dtype, every, scatter, rank=rank, group=rank, held_whole=True)
        count = replica_count(leaf.parameter, layout.world_size)
        mesh = _sharding(leaf)
        if mesh is None and layout.ranks > 1:
            return cls._of_whole(leaf, layout, stride)
        if mesh is None:
            every = _every(stride, whole.numel(), whole)
            return cls(leaf, 1, whole.numel(), dtype, every, replica_count=count, held_whole=True)
        dimensions = mesh.ndim - _dimensions(leaf.tensor)
        place = mesh.get_coordinate()
        assert place is not None
        places = list(zip(mesh.shape[:dimensions], place, strict=False))
        ranks, rank = places[-1]
        size = -(-whole.shape[0] // ranks) * math.prod(whole.shape[1:])
        replicas = mesh.get_group(0) if dimensions == 2 else None
        scatter, every = mesh.get_group(dimensions - 1), _every(stride, size, whole)
        return cls(leaf, ranks, size, dtype, every, scatter, replicas, rank, _numbered(places), count)

    @classmethod
    def _of_whole(cls, leaf: Leaf, layout: DataParallel, stride: int) -> Shard:
        """Of a leaf on a mesh that every data-parallel rank holds whole: averaged by hand, or by replicate()."""
        whole, groups = local(leaf.tensor), layout.data_parallel_groups
        places = [(dist.get_world_size(each), dist.get_rank(each)) for each in groups]
        ranks, rank = places[-1]
        size = -(-whole.numel() // ranks)
        return cls(
            leaf,
            ranks,
            size,
            torch.promote_types(leaf.tensor.dtype, torch.float32),
            _every(stride, size, whole),
            groups[-1],
            groups[0] if len(groups) == 2 else None,
            rank,
            _numbered(places),
            replica_count(leaf.parameter, layout.world_size // ranks),
            held_whole=True,
        )

    @property
    def kept(self) -> int:
        """Coordinates of one rank whose sums are kept, padding included."""
        return self.sample(self.size).size

    def sample(self, length: int, ranks: int = 1, start: int = 0) -> Sample:
        """What is kept of ``length`` coordinates of each of some ranks, in a flat tensor from ``start`` on."""
        blocks, block = (1, length) if self.stride == 1 else (-(-(length // BLOCK) // self.stride), BLOCK)
        return Sample((ranks, blocks, block), (self.size, self.stride * BLOCK, 1), start)

    @property
    def samples(self) -> list[Sample]:
        """What is kept of the whole leaf: of the ranks with all their coordinates, then of one with fewer."""
        if not self.size:
            return []  # under tensor parallelism a rank may have no part of a small parameter
        full, rest = divmod(local(self.leaf.tensor).numel(), self.size)
        return [self.sample(self.size, full), *([self.sample(rest, 1, full * self.size)] if rest else [])]

    def gradient(self) -> Tensor:
        """This rank's part of the reduced gradient, flat, without padding; zeros for a parameter that got none."""
        parameter = self.leaf.parameter
        if parameter.grad is None:
            flat = torch.zeros_like(local(parameter)).reshape(-1)
        else:
            flat = dense(local(like(parameter.grad, parameter))).reshape(-1)
        return flat[self.rank * self.size :][: self.size] if self.held_whole else flat


def counted_positions(
    leaf: Leaf, layout: DataParallel, positions: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Which coordinates this rank counts in the reduced gradient, each one data-parallel rank's.

    Unlike :class:`Shard` it knows parameters that FSDP2 shards along any dimension.

    Args:
        leaf: the parameter.
        layout: of the ranks.
        positions: of coordinates in the flat gradient of the leaf, this tensor-parallel rank's own.

    Returns:
        Whether this rank counts each; and where those that it counts are in its flat part of the reduced gradient.

    >>> weight = torch.zeros(2, 3)
    >>> counted_positions(Leaf("weight", weight, weight), DataParallel(), np.array([1, 5]))
    (array([ True,  True]), array([1, 5]))
    """
    shape = list(local(leaf.tensor).shape)
    counted, index = np.ones(len(positions), dtype=bool), list(np.unravel_index(positions, shape or [1]))
    copies, copy = 1, 0
    for ranks, rank, dimension in _divisions(leaf, layout):
        if dimension is None:
            copies, copy = copies * ranks, copy * ranks + rank
        else:
            size = -(-shape[dimension] // ranks)
            counted &= index[dimension] // size == rank
            index[dimension] = index[dimension] - rank * size
            shape[dimension] = min(size, max(shape[dimension] - rank * size, 0))
    counted &= np.arange(len(positions)) % copies == copy
    if not counted.any():  # a rank with no row at all has no shape to speak of
        return counted, np.zeros(0, dtype=np.int64)
    own = tuple(along[counted] for along in index)
    return counted, np.ravel_multi_index(own, shape or [1]).astype(np.int64)


def _divisions(leaf: Leaf, layout: DataParallel) -> list[tuple[int, int, int | None]]:
    """(ranks, this one's number, the dimension that is sharded, None for copies) of data-parallel groups."""
    parameter = leaf.parameter
    if not isinstance(parameter, DTensor) or leaf.wrapper is None:
        return [(dist.get_world_size(group), dist.get_rank(group), None) for group in layout.data_parallel_groups]
    mesh, place = parameter.device_mesh, parameter.device_mesh.get_coordinate()
    assert place is not None
    divided = mesh.ndim - _dimensions(leaf.tensor)
    return [
        (size, position, getattr(placement, "dim", None))
        for size, position, placement in zip(mesh.shape, place, parameter.placements, strict=True)
    ][:divided]


def _numbered(places: Iterable[tuple[int, int]]) -> int:
    """This rank's number among all, from how many there are along each dimension and its number there."""
    number = 0
    for length, position in places:
        number = number * length + position
    return number


def coprime_stride(stride: int, size: int) -> int:
    """The smallest number from ``stride`` on without a common divisor with the parameter's size.

    Every 16th block of a matrix with rows of 512 would see the same input features in every row; without a common
    divisor, blocks pass through all columns (and heads) alike.

    >>> coprime_stride(16, 512 * 1408), coprime_stride(4, 3 * 5 * 7), coprime_stride(1, 512), coprime_stride(16, 0)
    (17, 4, 1, 16)
    """
    if not size:
        return stride
    return next(step for step in itertools.count(stride) if math.gcd(step, size) == 1)


def dense(gradient: Tensor) -> Tensor:
    """The gradient with all its coordinates, also where only some rows of it were given."""
    return gradient if gradient.layout is torch.strided else gradient.to_dense()


def _every(stride: int, size: int, whole: Tensor) -> int:
    """The stride of a parameter of which each rank has ``size`` coordinates.

    Blocks pass through all columns within ``stride`` rows: a rank with fewer rows would see the same columns as
    all others, and looks at everything.
    """
    every = coprime_stride(stride, whole.numel())
    row = math.prod(whole.shape[1:])
    return every if whole.numel() > SMALL and size >= every * max(row, BLOCK) else 1


def _sharding(leaf: Leaf) -> DeviceMesh | None:
    """The mesh over whose first dimensions FSDP2 shards the parameter; None if nothing does."""
    parameter = leaf.parameter
    if not isinstance(parameter, DTensor) or parameter.device_mesh.ndim == _dimensions(leaf.tensor):
        return None
    placement = parameter.placements[parameter.device_mesh.ndim - _dimensions(leaf.tensor) - 1]
    if placement.is_replicate():
        return None
    if getattr(placement, "dim", None) != 0:
        raise ValueError(
            f"{leaf.name} is laid out as {parameter.placements}; coordinate-wise statistics need parameters "
            "sharded along their first dimension, as fully_shard does"
        )
    return parameter.device_mesh


def _dimensions(tensor: Tensor) -> int:
    """Mesh dimensions over which the leaf itself is still spread: those of tensor parallelism."""
    return tensor.device_mesh.ndim if isinstance(tensor, DTensor) else 0
