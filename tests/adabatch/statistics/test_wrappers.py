"""What wraps a model is looked through in any order; what cannot be right under it is refused by its name."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed._composable.replicate_with_fsdp import replicate
from torch.distributed.algorithms.ddp_comm_hooks import powerSGD_hook
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook, fp16_compress_hook
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, FullyShardedDataParallel, MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import Shard as ShardPlacement
from torch.nn.parallel import DistributedDataParallel

from adabatch.statistics import CoordinateStatistics, GradientStatistics
from adabatch.statistics.coordinate_shards import Shard, counted_positions
from adabatch.statistics.leaves import Leaf, autograd_leaves
from adabatch.statistics.norms import local
from adabatch.statistics.reductions import DataParallel, data_parallel, replica_count
from adabatch.statistics.roundoffs import accumulation_roundoff, reduction_roundoff
from tests.support.spawning import run_ranks
from tests.support.tiny_model import (
    Dimensions,
    TinyModel,
    accumulate,
    groups_of,
    reference,
    relative_errors,
    sharded,
    tensor_parallel,
)

FP32, BF16 = 2.0**-24, 2.0**-8


class Holder(nn.Module):
    """A user's module around another one."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.net(x)


def compiled(module: nn.Module) -> nn.Module:
    return torch.compile(module, backend="aot_eager")


def with_compiled_blocks(model: TinyModel) -> TinyModel:
    model.blocks = nn.ModuleList([compiled(block) for block in model.blocks])
    return model


def ddp_by_part(model: TinyModel) -> TinyModel:
    model.embedding, model.output = DistributedDataParallel(model.embedding), DistributedDataParallel(model.output)
    model.blocks = nn.ModuleList([DistributedDataParallel(block) for block in model.blocks])
    return model


def fsdp(model: TinyModel) -> TinyModel:
    return sharded(model, init_device_mesh("cpu", (dist.get_world_size(),)))


def replicated(model: TinyModel) -> TinyModel:
    return replicate(model, mesh=init_device_mesh("cpu", (dist.get_world_size(),)))


ORDERS: dict[str, Callable[[TinyModel], nn.Module]] = {
    "a module that holds DDP": lambda model: Holder(DistributedDataParallel(model)),
    "DDP by part": ddp_by_part,
    "replicate()": replicated,
}
COMPILED: dict[str, Callable[[TinyModel], nn.Module]] = {
    "compile of DDP": lambda model: compiled(DistributedDataParallel(model)),
    "DDP of compiled": lambda model: DistributedDataParallel(compiled(model)),
    "DDP of compiled blocks": lambda model: DistributedDataParallel(with_compiled_blocks(model)),
    "compile of a module that holds DDP": lambda model: compiled(Holder(DistributedDataParallel(model))),
    "compile of FSDP2": lambda model: compiled(fsdp(model)),
    "FSDP2 of compiled blocks": lambda model: fsdp(with_compiled_blocks(model)),
}


def measured(rank: int, world_size: int, names: tuple[str, ...]) -> dict[str, tuple[float, bool]]:
    """The largest relative error of the second step's moments, and whether the names are the user's."""
    results = {}
    groups = groups_of(world_size * 2, 3)
    for name in names:
        model = TinyModel(tied=False)
        expected, plain = reference(model, groups), {key for key, _ in model.named_parameters()}
        model = {**ORDERS, **COMPILED}[name](model)
        seen: list[str] = []
        statistics = GradientStatistics(model, part_of=lambda name, seen=seen: seen.append(name) or name)
        for _ in range(2):
            model.zero_grad()
            accumulate(model, statistics, groups, rank, world_size, sync=True)
            moments = statistics.finish()
        held = "net." if "holds" in name else ""
        results[name] = max(relative_errors(moments, expected)), set(seen) == {held + key for key in plain}
    return results


@pytest.mark.distributed
@pytest.mark.parametrize("names", [tuple(ORDERS), pytest.param(tuple(COMPILED), marks=pytest.mark.slow)])
def test_moments_and_names_are_right_in_every_order_of_wrapping(names):
    for result in run_ranks(measured, 2, names):
        for name, (error, same_names) in result.items():
            assert error < 1e-10, (name, error)
            assert same_names, name


def message(attach: Callable[[], Any]) -> str:
    try:
        attach()
    except ValueError as error:
        return str(error)
    return ""


