"""What is evaluated: the model of a run's checkpoint or of a Hugging Face folder, and the text that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from adabatch.data.tokenizer import open_tokenizer
from adabatch.model.language_model import parameter_count
from adabatch.settings import DataSettings, ParallelSettings, Settings, overlay
from adabatch.training.trained_model import holds_checkpoints, load_trained_model

__all__ = ["ORDER_SEED", "Subject", "open_subject"]

ORDER_SEED = 0
"""Of the order in which sequences are drawn: models are compared on the same ones."""

OF_NAMED_DATA = ("data_config", "text_field", "split")
"""Settings that describe ``--data``: those of the run are of its own data."""


@dataclass(frozen=True)
class Subject:
    """A trained model, and how it is to be evaluated.

    Attributes:
        folder: of the checkpoint, or of the exported model.
        step: the optimizer step that the checkpoint was saved after; None of an exported model.
        model: in evaluation mode, on the CPU.
        settings: whose data, precision and device count.
        own_data: whether the text is the run's own validation data, not data that the user has named.
    """

    folder: Path
    step: int | None
    model: nn.Module
    settings: Settings
    own_data: bool

    @property
    def parameters(self) -> int:
        """Tied ones once."""
        return parameter_count(self.model)

    @property
    def has_data(self) -> bool:
        """Whether there is anything to read: an exported model knows no data of its own."""
        return self.step is not None or not self.own_data


def open_subject(folder: Path, step: int | None = None, given: Mapping[str, Any] | None = None) -> Subject:
    """Load the model.

    Args:
        folder: of a run, of a checkpoint, or with a model that ``transformers`` reads, as exported.
        step: of a run's checkpoint; None: the newest intact one.
        given: settings of data and device by name, in place of the run's.

    Raises:
        ValueError: the folder holds no weights, a setting or a tokenizer does not fit.
    """
    given = dict(given or {})
    alone = [name for name in OF_NAMED_DATA if name in given and "data" not in given]
    if alone:
        raise ValueError(f"--{alone[0].replace('_', '-')} describes --data: name that too, or leave it out")
    if holds_checkpoints(folder):
        subject = _of_run(folder, step, given)
    elif step is not None:
        raise ValueError(f"--step {step} is of a run, and {folder} is not the folder of one: leave it out")
    else:
        subject = _of_exported(folder, given)
    longest = getattr(subject.model.config, "max_position_embeddings", None)
    length = subject.settings.data.sequence_length
    if longest is not None and length > longest:
        raise ValueError(f"a sequence length of {length} is above the model's {longest}: lower --sequence-length")
    return subject


def _of_run(run: Path, step: int | None, given: dict[str, Any]) -> Subject:
    trained = load_trained_model(run, step)
    other = given.pop("tokenizer", None)
    end = given.get("end_of_document", trained.settings.data.end_of_document)
    if other is not None and open_tokenizer(other, end).fingerprint != trained.tokenizer.fingerprint:
        raise ValueError(
            f"the tokenizer {other} does not fit: {run} was trained with another ({trained.tokenizer.name}); "
            "leave out --tokenizer"
        )
    settings = replace(
        trained.settings,
        data=replace(trained.settings.data, tokenizer=trained.tokenizer.name),
        parallel=ParallelSettings(precision=trained.settings.parallel.precision),
    )
    return Subject(trained.checkpoint, trained.step, trained.model, *_with_given(settings, given))


def _of_exported(folder: Path, given: dict[str, Any]) -> Subject:
    if not (folder / "config.json").is_file() or not any(folder.glob("*.safetensors")):
        raise ValueError(
            f"{folder} holds no weights: name the folder of a run that has saved a checkpoint, of one checkpoint, "
            "or of an exported model (config.json and *.safetensors)"
        )
    settings = replace(Settings(), data=DataSettings(tokenizer=given.get("tokenizer", str(folder))))
    settings, own = _with_given(settings, given)
    tokenizer = open_tokenizer(settings.data.tokenizer, settings.data.end_of_document)
    model = _load_exported(folder)
    if tokenizer.size > model.config.vocab_size:
        raise ValueError(
            f"the tokenizer {tokenizer.name} does not fit: it has {tokenizer.size:,} token values, and the model "
            f"in {folder} {model.config.vocab_size:,}; name the model's own with --tokenizer"
        )
    return Subject(folder, None, model, settings, own)


def _load_exported(folder: Path) -> Any:
    """The model, whose weights must be complete: ``transformers`` would draw at random what is missing."""
    from transformers import AutoModelForCausalLM  # here, as it takes seconds, and a run's model does without

    try:
        model, found = AutoModelForCausalLM.from_pretrained(
            folder, local_files_only=True, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except Exception as error:  # each wrong file has an error of its own, in transformers or in safetensors
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"the model in {folder} cannot be loaded ({reason}): export it again") from error
    if missing := sorted(found["missing_keys"]):
        raise ValueError(
            f"the weights in {folder} lack {len(missing)} tensors, such as {missing[0]}: export it again"
        )
    return model.eval()


def _with_given(settings: Settings, given: dict[str, Any]) -> tuple[Settings, bool]:
    """The settings with what the user has given, and whether the data are still the run's own.

    Of named data nothing is held out.
    """
    if "data" not in given:
        return overlay(settings, given), True
    default = DataSettings()
    of_all = {"validation_data": None, "validation_fraction": 0.0, "streaming": False, "seed": ORDER_SEED}
    fresh = {name: getattr(default, name) for name in OF_NAMED_DATA}
    return overlay(settings, {**of_all, **fresh, **given}), False
