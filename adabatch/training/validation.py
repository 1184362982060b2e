"""Validation losses on fixed sets of sequences, shared by all ranks."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import nn

from adabatch.data.mixture import MixedSamples
from adabatch.data.samples import PreparedSamples
from adabatch.distributed.parallel import DistributedContext, autocast, reshard
from adabatch.model.language_model import language_model_loss
from adabatch.reporting.metrics import Record
from adabatch.settings import Settings
from adabatch.training.run import Run

__all__ = ["bits_per_byte", "validate", "validation_loss"]


def validate(run: Run) -> Record:
    """The losses on each validation set, by their names in records.

    ``val_loss`` is the first set's, under any name, and ``val_loss/code`` that of a further set ``code``.
    """
    sets = {"": run.corpus.validation} | {f"/{name}": samples for name, samples in run.corpus.others.items()}
    known = run.memory.fitting(run.settings.data.sequence_length)
    at_once = known or run.settings.schedule.micro_batch
    found: Record = {}
    for name, samples in sets.items():
        loss = validation_loss(run.model, samples, run.settings, run.ranks, at_once, run.watchdog.at)
        found |= {f"val_loss{name}": loss, f"val_bits_per_byte{name}": bits_per_byte(loss, samples)}
    return found


@torch.no_grad()
def validation_loss(
    model: nn.Module,
    samples: PreparedSamples | MixedSamples | None,
    settings: Settings,
    ranks: DistributedContext,
    at_once: int,
    passing: Callable[[str], None] | None = None,
) -> float | None:
    """Mean cross-entropy in nats over the first ``validation_samples`` of a set; None without one.

    Every rank runs the same number of forward passes (sharded parameters are gathered together), the last ones
    perhaps on a sequence that does not count.

    Args:
        model: wrapped or not.
        samples: of the set.
        settings: how many.
        ranks: this process among the others.
        at_once: sequences that a rank takes at once, at most: a training step's micro-batch, which has fitted.
        passing: called at each batch with the name of the place, so that a long validation does not look hung.
    """
    if samples is None:
        return None
    count = min(settings.run.validation_samples, samples.length)
    size = min(at_once, -(-count // ranks.data_parallel_size))
    total = seen = 0.0
    model.eval()
    for first in range(0, count, size * ranks.data_parallel_size):
        if passing is not None:
            passing("validation")
        start = first + ranks.data_parallel_rank * size
        positions = range(min(start, count), min(start + size, count))
        tokens = samples.take(positions or range(1)).to(ranks.device)
        with autocast(settings.parallel, ranks):
            loss = float(language_model_loss(model, tokens))
        total += loss * len(positions)
        seen += len(positions)
    model.train()
    reshard(model)
    total, seen = ranks.sum(total, seen)
    return total / seen


def bits_per_byte(loss: float | None, samples: PreparedSamples | MixedSamples | None) -> float | None:
    """A loss in nats per token as bits per byte of text, which compares runs with different tokenizers.

    It is loss / ln 2 over the bytes that a token of the validation set stands for on average (the ends of
    documents are tokens of no bytes).
    """
    if loss is None or samples is None:
        return None
    return loss / math.log(2) / samples.bytes_per_token()
