"""Which ranks hold other samples, which autograd leaves they have, and how often a gradient is held.

A model may lie on a mesh of several dimensions. Two numbers say all that the statistics need: J, the
data-parallel ranks (each with its own samples: DDP's ranks, FSDP2's shards, hybrid sharding's replicas x shards),
and T, the tensor-parallel ranks (which work on the same samples). A tensor that several ranks hold alike must be
counted once: each rank counts it by 1/:func:`replica_count`.
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from adabatch.statistics.leaves import Leaf
from adabatch.statistics.wrappers import (
    averaged_by_hand,
    ddp_modules,
    one_group,
    reduced_by,
    require_averaged,
    require_plain,
    require_supported,
)

__all__ = [
    "DataParallel",
    "Workspace",
    "data_parallel",
    "like",
    "reduce_scatter",
    "replica_count",
]

REDUCTIONS = ("mean", "sum")
"""What ranks do with their gradients."""


def replica_count(tensor: Tensor, ranks: int) -> int:
    """How many of these ranks hold the same values: all of them, but for a tensor that is sharded over them."""
    if not isinstance(tensor, DTensor):
        return ranks
    sizes = zip(tensor.device_mesh.shape, tensor.placements, strict=True)
    return ranks // math.prod(size for size, placement in sizes if not placement.is_replicate())


def like(gradient: Tensor, tensor: Tensor) -> Tensor:
    """The gradient laid out as its tensor: a sum still open over tensor-parallel ranks is taken."""
    if isinstance(gradient, DTensor) and isinstance(tensor, DTensor) and gradient.placements != tensor.placements:
        return gradient.redistribute(placements=tensor.placements)
    return gradient


class Workspace:
    """A buffer that is used over and over: on a CPU fresh memory costs more than a pass over it."""

    def __init__(self) -> None:
        self._buffer = torch.empty(0)

    def like(self, tensor: Tensor) -> Tensor:
        """A tensor of this shape and type whose values do not matter, valid until the next call."""
        size = tensor.numel()
        if self._buffer.numel() < size or self._buffer.dtype != tensor.dtype:
            self._buffer = torch.empty(size, dtype=tensor.dtype, device=tensor.device)
        return self._buffer[:size].view(tensor.shape)

    def clear(self) -> None:
        """Free it."""
        self._buffer = torch.empty(0)


def reduce_scatter(whole: Tensor, group: dist.ProcessGroup, workspace: Workspace) -> Tensor:
    """[ranks, ...] on every rank -> [...]: the sum over ranks of the row with this rank's number.

    On the CPU the rows are exchanged and added here, which is faster than gloo's own reduce-scatter
    (`benchmarks/statistics_cost.py` prints both).
    """
    if whole.device.type == "cpu":
        received = workspace.like(whole)
        dist.all_to_all_single(received.view(-1), whole.view(-1), group=group)
        return received.sum(0)
    part = torch.empty_like(whole[0])
    # torch 2.13 renamed it.
    scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
    scatter(part.view(-1), whole.view(-1), group=group)
    return part


@dataclass(frozen=True)
class DataParallel:
    """How the samples and the model lie on the ranks.

    Attributes:
        ranks: J, data-parallel ranks.
        tensor_parallel: T, ranks that share the work on the same samples.
        process_groups: summing over them, one after another, sums over all J T ranks.
        replicated: whether every rank holds all of every gradient (DDP, or averaging by hand).
        reduction: whether the data-parallel ranks' gradients are averaged ("mean") or added ("sum").
    """

    ranks: int = 1
    tensor_parallel: int = 1
    process_groups: tuple[dist.ProcessGroup, ...] = ()
    replicated: bool = False
    reduction: str = "mean"

    @property
    def divisor(self) -> int:
        """c, by which the sum of the ranks' gradients is divided: J, or 1 where they are added."""
        return self.ranks if self.reduction == "mean" else 1

    @property
    def data_parallel_groups(self) -> tuple[dist.ProcessGroup, ...]:
        """Those of the process groups over which samples differ: summing over them sums over the J ranks."""
        groups, ranks = [], 1
        for group in self.process_groups:  # a mesh's data-parallel dimensions come first
            if ranks < self.ranks:
                groups.append(group)
                ranks *= dist.get_world_size(group)
        return tuple(groups)

    @property
    def world_size(self) -> int:
        """J T."""
        return self.ranks * self.tensor_parallel

    def sum(self, values: Tensor) -> Tensor:
        """The values summed over all ranks, in place."""
        for group in self.process_groups:
            dist.all_reduce(values, group=group)
        return values


