"""Texts of unequal lengths as tensors, a model of two layers for them, and its loss with what counts."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

VOCABULARY, LENGTH = 7, 6


def token_texts(count: int, seed: int = 1) -> tuple[Tensor, Tensor]:
    """Inputs and labels [count, length]; labels are -100 behind a text's end, after 1 to 6 tokens."""
    generator = torch.Generator().manual_seed(seed)
    inputs, labels = torch.randint(VOCABULARY, (2, count, LENGTH), generator=generator)
    ends = torch.randint(1, LENGTH + 1, (count, 1), generator=generator)
    return inputs, labels.masked_fill(torch.arange(LENGTH) >= ends, -100)


def counted(labels: Tensor) -> int:
    """Tokens that count in the loss."""
    return int((labels != -100).sum())


class TokenModel(nn.Module):
    """Logits of the label at each place, in fp64."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(VOCABULARY, 4)
        self.head = nn.Linear(4, VOCABULARY)
        self.double()

    def forward(self, inputs: Tensor) -> Tensor:
        """[samples, length, vocabulary]."""
        return self.head(torch.tanh(self.embedding(inputs)))


def token_loss(logits: Tensor, labels: Tensor, reduction: str = "mean") -> Tensor:
    """Over the tokens that count."""
    return cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction=reduction)
