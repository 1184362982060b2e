"""Runs as the command starts them, but forked: to import what a run needs takes a process seconds."""

from __future__ import annotations

import contextlib
import multiprocessing.process
import os
import pickle
import sys
from collections.abc import Callable, Mapping, Sequence
from multiprocessing import get_context
from pathlib import Path
from types import SimpleNamespace

import psutil

from adabatch.commands import main
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
        work, arguments, environment = self._args
        self._args = work, pickle.loads(pickle.dumps(arguments)), environment  # as a spawned rank gets them
        super().run()


class ForkedRun:
    """What ``adabatch train`` does with these settings, in a fork of this process whose ranks are forks of it.

    All that a test has patched is patched there too. The output goes to the log.

    Args:
        start: the settings, or the words of any command, which is started as :func:`adabatch.commands.main` is.
        log: the file.
        environment: what is set in the fork.
        first: called in the fork before all else.
    """

    def __init__(
        self,
        start: Settings | Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        first: Callable[[], object] = int,
    ) -> None:
        self.process = FORK.Process(target=_begin, args=(start, log, environment or {}, first))
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


def _begin(
    start: Settings | Sequence[str], log: Path, environment: Mapping[str, str], first: Callable[[], object]
) -> None:
    os.setsid()
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    # pytest has put others in their place
    sys.stdout, sys.stderr = os.fdopen(1, "w", buffering=1), os.fdopen(2, "w", buffering=1)
    launcher.get_context = lambda method: SimpleNamespace(Process=_Rank)  # type: ignore[attr-defined]
    os.environ.update(environment)
    first()
    code = _launched(start) if isinstance(start, Settings) else _commanded(start)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _launched(settings: Settings) -> int:
    try:
        return launch(settings)
    except ValueError as error:
        print(f"Error: {error}", flush=True)
        return 2


def _commanded(words: Sequence[str]) -> int:
    """The exit code of the command."""
    sys.argv = ["adabatch", *words]
    multiprocessing.process._parent_process = None  # type: ignore[attr-defined]  # a shell starts commands
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0
