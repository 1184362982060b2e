"""One run in a process of its own: the same code as ``adabatch train``, its output in a log file."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from adabatch.distributed.signals import end_with_parent, listening, quiet_end
from adabatch.exit_codes import USER_ERROR
from adabatch.settings import Settings

__all__ = ["run_in_this_process", "train_logged"]


def run_in_this_process(settings: Settings, log: Path, corpus: Path, gpus: Sequence[str]) -> None:
    """Train on a prepared corpus and exit with the command's exit code; the output goes to ``log``.

    Args:
        settings: of the run.
        log: file to which the output is appended.
        corpus: folder of the prepared corpus.
        gpus: of this run, one for each rank; none: it computes on the CPU.
    """
    if gpus:  # before anything asks CUDA
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(gpus)
    end_with_parent()  # else a restarted experiment would find runs of the old one in its folders
    os._exit(train_logged(settings, log, corpus))  # without waiting for threads of libraries


def train_logged(settings: Settings, log: Path, corpus: Path) -> int:
    """Train on a prepared corpus; the exit code. From now on the output of this process goes to ``log``."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as file:  # both output streams, those of libraries in C included
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    if gpus := os.environ.get("CUDA_VISIBLE_DEVICES"):
        print(f"CUDA_VISIBLE_DEVICES={gpus}", flush=True)
    with listening(quiet_end):
        from adabatch.training.launch import launch

        try:
            code = launch(settings, corpus)
        except ValueError as error:
            print(f"Error: {error}", file=sys.stderr)
            code = USER_ERROR
    sys.stdout.flush()
    sys.stderr.flush()
    return code
