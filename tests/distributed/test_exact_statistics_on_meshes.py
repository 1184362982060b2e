"""GradientStatistics on meshes of two dimensions, with compiled layers and in bf16, against references."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy

from adabatch.statistics import GradientStatistics, ReducedStep
from tests.support.spawning import run_ranks
from tests.support.tiny_model import (
    TinyModel,
    accumulate,
    groups_of,
    reference,
    relative_errors,
    sharded,
    tensor_parallel,
)

pytestmark = pytest.mark.distributed

Errors = tuple[float, ...]


def prepared(tied: bool, variant: str) -> TinyModel:
    model = TinyModel(tied, recompute=variant == "recompute")
    if variant == "frozen":
        model.blocks[0].requires_grad_(False)
    return model


def measured(model: nn.Module, m: int, micro_batches: int, sync: bool, rank: int, ranks: int, expected) -> Errors:
    statistics = GradientStatistics(model)
    accumulate(model, statistics, groups_of(ranks * micro_batches, m), rank, ranks, sync)
    moments = statistics.finish()
    assert moments.groups == ranks * micro_batches
    statistics.enable(False)
    reduced = statistics.reduce_step(torch.ones(()))
    assert reduced == ReducedStep(None, moments.squared_norm, [statistics.layout.world_size])
    return relative_errors(moments, expected)


def mesh_errors(rank: int, world_size: int) -> dict[str, Errors]:
    """Relative errors for hybrid sharding, partial resharding and FSDP2 x tensor parallel."""
    m, micro_batches, results = 2, 3, {}
    # Every value of one setting meets every value of another, not every combination.
    models = [
        (tied, (index + tied) % 2 == 0, variant)
        for tied in (False, True)
        for index, variant in enumerate(("plain", "frozen", "recompute"))
    ]
    hybrid = init_device_mesh("cpu", (2, world_size // 2), mesh_dim_names=("replicate", "shard"))
    flat = init_device_mesh("cpu", (world_size,))
    for tied, sync, variant in models:
        expected = reference(prepared(tied, variant), groups_of(world_size * micro_batches, m))
        for name, mesh, reshard in (("hybrid", hybrid, not tied), ("partial", flat, 2)):
            model = sharded(prepared(tied, variant), mesh, reshard)
            case = f"{name}, tied {tied}, sync {sync}, {variant}"
            results[case] = measured(model, m, micro_batches, sync, rank, world_size, expected)
    mesh = init_device_mesh("cpu", (world_size // 2, 2), mesh_dim_names=("data", "tensor"))
    ranks = world_size // 2
    for tied, sync, variant in models:
        sequence = tied != (variant == "recompute")
        expected = reference(prepared(tied, variant), groups_of(ranks * micro_batches, m))
        model = sharded(tensor_parallel(prepared(tied, variant), mesh["tensor"], sequence), mesh["data"])
        case = f"tensor parallel, tied {tied}, sync {sync}, {variant}, sequence parallel {sequence}"
        results[case] = measured(model, m, micro_batches, sync, rank // 2, ranks, expected)
    for sequence in (False, True):  # without any data-parallel dimension
        expected = reference(TinyModel(False), groups_of(micro_batches, m))
        model = tensor_parallel(TinyModel(False), mesh["tensor"], sequence)
        results[f"tensor parallel alone, {sequence}"] = measured(model, m, micro_batches, True, 0, 1, expected)
    return results


def test_moments_on_meshes_equal_the_explicit_reference():
    for result in run_ranks(mesh_errors, 4):
        assert len(result) == 12 + 6 + 2
        for case, error in result.items():
            assert max(error) < 1e-10, (case, error)


def compiled_errors(rank: int, world_size: int) -> dict[str, Errors]:
    """Compiled blocks under FSDP2, with and without resharding."""
    results = {}
    for reshard in (True, False):
        expected = reference(TinyModel(True), groups_of(world_size * 2, 2))
        model = TinyModel(True)
        for block in model.blocks:
            block.compile()
        model = sharded(model, init_device_mesh("cpu", (world_size,)), reshard)
        results[f"reshard {reshard}"] = measured(model, 2, 2, False, rank, world_size, expected)
    return results


@pytest.mark.slow
def test_compiled_layers_give_the_same_moments():
    for result in run_ranks(compiled_errors, 2):
        for case, error in result.items():
            assert max(error) < 1e-10, (case, error)


BF16_GROUPS = 1e-10
"""A group's gradient is the same bf16 numbers, sharded or not; their squares are summed in fp64."""

BF16_MEAN = 1e-5
"""The mean of the groups is taken in fp32: rounding 6e-8, per coordinate, accumulated and doubled by squaring."""

BF16_AGAINST_FP64 = 2**-5
"""bf16 rounds to 2^-9; each coordinate passes some ten roundings, forward and backward, before it is squared."""


def bf16_errors(rank: int, world_size: int) -> dict[str, tuple[Errors, Errors]]:
    """Errors against the same bf16 arithmetic, unsharded, and against fp64."""
    m, micro_batches, results = 3, 2, {}
    groups = groups_of(world_size * micro_batches, m)
    for tied, sync in itertools.product((False, True), (False, True)):
        model = TinyModel(tied).float()
        exact = reference(copy.deepcopy(model).double(), groups)
        same = reference(copy.deepcopy(model).to(torch.bfloat16), groups, micro_batches)
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        model = sharded(model, init_device_mesh("cpu", (world_size,)), mp_policy=policy)
        statistics = GradientStatistics(model)
        accumulate(model, statistics, groups, rank, world_size, sync)
        moments = statistics.finish()
        results[f"tied {tied}, sync {sync}"] = (relative_errors(moments, same), relative_errors(moments, exact))
    return results


@pytest.mark.parametrize("world_size", [1, 2])
def test_bf16_parameters_with_fp32_reduction(world_size):
    for result in run_ranks(bf16_errors, world_size):
        for case, (same, exact) in result.items():
            assert same[0] < BF16_GROUPS, (case, same)
            assert max(same[1:]) < BF16_MEAN, (case, same)
            assert max(exact) < BF16_AGAINST_FP64, (case, exact)


def bf16_tensor_parallel_errors(rank: int, world_size: int) -> dict[str, Errors]:
    """Errors against fp64 of FSDP2 x tensor parallel, whose sums are added up in another order."""
    m, micro_batches, results = 3, 2, {}
    mesh = init_device_mesh("cpu", (world_size // 2, 2), mesh_dim_names=("data", "tensor"))
    groups = groups_of(world_size // 2 * micro_batches, m)
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    for tied, sequence in itertools.product((False, True), (False, True)):
        exact = reference(TinyModel(tied).float().double(), groups)
        model = tensor_parallel(TinyModel(tied).float(), mesh["tensor"], sequence)
        model = sharded(model, mesh["data"], mp_policy=policy)
        statistics = GradientStatistics(model)
        accumulate(model, statistics, groups, rank // 2, world_size // 2, sync=tied)
        results[f"tied {tied}, sequence parallel {sequence}"] = relative_errors(statistics.finish(), exact)
    return results


def test_bf16_under_tensor_parallelism():
    for result in run_ranks(bf16_tensor_parallel_errors, 4):
        assert len(result) == 4
        for case, error in result.items():
            assert max(error) < BF16_AGAINST_FP64, (case, error)
