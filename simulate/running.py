"""Experiments run one after the other or several at a time, under one progress bar; what is finished is kept."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from functools import partial
from multiprocessing.queues import SimpleQueue

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from simulate.experiments.known import EXPERIMENTS
from simulate.experiments.result import Result
from simulate.experiments.settings import Advance, Settings
from simulate.kept import KeptResults
from simulate.pools import Pool, plain_pool

__all__ = ["register_objectives", "run_experiments"]

Timed = tuple[Result, float]
"""What an experiment found, and in how many seconds."""


def run_experiments(
    names: Sequence[str],
    settings: Settings,
    processes: int,
    kept: KeptResults,
    console: Console,
    pool: Pool = plain_pool,
) -> tuple[list[Result], dict[str, float]]:
    """Those that are not kept from an earlier start are run, the longest first if several are run at a time.

    Args:
        names: of the experiments, in the order of the results.
        settings: that have been checked.
        processes: experiments at once; 1: in this process.
        kept: results of an earlier start; those of this one are added.
        console: for the progress bar.
        pool: of workers.

    Returns:
        The results, and the seconds that each took.
    """
    found = {name: earlier for name in names if (earlier := kept.read(name)) is not None}
    if found:
        console.print(f"Kept from an earlier start: {', '.join(found)}.")
    columns = (TextColumn("{task.description:<16}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, *times, console=console, transient=True) as progress:
        task = progress.add_task("", total=sum(EXPERIMENTS[name].weight for name in names))
        progress.advance(task, sum(EXPERIMENTS[name].weight for name in found))
        wanted = [name for name in names if name not in found]
        bar, processes = _Bar(progress, task), min(processes, len(wanted))
        run = partial(_in_processes, processes, pool) if processes > 1 else _one_by_one
        for name, timed in run(wanted, settings, bar):
            kept.write(name, timed)
            found[name] = timed
    return [found[name][0] for name in names], {name: found[name][1] for name in names}


class _Bar:
    """The progress bar, told of parts of experiments."""

    def __init__(self, progress: Progress, task: TaskID) -> None:
        self.progress, self.task = progress, task

    def begin(self, name: str) -> None:
        self.progress.update(self.task, description=name)

    def advance(self, name: str, fraction: float) -> None:
        self.progress.advance(self.task, fraction * EXPERIMENTS[name].weight)


def _one_by_one(names: Sequence[str], settings: Settings, bar: _Bar) -> Iterator[tuple[str, Timed]]:
    for name in names:
        bar.begin(name)
        yield name, _timed(name, settings, partial(bar.advance, name))


def _in_processes(
    processes: int, pool: Pool, names: Sequence[str], settings: Settings, bar: _Bar
) -> Iterator[tuple[str, Timed]]:
    queue: SimpleQueue[tuple[str, float]] = multiprocessing.get_context("spawn").SimpleQueue()
    longest_first = sorted(names, key=lambda name: -EXPERIMENTS[name].weight)
    with pool(processes, _start, queue, settings) as workers:
        pending: dict[Future[Timed], str] = {
            workers.submit(_in_worker, name, settings): name for name in longest_first
        }
        while pending:
            done, _ = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            while not queue.empty():
                name, fraction = queue.get()
                bar.begin(name)
                bar.advance(name, fraction)
            for future in done:
                yield pending.pop(future), future.result()


_queue: SimpleQueue[tuple[str, float]] | None = None
"""In a worker, where parts that are finished are told."""


def _start(queue: SimpleQueue[tuple[str, float]], settings: Settings) -> None:
    global _queue
    _queue = queue
    register_objectives(settings)


def _in_worker(name: str, settings: Settings) -> Timed:
    assert _queue is not None
    tell = _queue.put
    return _timed(name, settings, lambda fraction: tell((name, fraction)))


def _timed(name: str, settings: Settings, advance: Advance) -> Timed:
    started = time.perf_counter()
    result = EXPERIMENTS[name].run(settings, advance)
    return result, time.perf_counter() - started


def register_objectives(settings: Settings) -> None:
    """Objectives of your own, and built-in ones with settings, under the texts that name them."""
    from simulate.laboratory.parts import find
    from simulate.objectives import OBJECTIVES

    for text in settings.objectives:
        if text not in OBJECTIVES and set(text) & set(":,"):
            OBJECTIVES[text] = find("objective", text).make
