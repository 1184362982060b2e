"""The language model that is trained: ``transformers``' own, from built-in sizes or a configuration file."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor, nn
from transformers import CONFIG_MAPPING, AttentionInterface, PreTrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL

from adabatch.model.layers import decoder_layers
from adabatch.refusals import did_you_mean

__all__ = [
    "ARCHITECTURES",
    "ModelShape",
    "build_model",
    "flops_per_token",
    "language_model_loss",
    "model_config",
    "model_shape",
    "new_model",
    "parameter_count",
    "sequence_losses",
    "with_layers",
]

UNMASKED = "causal"
"""``sdpa`` of ``transformers`` under a name for which it makes no mask: samples are neither padded nor packed, and
looking whether they are would wait for a GPU in every forward pass."""

PLAIN = frozenset({"llama", "gpt2", "qwen2", "qwen3", "gemma", "olmo", "olmo2", "mistral"})
"""Model types whose mask is the causal one, unless they have a sliding window."""

AttentionInterface.register(UNMASKED, sdpa_attention_forward)

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

TIED = {"tie_word_embeddings": True}
QWEN3 = TIED | {"head_dim": 128}

ARCHITECTURES: dict[str, dict[str, Any]] = {
    name: {"model_type": family, **dict(zip(SIZES, sizes, strict=True)), **more}
    for name, family, more, *sizes in (
        ("nano", "llama", {}, 24, 80, 2, 2, 2, 1024, None),
        ("tiny", "llama", {}, 64, 176, 2, 4, 4, 1024, None),
        ("demo", "llama", {}, 128, 352, 2, 4, 4, 1024, None),
        ("mini", "llama", {}, 160, 432, 3, 5, 5, 1024, None),
        ("llama-34m", "llama", {}, 512, 1408, 8, 8, 8, 2048, None),
        ("microllama-300m", "llama", {}, 1024, 5632, 12, 16, 4, 2048, 32000),
        ("tinyllama-1.1b", "llama", {}, 2048, 5632, 22, 32, 4, 2048, 32000),
        ("openllama-3b", "llama", {}, 3200, 8640, 26, 32, 32, 2048, 32000),
        ("llama2-7b", "llama", {}, 4096, 11008, 32, 32, 32, 4096, 32000),
        ("llama2-13b", "llama", {}, 5120, 13824, 40, 40, 40, 4096, 32000),
        ("llama2-70b", "llama", {}, 8192, 28672, 80, 64, 8, 4096, 32000),
        ("smollm2-135m", "llama", TIED, 576, 1536, 30, 9, 3, 8192, 49152),
        ("gpt2", "gpt2", {}, 768, 3072, 12, 12, 12, 1024, 50257),
        ("qwen3-0.6b", "qwen3", QWEN3, 1024, 3072, 28, 16, 8, 40960, 151936),
        ("gemma-2b", "gemma", {"head_dim": 256}, 2048, 16384, 18, 8, 1, 8192, 256000),
        ("olmo2-1b", "olmo2", {}, 2048, 8192, 16, 16, 16, 4096, 100352),
        ("mistral-7b", "mistral", {"sliding_window": 4096}, 4096, 14336, 32, 32, 8, 32768, 32000),
    )
}
"""Five small Llamas, and the sizes of released models; a vocabulary of None is taken from the tokenizer."""


class ModelShape(NamedTuple):
    """The sizes of a decoder, by one name for each, for all configurations."""

    layers: int
    width: int
    inner: int
    heads: int
    key_value_heads: int
    head_size: int
    vocabulary: int
    tied: bool

    @property
    def outer(self) -> int:
        """Parameters of the embedding of tokens, and of the head that does not share them."""
        return self.vocabulary * self.width * (1 if self.tied else 2)


def model_shape(config: PreTrainedConfig) -> ModelShape:
    """The sizes of a configuration.

    >>> model_shape(model_config("gemma-2b")).head_size, model_shape(model_config("gpt2")).inner
    (256, 3072)
    """
    heads, width = config.num_attention_heads, config.hidden_size
    inner = (getattr(config, name, None) for name in ("intermediate_size", "n_inner", "ffn_dim"))
    return ModelShape(
        layers=config.num_hidden_layers,
        width=width,
        inner=next(filter(None, inner), 4 * width),
        heads=heads,
        key_value_heads=getattr(config, "num_key_value_heads", None) or heads,
        head_size=getattr(config, "head_dim", None) or width // heads,
        vocabulary=config.vocab_size,
        tied=bool(config.tie_word_embeddings),
    )


def model_config(
    model: str, vocabulary_size: int | None = None, sequence_length: int | None = None
) -> PreTrainedConfig:
    """The configuration of a built-in architecture, or of any causal language model's configuration file.

    Args:
        model: a name from :data:`ARCHITECTURES`, or the path of a ``config.json`` or of a folder with one.
        vocabulary_size: of the tokenizer; it must fit into the model's.
        sequence_length: of training; it must fit into the model's maximum.

    Raises:
        ValueError: for an unknown name, a file that is not such a configuration, or a vocabulary or sequence
            length beyond the model's.

    >>> model_config("demo", vocabulary_size=257).vocab_size
    257
    """
    values = dict(ARCHITECTURES[model]) if model in ARCHITECTURES else _read_config(model)
    if values.get("vocab_size") is None:
        values["vocab_size"] = vocabulary_size or 32000
    # The samples hold no padding; as a padding token, one of their tokens would have an embedding of 0 for ever.
    always = {"use_cache": False, "pad_token_id": None}
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


def _config(values: dict[str, Any]) -> PreTrainedConfig:
    values = dict(values)
    family = values.pop("model_type", "llama")
    if family != "llama":  # what begins and ends a text is the tokenizer's matter
        values |= {"bos_token_id": None, "eos_token_id": None}
    made = CONFIG_MAPPING[family](**values)
    made._attn_implementation = _attention(made)
    return made


def _attention(config: PreTrainedConfig) -> str:
    """How attention is computed, as ``transformers`` names it."""
    if not _class(config)._supports_sdpa:
        return "eager"
    window = getattr(config, "sliding_window", None) and getattr(config, "use_sliding_window", True)
    return "sdpa" if window or config.model_type not in PLAIN else UNMASKED


def _class(config: PreTrainedConfig) -> type[PreTrainedModel]:
    found: type[PreTrainedModel] = getattr(transformers, CAUSAL[config.model_type])
    return found


def _checked_config(model: str, values: dict[str, Any]) -> PreTrainedConfig:
    """The configuration; if it is from a file, a layer of it has been built and computed, without memory."""
    if model in ARCHITECTURES:
        return _config(values)
    try:
        config = _config(values)
        _refuse_experts(model, config)
        if config.num_hidden_layers < 1:
            raise ValueError(f"num_hidden_layers is {config.num_hidden_layers}, but must be 1 or more")
        model_shape(config)
        one_layer = with_layers(config, 1)  # others are alike
        if config.model_type == "llama":
            from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

            LlamaRotaryEmbedding(one_layer)(torch.zeros(1), torch.arange(2)[None])
            # Some scalings of the positions look at numbers, which tensors without memory do not have.
            one_layer = _config(one_layer.to_dict() | {"rope_parameters": None})
        with torch.device("meta"), torch.no_grad():
            built = new_model(one_layer)
            # Given where there is one, since making it looks at numbers.
            mask = torch.ones((1, 1, 2, 2), dtype=torch.bool)
            masked = built.config._attn_implementation != UNMASKED
            built(torch.zeros((1, 2), dtype=torch.int64), attention_mask=mask if masked else None)
        decoder_layers(built)
    except _NotOfferedError:
        raise
    except Exception as error:  # each wrong value has an error of its own, in transformers or in torch
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(
            f"the model of the configuration {model} cannot be built ({reason}): fix the file (--model)"
        ) from error
    return config


class _NotOfferedError(ValueError):
    """The configuration is right, but of a kind that is not trained here."""


def _refuse_experts(model: str, config: PreTrainedConfig) -> None:
    for name in ("num_experts", "num_local_experts", "n_routed_experts"):
        if number := getattr(config, name, 0):
            raise _NotOfferedError(
                f"the model of the configuration {model} is a mixture of experts ({name} = {number}), which is "
                "not offered: gradients of experts that few tokens reach have not been checked: take a dense "
                "model (--model)"
            )


def with_layers(config: PreTrainedConfig, count: int) -> PreTrainedConfig:
    """The configuration with this many layers.

    >>> with_layers(model_config("gpt2"), 2).num_hidden_layers
    2
    """
    changed = deepcopy(config)
    changed.num_hidden_layers = count
    if vars(changed).get("layer_types"):
        changed.layer_types = changed.layer_types[:count]
    return changed


def _read_config(model: str) -> dict[str, Any]:
    path = Path(model)
    if path.is_dir():
        path = path / "config.json"
    if not path.is_file():
        raise ValueError(
            f"the model {model!r} is neither a built-in architecture ({', '.join(ARCHITECTURES)}) nor a "
            f"configuration file (--model){did_you_mean(model, ARCHITECTURES)}"
        )
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the model configuration {path} is not JSON: {error}") from None
    family: Any = type(values).__name__
    if isinstance(
        values, dict
    ):  # an unnamed one is a Llama, if it is a model's at all: the default has 7B parameters
        family = values.get("model_type", "llama" if "hidden_size" in values else None)
    if not isinstance(values, dict) or family not in CAUSAL or family not in CONFIG_MAPPING:
        raise ValueError(
            f"the model configuration {path} must have the model_type of a causal language model of transformers "
            f"({transformers.__version__}), such as llama, gpt2 or qwen3, but has {family!r}"
            f"{did_you_mean(str(family), CAUSAL)}"
        )
    return values


def new_model(config: PreTrainedConfig) -> PreTrainedModel:
    """A model with this configuration, initialised at random where memory is."""
    model = _class(config)(config)
    model.loss_type = "ForCausalLM"  # where the class's name does not say so, transformers warns
    return model


def build_model(config: PreTrainedConfig, seed: int) -> PreTrainedModel:
    """A randomly initialised model, the same on every rank and for every kind of parallelism."""
    torch.manual_seed(seed)
    return new_model(config)


def parameter_count(model: nn.Module) -> int:
    """Number of parameters, tied ones once."""
    return sum(parameter.numel() for parameter in model.parameters())


def flops_per_token(config: PreTrainedConfig, parameters: int, sequence_length: int) -> float:
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
    shape = model_shape(config)
    looked_up = 0 if shape.tied else shape.vocabulary * shape.width
    attention = 12 * shape.layers * shape.heads * shape.head_size * sequence_length
    return float(6 * (parameters - looked_up) + attention)


def language_model_loss(model: nn.Module, tokens: Tensor) -> Tensor:
    """Mean cross-entropy in nats of each token given those before it.

    Args:
        model: a causal language model of ``transformers``, wrapped or not.
        tokens: int64 [micro_batch, sequence_length].
    """
    loss: Tensor = model(input_ids=tokens, labels=tokens).loss
    return loss


def sequence_losses(model: nn.Module, tokens: Tensor) -> Tensor:
    """:func:`language_model_loss` of each sequence by itself, fp64 [micro_batch].

    Args:
        model: a causal language model of ``transformers``, wrapped or not.
        tokens: int64 [micro_batch, sequence_length].
    """
    logits = model(input_ids=tokens).logits[:, :-1]
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32)).transpose(1, 2)
    return nn.functional.cross_entropy(logits, tokens[:, 1:], reduction="none").double().mean(dim=1)
