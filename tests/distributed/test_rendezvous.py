"""The ranks of one start find each other in a store that earlier ranks have used."""

from __future__ import annotations

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch.distributed as dist

from adabatch.distributed.rendezvous import rendezvous


@pytest.fixture
def server():
    return dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)


def client(server) -> dist.TCPStore:
    return dist.TCPStore("localhost", server.port, is_master=False)


def start(server, world_size: int, seed: int) -> list[list[str]]:
    """What every rank reads of every rank after the rendezvous."""
    chance = random.Random(seed)
    delays = [chance.uniform(0, 0.2) for _ in range(world_size)]
    barrier = threading.Barrier(world_size)

    def rank(number: int) -> list[str]:
        time.sleep(delays[number])
        store = rendezvous(client(server), number, world_size, timeout=20)
        store.set(f"address/{number}", f"start {seed}, rank {number}")
        seen = [store.get(f"address/{other}").decode() for other in range(world_size)]
        barrier.wait()
        return seen

    with ThreadPoolExecutor(world_size) as pool:
        return list(pool.map(rank, range(world_size)))


def test_each_start_sees_its_own(server):
    for seed, world_size in enumerate([3, 3, 2, 4, 1, 3]):  # nodes leave and come back
        expected = [f"start {seed}, rank {rank}" for rank in range(world_size)]
        assert start(server, world_size, seed) == [expected] * world_size


def test_what_a_start_that_was_cut_short_announced_convinces_nobody(server):
    server.set("rendezvous/0", "old")
    server.set("rendezvous/1", "old too")
    server.set("rendezvous", json.dumps(["old", ["old", "old too"]]))
    with pytest.raises(RuntimeError, match="rank 1 waited"):
        rendezvous(client(server), 1, 2, timeout=0.2)
    assert start(server, 2, 7) == [["start 7, rank 0", "start 7, rank 1"]] * 2
