"""Document masks: attention within documents, positions counted from each one's beginning.

Where positions do not count on by one, ``transformers`` lets attention begin again; rotary and learned embeddings
take their positions from the same numbers. So these are all that a model needs. A hook gives them to it with every
batch of tokens: training, validation and evaluation compute alike.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig, PreTrainedModel

from adabatch.model.language_model import PLAIN, UNMASKED, new_model, with_layers

__all__ = ["check_document_mask", "document_positions", "mask_documents"]

END, FIRST, SECOND = 0, (1, 2, 3), (4, 5, 6)
"""Two documents that a model is tried on, and the token between them."""


def document_positions(tokens: Tensor, end: int) -> Tensor:
    """The place of each token in its document, int64 [micro_batch, sequence_length].

    The token at the end of a document is predicted within it, and begins the next one, whose first token is
    predicted from it alone. So every token but a sequence's first is predicted, from its own document.

    Args:
        tokens: int64 [micro_batch, sequence_length].
        end: the token at the end of a document.

    >>> document_positions(torch.tensor([[5, 6, 0, 7, 8, 0, 9]]), end=0).tolist()
    [[0, 1, 0, 1, 2, 0, 1]]
    """
    places = torch.arange(tokens.shape[1], device=tokens.device).expand_as(tokens)
    return places - torch.where(tokens == end, places, 0).cummax(dim=1).values


def mask_documents(model: PreTrainedModel, end: int) -> None:
    """Let no token of a model attend across documents from now on; before the model is wrapped.

    Args:
        model: a causal language model of ``transformers`` that :func:`check_document_mask` accepts.
        end: the token at the end of a document.
    """
    if model.config._attn_implementation == UNMASKED:
        model.config._attn_implementation = "sdpa"

    def add_positions(_: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> Any:
        tokens = inputs[0] if inputs else named["input_ids"]
        return inputs, named | {"position_ids": document_positions(tokens, end)}

    model.register_forward_pre_hook(add_positions, with_kwargs=True)


def check_document_mask(config: PreTrainedConfig) -> None:
    """Refuse a model that would not keep documents apart. Types not known are tried with one layer of each kind.

    Raises:
        ValueError: it attends across documents, counts positions on, or does not take positions.
    """
    if config.model_type in PLAIN:  # the tests have tried these
        return
    kinds = getattr(config, "layer_types", None) or [""]
    small = with_layers(config, max(kinds.index(kind) for kind in kinds) + 1)
    small.vocab_size = len({END, *FIRST, *SECOND})
    try:
        wrong = _mixing(new_model(small).eval())
    except Exception as error:  # each kind of model that does not take positions has an error of its own
        wrong = " ".join(str(error).split()) or type(error).__name__
    if wrong:
        raise ValueError(
            f"a model of type {config.model_type} cannot keep documents apart ({wrong}): leave out "
            "--document-mask, or take another --model"
        )


def _mixing(model: PreTrainedModel) -> str:
    """How a model mixes two documents, empty if it does not: by its gradients, and against each one alone."""
    mask_documents(model, END)
    embedded: list[Tensor] = []
    model.get_input_embeddings().register_forward_hook(lambda _, __, output: embedded.append(output))
    whole = model(torch.tensor([[*FIRST, END, *SECOND]])).logits[:, len(FIRST) :]
    (gradient,) = torch.autograd.grad(whole.square().sum(), embedded[0])
    if gradient[:, : len(FIRST)].any() or not gradient[:, len(FIRST) :].any():
        return "it attends across their ends"
    alone = model(torch.tensor([[END, *SECOND]])).logits
    return "" if torch.allclose(whole, alone, rtol=1e-4, atol=1e-5) else "its positions do not begin again"
