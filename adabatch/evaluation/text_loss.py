"""The loss of a model on text, sequence by sequence, and what follows from it with intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from rich.progress import track
from torch import Tensor, nn

from adabatch.data.corpus import open_corpus
from adabatch.data.mixture import MixedSamples
from adabatch.data.order import samples_at
from adabatch.data.progress import prepare_with_progress
from adabatch.data.samples import PreparedSamples
from adabatch.data.token_bytes import token_bytes
from adabatch.data.tokenizer import Tokenizer
from adabatch.distributed.parallel import autocast, process_group
from adabatch.evaluation.subject import ORDER_SEED, Subject
from adabatch.experiments.intervals import LEVEL, Interval, mean_interval, ratio_interval
from adabatch.model.document_mask import check_document_mask, mask_documents
from adabatch.model.language_model import sequence_losses
from adabatch.reporting.metrics import finite_or_null
from adabatch.settings import ParallelSettings
from adabatch.terminal import console

__all__ = ["TextLoss", "text_losses"]

ENDS = ("mean", "low", "high")

LABELS = {"loss": "loss, nats per token", "perplexity": "perplexity", "bits_per_byte": "bits per byte"}


@dataclass(frozen=True)
class TextLoss:
    """The loss of each sequence; every token but a sequence's first is predicted.

    Attributes:
        losses: means over the predicted tokens of a sequence, in nats, float64 [sequences].
        sizes: bytes of text that these tokens stand for, float64 [sequences].
        counted: whether the bytes were counted token by token; else they are those of the tokens on average.
        predicted: tokens of a sequence.
        available: sequences of the data.

    >>> found = TextLoss(np.array([1.0, 3.0]), np.array([10.0, 10.0]), True, predicted=7, available=2)
    >>> found.loss.mean, round(found.perplexity[0], 3), round(found.bits_per_byte.mean, 3)
    (2.0, 7.389, 2.02)
    """

    losses: npt.NDArray[np.float64]
    sizes: npt.NDArray[np.float64]
    counted: bool
    predicted: int
    available: int

    @property
    def loss(self) -> Interval:
        """In nats per token, with the t interval over sequences, which all have as many tokens."""
        return mean_interval(self.losses.tolist())

    @property
    def perplexity(self) -> tuple[float, float, float]:
        """exp of the loss, and of the ends of its interval."""
        mean, low, high = np.exp([self.loss.mean, self.loss.low, self.loss.high]).tolist()
        return mean, low, high

    @property
    def bits_per_byte(self) -> Interval:
        """All bits over all bytes: a ratio of two sums over sequences, with its t interval."""
        return ratio_interval(self.losses * self.predicted / math.log(2), self.sizes)

    def as_json(self) -> dict[str, Any]:
        """All of it, by name; null where an interval is without end."""
        return {
            "sequences": len(self.losses),
            "sequences_available": self.available,
            "tokens": len(self.losses) * self.predicted,
            "bytes": float(self.sizes.sum()),
            "bytes_counted": self.counted,
            "interval": f"{LEVEL:.0%} t over sequences",
            **{name: finite_or_null(dict(zip(ENDS, values, strict=True))) for name, values in self._all().items()},
            "losses": [loss if math.isfinite(loss) else None for loss in self.losses.tolist()],
        }

    def _all(self) -> dict[str, tuple[float, float, float]]:
        loss, bits = self.loss, self.bits_per_byte
        return {
            "loss": (loss.mean, loss.low, loss.high),
            "perplexity": self.perplexity,
            "bits_per_byte": (bits.mean, bits.low, bits.high),
        }

    def __str__(self) -> str:
        """Three lines; without ends for a single sequence."""
        known = math.isfinite(self.loss.half_width)
        return "\n".join(
            f"{LABELS[name]:22}{mean:<9.5g}" + (f" {low:.5g} to {high:.5g}" if known else "")
            for name, (mean, low, high) in self._all().items()
        )


def text_losses(subject: Subject, sequences: int | None = None, batch: int = 8) -> dict[str, TextLoss]:
    """The losses of the model on sequences of its text that are drawn at random, the same at each call.

    The names are those of the run's validation sets; of other data, and of a set without a name, it is empty.

    Args:
        subject: the model and its data, which are prepared unless they are.
        sequences: of each at most; 0: all; None: as many as the run validates on (which takes the first).
        batch: sequences at once.

    Raises:
        ValueError: there is no such text, it cannot be read, or it is shorter than one sequence.
    """
    data = subject.settings.data
    if not subject.has_data:
        raise ValueError(f"{subject.folder} has no data of its own: name what to evaluate it on (--data)")
    if subject.own_data and not data.validates:
        raise ValueError(f"the run of {subject.folder} holds no validation data out: name what to read (--data)")
    corpus = open_corpus(data, prepare_with_progress(data))
    if data.document_mask:
        model: Any = subject.model
        check_document_mask(model.config)
        mask_documents(model, corpus.tokenizer.end_of_document)
    sets: dict[str, Any] = {"": corpus.train}
    if subject.own_data:
        sets = dict(zip(data.validation_sets(), (corpus.validation, *corpus.others.values()), strict=True))
    return {
        name: _text_loss(subject, samples, corpus.tokenizer, sequences, batch) for name, samples in sets.items()
    }


def _text_loss(
    subject: Subject,
    samples: PreparedSamples | MixedSamples,
    tokenizer: Tokenizer,
    sequences: int | None,
    batch: int,
) -> TextLoss:
    """On one text."""
    wanted = subject.settings.run.validation_samples if sequences is None else sequences
    chosen: Any = range(min(wanted or samples.length, samples.length))
    if subject.own_data:  # which lie in the order of the text, where neighbours resemble each other
        chosen = samples_at(chosen, samples.length, ORDER_SEED)
    tokens = samples.take(chosen)
    losses = _losses(subject.model, tokens, batch, subject.settings.parallel)
    lengths = token_bytes(tokenizer)
    average = np.full(tokenizer.size, samples.bytes_per_token())
    sizes = (average if lengths is None else lengths)[tokens[:, 1:].numpy()].sum(axis=1)
    return TextLoss(losses, sizes, lengths is not None, tokens.shape[1] - 1, samples.length)


@torch.no_grad()
def _losses(model: nn.Module, tokens: Tensor, batch: int, parallel: ParallelSettings) -> npt.NDArray[np.float64]:
    """The loss of each row of tokens, int64 [sequences, sequence_length]; a bar on a terminal."""
    shown = console(stderr=True)
    with process_group(parallel) as ranks:
        model.to(ranks.device)
        parts = []
        for part in track(tokens.split(batch), "evaluating", console=shown, disable=not shown.is_terminal):
            with autocast(parallel, ranks):
                parts.append(sequence_losses(model, part.to(ranks.device)).cpu())
    return torch.cat(parts).numpy()
