"""Checkpoints: parameters and optimizer through torch.distributed.checkpoint, everything else as exact JSON.

A checkpoint is written to a temporary folder and renamed, so that a folder with a step's name is complete.
"""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from torch.optim import Optimizer

from adabatch.parallel import Ranks

__all__ = [
    "checkpoint_step",
    "complete_checkpoints",
    "find_checkpoint",
    "load_checkpoint",
    "read_progress",
    "save_checkpoint",
]

PROGRESS = "progress.json"

OPTIONS = StateDictOptions(flatten_optimizer_state_dict=True)
"""The optimizer's state by parameter: how parameters are grouped depends on the meshes they lie on."""


def save_checkpoint(
    folder: Path, step: int, model: nn.Module, optimizer: Optimizer, progress: dict[str, Any], ranks: Ranks
) -> Path:
    """Write a checkpoint of a step boundary; all ranks call it.

    Args:
        folder: the run's ``checkpoints`` folder.
        step: names the checkpoint.
        model: wrapped or not.
        optimizer: its whole state is saved.
        progress: JSON-serialisable state of the schedule and counters; floats survive exactly.
        ranks: this process among the others.

    Returns:
        The checkpoint's path.
    """
    path = folder / f"step-{step:08d}"
    temporary = folder / f"step-{step:08d}.tmp"
    if ranks.is_main:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
    ranks.barrier()
    parameters, state = get_state_dict(model, optimizer, options=OPTIONS)
    with _quiet():
        dcp.save({"model": parameters, "optimizer": state}, checkpoint_id=temporary, no_dist=ranks.world_size == 1)
    if ranks.is_main:
        (temporary / PROGRESS).write_text(json.dumps(progress, indent=1))
        shutil.rmtree(path, ignore_errors=True)
        os.replace(temporary, path)
    ranks.barrier()
    return path


def load_checkpoint(path: Path, model: nn.Module, optimizer: Optimizer, ranks: Ranks) -> dict[str, Any]:
    """Load parameters and optimizer state in place, at any world size, and return the progress."""
    parameters, state = get_state_dict(model, optimizer, options=OPTIONS)
    loaded: dict[str, Any] = {"model": parameters, "optimizer": state}
    with _quiet():
        dcp.load(loaded, checkpoint_id=path, no_dist=ranks.world_size == 1)
    set_state_dict(
        model,
        optimizer,
        model_state_dict=loaded["model"],
        optim_state_dict=loaded["optimizer"],
        options=OPTIONS,
    )
    return read_progress(path)


def read_progress(path: Path) -> dict[str, Any]:
    """The progress saved with a checkpoint."""
    progress: dict[str, Any] = json.loads((path / PROGRESS).read_text())
    return progress


def find_checkpoint(resume: str, folder: Path) -> Path | None:
    """The checkpoint that ``--resume auto|PATH|never`` means, or None.

    Raises:
        ValueError: if a path is given that is no complete checkpoint.
    """
    if resume == "never":
        return None
    if resume == "auto":
        complete = complete_checkpoints(folder)
        return complete[-1] if complete else None
    path = Path(resume)
    if not (path / PROGRESS).is_file():
        raise ValueError(
            f"no complete checkpoint at {path}: name a folder such as runs/train/checkpoints/step-00000100, or "
            "take --resume auto"
        )
    return path


def complete_checkpoints(folder: Path) -> list[Path]:
    """The complete checkpoints in a run's ``checkpoints`` folder, oldest first."""
    return sorted(path for path in folder.glob("step-*") if (path / PROGRESS).is_file() and _named(path))


def checkpoint_step(path: Path) -> int:
    """The step that a checkpoint of :func:`complete_checkpoints` was written after."""
    return int(path.name.removeprefix("step-"))


@contextmanager
def _quiet() -> Iterator[None]:
    """torch warns that it saves in a single process where that is what was asked for."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)
        yield


def _named(path: Path) -> bool:
    return path.name.removeprefix("step-").isdigit()
