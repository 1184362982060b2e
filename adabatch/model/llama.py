"""The Llama that is trained: ``transformers``' own, from a built-in architecture or a configuration file."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, LlamaConfig, LlamaForCausalLM
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

__all__ = [
    "ARCHITECTURES",
    "build_model",
    "flops_per_token",
    "language_model_loss",
    "model_config",
    "parameter_count",
]

CAUSAL = "causal"
"""``sdpa`` of ``transformers`` under a name for which it makes no mask: samples are neither padded nor packed, and
looking whether they are would wait for a GPU in every forward pass."""

AttentionInterface.register(CAUSAL, sdpa_attention_forward)

SIZES = (
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "max_position_embeddings",
    "vocab_size",
)
"""What each row of the table below holds, as ``transformers`` names it."""

ARCHITECTURES: dict[str, dict[str, Any]] = {
    name: dict(zip(SIZES, sizes, strict=True))
    for name, *sizes in (
        ("nano", 24, 80, 2, 2, 2, 1024, None),
        ("tiny", 64, 176, 2, 4, 4, 1024, None),
        ("demo", 128, 352, 2, 4, 4, 1024, None),
        ("mini", 160, 432, 3, 5, 5, 1024, None),
        ("llama-34m", 512, 1408, 8, 8, 8, 2048, None),
        ("microllama-300m", 1024, 5632, 12, 16, 4, 2048, 32000),
        ("tinyllama-1.1b", 2048, 5632, 22, 32, 4, 2048, 32000),
        ("openllama-3b", 3200, 8640, 26, 32, 32, 2048, 32000),
        ("llama2-7b", 4096, 11008, 32, 32, 32, 4096, 32000),
        ("llama2-13b", 5120, 13824, 40, 40, 40, 4096, 32000),
        ("llama2-70b", 8192, 28672, 80, 64, 8, 4096, 32000),
    )
}
"""Five small Llamas, and the released models' public configurations; a vocabulary of None is
taken from the tokenizer."""


def model_config(
    model: str, vocabulary_size: int | None = None, sequence_length: int | None = None
) -> LlamaConfig:
    """The configuration of a built-in architecture or of a Llama configuration file.

    Args:
        model: a name from :data:`ARCHITECTURES`, or the path of a ``config.json`` or of a folder with one.
        vocabulary_size: of the tokenizer; it must fit into the model's.
        sequence_length: of training; it must fit into the model's maximum.

    Raises:
        ValueError: for an unknown name, a file that is not a Llama configuration, or a vocabulary or sequence
            length beyond the model's.

    >>> model_config("demo", vocabulary_size=257).vocab_size
    257
    """
    values = dict(ARCHITECTURES[model]) if model in ARCHITECTURES else _read_config(model)
    if values.get("vocab_size") is None:
        values["vocab_size"] = vocabulary_size or 32000
    # The samples hold no padding; as a padding token, one of their tokens would have an embedding of 0 for ever.
    always = {"use_cache": False, "attn_implementation": CAUSAL, "pad_token_id": None}
    config = _checked_config(model, values | always)
    if vocabulary_size is not None and vocabulary_size > config.vocab_size:
        raise ValueError(
            f"the tokenizer needs a vocab_size of {vocabulary_size} (its values, rounded up to a multiple of "
            f"8), but the model {model} has {config.vocab_size}: raise vocab_size there or leave it out, or take "
            "another --tokenizer"
        )
    if sequence_length is not None and sequence_length > config.max_position_embeddings:
        raise ValueError(
            f"a sequence length of {sequence_length} is above the maximum of the model {model}, "
            f"{config.max_position_embeddings}: lower --sequence-length"
        )
    return config


def _checked_config(model: str, values: dict[str, Any]) -> LlamaConfig:
    """The configuration; if it is from a file, a layer of it has been built and computed, without memory."""
    if model in ARCHITECTURES:
        return LlamaConfig(**values)
    try:
        config = LlamaConfig(**values)
        if config.num_hidden_layers < 1:
            raise ValueError(f"num_hidden_layers is {config.num_hidden_layers}, but must be 1 or more")
        one_layer = LlamaConfig(**values | {"num_hidden_layers": 1, "layer_types": None})  # others are alike
        LlamaRotaryEmbedding(one_layer)(torch.zeros(1), torch.arange(2)[None])
        # Some scalings of the positions look at numbers, which tensors without memory do not have.
        changed = {"rope_parameters": None, "attn_implementation": CAUSAL}
        one_layer = LlamaConfig(**one_layer.to_dict() | changed)
        with torch.device("meta"), torch.no_grad():
            LlamaForCausalLM(one_layer)(input_ids=torch.zeros((1, 2), dtype=torch.int64))
    except Exception as error:  # each wrong value has an error of its own, in transformers or in torch
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"the model of the configuration {model} cannot be built ({reason}): fix the file (--model)"
        ) from error
    return config


def _read_config(model: str) -> dict[str, Any]:
    path = Path(model)
    if path.is_dir():
        path = path / "config.json"
    if not path.is_file():
        near = difflib.get_close_matches(model, ARCHITECTURES, n=1)
        raise ValueError(
            f"the model {model!r} is neither a built-in architecture ({', '.join(ARCHITECTURES)}) nor a Llama "
            f"configuration file (--model){f'; did you mean {near[0]}?' if near else ''}"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the model configuration {path} is not JSON: {error}") from None
    if not isinstance(values, dict) or values.get("model_type", "llama") != "llama":
        found = values.get("model_type") if isinstance(values, dict) else type(values).__name__
        raise ValueError(f"the model configuration {path} must be of model_type 'llama', but is {found!r}")
    return values


def build_model(config: LlamaConfig, seed: int) -> LlamaForCausalLM:
    """A randomly initialised Llama, the same on every rank and for every kind of parallelism."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(config)


def parameter_count(model: nn.Module) -> int:
    """Number of parameters, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def flops_per_token(config: LlamaConfig, parameters: int, sequence_length: int) -> float:
    """Floating-point operations of forward and backward per token, without recomputation: 6 N + 12 L d T.

    N is the number of parameters but for the embedding, which is looked up; the second term is attention over the
    whole sequence (Chowdhery et al., PaLM, appendix B), causal or not. L layers, d heads x head size.

    Args:
        config: the model's.
        parameters: :func:`parameter_count` of it.
        sequence_length: T.

    >>> flops_per_token(model_config("demo", 264), 469_632, sequence_length=64)
    2811648.0
    """
    looked_up = 0 if config.tie_word_embeddings else config.vocab_size * config.hidden_size
    head_size = config.head_dim or config.hidden_size // config.num_attention_heads
    attention = 12 * config.num_hidden_layers * config.num_attention_heads * head_size * sequence_length
    return float(6 * (parameters - looked_up) + attention)


def language_model_loss(model: nn.Module, tokens: Tensor) -> Tensor:
    """Mean cross-entropy in nats of each token given those before it.

    Args:
        model: a causal language model of ``transformers``, wrapped or not.
        tokens: int64 [micro_batch, sequence_length].
    """
    loss: Tensor = model(input_ids=tokens, labels=tokens).loss
    return loss
