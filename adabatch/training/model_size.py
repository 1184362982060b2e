"""The model that settings name, and its number of parameters, without a corpus and without memory."""

from __future__ import annotations

from pathlib import Path

from torch import device
from transformers import PreTrainedConfig

from adabatch.data.tokenizer import open_tokenizer, padded_vocabulary
from adabatch.model.language_model import model_config, new_model, parameter_count
from adabatch.settings import Settings
from adabatch.training.checks import check_model

__all__ = ["config_parameters", "planned_config", "planned_parameters"]


def planned_parameters(settings: Settings) -> int:
    """Number of parameters of the model that the settings name, counted without its memory.

    >>> planned_parameters(Settings())
    469632
    """
    return config_parameters(planned_config(settings))


def config_parameters(config: PreTrainedConfig) -> int:
    """Number of parameters of a model of this configuration, counted without its memory."""
    with device("meta"):
        return parameter_count(new_model(config))


def planned_config(settings: Settings) -> PreTrainedConfig:
    """The configuration of the model that the settings name, with the vocabulary that its tokenizer asks for."""
    data, config = settings.data, check_model(settings, None)
    has_its_own = config.vocab_size == model_config(settings.model.model, 8, data.sequence_length).vocab_size
    if data.tokenizer == "bpe":  # it may learn fewer tokens than it was asked for: what it asks for is no reason
        return config if has_its_own else check_model(settings, padded_vocabulary(data.vocabulary_size))
    if has_its_own and not (data.tokenizer == "bytes" or Path(data.tokenizer).expanduser().exists()):
        return config  # the tokenizer would have to be downloaded
    return check_model(settings, padded_vocabulary(open_tokenizer(data.tokenizer).size))
