"""Statistics on GPUs and under NCCL against their twin on CPUs under gloo, and against explicit gradients."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.nn.parallel import DistributedDataParallel

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.statistics import CoordinateStatistics, GradientStatistics
from tests.support.spawning import run_ranks
from tests.support.tiny_model import TinyModel, accumulate, groups_of, reference, relative_errors, sharded

pytestmark = pytest.mark.distributed

EXACT = 1e-10
"""Relative, in fp64: devices and backends add in other orders."""

BF16_AGAINST_FP64 = 2**-5
"""bf16 rounds to 2^-9; each coordinate passes some ten roundings, forward and backward, before it is squared."""

MICRO_BATCHES, SAMPLES = 3, 2

Measured = tuple[GradientMoments, float, float, str]


@pytest.fixture(params=[1, 2], ids=["1 rank", "2 ranks"])
def ranks(request, device) -> int:
    if device.type == "cuda" and torch.cuda.device_count() < request.param:
        pytest.skip("NCCL takes a GPU per rank")
    return request.param


def own_device(kind: str, rank: int) -> torch.device:
    if kind == "cuda":
        torch.cuda.set_device(rank)
    return torch.device(kind, rank) if kind == "cuda" else torch.device(kind)


def wrapped(model: TinyModel, mode: str, device: torch.device, world_size: int, **options) -> nn.Module:
    model.to(device)
    if mode == "ddp":
        return DistributedDataParallel(model)
    return sharded(model, init_device_mesh(device.type, (world_size,)), **options)


def measured(rank: int, world_size: int, kind: str, mode: str, sync: bool) -> Measured:
    """Scalar moments, both sums of the coordinates, and the backend that reduced them."""
    device = own_device(kind, rank)
    groups = [group.to(device) for group in groups_of(world_size * MICRO_BATCHES, SAMPLES)]
    model = wrapped(TinyModel(tied=True), mode, device, world_size)
    found = []
    for make in (GradientStatistics, lambda model: CoordinateStatistics(model, stride=1)):
        statistics = make(model)
        model.zero_grad()
        accumulate(model, statistics, groups, rank, world_size, sync)
        found.append(statistics.finish())
        statistics.enable(False)
    scalar, coordinates = found
    backend = torch.distributed.group.WORLD._get_backend(device).name()
    return scalar, coordinates.sum_of_standard_deviations, coordinates.plug_in_l1_norm, backend


@pytest.mark.parametrize("mode", ["ddp", "fsdp"])
@pytest.mark.parametrize("sync", [False, True])
def test_moments_equal_those_of_the_twin_on_cpus(device, ranks, mode, sync):
    expected = reference(TinyModel(tied=True), groups_of(ranks * MICRO_BATCHES, SAMPLES))
    here = run_ranks(measured, ranks, device.type, mode, sync)
    twin = run_ranks(measured, ranks, "cpu", mode, sync)
    assert here[0][3] == ("nccl" if device.type == "cuda" else "gloo")
    assert all(rank[:3] == here[0][:3] for rank in here), "ranks disagree"
    assert max(relative_errors(here[0][0], expected)) < EXACT
    assert max(relative_errors(here[0][0], twin[0][0])) < EXACT
    assert here[0][1:3] == pytest.approx(twin[0][1:3], rel=EXACT)


def in_bf16(rank: int, world_size: int, kind: str) -> tuple[float, ...]:
    """Errors of moments in bf16, with fp32 reductions, against fp64."""
    device = own_device(kind, rank)
    groups = groups_of(world_size * MICRO_BATCHES, SAMPLES)
    model = TinyModel(tied=False).float()
    expected = reference(copy.deepcopy(model).double(), groups)
    policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    model = wrapped(model, "fsdp", device, world_size, mp_policy=policy)
    statistics = GradientStatistics(model)
    accumulate(model, statistics, [group.to(device) for group in groups], rank, world_size, sync=False)
    return relative_errors(statistics.finish(), expected)


def test_bf16_parameters_with_fp32_reduction(device, ranks):
    errors = run_ranks(in_bf16, ranks, device.type)[0]
    assert 0 < max(errors) < BF16_AGAINST_FP64
