"""A small model whose gradients are exact in fp64, and the explicit reference for its moments.

It has no cast to fp32 anywhere (unlike a Llama's RMSNorm); its dimensions do not divide evenly, and its embedding
is tied to its output or not.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Replicate, Shard
from torch.distributed.tensor.parallel import (
    ColwiseParallel,
    RowwiseParallel,
    SequenceParallel,
    parallelize_module,
)
from torch.nn.parallel import DistributedDataParallel
from torch.utils.checkpoint import checkpoint

from adabatch.distributed.parallel import set_gradient_sync
from adabatch.moments.gradient_moments import GradientMoments
from adabatch.statistics import GradientStatistics

LENGTH = 6


@dataclass(frozen=True)
class Dimensions:
    """Of the model."""

    vocabulary: int = 11
    width: int = 7
    hidden: int = 14
    blocks: int = 2


class Block(nn.Module):
    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm, self.up = nn.LayerNorm(width), nn.Linear(width, hidden)
        self.down = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.down(torch.tanh(self.up(self.norm(x)).cumsum(1)))


class TinyModel(nn.Module):
    """An embedding, causal blocks and an output layer, fp64 throughout; its loss can be scaled."""

    def __init__(
        self, tied: bool, recompute: bool = False, dimensions: Dimensions | None = None, scale: float = 1.0
    ) -> None:
        super().__init__()
        torch.manual_seed(3)
        sizes = dimensions or Dimensions()
        self.embedding = nn.Embedding(sizes.vocabulary, sizes.width)
        self.blocks = nn.ModuleList([Block(sizes.width, sizes.hidden) for _ in range(sizes.blocks)])
        self.output = nn.Linear(sizes.width, sizes.vocabulary, bias=False)
        if tied:
            self.output.weight = self.embedding.weight
        self.recompute, self.scale = recompute, scale
        self.double()

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens)
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False) if self.recompute else block(x)
        logits = self.output(x)[:, :-1]
        return self.scale * nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())


def sharded(model: TinyModel, mesh: DeviceMesh, reshard: bool | int = True, **options) -> nn.Module:
    for module in [*model.blocks, model]:
        fully_shard(module, mesh=mesh, reshard_after_forward=reshard, **options)
    return model


def tensor_parallel(model: TinyModel, mesh: DeviceMesh, sequence_parallel: bool) -> TinyModel:
    """Every matrix sharded; the norms plain, or replicated on sequence-sharded activations."""
    between = Shard(1) if sequence_parallel else Replicate()
    tied = model.output.weight is model.embedding.weight
    frozen = not model.blocks[0].down.weight.requires_grad
    block = {"up": ColwiseParallel(input_layouts=between), "down": RowwiseParallel(output_layouts=between)}
    if sequence_parallel:
        block["norm"] = SequenceParallel(use_local_output=True)
    plan = {f"blocks.*.{name}": style for name, style in block.items()}
    plan["embedding"] = RowwiseParallel(input_layouts=Replicate(), output_layouts=between)
    plan["output"] = ColwiseParallel(input_layouts=between, output_layouts=Replicate())
    parallelize_module(model, mesh, plan)
    if tied:
        model.output.weight = model.embedding.weight
    if frozen:
        model.blocks[0].requires_grad_(False)  # torch's SequenceParallel thaws what was frozen
    return model


def wrapped(model: TinyModel, mode: str, world_size: int) -> nn.Module:
    """As it is (single), under ddp, or under fsdp: without reshard, hybrid or tensor parallel, by the mode."""
    if mode in ("single", "ddp"):
        return model if mode == "single" else DistributedDataParallel(model)
    if mode == "hybrid":
        mesh = init_device_mesh("cpu", (2, world_size // 2), mesh_dim_names=("replicate", "shard"))
    elif mode == "tensor parallel":
        both = init_device_mesh("cpu", (world_size // 2, 2), mesh_dim_names=("data", "tensor"))
        model, mesh = tensor_parallel(model, both["tensor"], sequence_parallel=True), both["data"]
    else:
        mesh = init_device_mesh("cpu", (world_size,))
    return sharded(model, mesh, mode != "fsdp without reshard")


def groups_of(n: int, m: int, vocabulary: int = Dimensions.vocabulary, seed: int = 17) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randint(vocabulary, (n * m, LENGTH), generator=generator).split(m))


def group_gradients(model: TinyModel, groups: list[Tensor], divisor: int = 1) -> Tensor:
    """Each group's own whole gradient as a row, in fp64; of loss / divisor, times the divisor."""
    rows = []
    for tokens in groups:
        loss = model(tokens) / divisor
        parts = torch.autograd.grad(loss, [p for p in model.parameters() if p.requires_grad])
        rows.append(divisor * torch.cat([part.double().reshape(-1) for part in parts]))
    return torch.stack(rows)


def reference(model: TinyModel, groups: list[Tensor], divisor: int = 1) -> GradientMoments:
    """The moments from :func:`group_gradients`."""
    gradients = group_gradients(model, groups, divisor)
    return GradientMoments(
        len(groups), len(groups[0]), float(gradients.square().sum()), float(gradients.mean(0).square().sum())
    )


def accumulate(
    model: nn.Module, statistics: GradientStatistics, groups: list[Tensor], rank: int, world_size: int, sync: bool
) -> None:
    """A step's micro-batches on this data-parallel rank, reducing after each or after the last one."""
    micro_batches = len(groups) // world_size
    for index in range(micro_batches):
        set_gradient_sync(model, sync or index == micro_batches - 1)
        tokens = groups[index * world_size + rank]
        (model(tokens) / micro_batches).backward()
        statistics.end_microbatch(len(tokens), loss_scale=1.0)  # told, so that nothing is looked for


def relative_errors(moments: GradientMoments, expected: GradientMoments) -> tuple[float, float, float]:
    """Of both sums and of the trace."""
    return (
        abs(moments.sum_of_squares / expected.sum_of_squares - 1),
        abs(moments.squared_norm / expected.squared_norm - 1),
        abs(moments.covariance_trace / expected.covariance_trace - 1),
    )
