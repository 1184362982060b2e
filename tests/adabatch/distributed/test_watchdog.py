"""Who did not arrive, from what the ranks published."""

from __future__ import annotations

import json

import pytest
import torch.distributed as dist

from adabatch.distributed import watchdog as watchdog_module
from adabatch.distributed.parallel import DistributedContext
from adabatch.distributed.watchdog import Sighting, Watchdog, late_ranks
from adabatch.exit_codes import HUNG


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


class Ended(Exception):
    """In place of the end of the process."""


@pytest.fixture
def watched(monkeypatch):
    """Runs the watchdog of rank 0 of 2 through beats: seconds passed, places passed, what rank 1 published."""
    clock, store = [0.0], dist.HashStore()

    def end(code):
        assert code == HUNG
        raise Ended

    monkeypatch.setattr(watchdog_module.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(watchdog_module.os, "_exit", end)
    monkeypatch.setattr(watchdog_module, "_clone", lambda store: store)
    dog = Watchdog(DistributedContext(0, 2, store=store), timeout=10.0)

    class Beats:
        def __init__(self, pattern):
            self.pattern, self.other = list(pattern), seen(0, 0)

        def wait(self, period):
            if not self.pattern:
                return True
            seconds, own, other = self.pattern.pop(0)
            clock[0] += seconds
            dog._place += own
            self.other = self.other._replace(beat=self.other.beat + 1, **other)
            store.set("watchdog/1", json.dumps(self.other))
            return False

        def is_set(self):
            return False

    def run(pattern):
        dog._stop = Beats(pattern)
        dog._watch(store)

    return run


STILL = (1.0, 0, {})
"""A beat in which nothing happens: a second passes, the timeout is ten, and a period one."""


def test_a_run_that_stands_still_ends_after_the_timeout_and_five_periods(watched, capsys):
    watched([STILL] * 13)
    assert capsys.readouterr().err == ""
    with pytest.raises(Ended):
        watched([STILL] * 16)
    assert capsys.readouterr().err.count("Error: no progress for 10 s (--timeout), rank 0 waits at") == 1
    watched([STILL] * 15)


@pytest.mark.parametrize("beat", range(1, 16))
@pytest.mark.parametrize(
    "progress",
    [(1.0, 1, {}), (1.0, 0, {"place": 1}), (1.0, 0, {"stops": 1}), (3.5, 0, {})],
    ids=["this rank moves", "the other moves", "the other was stopped", "this process was stopped"],
)
def test_progress_at_any_beat_begins_the_timeout_again(watched, beat, progress):
    """Of the other rank from when it is looked at: half the timeout."""
    seen_from = 1 if "place" not in progress[2] and "stops" not in progress[2] else 7
    if beat >= seen_from:
        watched([STILL] * (beat - 1) + [progress] + [STILL] * 15)
    with pytest.raises(Ended):
        watched([STILL] * (beat - 1) + [progress] + [STILL] * 17)


def test_a_store_that_does_not_answer_in_time_is_asked_again(watched, monkeypatch):
    failures = [dist.DistStoreError("timeout"), None]
    publish = dist.HashStore.set

    def set_or_fail(store, key, value):
        if key == "watchdog/0" and failures and (failure := failures.pop(0)):
            raise failure
        publish(store, key, value)

    monkeypatch.setattr(dist.HashStore, "set", set_or_fail)
    with pytest.raises(Ended):
        watched([STILL] * 20)


def test_a_store_that_is_gone_ends_the_watch(watched, monkeypatch):
    def gone(store, key, value):
        if key == "watchdog/0":
            raise RuntimeError("Connection reset by peer")

    monkeypatch.setattr(dist.HashStore, "set", gone)
    watched([STILL] * 40)


def test_a_single_process_is_not_watched(monkeypatch):
    monkeypatch.setattr("threading.Thread.start", lambda thread: pytest.fail(f"{thread} was started"))
    with Watchdog(DistributedContext(), timeout=0.01):
        pass
