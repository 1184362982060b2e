"""Experiments run one after the other or several at a time, under one progress bar; finished pieces are kept."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from datetime import timedelta
from functools import partial
from multiprocessing.queues import SimpleQueue

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from simulate.experiments.known import EXPERIMENTS
from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result
from simulate.experiments.settings import Settings
from simulate.kept import KeptResults
from simulate.pools import Pool, plain_pool
from simulate.text import counted

__all__ = ["register_objectives", "run_experiments"]

BETWEEN_LINES = 60.0
"""Seconds."""

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
    read = {name: kept.read(name) for name in names}
    found: dict[str, Timed] = {
        name: earlier for name, earlier in read.items() if earlier is not None and isinstance(earlier[0], Result)
    }
    wanted = [name for name in names if name not in found]
    begun = [f"{counted(count, 'piece')} of {name}" for name in wanted if (count := kept.count(name))]
    if found or begun:
        console.print(f"Kept from an earlier start: {', '.join([*found, *begun])}.")
    columns = (TextColumn("{task.description:<16}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%"))
    times = (TimeElapsedColumn(), TextColumn("{task.fields[left]} left"))
    with Progress(*columns, *times, console=console, transient=True) as progress:
        bar = _Bar(progress, {name: EXPERIMENTS[name].seconds(settings.level) for name in names})
        for name in found:
            bar.advance(name, 1.0, kept=True)
        processes = min(processes, len(wanted))
        run = partial(_in_processes, processes, pool) if processes > 1 else _one_by_one
        for name, timed in run(wanted, settings, kept, bar):
            kept.write(name, timed)
            found[name] = timed
    return [found[name][0] for name in names], {name: found[name][1] for name in names}


class _Bar:
    """The progress bar, told of pieces of experiments; where there is no terminal, a line each minute."""

    def __init__(self, progress: Progress, work: dict[str, float]) -> None:
        self.progress, self.work, self.done = progress, work, dict.fromkeys(work, 0.0)
        self.began = self.last = time.monotonic()
        self.computed = 0.0
        self.task = progress.add_task("", total=sum(work.values()), left="-:--:--")

    def begin(self, name: str) -> None:
        self.progress.update(self.task, description=name)

    def advance(self, name: str, fraction: float, kept: bool) -> None:
        """Time left is that of the work left, at the speed of what this start has computed."""
        self.done[name] += fraction
        self.computed += 0.0 if kept else fraction * self.work[name]
        done, now = sum(self.done[name] * work for name, work in self.work.items()), time.monotonic()
        left = "-:--:--"
        if self.computed:
            seconds = (now - self.began) / self.computed * max(sum(self.work.values()) - done, 0.0)
            left = str(timedelta(seconds=round(seconds)))
        here = ", ".join(f"{name} {share:.0%}" for name, share in self.done.items() if 0 < share < 1 - 1e-9)
        self.progress.update(self.task, completed=done, description=here or name, left=left)
        if now - self.last > BETWEEN_LINES and not self.progress.console.is_terminal:
            self.last = now
            self.progress.console.print(f"{done / sum(self.work.values()):.0%}, {left} left: {here or name}")


def _one_by_one(
    names: Sequence[str], settings: Settings, kept: KeptResults, bar: _Bar
) -> Iterator[tuple[str, Timed]]:
    for name in names:
        bar.begin(name)
        yield name, _timed(name, settings, kept, bar.advance)


def _in_processes(
    processes: int, pool: Pool, names: Sequence[str], settings: Settings, kept: KeptResults, bar: _Bar
) -> Iterator[tuple[str, Timed]]:
    queue: SimpleQueue[tuple[str, float, bool]] = multiprocessing.get_context("spawn").SimpleQueue()
    longest_first = sorted(names, key=lambda name: -EXPERIMENTS[name].seconds(settings.level))
    with pool(processes, _start, queue, settings) as workers:
        pending: dict[Future[Timed], str] = {
            workers.submit(_in_worker, name, settings, kept): name for name in longest_first
        }
        while pending:
            done, _ = wait(pending, timeout=0.2, return_when=FIRST_COMPLETED)
            while not queue.empty():
                bar.advance(*queue.get())
            for future in done:
                yield pending.pop(future), future.result()


_queue: SimpleQueue[tuple[str, float, bool]] | None = None
"""In a worker, where pieces that are finished are told."""


def _start(queue: SimpleQueue[tuple[str, float, bool]], settings: Settings) -> None:
    global _queue
    _queue = queue
    register_objectives(settings)


def _in_worker(name: str, settings: Settings, kept: KeptResults) -> Timed:
    assert _queue is not None
    put = _queue.put
    return _timed(name, settings, kept, lambda *told: put(told))


def _timed(name: str, settings: Settings, kept: KeptResults, advance: Callable[[str, float, bool], None]) -> Timed:
    started, pieces = time.perf_counter(), Pieces(partial(advance, name), kept, name)
    result = EXPERIMENTS[name].run(settings, pieces)
    return result, time.perf_counter() - started + pieces.earlier


def register_objectives(settings: Settings) -> None:
    """Objectives of your own, and built-in ones with settings, under the texts that name them."""
    from simulate.laboratory.parts import find
    from simulate.objectives import OBJECTIVES

    for text in settings.objectives:
        if text not in OBJECTIVES and set(text) & set(":,"):
            OBJECTIVES[text] = find("objective", text).make
