"""The ``adabatch`` command, in this process or in one of its own."""

from __future__ import annotations

import gc
import os
import sys
import time
from dataclasses import dataclass

import pytest

from adabatch.commands import main

COMMAND = [sys.executable, "-m", "adabatch"]
"""What starts it in a process of its own, whose imports take some six seconds."""


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str


class Command:
    """Runs ``adabatch`` in this process (the fixture ``adabatch``)."""

    def __init__(self, patch: pytest.MonkeyPatch, captured: pytest.CaptureFixture[str]) -> None:
        self._patch, self._captured = patch, captured
        patch.setattr(gc, "freeze", lambda: None)  # which would keep the garbage of other tests

    def __call__(self, *words: object) -> Ended:
        """As ``adabatch words...`` in a shell that shows 200 columns."""
        self._patch.setattr(sys, "argv", ["adabatch", *map(str, words)])
        self._patch.setenv("COLUMNS", "200")
        with pytest.raises(SystemExit) as ended:
            main()
        printed = self._captured.readouterr()
        return Ended(int(ended.value.code or 0), printed.out, printed.err)

    def output(self, *words: object) -> str:
        """What the command, which succeeds, prints."""
        ended = self(*words)
        assert ended.code == 0, ended.err
        return ended.out

    def refuses(self, message: str, *words: object) -> None:
        """The command ends with exit code 2 and this message in a line of its own, and prints nothing else."""
        ended = self(*words)
        assert (ended.code, ended.out) == (2, "")
        assert message in ended.err
        assert ended.err.startswith("Error: ")
        assert ended.err.count("\n") == 1, ended.err


def still_running(group: int) -> bool:
    """Whether a process of the group is left a moment later."""
    for _ in range(50):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return False
        time.sleep(0.1)
    return True
