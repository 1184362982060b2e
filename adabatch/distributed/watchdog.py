"""Noticing that a run hangs, and reporting which rank did not arrive.

A collective waits for all ranks, so that one that is stuck or stopped stops them all, and what the backends report
then does not name it. Here each rank counts the places that it passes; a thread publishes the count in the
store of the rendezvous. A rank that has not moved for the timeout compares the counts, reports which ranks are
behind, and ends the process; the launcher then ends (or restarts) the others. It acts only if until then no rank
has moved, and none has come back from a time in which it was stopped as a whole (SIGSTOP, a suspended machine):
that begins the timeout again.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import threading
import time
from collections import deque
from types import TracebackType
from typing import NamedTuple

import torch.distributed as dist

from adabatch.distributed.parallel import DistributedContext
from adabatch.exit_codes import HUNG

__all__ = ["Sighting", "Watchdog", "late_ranks"]


LATE_BEATS = 3
"""A beat that comes later than this many periods was held up by something that stopped the whole process."""

REPORT_BEATS, END_BEATS = 3, 5
"""Periods after the timeout at which a rank reports and ends."""

LOOKS = 4
"""How many looks at the ranks are kept: the first and the last tell a silent rank from a living one."""


class Sighting(NamedTuple):
    """What a rank last published.

    Attributes:
        place: how many places it had passed.
        name: of the last one.
        beat: counts the publications; one that stands still means that the whole process does.
        process: host and process id.
        stops: how often the process has found that it had been stopped as a whole.
    """

    place: int
    name: str
    beat: int
    process: str
    stops: int = 0


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
    """Ends this process, with a message, when the run has stood still for too long. Used as a context.

    Args:
        ranks: this process among the others; without a store (a single process) nothing is watched.
        timeout: seconds in which no rank passes a place.
    """

    def __init__(self, ranks: DistributedContext, timeout: float) -> None:
        self.ranks, self.timeout = ranks, timeout
        self._period = min(5.0, timeout / 10)
        self._place, self._name, self._stops = 0, "the start", 0
        self._stop = threading.Event()

    def at(self, name: str) -> None:
        """This rank passes a place; all ranks pass the same ones in the same order."""
        self._place += 1
        self._name = name

    def __enter__(self) -> Watchdog:
        if self.ranks.store is not None and self.ranks.world_size > 1:
            # A connection of its own: the main thread may block in the shared one.
            threading.Thread(target=self._watch, args=(_clone(self.ranks.store),), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()

    def _watch(self, store: dist.Store) -> None:
        """Publish at each beat; suspect at half the timeout, report some beats after it, end some beats later.

        The first beat is at once, so that a rank that is stopped soon has been seen. A beat that comes
        far too late shows that this process was stopped.
        """
        process, beat = f"{socket.gethostname()}, process {os.getpid()}", 0
        stall = _Stall((self._place, self._stops), time.monotonic())
        last, pause = time.monotonic(), 0.0
        while not self._stop.wait(pause):
            pause = self._period
            beat, now, name = beat + 1, time.monotonic(), self._name
            self._stops += now - last > LATE_BEATS * self._period
            last = now
            try:
                store.set(
                    _key(self.ranks.rank), json.dumps(Sighting(self._place, name, beat, process, self._stops))
                )
                seconds = stall.seconds((self._place, self._stops), now)
                if seconds > self.timeout / 2:
                    seconds = stall.look(self._sightings(store), now)
                if seconds > self.timeout + REPORT_BEATS * self._period:
                    self._report(store, stall, name)
            except dist.DistStoreError:  # no answer in time: its process may be stopped
                continue
            except RuntimeError:  # the store is gone: the run is ending
                return
            if seconds > self.timeout + END_BEATS * self._period and not self._stop.is_set():
                os._exit(HUNG)

    def _report(self, store: dist.Store, stall: _Stall, name: str) -> None:
        """Report which ranks are late, once for all ranks; those that also wait leave time for that."""
        place = max(sighting.place for sighting in stall.looks[-1] if sighting is not None)
        if not stall.reported and store.add(f"watchdog/reports/{place}", 1) == 1:
            late = late_ranks(stall.looks[0], stall.looks[-1])
            print(
                f"Error: no progress for {self.timeout:g} s (--timeout), rank {self.ranks.rank} waits at "
                f'"{name}": {late}',
                file=sys.stderr,
                flush=True,
            )
        stall.reported = True

    def _sightings(self, store: dist.Store) -> list[Sighting | None]:
        keys = [_key(rank) for rank in range(self.ranks.world_size)]
        return [Sighting(*json.loads(store.get(key))) if store.check([key]) else None for key in keys]


class _Stall:
    """For how long no rank has moved, as far as this one has looked."""

    def __init__(self, own: object, now: float) -> None:
        self._own, self._since = own, now
        self._others: list[tuple[int, int] | None] | None = None
        self.looks: deque[list[Sighting | None]] = deque(maxlen=LOOKS)
        self.reported = False

    def seconds(self, own: object, now: float) -> float:
        """Since this rank's own place and stops last changed."""
        if own != self._own:
            self._own, self._others = own, None
            self._begin(now)
        return now - self._since

    def look(self, sightings: list[Sighting | None], now: float) -> float:
        """As :meth:`seconds`, of what the ranks published."""
        others = [None if seen is None else (seen.place, seen.stops) for seen in sightings]
        if self._others is not None and others != self._others:
            self._begin(now)
        self._others = others
        self.looks.append(sightings)
        return now - self._since

    def _begin(self, now: float) -> None:
        self._since, self.reported = now, False
        self.looks.clear()


def _clone(store: dist.Store) -> dist.Store:
    """A connection of its own to the same store."""
    cloned: dist.Store = store.clone()  # type: ignore[attr-defined]
    return cloned


def _key(rank: int) -> str:
    return f"watchdog/{rank}"
