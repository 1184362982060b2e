"""Who did not arrive, from what the ranks published."""

from __future__ import annotations

import time

import pytest
import torch.distributed as dist

from adabatch.distributed.parallel import DistributedContext
from adabatch.distributed.watchdog import Sighting, Watchdog, late_ranks


def seen(place: int, beat: int, name: str = "forward and backward", process: str = "node, process 1") -> Sighting:
    return Sighting(place, name, beat, process)


def test_the_ranks_behind_the_furthest_are_named():
    before, after = ([seen(9, beat), seen(9, beat), seen(8, beat, "reading samples", "b")] for beat in (3, 6))
    assert late_ranks(before, after) == 'rank 2 (b) did not arrive: it is at "reading samples"'


def test_several_may_be_late():
    before, after = ([seen(5, beat), seen(4, beat, "a place"), seen(3, beat, "another")] for beat in (1, 2))
    text = late_ranks(before, after)
    assert "rank 1" in text
    assert "rank 2" in text
    assert "rank 0" not in text


def test_a_process_that_stands_still_comes_first():
    before, after = [seen(9, 3), seen(9, 3)], [seen(9, 6), seen(9, 3)]
    assert late_ranks(before, after).startswith("rank 1 (node, process 1) does not answer")


def test_a_rank_that_never_published():
    assert late_ranks([seen(9, 3), None], [seen(9, 4), None]) == "rank 1 was never seen"


def test_nobody_is_behind():
    before, after = [seen(9, 3), seen(9, 3)], [seen(9, 6), seen(9, 6)]
    assert late_ranks(before, after) == 'no rank is behind: all are at "forward and backward"'


def test_a_run_that_moves_is_left_alone():
    """It passes places for half a second, publishes, and ends."""
    store = dist.TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
    watchdog = Watchdog(DistributedContext(0, 2, store=store), timeout=5.0)
    watchdog._period = 0.02
    with watchdog:
        for step in range(25):
            watchdog.at(f"step {step}")
            time.sleep(0.02)
        assert store.get("watchdog/0")
    assert not watchdog._given_up


def test_a_single_process_is_not_watched(monkeypatch):
    monkeypatch.setattr("threading.Thread.start", lambda thread: pytest.fail(f"{thread} was started"))
    with Watchdog(DistributedContext(), timeout=0.01):
        pass