def refused(rank: int, world_size: int) -> dict[str, str]:
    """What attaching raises."""
    mesh = init_device_mesh("cpu", (world_size,))
    own = [dist.new_group([index]) for index in range(world_size)]

    def blocks_only(**options: Any) -> Callable[[], Any]:
        model = TinyModel(tied=False)
        for block in model.blocks:
            fully_shard(block, mesh=mesh)
        return lambda: GradientStatistics(model, **options)

    several = ddp_by_part(TinyModel(tied=False))
    several.output = DistributedDataParallel(TinyModel(tied=False).output, process_group=own[rank])
    frozen = TinyModel(tied=False)
    frozen.output.requires_grad_(False)
    unfrozen = DistributedDataParallel(frozen)
    frozen.output.requires_grad_(True)
    ignoring = TinyModel(tied=False)
    DistributedDataParallel._set_params_and_buffers_to_ignore_for_model(ignoring, ["output.weight"])
    mixed = TinyModel(tied=False)
    mixed.blocks[0] = fully_shard(mixed.blocks[0], mesh=mesh)
    mixed.output = DistributedDataParallel(mixed.output)
    whole = {"averaged": ["embedding", "output.weight"]}
    linear = DistributedDataParallel(nn.Linear(2, 2))
    attaching: dict[str, Callable[[], Any]] = {
        "blocks only": blocks_only(),
        "blocks only, declared in part": blocks_only(averaged=["embedding"]),
        "blocks only, declared": blocks_only(**whole),
        "declared twice": blocks_only(averaged=[*whole["averaged"], "blocks.0.norm"]),
        "unknown name": blocks_only(averaged=["head"]),
        "one string": blocks_only(averaged="embedding"),
        "of different groups": lambda: GradientStatistics(several),
        "other group given": lambda: GradientStatistics(linear, process_group=own[rank]),
        "same group given": lambda: GradientStatistics(linear, process_group=dist.group.WORLD),
        "not in the group": lambda: GradientStatistics(nn.Linear(2, 2), process_group=own[1 - rank]),
        "unfrozen later": lambda: GradientStatistics(unfrozen),
        "ignored by DDP": lambda: GradientStatistics(DistributedDataParallel(ignoring)),
        "ignored by DDP, declared": lambda: GradientStatistics(
            DistributedDataParallel(ignoring), averaged=["output"]
        ),
        "DTensors next to DDP": lambda: GradientStatistics(mixed),
        "process group and FSDP2": lambda: GradientStatistics(
            fsdp(TinyModel(tied=False)), process_group=dist.group.WORLD
        ),
        "not wrapped": lambda: GradientStatistics(TinyModel(tied=False)),
    }
    return {name: message(attach) for name, attach in attaching.items()}


@pytest.mark.distributed
def test_what_nothing_averages_is_refused_on_every_rank_and_what_is_declared_is_not():
    for messages in run_ranks(refused, 2):
        assert "nothing averages the gradient of embedding.weight (2 of 12" in messages["blocks only"]
        assert "averaged=['embedding.weight']" in messages["blocks only"]
        assert "the gradient of output.weight (1 of 12" in messages["blocks only, declared in part"]
        assert messages["blocks only, declared"] == ""
        assert "covers blocks.0.norm.weight, whose gradient the wrapping averages" in messages["declared twice"]
        assert "names 'head', but no trainable parameter" in messages["unknown name"]
        assert "averaged=['embedding']" in messages["one string"]
        assert "different groups" in messages["of different groups"]
        assert "different groups" in messages["other group given"]
        assert messages["same group given"] == ""
        assert "not in process_group" in messages["not in the group"]
        assert "1 parameters were unfrozen after" in messages["unfrozen later"]
        assert "nothing averages the gradient of output.weight (1 of 12" in messages["ignored by DDP"]
        assert messages["ignored by DDP, declared"] == ""
        assert "is a DTensor" in messages["DTensors next to DDP"]
        assert "leave process_group= out" in messages["process group and FSDP2"]
        assert "not wrapped, but 2 ranks run" in messages["not wrapped"]


def without_ranks(kind: type[nn.Module]) -> nn.Module:
    """A module of this type in a model, as far as it can be without a process group."""
    module = kind.__new__(kind)
    nn.Module.__init__(module)
    module.inside = nn.Linear(2, 2)
    return nn.ModuleList([module])


