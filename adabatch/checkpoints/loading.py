"""Loading: the newest intact checkpoint, onto any number of ranks, without running code from it."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch.distributed.checkpoint as dcp
from torch import nn
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict import set_model_state_dict

from adabatch.checkpoints.errors import AgreedError
from adabatch.checkpoints.folders import MARKER, find_checkpoint, newest_first, problem_with, rank_file, read_json
from adabatch.checkpoints.random_states import restore_random_states
from adabatch.checkpoints.storage import TensorReader
from adabatch.checkpoints.tensors import (
    Optimizers,
    TensorsByName,
    named_parameters,
    named_tensors,
    quiet,
    set_tensors,
)
from adabatch.distributed.parallel import DistributedContext

__all__ = ["choose_checkpoint", "load_checkpoint", "load_parameters"]


def choose_checkpoint(resume: str, folder: Path, ranks: DistributedContext) -> Path | None:
    """The newest intact checkpoint that ``--resume auto|PATH|never`` means, or None; all ranks call it.

    The ranks share the reading. What is damaged or incomplete is skipped, with a warning that gives the reason.

    Raises:
        AgreedError: if a path was given and is not intact, or if all complete checkpoints are damaged.
    """
    damaged = []
    for path in _candidates(resume, folder, ranks):
        problems = ranks.gather(problem_with(path, ranks.rank, ranks.world_size))
        problem = next(filter(None, problems), None)
        if problem is None:
            return path
        if resume != "auto":
            raise AgreedError(f"the checkpoint {path} is damaged: {problem}; take --resume auto or another path")
        if (path / MARKER).is_file():
            damaged.append(path)
        if ranks.is_main:
            warnings.warn(f"skipped the checkpoint {path}: {problem}", stacklevel=2)
    if damaged:
        raise AgreedError(
            f"no checkpoint in {folder} is intact ({len(damaged)} damaged): restore one from a copy, or start "
            "again with --resume never --overwrite"
        )
    return None


def _candidates(resume: str, folder: Path, ranks: DistributedContext) -> list[Path]:
    """The checkpoints to look at, as the main rank finds them: what the folder holds is one rank's view."""
    found: list[Path] = []
    refusal = None
    if ranks.is_main:
        try:
            paths = newest_first(folder) if resume == "auto" else [find_checkpoint(resume, folder)]
            found = [path for path in paths if path is not None]
        except ValueError as error:
            refusal = str(error)
    found, refusal = ranks.gather((found, refusal))[0]
    if refusal is not None:
        raise AgreedError(refusal)
    return found


def load_checkpoint(
    path: Path, model: nn.Module, optimizer: Optimizers, ranks: DistributedContext, stepped: bool = True
) -> dict[str, Any]:
    """Load parameters, optimizer state and random states in place; all ranks call it.

    The number of ranks and the sharding may differ from those that saved. A rank whose number did not exist then
    keeps its random states.

    Args:
        path: the checkpoint.
        model: wrapped or not.
        optimizer: that has taken no step yet.
        ranks: this process among the others.
        stepped: whether the run had taken an optimizer step; else the optimizer stays as it is.

    Returns:
        What the rank's own file holds; empty for a new rank.

    Raises:
        ValueError: if the checkpoint's tensors do not fit the model, or its files are not what they should be.
    """
    if stepped:
        tensors = named_tensors(model, optimizer)
        _read(path, tensors, ranks)
        set_tensors(model, optimizer, tensors)
    else:
        load_parameters(path, model, ranks)
    own = rank_file(path, ranks.rank)
    of_rank: dict[str, Any] = read_json(own) if own.exists() else {}
    if "random" in of_rank:
        restore_random_states(of_rank["random"])
    return of_rank


def load_parameters(path: Path, model: nn.Module, ranks: DistributedContext) -> None:
    """Load a checkpoint's parameters only, in place.

    Raises:
        ValueError: see :func:`load_checkpoint`.
    """
    tensors = named_parameters(model)
    _read(path, tensors, ranks)
    set_model_state_dict(model, dict(tensors["model"]))


def _read(path: Path, tensors: TensorsByName, ranks: DistributedContext) -> None:
    """Fill the tensors in place."""
    try:
        with quiet():
            dcp.load(tensors, storage_reader=TensorReader(path), no_dist=ranks.world_size == 1)
    except CheckpointException as error:
        causes = "; ".join(f"{cause!r}" for cause, _ in error.failures.values())
        raise ValueError(f"the checkpoint {path} cannot be loaded into this model: {causes}") from error
