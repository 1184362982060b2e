"""A run's scalars for Weights & Biases, sent from a thread of its own: training waits for no server."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import Any

from adabatch.files import remove_by_name, temporary_names, write_json
from adabatch.refusals import one_line
from adabatch.reporting.metrics import Record, TimedRecords, scalars

__all__ = ["WandbWriter", "remove_wandb"]

RUN_FILE = "wandb-run.json"
"""In a run's folder: the id of its run in Weights & Biases, which a resumed run continues."""

REACH, UPLOAD = 20.0, 30.0
"""Seconds after which a server counts as out of reach, while training proceeds; and for the upload of what is left
at the end.
"""

PATIENCE = 60.0
"""Seconds for which the end of a run waits for all of it."""


class WandbWriter:
    """Sends the numbers of each record against the samples seen, those of one run under one id.

    A run that is opened again continues its run in Weights & Biases: the steps that are there are not sent again,
    and those that an attempt without it took are. Without a server, or without a login, the numbers go into
    ``folder/wandb``, all of them at each attempt, for ``wandb sync``.

    Args:
        folder: of the run.
        earlier: records of the steps before.
        config: the settings, for display.
        log: shows where the run is to be found, as a line.
    """

    def __init__(
        self, folder: Path, earlier: TimedRecords, config: Mapping[str, Any], log: Callable[[str], None]
    ) -> None:
        self._queue: SimpleQueue[Record | None] = SimpleQueue()
        self._failure: BaseException | None = None
        for record, _ in earlier:
            self._queue.put(record)
        self._thread = Thread(target=self._work, args=(folder, config, log), daemon=True)
        self._thread.start()

    def write(self, record: Record, ended: float | None = None) -> None:
        """Send a step's numbers, in time."""
        if self._failure is None:
            self._queue.put(record)

    def close(self) -> None:
        """Wait for what is still to be sent, but not for ever.

        Raises:
            RuntimeError: something could not be sent.
        """
        self._queue.put(None)
        self._thread.join(PATIENCE)
        if self._thread.is_alive():
            raise RuntimeError(f"numbers were still being sent after {PATIENCE:g} s")
        if self._failure is not None:
            raise RuntimeError(one_line(str(self._failure)) or repr(self._failure))

    def _work(self, folder: Path, config: Mapping[str, Any], log: Callable[[str], None]) -> None:
        try:
            run = _begin(folder, config, log)
            first = run.step  # of a run that is continued, the one after its last
            while (record := self._queue.get()) is not None:
                for samples, numbers in scalars(record):
                    if samples >= first:
                        run.log(numbers, step=samples)
            run.finish()
        except BaseException as error:  # a library's exit in this thread too is a failure of the tracker's
            self._failure = error


def _begin(folder: Path, config: Mapping[str, Any], log: Callable[[str], None]) -> Any:
    """The run in Weights & Biases, with a line that tells where it is."""
    os.environ.setdefault("WANDB_SILENT", "true")  # some of its lines are written before its settings are read
    import wandb  # here, as it takes a second, in which training begins

    options: dict[str, Any] = {"id": _run_id(folder), "resume": "allow", "dir": str(folder), "config": config}
    options |= {"name": folder.resolve().name, "project": os.environ.get("WANDB_PROJECT", "adabatch")}
    limits = {"init_timeout": REACH, "finish_timeout": UPLOAD, "finish_timeout_raises": True}
    options["settings"] = wandb.Settings(console="off", silent=True, **limits)
    reason = ""
    try:
        if wandb.setup().settings.mode == "online" and not wandb.login(prompt=False, verify=False):
            raise LookupError("no login: wandb login, or WANDB_API_KEY")
        run = wandb.init(**options)
    except Exception as error:  # no login, no server, no such project: each has an error of its own
        wandb.teardown()  # else the id counts as in use
        run = wandb.init(**options, mode="offline")
        reason = f" ({one_line(str(error))[:200] or repr(error)})"
    where = run.url or f"offline{reason}; to upload: wandb sync {Path(run.dir).parent}"
    log(f"Weights & Biases: {where}")
    return run


def _run_id(folder: Path) -> str:
    """The id of this run, made at its first start."""
    try:
        known = json.loads((folder / RUN_FILE).read_text(encoding="utf-8"))["id"]
        if isinstance(known, str) and re.fullmatch(r"[a-z0-9]{4,64}", known):
            return known
    except (OSError, ValueError, LookupError, TypeError):
        pass
    made = secrets.token_hex(6)
    write_json(folder / RUN_FILE, {"id": made})
    return made


def remove_wandb(folder: Path) -> None:
    """Delete what Weights & Biases wrote of an earlier run in this folder, by that run's id."""
    if not (folder / RUN_FILE).is_file():
        return
    name = _run_id(folder)
    for path in (folder / "wandb").glob(f"*run-*-{name}"):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
    remove_by_name(folder / "wandb", r"latest-run|debug(-internal)?\.log")
    for path in folder.glob(f"{RUN_FILE}*"):
        if re.fullmatch(temporary_names(RUN_FILE), path.name):
            path.unlink()
