"""Which ranks hold other samples, which autograd leaves they have, and how often a gradient is held.

A model may lie on a mesh of several dimensions. Two numbers say all that the statistics need: J, the
data-parallel ranks (each with its own samples: DDP's ranks, FSDP2's shards, hybrid sharding's replicas x shards),
and T, the tensor-parallel ranks (which work on the same samples). A tensor that several ranks hold alike must be
counted once: each rank counts it by 1/:func:`replica_count`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

__all__ = [
    "DataParallel",
    "Leaf",
    "Workspace",
    "autograd_leaves",
    "data_parallel",
    "like",
    "reduce_scatter",
    "replica_count",
]


@dataclass(frozen=True)
class Leaf:
    """Where a trainable parameter's gradient first appears.

    Attributes:
        name: the parameter's.
        tensor: the autograd leaf. Under FSDP2 it is the unsharded parameter (tensor parallel or not).
        parameter: what the optimizer steps: the sharded parameter under FSDP2, else the leaf itself.
        wrapper: the FSDP2 module that shards it, if any.
    """

    name: str
    tensor: Tensor
    parameter: Tensor
    wrapper: FSDPModule | None = None

    @property
    def reduced_at_once(self) -> bool:
        """Whether FSDP2 reduces the next gradient right after backward, rather than accumulating it whole."""
        if self.wrapper is None:
            return False
        # The switch has a public setter only. Where it cannot be read, reducing at once is right, if slower.
        state = self.wrapper._get_fsdp_state()
        groups = getattr(state, "_fsdp_param_groups", None) or [getattr(state, "_fsdp_param_group", None)]
        return all(getattr(group, "reduce_grads", True) for group in groups)


def autograd_leaves(model: nn.Module) -> Iterator[Leaf]:
    """The autograd leaf of every trainable parameter, each tensor once.

    Under FSDP2 each wrapped module is unsharded and resharded in turn, so that no more than one module's
    parameters are whole at a time.
    """
    seen: set[int] = set()
    for path, module in model.named_modules():
        assert isinstance(module, nn.Module)
        if not isinstance(module, FSDPModule):
            continue
        module.reshard()
        sharded = dict(module.named_parameters())
        module.unshard()
        for name, leaf in module.named_parameters():
            # What unsharding has not changed belongs to another wrapped module.
            if leaf is not sharded[name]:
                seen |= {id(leaf), id(sharded[name])}
                if leaf.requires_grad:
                    yield Leaf(f"{path}.{name}" if path else name, leaf, sharded[name], module)
        module.reshard()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and id(parameter) not in seen:
            yield Leaf(name, parameter, parameter)


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
    """

    ranks: int = 1
    tensor_parallel: int = 1
    process_groups: tuple[dist.ProcessGroup, ...] = ()
    replicated: bool = False

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
    model: nn.Module, leaves: list[Leaf], process_group: dist.ProcessGroup | None = None
) -> DataParallel:
    """The layout, from how the model is wrapped.

    Args:
        model: after wrapping.
        leaves: its :func:`autograd_leaves`.
        process_group: of the data-parallel ranks, for a plain module whose gradients are averaged by hand.

    Raises:
        ValueError: if the module is plain while several ranks run and no process group was given, or if its
            parameters lie on data-parallel meshes of several sizes.
    """
    if process_group is None and isinstance(model, DistributedDataParallel):
        process_group = model.process_group
    if process_group is not None:
        ranks = dist.get_world_size(process_group)
        return DataParallel(ranks, 1, (process_group,) if ranks > 1 else (), replicated=ranks > 1)
    meshes = [leaf.parameter.device_mesh for leaf in leaves if isinstance(leaf.parameter, DTensor)]
    if meshes:
        mesh = max(meshes, key=lambda mesh: mesh.size())
        ranks = _data_parallel_ranks(leaves)
        groups = tuple(group for group in mesh.get_all_groups() if dist.get_world_size(group) > 1)
        return DataParallel(ranks, mesh.size() // ranks, groups)
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        raise ValueError(
            f"the module is not wrapped, but {dist.get_world_size()} ranks run: attach the statistics after "
            "DistributedDataParallel or fully_shard, or pass process_group= if you average gradients yourself"
        )
    return DataParallel()


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
    return next(iter(sizes))


def _mesh_size(tensor: Tensor) -> int:
    return tensor.device_mesh.size() if isinstance(tensor, DTensor) else 1
