"""The exit codes of the commands; docs/reliability.md has them in a table."""

from __future__ import annotations

import signal

__all__ = [
    "DIVERGED",
    "FAILED",
    "HUNG",
    "OTHER_RANKS",
    "OUT_OF_MEMORY",
    "TIME_LIMIT",
    "USER_ERROR",
    "code_of_signal",
    "meaning",
    "signal_of_code",
]

FAILED, USER_ERROR, DIVERGED, OUT_OF_MEMORY, TIME_LIMIT, HUNG = 1, 2, 3, 4, 5, 75

OTHER_RANKS = 76
"""Of ranks that are to be started again in another number; of the command, if a scheduler is to give them."""

MEANINGS = {
    USER_ERROR: "the settings, the data or a checkpoint do not fit",
    DIVERGED: "it diverged",
    OUT_OF_MEMORY: "a rank ran out of memory",
    TIME_LIMIT: "the time limit was reached",
    HUNG: "a rank made no progress",
    OTHER_RANKS: "the next batch gets other ranks",
}

SIGNALS = 128
"""A command that a signal has ended returns this and the signal's number, as a shell reports it."""


def code_of_signal(number: int) -> int:
    """The exit code of a command that a signal has ended.

    >>> code_of_signal(signal.SIGINT), code_of_signal(signal.SIGTERM)
    (130, 143)
    """
    return SIGNALS + number


def signal_of_code(code: int) -> signal.Signals | None:
    """The signal that an exit code stands for, None if it stands for none.

    >>> signal_of_code(143).name, signal_of_code(75)
    ('SIGTERM', None)
    """
    return next((each for each in signal.Signals if each + SIGNALS == code), None)


def meaning(code: int) -> str:
    """What an exit code other than 0 means, in words.

    >>> meaning(3), meaning(143), meaning(1)
    ('it diverged', 'it was stopped by SIGTERM', 'a rank failed')
    """
    number = signal_of_code(code)
    return f"it was stopped by {number.name}" if number else MEANINGS.get(code, "a rank failed")
