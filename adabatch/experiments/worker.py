"""One run in a process of its own: the same code as ``adabatch train``, its output in a log file."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from adabatch.distributed.signals import end_with_parent, listening, quiet_end
from adabatch.exit_codes import USER_ERROR
from adabatch.settings import Settings

__all__ = ["run_in_this_process"]


def run_in_this_process(settings: Settings, log: Path, corpus: Path) -> None:
    """Train on a prepared corpus and exit with the command's exit code; the output goes to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:  # both output streams, those of libraries in C included
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    end_with_parent()  # else a restarted experiment would find runs of the old one in its folders

    with listening(quiet_end):
        from adabatch.training.launch import launch

        try:
            code = launch(settings, corpus)
        except ValueError as error:
            print(f"Error: {error}", file=sys.stderr)
            code = USER_ERROR
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # without waiting for threads of libraries
