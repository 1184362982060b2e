"""Signals that ask a process to stop, heard also while the main thread is busy in a library.

Python runs a signal's handler in the main thread, between two of its own instructions: not while the thread waits
in a collective or trains a tokenizer, and an exception that it raises in a destructor is swallowed. So handlers do
nothing here; a thread, to which Python passes on each signal as it comes, acts in their place.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import parent_process, resource_tracker
from multiprocessing.connection import wait
from types import FrameType

from adabatch.exit_codes import FAILED, code_of_signal

__all__ = [
    "CONTINUES",
    "LAUNCHER",
    "QUIET_TRACKER",
    "STOP_SIGNALS",
    "StopRequest",
    "die_with_parent",
    "end_at_once",
    "end_with_parent",
    "hold_back_in_children",
    "listening",
    "quiet_end",
    "while_a_rank_starts",
]

STOP_SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name)
)
"""What a terminal, a scheduler and a container's host send to end a run."""

CONTINUES = "; the same command continues the work"
"""What a command adds that, called again, takes up its work where it ended."""

LAUNCHER = "ADABATCH_LAUNCHER"
"""The environment's name for the process id of a launcher, in the ranks that it has just started."""

SAME_REQUEST = 0.5
"""Seconds within which a further signal is the same request: ``timeout``, for one, sends each twice."""

QUIET_TRACKER = "ignore:resource_tracker"
"""An option of Python: a process that ends at once leaves multiprocessing's tracker something to clean up."""

LAUNCHING = 2.0
"""Seconds that the end of a process waits for children that it is just starting: one that is left would print what
its parent had not yet sent to it as a traceback."""

PR_SET_PDEATHSIG = 1
SHOW_CURSOR = b"\x1b[?25h"

Action = Callable[[int], None]

_launching = threading.RLock()
"""Held while children start."""


@contextmanager
def listening(action: Action) -> Iterator[None]:
    """Within, each stop signal calls ``action`` with its number, in a thread of its own.

    A signal that is ignored, as by ``nohup`` or in the background of a shell script, stays so. Outside the main
    thread, where Python cannot set handlers, nothing is changed. May be nested; the innermost one hears.

    >>> heard = threading.Event()
    >>> with listening(lambda number: heard.set()):
    ...     signal.raise_signal(signal.SIGTERM)
    ...     heard.wait(10)
    True
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    heard = {number for number in STOP_SIGNALS if signal.getsignal(number) is not signal.SIG_IGN}
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    threading.Thread(target=_pass_on, args=(reading, heard, action), name="stop-signals", daemon=True).start()
    former_pipe = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    former = {number: signal.signal(number, _heard_elsewhere) for number in heard}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, heard)
    try:
        yield
    finally:
        for number, handler in former.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(former_pipe)
        os.close(writing)


def _heard_elsewhere(number: int, frame: FrameType | None) -> None:
    """The handler: without one, Python does not pass the signal on."""


def _pass_on(reading: int, heard: set[int], action: Action) -> None:
    while numbers := os.read(reading, 64):
        for number in numbers:
            if number in heard:
                action(number)
    os.close(reading)


def _forget() -> None:
    """A fork has the handlers, the pipe and the lock, but not the threads: it starts as a fresh process does."""
    global _launching
    _launching = threading.RLock()
    ours = [number for number in STOP_SIGNALS if signal.getsignal(number) is _heard_elsewhere]
    if ours:
        signal.set_wakeup_fd(-1)
    for number in ours:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


class StopRequest:
    """The first stop signal of a run; the action of :func:`listening` is :meth:`note`.

    Args:
        managed: the process that started this one deals with further signals, and may repeat to this process what
            a terminal has sent to both; else a second signal ends this process at once.

    Attributes:
        number: the first signal; 0 before.
    """

    def __init__(self, managed: bool = False) -> None:
        self.managed, self.number, self._since = managed, 0, 0.0

    def note(self, number: int) -> None:
        """Take a signal for a request to stop, or, if it is a later one, end this process."""
        now = time.monotonic()
        if not self.number:
            self.number, self._since = number, now
            if not self.managed:
                name = signal.Signals(number).name
                _write(
                    f"{name}: ending, with a checkpoint after the step under way; a second signal ends at once\n"
                )
        elif not self.managed and now - self._since > SAME_REQUEST:
            end_at_once(number)


def end_at_once(number: int, advice: str = "") -> None:
    """End this process, and its children of multiprocessing, with the exit code of a signal and one line."""
    _launching.acquire(timeout=LAUNCHING)  # and kept: none is started from now on
    with suppress(RuntimeError):  # another thread starts one just now: it ends with this process
        for child in multiprocessing.active_children():
            child.kill()
    _write(f"stopped by {signal.Signals(number).name}{advice}\n")
    os._exit(code_of_signal(number))


def quiet_end(number: int) -> None:
    """As :func:`end_at_once`, without a word: for processes whose parent speaks."""
    os._exit(code_of_signal(number))


def _write(text: str) -> None:
    """To the standard error, past Python's buffers; a progress bar may have hidden the terminal's cursor."""
    with suppress(OSError):
        os.write(2, (SHOW_CURSOR + b"\n" if os.isatty(2) else b"") + text.encode())


@contextmanager
def hold_back_in_children() -> Iterator[None]:
    """Processes that are started here get stop signals only when they enter :func:`listening`.

    A terminal's Ctrl-C reaches them as well, and one that comes while Python still starts would print a traceback
    from each. This process hears at once.
    """
    # A child inherits what the thread that starts it holds back; another thread of this process stays open to
    # the signals.
    sys.warnoptions.append(QUIET_TRACKER)
    resource_tracker.ensure_running()  # it would open this thread again where it starts with the first child
    sys.warnoptions.remove(QUIET_TRACKER)
    end = threading.Event()
    threading.Thread(target=end.wait, name="open-to-signals", daemon=True).start()
    former = signal.pthread_sigmask(signal.SIG_BLOCK, STOP_SIGNALS)
    try:
        with _launching:
            yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)
        end.set()


def end_with_parent() -> None:
    """End this process as soon as its parent, which started it by multiprocessing, is gone."""

    def watch() -> None:
        parent = parent_process()
        if parent is not None:
            wait([parent.sentinel])
            os._exit(FAILED)

    threading.Thread(target=watch, daemon=True).start()


def die_with_parent(parent: int) -> None:
    """On Linux, have the kernel kill this process when its parent, of this process id, ends.

    That also holds while Python is busy in a library. A parent that is gone already ends this process.
    """
    if sys.platform == "linux":
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(FAILED)


_starting = ExitStack()


def while_a_rank_starts() -> None:
    """For the first module that a rank imports: from here on it ends at stop signals and with its launcher."""
    launcher = os.environ.pop(LAUNCHER, "")
    if launcher:
        die_with_parent(int(launcher))
        _starting.enter_context(listening(quiet_end))
