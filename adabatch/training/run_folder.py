"""A run's folder: who has it, what a run writes there, and what a new run does with what it finds.

A run has the folder to itself from here to its end. Only what runs have written is ever deleted, by name:
:func:`_remove_earlier_run` lists it, from the modules that write it.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from adabatch.checkpoints.errors import AgreedError
from adabatch.checkpoints.folders import complete_checkpoints, quarantine, remove_checkpoints
from adabatch.data.preparation import TOKENIZER_FILE
from adabatch.distributed.parallel import DistributedContext
from adabatch.files import keep_copy, remove_by_name, temporary_names, write_json
from adabatch.locks import occupied
from adabatch.reporting.figure_names import figure_files
from adabatch.reporting.metrics import METRICS, RUN_MARKER, parse_record, read_metrics
from adabatch.reporting.tensorboard import EVENTS
from adabatch.reporting.wandb import remove_wandb
from adabatch.settings import CONFIG, Settings
from adabatch.training.checkpointing import checkpoints_folder
from adabatch.training.profiling import PROFILE, TRACE

__all__ = ["WANTED_RANKS", "known_launch", "launch_name", "run_folder", "run_folder_of_ranks"]

WANTED_RANKS = "wanted_ranks"
"""Holds the number of ranks that the run waits for, where a scheduler gives them."""

UNNAMED = "none"
"""What torchrun calls a launch to which the user gives no name."""


@contextmanager
def run_folder(settings: Settings) -> Iterator[None]:
    """Make the run's folder, keep other processes out of it, and make it ready for the run.

    A new run deletes an earlier one with ``--overwrite`` only, and only what that has written; what else lies in
    the folder stays, with a copy where the run needs the name.

    Raises:
        ValueError: another process trains there, it holds an earlier run, or it cannot be written.
    """
    folder = Path(settings.run.output)
    with ExitStack() as held:
        with _as_user_errors(folder):
            if folder.exists() and not folder.is_dir():
                raise ValueError(f"the output {folder} is a file: name a folder (--output)")
            held.enter_context(occupied(folder))
            _make_ready(folder, settings)
        yield


@contextmanager
def run_folder_of_ranks(settings: Settings, ranks: DistributedContext) -> Iterator[None]:
    """:func:`run_folder` on the main rank of ranks that another launcher has started; all ranks call it.

    Raises:
        AgreedError: on all ranks, if the main rank was refused.
    """
    refusal = None
    with ExitStack() as held:
        if ranks.is_main:
            try:
                held.enter_context(run_folder(settings))
            except ValueError as error:
                refusal = str(error)
        refusal = ranks.gather(refusal)[0]
        if refusal is not None:
            raise AgreedError(refusal)
        yield


def launch_name() -> str:
    """What the launcher calls this launch."""
    return os.environ.get("TORCHELASTIC_RUN_ID", UNNAMED)


def known_launch(output: str) -> bool:
    """Whether this launch has begun a run in the folder before: it has a name, and left it there."""
    try:
        left = json.loads((Path(output) / RUN_MARKER).read_text())
    except (OSError, ValueError):
        return False
    return launch_name() != UNNAMED and isinstance(left, dict) and left.get("launch") == launch_name()


@contextmanager
def _as_user_errors(folder: Path) -> Iterator[None]:
    """Errors of the operating system as errors of the user, who has named the folder."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise ValueError(
            f"the output {folder} cannot be written ({reason}): name a folder that can (--output)"
        ) from None


def _make_ready(folder: Path, settings: Settings) -> None:
    if settings.run.resume == "never":
        if (folder / METRICS).exists() and not settings.run.overwrite:
            raise ValueError(
                f"the folder {folder} holds an earlier run: take another --output, --overwrite to delete it, or "
                "--resume auto to continue it"
            )
        if not _is_run(folder):
            _keep_copies(folder, METRICS, CONFIG, TOKENIZER_FILE)
        elif settings.run.overwrite:
            _remove_earlier_run(folder)
        _rename_checkpoints(folder)
    elif _is_finished_without_checkpoint(folder, settings):
        _keep_copies(folder, METRICS)
    write_json(folder / RUN_MARKER, {"launch": launch_name()})


def _is_run(folder: Path) -> bool:
    """Whether the files with a run's names are of a run."""
    if (folder / RUN_MARKER).is_file():
        return True
    if not (folder / METRICS).is_file():
        return False
    with (folder / METRICS).open("rb") as file:
        return parse_record(file.readline()) is not None


def _remove_earlier_run(folder: Path) -> None:
    """Delete what a run writes. The marker goes last: what a kill leaves is still known to be a run's."""
    remove_checkpoints(checkpoints_folder(str(folder)))
    remove_by_name(folder / "figures", figure_files())
    remove_by_name(folder / PROFILE, re.escape(TRACE))
    remove_by_name(folder / "tensorboard", rf"events\.out\.tfevents\..*{re.escape(EVENTS)}")
    remove_wandb(folder)
    for name in (METRICS, CONFIG, TOKENIZER_FILE, WANTED_RANKS, RUN_MARKER):
        _remove_top_level(folder, name)


def _remove_top_level(folder: Path, name: str) -> None:
    for path in folder.iterdir():
        if re.fullmatch(temporary_names(name), path.name) and not path.is_dir():
            path.unlink()


def _is_finished_without_checkpoint(folder: Path, settings: Settings) -> bool:
    """Whether somebody has deleted the checkpoints of a run that was finished: it would begin again."""
    if complete_checkpoints(checkpoints_folder(str(folder))) or not (folder / METRICS).is_file():
        return False
    return any(record["samples"] >= settings.run.end for record in read_metrics(folder)[-1:])


def _keep_copies(folder: Path, *names: str) -> None:
    """Copy files that the run will replace."""
    for name in names:
        if (folder / name).is_file():
            copy = keep_copy(folder / name)
            print(f"note: the run writes {folder / name}; what was there is kept as {copy.name}", file=sys.stderr)


def _rename_checkpoints(folder: Path) -> None:
    """Take the checkpoints of an earlier run, whose records are gone, out of the way of a new run."""
    kept = quarantine(checkpoints_folder(str(folder)), replace=False)
    if kept:
        print(f"note: checkpoints of an earlier run are kept as {kept[0]} and so on", file=sys.stderr)
