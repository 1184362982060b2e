"""Counted bytes of collectives on real ranks against what they must be."""

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from adabatch.distributed.communication import CommunicationCounter, ring_share
from tests.support.spawning import run_ranks

pytestmark = pytest.mark.distributed

WIDTH = 12


def counted(step):
    with CommunicationCounter() as counter:
        step()
    return {kind: (t.calls, t.payload, t.sent) for kind, t in counter.traffic.items()}


def ranks_count(rank, world_size):
    mesh = init_device_mesh("cpu", (world_size,))
    replicated = DistributedDataParallel(nn.Linear(WIDTH, WIDTH))
    sharded = nn.Sequential(nn.Linear(WIDTH, WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False))
    fully_shard(sharded[0], mesh=mesh)
    fully_shard(sharded, mesh=mesh)
    x = torch.randn(3, WIDTH)
    for _ in range(2):  # DDP lays its buckets anew after the first step
        replicated(x).sum().backward()
    return {
        "own": counted(lambda: (dist.all_reduce(torch.zeros(2, dtype=torch.float64)), dist.barrier())),
        "broadcast": counted(lambda: dist.broadcast(torch.zeros(5), 0)),
        "ddp": counted(lambda: replicated(x).sum().backward()),
        "fsdp": counted(lambda: sharded(x).sum().backward()),
    }


@pytest.mark.parametrize("world_size", [2, 3])
def test_each_collective_is_counted_with_its_bytes(world_size):
    results = run_ranks(ranks_count, world_size)
    assert all(result == results[0] for result in results)
    found = results[0]
    matrix = 4 * WIDTH * WIDTH
    assert found["own"]["all-reduce"] == (1, 16, 16 * ring_share("all-reduce", world_size))
    assert found["own"]["barrier"] == (1, 0, 0.0)
    assert found["broadcast"]["broadcast"][:2] == (1, 20)
    whole = matrix + 4 * WIDTH
    assert found["ddp"] == {"all-reduce": (1, whole, whole * 2 * (world_size - 1) / world_size)}
    share = (world_size - 1) / world_size
    # gathered for forward and for backward (the root's module stays whole), each gradient scattered once
    assert found["fsdp"]["all-gather"][1] in (3 * matrix, 4 * matrix)
    assert found["fsdp"]["reduce-scatter"] == (2, 2 * matrix, pytest.approx(2 * matrix * share))
