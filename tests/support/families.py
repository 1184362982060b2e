"""Small models of the kinds that people train, in fp32, with their data and losses."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)

from tests.support.tiny_model import LENGTH, Dimensions, TinyModel

VOCABULARY, CLASSES, SAMPLES = 64, 4, 4
SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}

Batch = tuple[Tensor, ...]


@dataclass(frozen=True)
class Family:
    """A kind of model.

    Attributes:
        build: the model, without its random seed.
        draw: a micro-batch of ``SAMPLES`` samples.
        loss: its mean loss.
        layers: what is sharded on its own under FSDP2.
    """

    build: Callable[[], nn.Module]
    draw: Callable[[torch.Generator], Batch]
    loss: Callable[[nn.Module, Batch], Tensor]
    layers: Callable[[nn.Module], list[nn.Module]]

    def model(self) -> nn.Module:
        """The same on every rank."""
        torch.manual_seed(0)
        return self.build().train()


class Classifier(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(8, 16), nn.Linear(16, 16)])
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = torch.tanh(layer(x))
        return self.head(x)


def llama(bias: bool) -> nn.Module:
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, max_position_embeddings=16, **SMALL))
    if bias:
        model.lm_head = nn.Linear(16, VOCABULARY)
    return model


def tokens(generator: torch.Generator) -> Batch:
    return (torch.randint(VOCABULARY, (SAMPLES, 9), generator=generator),)


def labels(generator: torch.Generator) -> Tensor:
    return torch.randint(CLASSES, (SAMPLES,), generator=generator)


def next_token_loss(model: nn.Module, batch: Batch) -> Tensor:
    logits = model(batch[0][:, :-1]).logits
    return nn.functional.cross_entropy(logits.flatten(0, 1), batch[0][:, 1:].flatten())


def class_loss(model: nn.Module, batch: Batch) -> Tensor:
    outputs = model(batch[0])
    return nn.functional.cross_entropy(getattr(outputs, "logits", outputs), batch[1])


def bert() -> nn.Module:
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return BertForSequenceClassification(
        BertConfig(vocab_size=VOCABULARY, max_position_embeddings=16, num_labels=CLASSES, **SMALL, **dropout)
    )


def vit() -> nn.Module:
    return ViTForImageClassification(
        ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=CLASSES, **SMALL)
    )


def blocks(model: nn.Module) -> list[nn.Module]:
    """Of a transformer: the modules in its longest list."""
    return list(max((part for part in model.modules() if isinstance(part, nn.ModuleList)), key=len))


FAMILIES = {
    "causal LM": Family(lambda: llama(False), tokens, next_token_loss, blocks),
    "causal LM with a head bias": Family(lambda: llama(True), tokens, next_token_loss, blocks),
    "classifier": Family(
        Classifier, lambda g: (torch.randn(SAMPLES, 8, generator=g), labels(g)), class_loss, blocks
    ),
    "BERT": Family(bert, lambda g: (*tokens(g), labels(g)), class_loss, blocks),
    "ViT": Family(vit, lambda g: (torch.randn(SAMPLES, 1, 8, 8, generator=g), labels(g)), class_loss, blocks),
}

TENSOR_PARALLEL = Family(
    lambda: TinyModel(False),
    lambda g: (torch.randint(Dimensions.vocabulary, (SAMPLES, LENGTH), generator=g),),
    lambda model, batch: model(batch[0]),
    blocks,
)
"""What :func:`~tests.support.tiny_model.tensor_parallel` has a plan for."""
