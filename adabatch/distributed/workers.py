"""Processes that share work: they leave stop signals to the process that started them, and do not outlive it."""

from __future__ import annotations

import multiprocessing
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from adabatch.distributed.signals import STOP_SIGNALS, end_with_parent, hold_back_in_children

__all__ = ["worker_pool"]

PATIENCE = 2.0
"""Seconds for the pool's thread, which does it at once."""

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def worker_pool(
    processes: int, start: Callable[..., None] | None = None, *arguments: Any
) -> Iterator[ProcessPoolExecutor]:
    """Workers for the time of a ``with``; an interrupt or an error within kills them, and what they are at.

    Args:
        processes: at most.
        start: called first in each worker; like what is submitted, a function that can be pickled.
        arguments: of it; also what can only be inherited, such as a queue.

    >>> with worker_pool(1) as pool:
    ...     pool.submit(max, 3, 4).result()
    4
    """
    others = set(multiprocessing.active_children())
    with hold_back_in_children():  # also here: it starts the process that looks after its semaphores
        pool = _Pool(processes, multiprocessing.get_context("spawn"), _start, (start, arguments))
    with pool:
        try:
            yield pool
        except BaseException:  # what is done is done
            pool.shutdown(wait=False, cancel_futures=True)
            pool.forget_cancelled()
            for process in set(multiprocessing.active_children()) - others:
                process.kill()
            raise


class _Pool(ProcessPoolExecutor):
    """Submitting starts processes as they are needed."""

    begun = False

    def submit(self, function: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> Future[T]:
        self.begun = True
        with hold_back_in_children():
            return super().submit(function, *arguments, **options)

    def forget_cancelled(self) -> None:
        """Wait until the pool's thread has let go of what is cancelled.

        It would fail with a traceback where a worker dies before: to a cancelled future it can tell nothing.
        """
        until = time.monotonic() + PATIENCE
        while self.begun and getattr(self, "_cancel_pending_futures", False) and time.monotonic() < until:
            time.sleep(0.005)


def _start(start: Callable[..., None] | None, arguments: tuple[Any, ...]) -> None:
    for number in STOP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    end_with_parent()
    if start is not None:
        start(*arguments)
