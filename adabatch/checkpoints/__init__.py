"""Checkpoints: written whole or not at all, checked before they are read, loaded without running code."""

from adabatch.checkpoints.compatibility import check_compatible, saved_progress
from adabatch.checkpoints.errors import AgreedError, CheckpointError
from adabatch.checkpoints.folders import (
    checkpoint_step,
    complete_checkpoints,
    find_checkpoint,
    quarantine,
)
from adabatch.checkpoints.loading import choose_checkpoint, load_checkpoint, load_parameters
from adabatch.checkpoints.random_states import seed_generators
from adabatch.checkpoints.saving import CheckpointSaver, SaveCost

__all__ = [
    "AgreedError",
    "CheckpointError",
    "CheckpointSaver",
    "SaveCost",
    "check_compatible",
    "checkpoint_step",
    "choose_checkpoint",
    "complete_checkpoints",
    "find_checkpoint",
    "load_checkpoint",
    "load_parameters",
    "quarantine",
    "saved_progress",
    "seed_generators",
]
