"""Runs as the command starts them, but forked: to import what a run needs takes a process seconds."""

from __future__ import annotations

import contextlib
import os
import sys
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import psutil

from adabatch.distributed import launcher
from adabatch.settings import Settings
from adabatch.training.launch import launch

FORK = get_context("fork")


class _Rank(FORK.Process):  # type: ignore[name-defined,misc]
    """One that begins when all ranks of its start are forked.

    The launcher's store asks the resolver about each rank that connects, in a thread: a fork at that moment
    inherits a lock that nobody frees.
    """

    gate = (0, 0)

    def start(self) -> None:
        environment = self._args[2]
        if environment["RANK"] == 0:
            _Rank.gate = os.pipe()
        super().start()
        if environment["RANK"] == environment["WORLD_SIZE"] - 1:
            for end in self.gate:
                os.close(end)

    def run(self) -> None:
        os.close(self.gate[1])
        os.read(self.gate[0], 1)
        super().run()


class ForkedRun:
    """What ``adabatch train`` does with these settings, in a fork of this process whose ranks are forks of it.

    All that a test has patched is patched there too. The output goes to the log.
    """

    def __init__(self, settings: Settings, log: Path) -> None:
        self.process = FORK.Process(target=_train, args=(settings, log))
        self.process.start()
        self.log, self.pid = log, int(self.process.pid or 0)

    def poll(self) -> int | None:
        """The exit code, None before."""
        return self.process.exitcode

    def wait(self, timeout: float) -> int | None:
        """The exit code, once it has ended."""
        self.process.join(timeout)
        return self.poll()

    def ranks(self) -> list[psutil.Process]:
        """The processes of the ranks, in the order of their start."""
        with contextlib.suppress(psutil.NoSuchProcess):
            children = psutil.Process(self.pid).children()
            ranks = [child for child in children if "resource_tracker" not in " ".join(child.cmdline())]
            return sorted(ranks, key=lambda rank: (rank.create_time(), rank.pid))
        return []

    def kill(self) -> None:
        """All processes."""
        for process in [*self.ranks(), psutil.Process(self.pid)] if self.poll() is None else []:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self.process.join()


def _train(settings: Settings, log: Path) -> None:
    os.setsid()
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    # pytest has put others in their place
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    launcher.get_context = lambda method: SimpleNamespace(Process=_Rank)  # type: ignore[attr-defined]
    try:
        code = launch(settings)
    except ValueError as error:
        print(f"Error: {error}", flush=True)
        code = 2
    os._exit(code)