class DeepSpeedEngine(nn.Module):
    """Has the name of DeepSpeed's."""


class PipelineEngine(DeepSpeedEngine):
    """As DeepSpeed's other engines are its engine's subclasses."""


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (FullyShardedDataParallel, "fsdp_version=2"),
        (nn.DataParallel, "nn.DataParallel"),
        (DeepSpeedEngine, "DeepSpeed engine"),
        (PipelineEngine, "DeepSpeed engine"),
    ],
)
def test_wrappers_that_are_not_supported_are_refused_by_their_name(kind, named):
    with pytest.raises(ValueError, match=named):
        GradientStatistics(without_ranks(kind))


def test_ddp_that_replaces_parameters_by_smaller_ones_is_refused():
    model = without_ranks(DistributedDataParallel)
    model[0].mixed_precision = object()
    with pytest.raises(ValueError, match="mixed_precision configuration"):
        GradientStatistics(model)


def test_a_reduction_is_mean_or_sum():
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="reduction='average' is unknown: give 'mean'"):
        data_parallel(model, list(autograd_leaves(model)), reduction="average")
    assert data_parallel(model, list(autograd_leaves(model)), reduction="sum").divisor == 1


def divisors(rank: int, world_size: int) -> dict[str, int]:
    """c, under DDP, FSDP2 and averaging by hand."""
    models = {"DDP": DistributedDataParallel(nn.Linear(2, 2)), "FSDP2": fully_shard(nn.Linear(2, 2))}
    found = {}
    for reduction in ("mean", "sum"):
        for name, model in models.items():
            found[f"{name}, {reduction}"] = data_parallel(
                model, list(autograd_leaves(model)), reduction=reduction
            ).divisor
        plain = nn.Linear(2, 2)
        found[f"by hand, {reduction}"] = data_parallel(
            plain, list(autograd_leaves(plain)), dist.group.WORLD, reduction
        ).divisor
    return found


@pytest.mark.distributed
def test_the_divisor_is_the_ranks_where_they_are_averaged_and_one_where_they_are_added():
    expected = {f"{name}, {reduction}": 2 if reduction == "mean" else 1
                for name in ("DDP", "FSDP2", "by hand") for reduction in ("mean", "sum")}  # fmt: skip
    assert run_ranks(divisors, 2) == [expected] * 2


def wrong_roundoffs(rank: int, world_size: int) -> dict[str, list[float]]:
    """Of the reduction and of the accumulation, of one leaf of each model, where they are not as expected."""
    mesh = init_device_mesh("cpu", (world_size,))

    def linear(dtype: torch.dtype = torch.float32) -> nn.Module:
        return nn.Linear(4, 2, bias=False, dtype=dtype)

    def ddp(hook: Any = None, state: object = None, dtype: torch.dtype = torch.float32) -> nn.Module:
        module = DistributedDataParallel(linear(dtype))
        if hook is not None:
            module.register_comm_hook(state, hook)
        return module

    def builtin(kind: Any) -> nn.Module:
        module = DistributedDataParallel(linear())
        module._register_builtin_comm_hook(kind)
        return module

    def fsdp2(param: torch.dtype | None, reduce: torch.dtype | None, sync: bool = True, **own: Any) -> nn.Module:
        module = fully_shard(linear(**own), mesh=mesh, mp_policy=MixedPrecisionPolicy(param, reduce))
        module.set_requires_gradient_sync(sync)
        return module

    def own_hook(state, bucket):
        return allreduce_hook(None, bucket)

    bf16, fp16, fp32 = torch.bfloat16, torch.float16, torch.float32
    power = powerSGD_hook.PowerSGDState(None)
    custom = fsdp2(None, None)
    custom.set_all_reduce_hook(lambda gradient: None)
    models = {
        "plain": (linear(), FP32, FP32),
        "plain bf16": (linear(bf16), BF16, BF16),
        "plain fp16": (linear(fp16), math.inf, math.inf),
        "DDP": (ddp(), FP32, FP32),
        "DDP bf16": (ddp(dtype=bf16), BF16, BF16),
        "DDP all-reduce hook": (ddp(allreduce_hook), FP32, FP32),
        "DDP fp16 hook": (ddp(fp16_compress_hook), math.inf, FP32),
        "DDP PowerSGD": (ddp(powerSGD_hook.powerSGD_hook, power), math.inf, FP32),
        "DDP own hook": (ddp(own_hook), math.inf, FP32),
        "DDP builtin all-reduce": (builtin(dist.BuiltinCommHookType.ALLREDUCE), FP32, FP32),
        "DDP builtin fp16": (builtin(dist.BuiltinCommHookType.FP16_COMPRESS), math.inf, FP32),
        "FSDP2": (fsdp2(None, None), FP32, FP32),
        "FSDP2 computing in bf16": (fsdp2(bf16, None), BF16, FP32),
        "FSDP2 computing in bf16, reducing in fp32": (fsdp2(bf16, fp32), FP32, FP32),
        "FSDP2 reducing in bf16": (fsdp2(None, bf16), BF16, FP32),
        "FSDP2 reducing in fp16": (fsdp2(None, fp16), math.inf, FP32),
        "FSDP2 of bf16, reducing in fp32": (fsdp2(None, fp32, dtype=bf16), BF16, BF16),
        "FSDP2 own reduction": (custom, math.inf, FP32),
        "FSDP2 computing in bf16, without sync": (fsdp2(bf16, None, sync=False), BF16, BF16),
        "FSDP2 computing in bf16, reducing in fp32, without sync": (fsdp2(bf16, fp32, sync=False), FP32, FP32),
        "FSDP2 reducing in bf16, without sync": (fsdp2(None, bf16, sync=False), BF16, BF16),
    }
    wrong = {}
    for name, (model, *expected) in models.items():
        leaf = next(autograd_leaves(model))
        if (measured := [reduction_roundoff(model, leaf), accumulation_roundoff(leaf)]) != expected:
            wrong[name] = measured
    return wrong


