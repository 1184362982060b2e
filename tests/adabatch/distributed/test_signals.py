"""Stop signals are heard wherever the main thread is, and what was ignored stays so."""

from __future__ import annotations

import os
import queue
import signal
import subprocess
import sys
import threading

import pytest

from adabatch.distributed import signals
from adabatch.distributed.signals import STOP_SIGNALS, StopRequest, hold_back_in_children, listening

PATIENCE = 30
"""Seconds to wait for what must come."""


@pytest.fixture(autouse=True)
def _not_ignored():
    """Also where the tests run in the background of a shell script, which ignores SIGINT."""
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_each_stop_signal_is_heard_once(number):
    heard = queue.Queue()
    with listening(heard.put):
        signal.raise_signal(number)
        assert heard.get(timeout=PATIENCE) == number
    assert heard.empty()


def test_all_is_as_before_afterwards():
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    with listening(lambda number: None):
        assert all(signal.getsignal(number) is not handler for number, handler in before.items())
    assert {number: signal.getsignal(number) for number in STOP_SIGNALS} == before
    former = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(former)
    assert former == -1


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_signal_that_is_ignored_stays_ignored(number):
    """As under nohup, and in the background of a shell script."""
    heard, former = queue.Queue(), signal.signal(number, signal.SIG_IGN)
    try:
        with listening(heard.put):
            signal.raise_signal(number)
            others = [other for other in STOP_SIGNALS if other != number]
            for other in others:
                signal.raise_signal(other)
            assert {heard.get(timeout=PATIENCE) for _ in others} == set(others)
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, former)


def test_the_innermost_one_hears():
    outer, inner = queue.Queue(), queue.Queue()
    with listening(outer.put):
        with listening(inner.put):
            signal.raise_signal(signal.SIGTERM)
            assert inner.get(timeout=PATIENCE) == signal.SIGTERM
        signal.raise_signal(signal.SIGHUP)
        assert outer.get(timeout=PATIENCE) == signal.SIGHUP
    assert outer.empty()
    assert inner.empty()


def test_a_signal_in_a_destructor_is_heard(capfd):
    """Where an exception of a handler would be printed and dropped."""

    class Dying:
        def __del__(self):
            signal.raise_signal(signal.SIGINT)

    heard = queue.Queue()
    with listening(heard.put):
        Dying()
        assert heard.get(timeout=PATIENCE) == signal.SIGINT
    assert capfd.readouterr().err == ""


def test_outside_the_main_thread_nothing_is_changed():
    handlers = []

    def enter():
        with listening(lambda number: None):
            handlers.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM)]


def test_a_fork_does_not_answer_for_its_parent():
    """It has the pipe to the parent's thread, which would hear a signal that the parent never got."""
    heard = queue.Queue()
    with listening(heard.put):
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            os._exit(0)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGTERM
        signal.raise_signal(signal.SIGHUP)  # what came before it in the pipe is heard first
        assert heard.get(timeout=PATIENCE) == signal.SIGHUP


IN_A_LIBRARY = "import hashlib; hashlib.pbkdf2_hmac('sha256', b'', b'', 4_000_000)"

BUSY = """
import os, threading
from adabatch.distributed.signals import end_at_once, listening
with listening(end_at_once):
    threading.Timer(0.5, os.kill, (os.getpid(), {number})).start()
    {work}
    os.write(1, b"done")
"""


@pytest.mark.parametrize("number", STOP_SIGNALS)
def test_a_process_ends_with_the_code_of_a_signal_in_the_middle_of_a_library(number):
    code = BUSY.format(number=int(number), work=IN_A_LIBRARY)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    name = signal.Signals(number).name
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", f"stopped by {name}\n")


UNHEARD = f"""
import os, signal, threading, time
signal.signal(signal.SIGINT, lambda *_: os.write(1, b"handler "))
def send():
    time.sleep(0.3)
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(0.1)
    os.write(1, b"thread ")
sender = threading.Thread(target=send)
sender.start()
{IN_A_LIBRARY}
sender.join()
"""


def test_a_handler_alone_would_wait_for_the_library():
    """The control."""
    done = subprocess.run([sys.executable, "-c", UNHEARD], capture_output=True, text=True, check=True)
    assert done.stdout == "thread handler "


class Ended(Exception):
    """In place of the end of the process."""


@pytest.fixture
def clock(monkeypatch):
    """The seconds that StopRequest sees, and what would end this process raises."""

    def end(number):
        raise Ended(number)

    now = [100.0]
    monkeypatch.setattr(signals.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(signals, "end_at_once", end)
    return now


def test_a_second_signal_ends_the_process(clock):
    request = StopRequest()
    request.note(signal.SIGTERM)
    assert request.number == signal.SIGTERM
    clock[0] += 1
    with pytest.raises(Ended):
        request.note(signal.SIGINT)
    assert request.number == signal.SIGTERM


def test_the_same_signal_twice_at_once_is_one_request(clock):
    """GNU timeout sends it to the process and to the process's group."""
    request = StopRequest()
    for _ in range(3):
        request.note(signal.SIGTERM)
        clock[0] += 0.1
    assert request.number == signal.SIGTERM


def test_the_rank_of_a_launcher_leaves_the_second_one_to_it(clock, capfd):
    request = StopRequest(managed=True)
    request.note(signal.SIGUSR1)
    clock[0] += 10
    request.note(signal.SIGUSR1)
    assert request.number == signal.SIGUSR1
    assert capfd.readouterr().err == ""


def test_children_hold_signals_back_and_this_process_does_not():
    heard = queue.Queue()
    with listening(heard.put), hold_back_in_children():
        os.kill(os.getpid(), signal.SIGTERM)
        assert heard.get(timeout=PATIENCE) == signal.SIGTERM
        code = "import signal; print(sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])))"
        blocked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert all(repr(number) in blocked for number in STOP_SIGNALS)
    assert not set(STOP_SIGNALS) & signal.pthread_sigmask(signal.SIG_BLOCK, [])
