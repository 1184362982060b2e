"""No right step is refused: many of them, in fp32 and with bf16 reductions, on random data."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from adabatch.statistics import GradientStatistics
from tests.support.spawning import run_ranks

MICRO_BATCHES, SAMPLES = 3, 2


def network(dtype: torch.dtype = torch.float32) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 3)).to(dtype)


def right_steps(model: nn.Module, steps: int, seed: int, dtype: torch.dtype = torch.float32) -> int:
    """Steps of all sizes of gradient (losses of 1e-6 to 1e6), each from the parameters that the last one left."""
    statistics = GradientStatistics(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    generator = torch.Generator().manual_seed(seed)
    for step in range(steps):
        scale = 10.0 ** (step % 13 - 6)
        for _ in range(MICRO_BATCHES):
            x = torch.randn(SAMPLES, 5, generator=generator).to(dtype)
            labels = torch.randint(3, (SAMPLES,), generator=generator)
            loss = nn.functional.cross_entropy(model(x).float(), labels)
            (scale * loss / MICRO_BATCHES).backward()
            statistics.end_microbatch(SAMPLES, loss_scale=1.0)
        statistics.finish()
        optimizer.step()
        optimizer.zero_grad()
    return steps


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_thousands_of_right_steps_are_accepted(dtype):
    steps = 2000  # each scale 150 times
    assert right_steps(network(dtype), steps, 0, dtype) == steps


def wrapped(kind: str, ranks: int) -> nn.Module:
    if kind == "DDP":
        return DistributedDataParallel(network())
    if kind == "DDP in bf16":
        return DistributedDataParallel(network(torch.bfloat16))
    mesh = init_device_mesh("cpu", (ranks,))
    return fully_shard(network(), mesh=mesh, mp_policy=POLICIES[kind])


POLICIES = {
    "FSDP2": MixedPrecisionPolicy(),
    "FSDP2 reducing in bf16": MixedPrecisionPolicy(reduce_dtype=torch.bfloat16),
    "FSDP2 computing in bf16": MixedPrecisionPolicy(param_dtype=torch.bfloat16),
    "FSDP2 computing in bf16, reducing in fp32": MixedPrecisionPolicy(torch.bfloat16, torch.float32),
}
KINDS = ("DDP", "DDP in bf16", *POLICIES)


def right_steps_on_ranks(rank: int, ranks: int, steps: int) -> dict[str, int]:
    return {
        kind: right_steps(
            wrapped(kind, ranks), steps, 1 + rank, torch.bfloat16 if kind == "DDP in bf16" else torch.float32
        )
        for kind in KINDS
    }


@pytest.mark.distributed
def test_right_steps_on_ranks_are_accepted():
    steps = 40  # each scale three times
    assert run_ranks(right_steps_on_ranks, 2, steps) == [dict.fromkeys(KINDS, steps)] * 2