@pytest.mark.distributed
def test_roundoffs_are_those_of_the_arithmetic_that_reduces_and_accumulates():
    assert run_ranks(wrong_roundoffs, 2) == [{}, {}]


def laid_out(world_size: int, kind: str) -> tuple[list[Leaf], DataParallel]:
    """The leaves of a model whose parameters hold 0, 1, 2, ..., and how they lie on the ranks."""
    model: nn.Module = TinyModel(tied=False, dimensions=Dimensions(width=8))
    for parameter in model.parameters():
        parameter.data = torch.arange(parameter.numel(), dtype=parameter.dtype).view_as(parameter)
    options: dict[str, Any] = {}
    if kind == "DDP":
        model = DistributedDataParallel(model)
    elif kind == "blocks only":
        for block in model.blocks:
            fully_shard(block, mesh=init_device_mesh("cpu", (world_size,)))
        options["averaged"] = ["embedding", "output"]
    elif kind in ("hybrid", "hybrid, blocks only"):
        mesh = init_device_mesh("cpu", (2, world_size // 2), mesh_dim_names=("replicas", "shards"))
        for module in [*model.blocks, *([model] if kind == "hybrid" else [])]:
            fully_shard(module, mesh=mesh)
        options["averaged"] = [] if kind == "hybrid" else ["embedding", "output"]
    elif kind == "tensor parallel":
        mesh = init_device_mesh("cpu", (world_size // 2, 2), mesh_dim_names=("data", "tensor"))
        model = sharded(tensor_parallel(model, mesh["tensor"], sequence_parallel=False), mesh["data"])
    elif kind == "last dimension":
        mesh = init_device_mesh("cpu", (world_size,))
        fully_shard(model, mesh=mesh, shard_placement_fn=lambda parameter: ShardPlacement(parameter.ndim - 1))
    elif kind == "replicate()":
        model = replicated(model)
    else:
        model = fsdp(model)
    leaves = list(autograd_leaves(model))
    return leaves, data_parallel(model, leaves, **options)


def counted(rank: int, world_size: int, kind: str) -> dict[str, tuple[list[float], list[float], int]]:
    """By leaf: the values this rank counts, those of its tensor-parallel part, and the number of that part."""
    leaves, layout = laid_out(world_size, kind)
    found = {}
    for leaf in leaves:
        if isinstance(leaf.wrapper, FSDPModule):
            leaf.wrapper.unshard()
        whole = local(leaf.tensor).detach().flatten().clone()
        if isinstance(leaf.wrapper, FSDPModule):
            leaf.wrapper.reshard()
        positions = np.arange(len(whole))
        mine, places = counted_positions(leaf, layout, positions)
        values = local(leaf.parameter).detach().flatten()[torch.from_numpy(places)]
        assert torch.equal(values, whole[torch.from_numpy(positions[mine])])
        found[leaf.name] = values.tolist(), whole.tolist(), rank % layout.tensor_parallel
    return found


LAID_OUT = [
    *((kind, 2) for kind in ("DDP", "FSDP2", "blocks only")),
    *(
        pytest.param(kind, 4, marks=pytest.mark.slow)
        for kind in ("hybrid", "hybrid, blocks only", "tensor parallel")
    ),
]
"""Kinds of layout, and their ranks."""


@pytest.mark.distributed
@pytest.mark.parametrize(("kind", "ranks"), [*LAID_OUT, ("last dimension", 2), ("replicate()", 2)])
def test_every_followed_coordinate_is_counted_by_one_data_parallel_rank(kind, ranks):
    found = run_ranks(counted, ranks, kind)
    for name in found[0]:
        for number in {part for *_, part in (of_rank[name] for of_rank in found)}:
            same_part = [of_rank[name] for of_rank in found if of_rank[name][2] == number]
            values = [value for mine, _, _ in same_part for value in mine]
            assert sorted(values) == sorted(same_part[0][1]), (name, number)


def owned(rank: int, world_size: int, kind: str) -> dict[str, tuple[list[int], int, int, int, int]]:
    """By leaf: the flat coordinates of this rank's shard, of its tensor-parallel number's part.

    With how many ranks are said to hold that shard, the size of that part, the tensor-parallel number, and this
    rank's data-parallel number.
    """
    leaves, layout = laid_out(world_size, kind)
    found = {}
    for leaf in leaves:
        shard = Shard.of(leaf, layout)
        leaf.parameter.grad = torch.zeros_like(leaf.parameter)
        start, size = shard.rank * shard.size, len(shard.gradient())
        held = list(range(start, start + size))
        tensor_parallel_rank = rank % layout.tensor_parallel if replica_count(leaf.tensor, 2) == 1 else 0
        size = local(leaf.tensor).numel()
        found[leaf.name] = held, shard.replica_count, size, tensor_parallel_rank, shard.group
    return found


@pytest.mark.distributed
@pytest.mark.parametrize(("kind", "ranks"), LAID_OUT)
def test_every_coordinate_of_a_reduced_gradient_is_held_as_often_as_its_shard_says(kind, ranks):
    found = run_ranks(owned, ranks, kind)
    for name in found[0]:
        parts: dict[int, list[int]] = {}
        sizes = {}
        for of_rank in found:
            held, copies, size, part, _ = of_rank[name]
            parts.setdefault(part, []).extend(held)
            sizes[part] = size, copies
        for part, held in parts.items():
            size, copies = sizes[part]
            assert Counter(held) == Counter(dict.fromkeys(range(size), copies)), (name, part)
        groups = ranks // 2 if kind == "tensor parallel" else ranks
        assert {of_rank[name][4] for of_rank in found} == set(range(groups)), name


def by_coordinate(rank: int, world_size: int) -> dict[str, tuple[float, float, float]]:
    """Sums over coordinates, of the same step under several layouts."""
    found = {}
    groups = groups_of(world_size * 2, 3)
    for kind in ("DDP", "rest by hand", "replicate()"):
        model: nn.Module = TinyModel(tied=False)
        by_hand: list[nn.Parameter] = []
        if kind == "DDP":
            model = DistributedDataParallel(model)
        elif kind == "replicate()":
            model = replicated(model)
        else:
            for block in model.blocks:
                fully_shard(block, mesh=init_device_mesh("cpu", (world_size,)))
            by_hand = [model.embedding.weight, model.output.weight]
        statistics = CoordinateStatistics(model, averaged=["embedding", "output"] if by_hand else ())
        accumulate(model, statistics, groups, rank, world_size, sync=False)
        for parameter in by_hand:
            dist.all_reduce(parameter.grad)
            parameter.grad /= world_size
        moments = statistics.finish()
        found[kind] = moments.sum_of_standard_deviations, moments.plug_in_l1_norm, moments.covariance_trace
    return found


@pytest.mark.distributed
def test_coordinate_statistics_are_the_same_where_some_parameters_are_averaged_by_hand():
    for found in run_ranks(by_coordinate, 2):
        expected = found.pop("DDP")
        for kind, sums in found.items():
            assert sums == pytest.approx(expected, rel=1e-9), kind
