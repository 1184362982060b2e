"""The model of a finished or stopped run, whole and in this process, from one of its checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from transformers import PreTrainedModel

from adabatch.checkpoints.compatibility import saved_progress
from adabatch.checkpoints.folders import (
    CONTENTS,
    MARKER,
    checkpoint_step,
    complete_checkpoints,
    named_checkpoint,
    read_json,
    step_folder,
)
from adabatch.checkpoints.loading import choose_checkpoint, load_parameters
from adabatch.data.preparation import TOKENIZER_FILE
from adabatch.data.tokenizer import Tokenizer, open_tokenizer
from adabatch.distributed.parallel import DistributedContext
from adabatch.model.language_model import build_model, model_config
from adabatch.model.weights import check_weights
from adabatch.settings import Settings, from_saved
from adabatch.training.checkpointing import checkpoints_folder

__all__ = ["TrainedModel", "holds_checkpoints", "load_trained_model", "load_weights_of_run"]

ONE_PROCESS = DistributedContext()


@dataclass(frozen=True)
class TrainedModel:
    """What a checkpoint holds of a run, but for what only training needs.

    Attributes:
        checkpoint: its folder.
        settings: of the run.
        tokenizer: that the run was trained with.
        model: in evaluation mode, in fp32, on the CPU.
    """

    checkpoint: Path
    settings: Settings
    tokenizer: Tokenizer
    model: PreTrainedModel

    @property
    def step(self) -> int:
        """The optimizer step that it was saved after."""
        return checkpoint_step(self.checkpoint)


def load_trained_model(run: Path, step: int | None = None) -> TrainedModel:
    """Load a run's model; the checkpoint may have been saved by any number of ranks.

    Args:
        run: the folder of a run, or of one checkpoint, which may be ``checkpoints/best``.
        step: of the checkpoint in a run's folder; None: the newest intact one.

    Raises:
        ValueError: if there is no intact checkpoint, or the tokenizer of the run is gone.
    """
    checkpoint = _find(run, step)
    progress = saved_progress(checkpoint)
    settings = from_saved(progress["settings"], f"the checkpoint {checkpoint}")
    tokenizer = _same_tokenizer(checkpoint.parent.parent, settings, progress["corpus"])
    shape = model_config(settings.model.model, progress["corpus"]["vocabulary_size"])
    model = build_model(shape, settings.data.seed).eval()
    load_parameters(checkpoint, model, ONE_PROCESS)
    return TrainedModel(checkpoint, settings, tokenizer, model)


def holds_checkpoints(run: Path) -> bool:
    """Whether the folder is that of a run, or of one checkpoint."""
    return (named_checkpoint(run) / MARKER).is_file() or checkpoints_folder(str(run)).is_dir()


def load_weights_of_run(model: PreTrainedModel, run: Path, tokenizer: Tokenizer) -> str | None:
    """Replace a model's parameters by those of a checkpoint, as :func:`load_trained_model` finds it.

    Returns:
        A warning, if the weights were trained with another tokenizer than this one.

    Raises:
        ValueError: there is none that is intact, or its tensors are not the model's: which.
    """
    checkpoint = _find(run, None)
    contents = read_json(checkpoint / CONTENTS)
    shapes = {
        name.removeprefix("model."): tuple(entry["size"])
        for name, entry in contents.items()
        if name.startswith("model.")
    }
    check_weights(model, shapes, str(checkpoint), "take the --model of that run")
    load_parameters(checkpoint, model, ONE_PROCESS)
    known = saved_progress(checkpoint)["corpus"]["train"]["tokenizer"]
    own = checkpoint.parent.parent / TOKENIZER_FILE
    if known["fingerprint"] == tokenizer.fingerprint:
        return None
    return (
        f"the weights of {checkpoint} were trained with another tokenizer, in which the same numbers are other "
        f"tokens: take it too (--tokenizer {own if own.is_file() else known.get('name')})"
    )


def _find(run: Path, step: int | None) -> Path:
    """The checkpoint that is meant, read through and found intact."""
    run = named_checkpoint(run)
    folder = checkpoints_folder(str(run))
    wanted = str(run) if (run / MARKER).is_file() else "auto"
    if step is not None:
        known = [checkpoint_step(path) for path in complete_checkpoints(folder)]
        if step not in known:
            there = ", ".join(map(str, known)) or "none"
            raise ValueError(f"{run} has no complete checkpoint of step {step}: those there are of steps {there}")
        wanted = str(step_folder(folder, step))
    checkpoint = choose_checkpoint(wanted, folder, ONE_PROCESS)
    if checkpoint is None:
        raise ValueError(
            f"no complete checkpoint in {run}: name the folder of a run that has saved one, such as runs/train, "
            "or of one checkpoint, such as runs/train/checkpoints/step-00000100"
        )
    return checkpoint


def _same_tokenizer(run: Path, settings: Settings, corpus: dict[str, Any]) -> Tokenizer:
    """The tokenizer that the run was trained with: what it saved, or what its settings name if that is it."""
    for name in (str(run / TOKENIZER_FILE), settings.data.tokenizer):
        try:
            tokenizer = open_tokenizer(name, settings.data.end_of_document)
        except ValueError:
            continue
        if tokenizer.fingerprint == corpus["train"]["tokenizer"]["fingerprint"]:
            return tokenizer
    raise ValueError(
        f"neither {run / TOKENIZER_FILE} nor the tokenizer {settings.data.tokenizer} is there and the one that "
        "the run was trained with: bring it back from a copy"
    )
