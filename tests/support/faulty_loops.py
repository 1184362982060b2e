"""Training loops with one mistake each, under every supported wrapping.

A wrapping wraps a family's model and knows how its loop switches synchronisation and averages by hand; a fault
changes one thing of the right loop. :func:`outcomes` executes all of them on a rank and returns what was raised.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.nn.parallel import DistributedDataParallel

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.statistics import GradientStatistics
from tests.support.families import FAMILIES, SAMPLES, TENSOR_PARALLEL, Family
from tests.support.tiny_model import tensor_parallel

MICRO_BATCHES = 3


@dataclass(frozen=True)
class Wrapping:
    """How a model is wrapped.

    Attributes:
        wrap: (family, its model, ranks) -> the wrapped model.
        ranks: that the loops run on.
        faults: those that make sense.
        options: (family, wrapped model) -> what ``GradientStatistics`` is told.
        by_hand: (family, wrapped model) -> the names of the parameters that the loop averages itself.
        every: whether gradients are synchronised after each micro-batch, not the last one only.
        data_parallel: J.
        families: of models.
    """

    wrap: Callable[[Family, nn.Module, int], nn.Module]
    ranks: int
    faults: tuple[str, ...]
    options: Callable[[Family, nn.Module], dict[str, Any]] = lambda family, model: {}
    by_hand: Callable[[Family, nn.Module], list[str]] = lambda family, model: []
    every: bool = False
    data_parallel: int = 2
    families: Mapping[str, Family] = field(default_factory=lambda: FAMILIES)


@dataclass
class Loop:
    """A step, and what may be wrong with it.

    Attributes:
        wrapped: the model.
        family: of it.
        wrapping: of it.
        generator: of this data-parallel rank's data.
    """

    wrapped: nn.Module
    family: Family
    wrapping: Wrapping
    generator: torch.Generator

    def step(self, statistics: GradientStatistics, fault: str) -> GradientMoments:
        """From the first backward() to finish()."""
        synchronised = self._synchronised(fault)
        for index in range(MICRO_BATCHES):
            synchronise(self.wrapped, index in synchronised)
            loss = self.family.loss(self.wrapped, self.family.draw(self.generator))
            ranks = self.wrapping.data_parallel if statistics.layout.reduction == "sum" else 1
            (loss / (MICRO_BATCHES * ranks)).backward()
            statistics.end_microbatch(SAMPLES, loss_scale=1.0)
        if fault != "not averaged by hand":
            self._average()
        scale(self.wrapped, self._factor(fault))
        if fault in ONE_OF:
            parameters = list(self.wrapped.parameters())
            parameters[ONE_OF.index(fault) * (len(parameters) - 1) // 2].grad.mul_(0.5)
        return statistics.finish()

    def _synchronised(self, fault: str) -> set[int]:
        """The micro-batches after which DDP and FSDP2 synchronise."""
        if fault == "never synchronised":
            return set()
        if fault == "synchronised too early":
            return {0}
        return set(range(MICRO_BATCHES)) if self.wrapping.every else {MICRO_BATCHES - 1}

    def _average(self) -> None:
        """Over ranks, by hand."""
        named = dict(self.wrapped.named_parameters())
        for name in self.wrapping.by_hand(self.family, self.wrapped):
            dist.all_reduce(named[name].grad)
            named[name].grad /= self.wrapping.data_parallel

    def _factor(self, fault: str) -> float:
        """By which the gradient is wrong."""
        ranks = self.wrapping.data_parallel
        return {"summed over ranks": ranks, "averaged over ranks": 1 / ranks, **SCALES}.get(fault, 1.0)


def synchronise(model: nn.Module, on: bool) -> None:
    for module in model.modules():
        if isinstance(module, DistributedDataParallel):
            module.require_backward_grad_sync = on  # what no_sync() sets
        if isinstance(module, FSDPModule):
            module.set_requires_gradient_sync(on, recurse=False)


def scale(model: nn.Module, factor: float) -> None:
    """What clipping to this part of the norm does."""
    if factor != 1:
        for parameter in model.parameters():
            parameter.grad.mul_(factor)


ONE_OF = ("the first parameter halved", "a middle parameter halved", "the last parameter halved")
ROUNDS = 12
"""Steps until each parameter of the families has been followed."""

SCALES = {
    "clipped to .5 of the norm": 0.5,
    "clipped to .9 of the norm": 0.9,
    "clipped to .99 of the norm": 0.99,
    "scaled by 1.5": 1.5,
}
LOCAL = (*SCALES, "stale", *ONE_OF)
ON_RANKS = (*LOCAL, "summed over ranks")
SYNCHRONISED = (*ON_RANKS, "never synchronised", "synchronised too early")


def outcome(family: Family, wrapping: Wrapping, fault: str) -> str:
    """What the loop with this fault raises on this rank, or nothing."""
    rank = dist.get_rank() if wrapping.ranks > 1 else 0
    own = rank * wrapping.data_parallel // wrapping.ranks
    model = family.model()
    try:
        wrapped = (WRONG_WRAPS.get(fault) or wrapping.wrap)(family, model, wrapping.ranks)
        loop = Loop(wrapped, family, wrapping, torch.Generator().manual_seed(1 + own))
        statistics = GradientStatistics(wrapped, **wrapping.options(family, wrapped))
        if fault == "stale":
            loop.step(statistics, "")
        loop.step(statistics, fault)
        for _ in range(ROUNDS - 1 if fault in ("", *ONE_OF) else 0):
            wrapped.zero_grad()
            loop.step(statistics, fault)
    except (ValueError, RuntimeError) as error:
        return f"{type(error).__name__}: {error}"
    return ""


def outcomes(rank: int, world_size: int, name: str) -> dict[tuple[str, str], str]:
    """:func:`outcome` of the right loop ("") and of each fault, for each family."""
    wrapping = WRAPPINGS[name]
    return {
        (name, fault): outcome(family, wrapping, fault)
        for name, family in wrapping.families.items()
        for fault in ("", *wrapping.faults)
    }


def on_mesh(model: nn.Module, layers: Iterable[nn.Module], mesh: DeviceMesh, root: bool = True) -> nn.Module:
    for layer in [*layers, *([model] if root else [])]:
        fully_shard(layer, mesh=mesh)
    return model


def sharded(family: Family, model: nn.Module, ranks: int) -> nn.Module:
    return on_mesh(model, family.layers(model), init_device_mesh("cpu", (ranks,)))


def root_not_wrapped(family: Family, model: nn.Module, ranks: int) -> nn.Module:
    return on_mesh(model, family.layers(model), init_device_mesh("cpu", (ranks,)), root=False)


def one_ignored(family: Family, model: nn.Module, ranks: int) -> nn.Module:
    ignored = list(model.parameters())[-1]
    return fully_shard(model, mesh=init_device_mesh("cpu", (ranks,)), ignored_params={ignored})


def replicated(family: Family, model: nn.Module, ranks: int) -> nn.Module:
    return DistributedDataParallel(model)


def one_ignored_by_ddp(family: Family, model: nn.Module, ranks: int) -> nn.Module:
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(model, [list(model.state_dict())[-1]])
    return DistributedDataParallel(model)


def one_layer_replicated(family: Family, model: nn.Module, ranks: int) -> nn.Module:
    first = family.layers(model)[0]
    layers = next(part for part in model.modules() if isinstance(part, nn.ModuleList) and part[0] is first)
    layers[0] = DistributedDataParallel(layers[0])
    return model


def hybrid(family: Family, model: nn.Module, ranks: int) -> nn.Module:
    mesh = init_device_mesh("cpu", (2, ranks // 2), mesh_dim_names=("replicate", "shard"))
    return on_mesh(model, family.layers(model), mesh)


def sharded_tensor_parallel(family: Family, model: nn.Module, ranks: int) -> nn.Module:
    mesh = init_device_mesh("cpu", (ranks // 2, 2), mesh_dim_names=("data", "tensor"))
    tensor_parallel(model, mesh["tensor"], sequence_parallel=False)
    return on_mesh(model, family.layers(model), mesh["data"])


def unchanged(family: Family, model: nn.Module, ranks: int) -> nn.Module:
    return model


def summed(family: Family, model: nn.Module, ranks: int) -> nn.Module:
    sharded(family, model, ranks)
    for module in model.modules():
        if isinstance(module, FSDPModule):
            module.set_gradient_divide_factor(1.0)
            module.set_force_sum_reduction_for_comms(True)  # gloo cannot scale before it adds
    return model


def outside_layers(family: Family, model: nn.Module) -> list[str]:
    inside = {id(parameter) for layer in family.layers(model) for parameter in layer.parameters()}
    return [name for name, parameter in model.named_parameters() if id(parameter) not in inside]


WRONG_WRAPS: dict[str, Callable[[Family, nn.Module, int], nn.Module]] = {
    "root not wrapped": root_not_wrapped,
    "a parameter ignored": one_ignored,
    "a parameter ignored by DDP": one_ignored_by_ddp,
    "one layer in DDP": one_layer_replicated,
}

SOME = {name: FAMILIES[name] for name in ("causal LM with a head bias", "classifier")}
"""For wrappings that differ from the others in how gradients are reduced alone."""

WRAPPINGS = {
    "one process": Wrapping(unchanged, 1, LOCAL, data_parallel=1),
    "DDP": Wrapping(replicated, 2, (*SYNCHRONISED, "a parameter ignored by DDP", "one layer in DDP")),
    "DDP, compiled": Wrapping(
        lambda family, model, _: torch.compile(DistributedDataParallel(model), backend="aot_eager"),
        2,
        SYNCHRONISED,
        families=SOME,
    ),
    "FSDP2": Wrapping(sharded, 2, (*SYNCHRONISED, "root not wrapped", "a parameter ignored")),
    "FSDP2, after each micro-batch": Wrapping(sharded, 2, ON_RANKS, every=True, families=SOME),
    "FSDP2, summing": Wrapping(
        summed, 2, (*LOCAL, "averaged over ranks"), lambda family, model: {"reduction": "sum"}, families=SOME
    ),
    "by hand": Wrapping(
        unchanged,
        2,
        (*ON_RANKS, "not averaged by hand"),
        lambda family, model: {"process_group": dist.group.WORLD},
        lambda family, model: [name for name, _ in model.named_parameters()],
        families=SOME,
    ),
    "FSDP2 with the rest by hand": Wrapping(
        root_not_wrapped,
        2,
        (*ON_RANKS, "not averaged by hand"),
        lambda family, model: {"averaged": outside_layers(family, model)},
        outside_layers,
        families=SOME,
    ),
    "hybrid sharding": Wrapping(hybrid, 4, SYNCHRONISED, data_parallel=4, families=SOME),
    "FSDP2 x tensor parallel": Wrapping(
        sharded_tensor_parallel, 4, SYNCHRONISED, families={"causal LM in fp64": TENSOR_PARALLEL}
    ),
}
