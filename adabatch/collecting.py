"""Python's collector of reference cycles, which looks through all that an import has made again and again.

Importing torch and transformers takes a sixth less time where it looks rarely. Training has it look as usual, as a
cycle may hold memory of a GPU; but what has been imported by then stays and is not looked through any more,
neither while steps are taken nor when the process ends.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["collect_as_usual", "collect_rarely", "collecting_rarely"]

USUALLY, RARELY = gc.get_threshold(), (50_000, 20, 20)
"""After how many objects made, and how many collections of younger ones."""


def collect_rarely() -> None:
    """From here on, in a process that only starts or computes for a while."""
    gc.set_threshold(*RARELY)


def collect_as_usual() -> None:
    """From here on, among what is made from here on."""
    gc.freeze()
    gc.set_threshold(*USUALLY)


@contextmanager
def collecting_rarely() -> Iterator[None]:
    """Within a ``with``.

    >>> with collecting_rarely():
    ...     gc.get_threshold()
    (50000, 20, 20)
    >>> gc.get_threshold() == USUALLY
    True
    """
    collect_rarely()
    try:
        yield
    finally:
        gc.set_threshold(*USUALLY)
