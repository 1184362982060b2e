"""Noticing that a run hangs, and reporting which rank did not arrive.

A collective waits for all ranks, so that one that is stuck or stopped stops them all, and what the backends report
then does not name it. Here each rank counts the places that it passes; a thread publishes the count in the
store of the rendezvous. A rank that has not moved for the timeout compares the counts, reports which ranks are
behind, and ends the process; the launcher then ends (or restarts) the others.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from types import TracebackType
from typing import NamedTuple

import torch.distributed as dist

from adabatch.distributed.parallel import DistributedContext

__all__ = ["HUNG", "Sighting", "Watchdog", "late_ranks"]

HUNG = 75
"""Exit code of a rank that gave up waiting."""


class Sighting(NamedTuple):
    """What a rank last published.

    Attributes:
        place: how many places it had passed.
        name: of the last one.
        beat: counts the publications; one that stands still means that the whole process does.
        process: host and process id.
    """

    place: int
    name: str
    beat: int
    process: str


def late_ranks(before: list[Sighting | None], after: list[Sighting | None]) -> str:
    """Which ranks the others wait for, in words.

    Args:
        before: by rank, as published; None if a rank never did.
        after: the same some beats later.

    >>> moving = [Sighting(7, "forward and backward", beat, "a:1") for beat in (4, 6)]
    >>> stuck = [Sighting(6, "reading samples", beat, "b:2") for beat in (4, 6)]
    >>> late_ranks([moving[0], stuck[0]], [moving[1], stuck[1]])
    'rank 1 (b:2) did not arrive: it is at "reading samples"'
    >>> late_ranks([moving[0], stuck[0]], [moving[1], stuck[0]])
    'rank 1 (b:2) does not answer (stopped, or out of reach); last seen at "reading samples"'
    """
    silent = [rank for rank, (a, b) in enumerate(zip(before, after, strict=True)) if b is None or a == b]
    if silent:
        return "; ".join(_silent(rank, after[rank]) for rank in silent)
    sightings = [sighting for sighting in after if sighting is not None]
    furthest = max(sighting.place for sighting in sightings)
    behind = [rank for rank, sighting in enumerate(sightings) if sighting.place < furthest]
    if not behind:
        return f'no rank is behind: all are at "{sightings[0].name}"'
    return "; ".join(
        f'rank {rank} ({sightings[rank].process}) did not arrive: it is at "{sightings[rank].name}"'
        for rank in behind
    )


def _silent(rank: int, sighting: Sighting | None) -> str:
    if sighting is None:
        return f"rank {rank} was never seen"
    where = f'last seen at "{sighting.name}"'
    return f"rank {rank} ({sighting.process}) does not answer (stopped, or out of reach); {where}"


class Watchdog:
    """Ends this process, with a message, when it has stood still for too long. Used as a context.

    Args:
        ranks: this process among the others; without a store (a single process) nothing is watched.
        timeout: seconds without passing a place.
    """

    def __init__(self, ranks: DistributedContext, timeout: float) -> None:
        self.ranks, self.timeout = ranks, timeout
        self._period = min(5.0, timeout / 10)
        self._place, self._name, self._since = 0, "the start", time.monotonic()
        self._stop = threading.Event()
        self._given_up = False

    def at(self, name: str) -> None:
        """This rank passes a place; all ranks pass the same ones in the same order."""
        self._place += 1
        self._name, self._since = name, time.monotonic()

    def __enter__(self) -> Watchdog:
        if self.ranks.store is not None and self.ranks.world_size > 1:
            self._since = time.monotonic()
            # A connection of its own: the main thread may block in the shared one.
            threading.Thread(target=self._watch, args=(_clone(self.ranks.store),), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()

    def _watch(self, store: dist.Store) -> None:
        beat, process = 0, f"{socket.gethostname()}, process {os.getpid()}"
        while not self._stop.wait(self._period):
            beat += 1
            try:
                store.set(_key(self.ranks.rank), json.dumps(Sighting(self._place, self._name, beat, process)))
            except RuntimeError:  # the store is gone: the run is ending
                return
            if time.monotonic() - self._since > self.timeout and not self._given_up:
                self._given_up = True  # continues to publish, so that others see that this process lives
                threading.Thread(target=self._give_up, args=(_clone(store),), daemon=True).start()

    def _give_up(self, store: dist.Store) -> None:
        """Report which ranks are late, once for all ranks, and end this process."""
        before = self._sightings(store)
        time.sleep(3 * self._period)
        late = late_ranks(before, self._sightings(store))
        if store.add("watchdog/reports", 1) == 1:
            print(
                f"Error: no progress for {self.timeout:g} s (--timeout), rank {self.ranks.rank} waits at "
                f'"{self._name}": {late}',
                file=sys.stderr,
                flush=True,
            )
        time.sleep(2 * self._period)  # the ranks that also wait agree on one message before any is ended
        os._exit(HUNG)

    def _sightings(self, store: dist.Store) -> list[Sighting | None]:
        keys = [_key(rank) for rank in range(self.ranks.world_size)]
        return [Sighting(*json.loads(store.get(key))) if store.check([key]) else None for key in keys]


def _clone(store: dist.Store) -> dist.Store:
    """A connection of its own to the same store."""
    cloned: dist.Store = store.clone()  # type: ignore[attr-defined]
    return cloned


def _key(rank: int) -> str:
    return f"watchdog/{rank}"
