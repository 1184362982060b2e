"""Executes runs, as many at once as asked for, in order and after the runs that they need."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver, get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from signal import SIGKILL, Signals
from typing import Any, Protocol

from adabatch.data.preparation import TOKENIZER_FILE
from adabatch.data.progress import prepare_with_progress
from adabatch.distributed.signals import CONTINUES, StopRequest, end_at_once, hold_back_in_children, listening
from adabatch.exit_codes import code_of_signal
from adabatch.experiments.devices import Placement, place_runs
from adabatch.experiments.progress import Progress, Work
from adabatch.experiments.run import ExperimentRun
from adabatch.experiments.worker import run_in_this_process
from adabatch.settings import Settings

__all__ = ["Backend", "Processes", "Starter", "execute", "log"]

POLLING_SECONDS = 0.2

PATIENCE = 3.5
"""Seconds that stopped runs have to finish their step and save a checkpoint."""


def log(line: str) -> None:
    """Progress, on standard error: the result is what stands on standard output."""
    print(line, file=sys.stderr, flush=True)


class Starter(Protocol):
    """Starts runs while it is open."""

    def start(self, run: ExperimentRun, corpus: Path, gpus: Sequence[str]) -> Any:
        """Start a run: what comes back answers as a process does, and has ``started``, of the monotonic clock."""

    def wait(self, active: Sequence[Any]) -> None:
        """Until one of them ends, or a moment is over."""


class Backend(Protocol):
    """Where runs are executed."""

    def place(self, first: Settings, count: int) -> Placement:
        """How many of ``count`` runs like the first go at once, and where."""

    def opened(self) -> AbstractContextManager[Starter]:
        """Make ready to start runs."""


def execute(
    runs: Sequence[ExperimentRun], backend: Backend | None = None, progress: Progress | None = None
) -> None:
    """Train what is not finished yet; returns when every run is.

    A run is a process of its own, on its share of the visible GPUs or on the threads that its settings name, or
    what another backend makes of it. It resumes from its newest checkpoint if it has one; a finished run is not
    started again. When one fails, the others are stopped.

    Args:
        runs: earlier ones are started first; the runs that one needs must be among them.
        backend: where they are executed; None: in as many processes as there is room for.
        progress: of the experiment that the runs are a part of; None: they are all of it.

    Raises:
        ValueError: for settings that cannot work, what the backend refuses, or a run that fails (the message
            names its log).
        SystemExit: at a stop signal, with its exit code, when the runs under way have saved a checkpoint.
    """
    backend = backend or Processes()
    pending = [run for run in runs if not run.finished()]
    progress = progress or Progress(Work(len(runs), 0))
    known = len(progress.finished)
    progress.finished |= {run for run in runs if run.finished()}
    if len(progress.finished) > known:
        log(f"{progress.count()} are finished already")
    if not pending:
        return
    first = next(run for run in pending if run.ready())
    placement = backend.place(first.resolved(), len(pending))
    # A trained tokenizer, of a run that is under way.
    tokenizers = (run.folder / TOKENIZER_FILE for run in runs if run.ready())
    corpus = prepare_with_progress(first.resolved().data, next(filter(Path.is_file, tokenizers), None))
    log(f"{len(pending)} run{'s' if len(pending) > 1 else ''}, {placement.text}")
    free, used = list(placement.shares), {}
    with _stop_request() as stop, backend.opened() as starter, _active() as active:
        while pending or active:
            for run in [run for run in pending if run.ready()][: len(free)]:
                pending.remove(run)
                used[run] = free.pop(0)
                active[run] = starter.start(run, corpus, used[run])
            for run, seconds in _ended(active, starter, stop):
                free.append(used.pop(run))
                progress.add(run, seconds)
                log(f"{progress.count()}: {run.name} in {seconds:.0f} s{progress.left(len(placement.shares))}")


@dataclass(frozen=True)
class Processes:
    """Processes of this machine, on its GPUs or cores.

    Attributes:
        count: at once; 0: as many as the visible GPUs, or without one the cores, have room for.

    Raises:
        ValueError: for a number below 0.
    """

    count: int = 0

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError(f"--processes must be 0 (as many as there is room for) or more, but is {self.count}")

    def place(self, first: Settings, count: int) -> Placement:
        """See :func:`~adabatch.experiments.devices.place_runs`."""
        return place_runs(first.parallel, count, self.count)

    @contextmanager
    def opened(self) -> Iterator[Processes]:
        """Itself; libraries of the processes begin with one thread."""
        with _one_thread():
            yield self

    def start(self, run: ExperimentRun, corpus: Path, gpus: Sequence[str]) -> BaseProcess:
        """A process that trains the run."""
        # A server that has loaded the trainer forks the runs: loading takes longer than a small run's first steps.
        context = get_context("forkserver")
        context.set_forkserver_preload(["adabatch.training.launch"])
        process = context.Process(
            target=run_in_this_process, args=(run.resolved(), run.log, corpus, gpus), name=run.name
        )
        with hold_back_in_children():  # not around start(), which waits for the server and would not hear either
            forkserver.ensure_running()
        process.start()
        process.started = time.monotonic()  # type: ignore[attr-defined]
        return process

    def wait(self, active: Sequence[BaseProcess]) -> None:
        """Until one of them ends, or a moment is over."""
        wait([process.sentinel for process in active], timeout=POLLING_SECONDS)


def _ended(
    active: dict[ExperimentRun, Any], starter: Starter, stop: StopRequest
) -> Iterator[tuple[ExperimentRun, float]]:
    """The runs that have ended, after a moment, each with its seconds.

    Raises:
        ValueError: if one has failed.
        SystemExit: if this process is to stop; a terminal's signal has then reached the runs too.
    """
    starter.wait(list(active.values()))
    if stop.number:
        log(f"stopped by {Signals(stop.number).name}{CONTINUES}")
        raise SystemExit(code_of_signal(stop.number))
    for run, process in list(active.items()):
        if process.is_alive():
            continue
        process.join()
        del active[run]
        if process.exitcode != 0 or not run.finished():
            raise ValueError(
                f"the run {run.name} failed (exit code {process.exitcode}): see {run.log}{_ending(run)}"
            )
        yield run, time.monotonic() - process.started


def _ending(run: ExperimentRun) -> str:
    """The last line of the run's log."""
    text = run.log.read_text(errors="replace") if run.log.is_file() else ""
    last = text.strip().rpartition("\n")[2].strip()
    return f", which ends with: {last[:500]}" if last else ""


