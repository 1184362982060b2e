"""A terminal or a log that cannot be written ends no run: what does not go through is dropped, and said once."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

__all__ = ["TolerantStream", "tolerant_streams"]


class TolerantStream:
    """A text stream whose ``write`` and ``flush`` never fail.

    Args:
        stream: to write to; None, as Python has it for a stream that was closed before it started, drops all.

    Attributes:
        failure: the first error; None so far.

    >>> full = TolerantStream(open("/dev/full", "w"))
    >>> print("some text", file=full, flush=True)
    >>> full.failure.strerror
    'No space left on device'
    """

    def __init__(self, stream: TextIO | None) -> None:
        self.stream = stream
        self.failure: Exception | None = None

    def write(self, text: str) -> int:
        """Write what goes through."""
        try:
            if self.stream is not None:
                self.stream.write(text)
        except (OSError, ValueError) as error:  # ValueError: closed in the meantime
            self.failure = self.failure or error
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write what goes through."""
        self.write("".join(lines))

    def flush(self) -> None:
        """Flush what goes through."""
        try:
            if self.stream is not None:
                self.stream.flush()
        except (OSError, ValueError) as error:
            self.failure = self.failure or error

    def isatty(self) -> bool:
        """Whether it is a terminal."""
        try:
            return self.stream is not None and self.stream.isatty()
        except ValueError:
            return False

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def tolerant_streams() -> Iterator[None]:
    """Within, the standard streams are tolerant; at the end, one that failed is named on the other."""
    former = sys.stdout, sys.stderr
    out, error = TolerantStream(sys.stdout), TolerantStream(sys.stderr)
    sys.stdout, sys.stderr = out, error
    try:
        yield
    finally:
        out.flush()
        error.flush()
        for name, stream, other in (("standard output", out, error), ("standard error", error, out)):
            if stream.failure is not None:
                print(f"the {name} could not be written ({stream.failure}); nothing else was lost", file=other)
        out.flush()
        error.flush()
        sys.stdout, sys.stderr = former
        for stream in (out, error):
            if stream.failure is not None:
                _drop(stream)


def _drop(stream: TolerantStream) -> None:
    """What is still in the buffer goes nowhere: at the end of the process it would become its exit code."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
        stream.flush()
