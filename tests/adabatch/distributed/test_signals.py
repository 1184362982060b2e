"""Interrupts that fall where Python cannot raise, or into the start of another process."""

import multiprocessing
import os
import signal
import sys
import threading
import time
import weakref
from pathlib import Path

import pytest

from adabatch.distributed.signals import children_hear_later, interrupts
from adabatch.settings import load_settings
from adabatch.training import launch


@pytest.fixture(autouse=True)
def _heard(monkeypatch):
    """Also where the tests were started with SIGINT ignored, as a shell does in the background."""
    monkeypatch.setattr(
        "adabatch.distributed.signals.AGAIN", 1.0
    )  # on a busy machine the test itself may come late
    former = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, former)


class _Dying:
    """Is interrupted while it is destroyed."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)


class _Plain:
    pass


def _by_destructor():
    _Dying()


def _by_weak_reference():
    value = _Plain()
    reference = weakref.ref(value, lambda _: signal.raise_signal(signal.SIGINT))
    del value
    return reference


@pytest.mark.parametrize("swallow", [_by_destructor, _by_weak_reference])
def test_an_interrupt_in_a_destructor_is_raised_again(swallow, capfd):
    with interrupts() as came:
        swallow()
        assert len(came) == 1  # heard, and swallowed by Python
        with pytest.raises(KeyboardInterrupt):
            time.sleep(30)  # a system call that the second signal has to end
    assert len(came) == 2
    assert capfd.readouterr().err == ""


def test_without_it_the_interrupt_is_lost(monkeypatch):
    """The control: it is Python that swallows."""
    swallowed = []
    monkeypatch.setattr(sys, "unraisablehook", swallowed.append)
    _by_destructor()
    time.sleep(0.2)
    assert [what.exc_type for what in swallowed] == [KeyboardInterrupt]


def test_other_errors_of_destructors_are_told_as_before(monkeypatch):
    told = []
    monkeypatch.setattr(sys, "unraisablehook", told.append)

    class Failing:
        def __del__(self):
            raise OSError("the disk is full")

    with interrupts() as came:
        Failing()
    assert [what.exc_type for what in told] == [OSError]
    assert not came


def test_an_interrupt_that_is_heard_takes_the_place_of_the_swallowed_one():
    with interrupts() as came:
        _by_destructor()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        time.sleep(1.5)  # the work of an orderly end, which nothing cuts
    assert len(came) == 2


def test_a_second_interrupt_while_the_first_is_dealt_with_ends_the_rank_alike(monkeypatch):
    def leave(settings, start, interrupted):
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(launch, "_rank_until", leave)
    assert launch._rank(load_settings("demo"), None) == launch.INTERRUPTED


def test_outside_the_main_thread_it_is_refused_and_changes_nothing():
    hook, errors = sys.unraisablehook, []

    def enter():
        try:
            with interrupts():
                pass
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert len(errors) == 1
    assert sys.unraisablehook is hook


def test_all_is_as_before_afterwards():
    handler, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
    with interrupts():
        _by_destructor()
    assert signal.getsignal(signal.SIGINT) is handler
    assert sys.unraisablehook is hook
    time.sleep(1.5)  # nothing comes after the end


def test_where_interrupts_are_ignored_they_stay_so():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with interrupts() as came:
        signal.raise_signal(signal.SIGINT)
    assert not came
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def _until_interrupted():
    try:
        with interrupts():
            time.sleep(60)
    except KeyboardInterrupt:
        os._exit(launch.INTERRUPTED)


def _interrupted_while_it_starts() -> int:
    """The exit code of a process that an interrupt meets while it imports this module, and torch with it."""
    process = multiprocessing.get_context("spawn").Process(target=_until_interrupted)
    process.start()
    imported = f"/proc/{process.pid}/maps"
    deadline = time.monotonic() + 60
    while "libtorch" not in Path(imported).read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGINT)
    process.join()
    return process.exitcode


def test_a_process_that_starts_hears_an_interrupt_when_it_can_end_quietly(capfd):
    with children_hear_later():
        assert _interrupted_while_it_starts() == launch.INTERRUPTED
    assert capfd.readouterr().err == ""


def test_else_it_prints_where_it_was(capfd):
    """The control."""
    assert _interrupted_while_it_starts() == -signal.SIGINT
    assert "Traceback" in capfd.readouterr().err


def test_who_starts_processes_hears_at_once():
    with interrupts() as came, pytest.raises(KeyboardInterrupt):
        _interrupt_where_children_hear_later()
    assert len(came) == 1
    assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def _interrupt_where_children_hear_later():
    with children_hear_later():
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)  # another thread takes the signal; the interrupt comes when this one runs again
        pytest.fail("it was not heard")