@contextmanager
def _stop_request() -> Iterator[StopRequest]:
    """The stop signals that come within; each leaves the runs a moment, and no longer."""
    request, over = StopRequest(managed=True), threading.Event()

    def stop(number: int) -> None:
        request.note(number)
        if not over.wait(PATIENCE + POLLING_SECONDS):  # where this process waits for the server, for one
            end_at_once(number, CONTINUES)

    with listening(stop):
        try:
            yield request
        finally:
            over.set()
            if request.number:
                _end_server()


def _end_server() -> None:
    """End the server now that its runs have ended: by itself it takes seconds, as it has loaded torch."""
    pid = forkserver._forkserver._forkserver_pid  # type: ignore[attr-defined]
    if pid is not None:
        os.kill(pid, SIGKILL)


@contextmanager
def _active() -> Iterator[dict[ExperimentRun, Any]]:
    """Runs that are under way; stopped, with a checkpoint where there is time, when the comparison stops."""
    active: dict[ExperimentRun, Any] = {}
    try:
        yield active
    finally:
        for process in active.values():
            process.terminate()
        deadline = time.monotonic() + PATIENCE
        for process in active.values():
            process.join(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.join()


@contextmanager
def _one_thread() -> Iterator[None]:
    """Libraries in processes started here begin with one thread: idle ones would compete with the other runs."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before
