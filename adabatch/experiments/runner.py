"""Executes runs, as many at once as asked for, in order and after the runs that they need."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, get_context
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from adabatch.data.preparation import TOKENIZER_FILE
from adabatch.data.progress import prepare_with_progress
from adabatch.distributed.signals import children_hear_later
from adabatch.experiments.run import ExperimentRun
from adabatch.experiments.worker import run_in_this_process

__all__ = ["execute", "log"]

POLLING_SECONDS = 60.0


def log(line: str) -> None:
    """Progress, on standard error: the result is what stands on standard output."""
    print(line, file=sys.stderr, flush=True)


def execute(runs: Sequence[ExperimentRun], processes: int = 0) -> None:
    """Train what is not finished yet; returns when every run is.

    A run is a process of its own on the threads that its settings name. It resumes from its newest checkpoint if
    it has one; a finished run is not started again. When one fails, the others are stopped.

    Args:
        runs: earlier ones are started first; the runs that one needs must be among them.
        processes: runs at once; 0 takes the cores of this machine.

    Raises:
        ValueError: for a number of processes below 0, settings that cannot work, a folder that holds a run with
            other settings, or a run that fails (the message names its log).
    """
    if processes < 0:
        raise ValueError(f"--processes must be 0 (as many as there are cores) or more, but is {processes}")
    pending = [run for run in runs if not run.finished()]
    done = len(runs) - len(pending)
    if done:
        log(f"{done} of {len(runs)} runs are finished already")
    if not pending:
        return
    first = next(run for run in pending if run.ready())
    tokenizers = (run.folder / TOKENIZER_FILE for run in runs)  # a trained one, of a run that is under way
    corpus = prepare_with_progress(first.resolved().data, next(filter(Path.is_file, tokenizers), None))
    slots = processes or os.cpu_count() or 1
    with _one_thread(), _processes() as active:
        while pending or active:
            for run in [run for run in pending if run.ready()][: slots - len(active)]:
                pending.remove(run)
                active[run] = _start(run, corpus)
            for run, seconds in _ended(active):
                done += 1
                log(f"{done} of {len(runs)}: {run.name} in {seconds:.0f} s")


def _start(run: ExperimentRun, corpus: Path) -> BaseProcess:
    # A server that has loaded the trainer forks the runs: loading takes longer than a small run's first steps.
    context = get_context("forkserver")
    context.set_forkserver_preload(["adabatch.training.launch"])
    process = context.Process(target=run_in_this_process, args=(run.resolved(), run.log, corpus), name=run.name)
    with children_hear_later():  # not around start(), which waits for the server and would not hear either
        forkserver.ensure_running()
    process.start()
    process.started = time.monotonic()  # type: ignore[attr-defined]
    return process


def _ended(active: dict[ExperimentRun, BaseProcess]) -> Iterator[tuple[ExperimentRun, float]]:
    """Wait until at least one run has ended; each with its seconds.

    Raises:
        ValueError: if one has failed.
    """
    wait([process.sentinel for process in active.values()], timeout=POLLING_SECONDS)
    for run, process in list(active.items()):
        if process.is_alive():
            continue
        process.join()
        del active[run]
        if process.exitcode != 0 or not run.finished():
            raise ValueError(
                f"the run {run.name} failed (exit code {process.exitcode}): see {run.log}{_ending(run)}"
            )
        yield run, time.monotonic() - process.started  # type: ignore[attr-defined]


def _ending(run: ExperimentRun) -> str:
    """The last line of the run's log."""
    text = run.log.read_text(errors="replace") if run.log.is_file() else ""
    last = text.strip().rpartition("\n")[2].strip()
    return f", which ends with: {last[:500]}" if last else ""


@contextmanager
def _processes() -> Iterator[dict[ExperimentRun, BaseProcess]]:
    """Runs that are under way; stopped when the comparison stops."""
    active: dict[ExperimentRun, BaseProcess] = {}
    try:
        yield active
    finally:
        for process in active.values():
            process.terminate()
        for process in active.values():
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
