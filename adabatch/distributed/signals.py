"""Ctrl-C that is neither lost nor answered with a traceback: in a destructor, or while a process still starts."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process, resource_tracker
from multiprocessing.connection import wait
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sys import UnraisableHookArgs
    from types import FrameType

__all__ = ["children_hear_later", "end_with_parent", "interrupts"]

AGAIN = 0.05
"""Seconds after which an interrupt that was swallowed is raised again: a destructor has long ended by then."""


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """Raise ``KeyboardInterrupt`` in this thread at SIGINT, until it has been heard; main thread only.

    Python cannot raise from a destructor (``__del__``) or the callback of a weak reference: it prints the
    exception and continues, so that the rank would train while its peers have left. An interrupt that falls into
    one is raised again here, and nothing is printed. What :func:`children_hear_later` has held back is raised
    at the beginning. Where SIGINT is ignored, as in the background of a shell script, it stays so.

    Yields:
        The signals that have come so far: code that meets another error can see whether an interrupt is its cause.

    Raises:
        ValueError: outside the main thread (from :func:`signal.signal`).

    Example:
        >>> with interrupts() as came:
        ...     try:
        ...         signal.raise_signal(signal.SIGINT)
        ...     except KeyboardInterrupt:
        ...         print(f"left after {len(came)} interrupt")
        left after 1 interrupt
    """
    came: list[int] = []
    again: list[threading.Timer] = []
    main = threading.get_ident()

    def interrupt(number: int, frame: FrameType | None) -> None:
        came.append(number)
        cancel()
        raise KeyboardInterrupt

    def cancel() -> None:
        for timer in again:
            timer.cancel()

    def swallowed(what: UnraisableHookArgs) -> None:
        if not issubclass(what.exc_type, KeyboardInterrupt):
            former_hook(what)
            return
        timer = threading.Timer(AGAIN, signal.pthread_kill, (main, signal.SIGINT))
        timer.daemon = True
        timer.start()
        again.append(timer)

    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield came
        return
    former = signal.signal(signal.SIGINT, interrupt)
    former_hook, sys.unraisablehook = sys.unraisablehook, swallowed
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        yield came
    finally:
        sys.unraisablehook = former_hook
        cancel()
        signal.signal(signal.SIGINT, former)


@contextmanager
def children_hear_later() -> Iterator[None]:
    """Hold SIGINT back in processes that are started here, until they enter :func:`interrupts` or ignore it.

    A terminal's Ctrl-C reaches them as well, and one that comes while they still import would print a traceback
    from each. This process hears it at once, though not in the middle of waiting for a lock.
    """
    # A child inherits what the thread that starts it holds back; another thread of this process stays open to
    # the signal, which Python handles in its main thread all the same.
    resource_tracker.ensure_running()  # it would open this thread again where it starts with the first child
    end = threading.Event()
    threading.Thread(target=end.wait, name="hears-interrupts", daemon=True).start()
    former = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
        end.set()


def end_with_parent(code: int) -> None:
    """End this process with an exit code as soon as its parent, which started it by multiprocessing, is gone."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            wait([parent.sentinel])
            os._exit(code)

    threading.Thread(target=watch, daemon=True).start()