def data_parallel(
    model: nn.Module,
    leaves: list[Leaf],
    process_group: dist.ProcessGroup | None = None,
    reduction: str = "mean",
    averaged: Collection[str] = (),
) -> DataParallel:
    """How samples and model lie on the ranks, from how the model is wrapped.

    Args:
        model: after wrapping, by any of DDP, FSDP2, ``torch.compile`` and modules of the user's own, in any order.
        leaves: its :func:`~adabatch.statistics.leaves.autograd_leaves`.
        process_group: of the data-parallel ranks, for a plain module whose gradients are averaged by hand.
        reduction: "mean" where the ranks' gradients are averaged, "sum" where they are added.
        averaged: the names of parameters, or of modules, whose gradients the loop reduces over the data-parallel
            ranks by hand, while DDP or FSDP2 reduce the others'.

    Raises:
        ValueError: if the module is plain while several ranks run and no process group was given; if its
            parameters lie on data-parallel meshes of several sizes, or nothing reduces the gradient of one; for
            wrappers that are not supported; and for unknown names.
    """
    if reduction not in REDUCTIONS:
        raise ValueError(
            f"reduction={reduction!r} is unknown: give 'mean' if the ranks' gradients are averaged (as DDP and "
            "fully_shard do), or 'sum' if they are added"
        )
    require_supported(model)
    by_hand = averaged_by_hand(leaves, averaged)
    parameters = [(leaf.name, leaf.parameter) for leaf in leaves]
    if replicas := ddp_modules(model):
        require_plain(parameters, "in a model with DistributedDataParallel: use fully_shard for the whole model")
        group = one_group(replicas, process_group)
        reduced = set().union(*map(reduced_by, replicas))
        require_averaged(leaves, reduced, by_hand, dist.get_world_size(group))
        return _replicated(group, reduction)
    if process_group is not None:
        require_plain(parameters, "whose mesh names the ranks: leave process_group= out")
        return _replicated(process_group, reduction)
    if any(isinstance(parameter, DTensor) for _, parameter in parameters):
        return _on_mesh(leaves, by_hand, reduction)
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        raise ValueError(
            f"the module is not wrapped, but {dist.get_world_size()} ranks run: attach the statistics after "
            "DistributedDataParallel or fully_shard, or pass process_group= if you average gradients yourself"
        )
    return DataParallel(reduction=reduction)


def _replicated(group: dist.ProcessGroup, reduction: str) -> DataParallel:
    """Every rank of the group holds the whole model."""
    ranks = dist.get_world_size(group)
    if ranks < 1:
        raise ValueError("this process is not in process_group=: give the group of its own data-parallel ranks")
    return DataParallel(ranks, 1, (group,) if ranks > 1 else (), replicated=ranks > 1, reduction=reduction)


def _on_mesh(leaves: list[Leaf], by_hand: Collection[str], reduction: str) -> DataParallel:
    """Parameters lie on device meshes, but for those that the loop averages."""
    ranks = _data_parallel_ranks([leaf for leaf in leaves if leaf.name not in by_hand])
    reduced = {id(leaf.parameter) for leaf in leaves if leaf.wrapper is not None}
    require_averaged(leaves, reduced, by_hand, ranks)
    meshes = [leaf.parameter.device_mesh for leaf in leaves if isinstance(leaf.parameter, DTensor)]
    mesh = max(meshes, key=lambda mesh: mesh.size())
    groups = tuple(group for group in mesh.get_all_groups() if dist.get_world_size(group) > 1)
    return DataParallel(ranks, mesh.size() // ranks, groups, reduction=reduction)


def _data_parallel_ranks(leaves: list[Leaf]) -> int:
    """J: unsharding gathers over the data-parallel dimensions; what mesh the leaf still has is tensor parallel."""
    sizes = {
        leaf.parameter.device_mesh.size() // _mesh_size(leaf.tensor): leaf.name
        for leaf in leaves
        if isinstance(leaf.parameter, DTensor)
    }
    if len(sizes) > 1:
        (few, name), (many, other) = min(sizes.items()), max(sizes.items())
        raise ValueError(
            f"{name} lies on {few} data-parallel ranks, but {other} on {many}: the statistics need one "
            "data-parallel size; wrap the whole model with fully_shard over the same mesh"
        )
    return next(iter(sizes), 1)


def _mesh_size(tensor: Tensor) -> int:
    return tensor.device_mesh.size() if isinstance(tensor, DTensor) else 1
