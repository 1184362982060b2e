"""Starting the ranks of one machine, passing on what stops them, and starting them again when one has died."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from typing import Any

from adabatch.collecting import collect_as_usual
from adabatch.distributed.signals import (
    LAUNCHER,
    STOP_SIGNALS,
    StopRequest,
    die_with_parent,
    end_with_parent,
    hold_back_in_children,
    listening,
    quiet_end,
)
from adabatch.exit_codes import (
    DIVERGED,
    HUNG,
    OTHER_RANKS,
    OUT_OF_MEMORY,
    TIME_LIMIT,
    USER_ERROR,
    code_of_signal,
    signal_of_code,
)

__all__ = ["is_managed", "launch_ranks", "restarts"]

RESTARTS = "TORCHELASTIC_RESTART_COUNT"
POLLING_SECONDS = 0.1

EXPLAINED = (USER_ERROR, DIVERGED, OUT_OF_MEMORY, TIME_LIMIT, HUNG, OTHER_RANKS)
"""Exit codes of ranks that have said why."""
FINAL = (USER_ERROR, DIVERGED, TIME_LIMIT, OTHER_RANKS)
"""Exit codes after which another start would end alike, or is not wanted."""
AGREED = (0, TIME_LIMIT, OTHER_RANKS)
"""Exit codes with which all ranks end."""


def is_managed() -> bool:
    """Whether another process started this one, watches it and passes signals on."""
    return "TORCHELASTIC_RUN_ID" in os.environ or parent_process() is not None


def restarts() -> int:
    """How often the launcher has started this rank again."""
    return int(os.environ.get(RESTARTS, "0"))


def launch_ranks(
    work: Callable[..., int], arguments: tuple[Any, ...], ranks: int, max_restarts: int, patience: float
) -> int:
    """Start ranks that call ``work(*arguments)`` and end with its result; the exit code of all together.

    The first stop signal goes to all ranks, whether it came to this process or ended one of them, and they have
    ``patience`` to end; a second one kills them. When a rank fails the others are killed, since they would wait
    for it. When this process dies, they die with it.

    Args:
        work: a function that a new process can import.
        arguments: what it is called with, pickled.
        ranks: how many.
        max_restarts: how often all are started again after one has died.
        patience: seconds from a stop signal to the kill.
    """
    request = StopRequest(is_managed())
    with listening(request.note):
        for attempt in count():
            code = _Processes(work, arguments, ranks, attempt).wait(request, patience)
            if code in (0, *FINAL) or _stopped(code) or request.number or attempt == max_restarts:
                return code
    raise AssertionError("the loop has no end of its own")


def _stopped(code: int) -> bool:
    return signal_of_code(code) in STOP_SIGNALS


class _Processes:
    """The processes of one start."""

    def __init__(self, work: Callable[..., int], arguments: tuple[Any, ...], ranks: int, attempt: int) -> None:
        from torch.distributed import (
            TCPStore,  # here, as the ranks, which import this module, need not wait for it
        )

        self._store = TCPStore("localhost", 0, is_master=True, wait_for_workers=False)
        common = {
            "WORLD_SIZE": ranks,
            "LOCAL_WORLD_SIZE": ranks,
            RESTARTS: attempt,
            "MASTER_ADDR": "localhost",
            "MASTER_PORT": self._store.port,
            "TORCHELASTIC_USE_AGENT_STORE": True,
        }
        context = get_context("spawn")
        self.processes: list[BaseProcess] = [
            context.Process(target=_be_rank, args=(work, arguments, common | {"RANK": rank, "LOCAL_RANK": rank}))
            for rank in range(ranks)
        ]
        self._code = 0
        os.environ[LAUNCHER] = str(os.getpid())
        try:
            with hold_back_in_children():
                for process in self.processes:
                    process.start()
        finally:
            del os.environ[LAUNCHER]

    def wait(self, request: StopRequest, patience: float) -> int:
        """Wait until all have ended; the first exit code other than 0."""
        left, passed_on, deadline = list(enumerate(self.processes)), 0, float("inf")
        try:
            while left:
                wait([process.sentinel for _, process in left], POLLING_SECONDS)
                ended = [(rank, process) for rank, process in left if process.exitcode is not None]
                left = [each for each in left if each not in ended]
                for rank, process in ended:
                    self._account(rank, process.exitcode or 0)
                number = request.number or (self._code - code_of_signal(0) if _stopped(self._code) else 0)
                if number and not passed_on:
                    passed_on, deadline = number, time.monotonic() + patience
                    _send(left, number)
                if self._code not in AGREED and not _stopped(self._code):
                    break
                if left and time.monotonic() > deadline:
                    print(f"ranks that did not end within {patience:g} s are killed", file=sys.stderr)
                    self._code = code_of_signal(number)
                    break
        finally:
            for process in self.processes:
                process.kill()
            for process in self.processes:
                process.join()
        return self._code

    def _account(self, rank: int, exitcode: int) -> None:
        """A rank has ended; the first that does so with an exit code other than 0 is the cause of all."""
        if self._code or not exitcode:
            return
        self._code = exitcode if exitcode > 0 else code_of_signal(-exitcode)
        if self._code not in EXPLAINED and not _stopped(self._code):
            name = f" ({signal.Signals(-exitcode).name})" if exitcode < 0 else ""
            print(f"rank {rank} ended with exit code {exitcode}{name}", file=sys.stderr)


def _send(left: list[tuple[int, BaseProcess]], number: int) -> None:
    for _, process in left:
        if process.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(process.pid, number)


def _be_rank(work: Callable[..., int], arguments: tuple[Any, ...], environment: Mapping[str, Any]) -> None:
    """This process is a rank from here on."""
    launcher = parent_process()
    if launcher is not None and launcher.pid is not None:
        die_with_parent(launcher.pid)
    end_with_parent()  # where the kernel does not see to it
    os.environ.update({name: str(value) for name, value in environment.items()})
    collect_as_usual()
    with listening(quiet_end):
        code = work(*arguments)
    # Peers of a failed rank may wait in a collective: leave at once, without tearing anything down.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
