"""Interrupts that fall where Python cannot raise."""

import signal
import sys
import time
import weakref

import pytest

from adabatch.interrupting import interrupts


@pytest.fixture(autouse=True)
def _heard():
    """Also where the tests were started with SIGINT ignored, as a shell does in the background."""
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


def test_all_is_as_before_afterwards():
    handler, hook = signal.getsignal(signal.SIGINT), sys.unraisablehook
    with interrupts():
        _by_destructor()
    assert signal.getsignal(signal.SIGINT) is handler
    assert sys.unraisablehook is hook
    time.sleep(0.2)  # nothing comes after the end
