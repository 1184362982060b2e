"""By what a Trainer divides its losses: the window's tokens, or the number of micro-batches.

Where the model takes ``num_items_in_batch`` the loss of a micro-batch is the sum of its tokens' losses over the
tokens of the whole window (on all ranks, with ``average_tokens_across_devices``): every token weighs alike, and
the statistics count tokens. Elsewhere the Trainer averages the micro-batches' own mean losses: every micro-batch
weighs alike, as if it were one observation, and the statistics count samples. That is what the Trainer does by
its own account; that the loss does it as well, and which tokens it sums over, is tried once on a micro-batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from transformers import Trainer

__all__ = ["counted_tokens", "is_scaled", "loss_shifts_labels"]

TOLERANCE = 0.05
"""Relative, of a ratio of two losses: far from what rounding in bf16 makes, near enough to tell 1 from 2."""


def counted_tokens(batches: list[Any], shifted: bool) -> list[int]:
    """How many tokens of each micro-batch count.

    Args:
        batches: with labels, -100 where nothing is predicted, or with ``shift_labels``.
        shifted: whether the loss predicts each label from the token before it, and the first one from nothing.

    >>> rows = torch.tensor([[1, 2, 3], [4, 5, -100]])
    >>> counted_tokens([{"labels": rows}], shifted=True), counted_tokens([{"labels": rows}], shifted=False)
    ([3], [5])
    """
    counts = []
    for batch in batches:
        if "shift_labels" in batch:
            labels = batch["shift_labels"]
        else:
            labels = batch["labels"][..., 1:] if shifted else batch["labels"]
        counts.append(labels.ne(-100).sum())
    return [int(count) for count in torch.stack(counts).tolist()]


def is_scaled(trainer: Trainer, items: Any) -> bool:
    """Whether the Trainer takes the loss as normalised over the window, and does not divide it by M itself."""
    told = getattr(trainer, "loss_is_scaled_for_ga", None)
    if told is not None:
        return bool(told)
    return (trainer.model_accepts_loss_kwargs and items is not None) or trainer.compute_loss_func is not None


def loss_shifts_labels(trainer: Trainer, model: Any, inputs: Any, items: Any) -> bool | None:
    """Whether the loss shifts the labels; first of all, that it is divided exactly once.

    The loss of one micro-batch must halve when the window's tokens double, if it is normalised by them, and must
    not change if it is not. Times the divisor, over the micro-batch's own mean, it is the number of its tokens.
    All ranks try it at once, and know the same afterwards.

    Args:
        trainer: whose ``compute_loss`` is asked.
        model: as the Trainer trains it.
        inputs: a micro-batch.
        items: ``num_items_in_batch`` of the window.

    Returns:
        None if nothing could be seen on any rank, from losses that are 0 or not finite.

    Raises:
        ValueError: if the gradient would change its scale with the accumulation, or sums over other tokens than
            those of the labels.
    """
    found = [_try(trainer, model, inputs, items)]
    if trainer.args.world_size > 1:
        found *= trainer.args.world_size
        dist.all_gather_object(found, found[0])
    for each in found:
        if each.problem:
            raise ValueError(each.problem)
    told = [each.shifted for each in found if each.shifted is not None]
    if told:
        return told[0]
    return bool(trainer._loss_shifts_labels) if any(each.seen for each in found) else None


@dataclass(frozen=True)
class _Finding:
    """What one rank's micro-batch shows; shifted: None if it would have as many tokens either way."""

    seen: bool = False
    problem: str = ""
    shifted: bool | None = None


@torch.no_grad()
def _try(trainer: Trainer, model: Any, inputs: Any, items: Any) -> _Finding:
    inputs = trainer._prepare_inputs(inputs)
    devices = [trainer.args.device] if trainer.args.device.type == "cuda" else []
    scaled = is_scaled(trainer, items)

    def loss(divisor: Any) -> float:
        with torch.random.fork_rng(devices), trainer.compute_loss_context_manager():
            return float(trainer.compute_loss(model, dict(inputs), num_items_in_batch=divisor))

    model.eval()  # without dropout; the Trainer's next training_step calls train()
    once, twice = loss(items), loss(2 * items)
    asks_mean = scaled and trainer.compute_loss_func is None  # a function of the user's may need a divisor
    mean = loss(None) if asks_mean else math.nan
    if not math.isfinite(once) or not math.isfinite(twice) or twice == 0:
        return _Finding()
    ratio = once / twice
    if abs(ratio - (2 if scaled else 1)) > TOLERANCE:
        return _Finding(problem=_misnormalised(scaled, ratio))
    if not math.isfinite(mean) or mean == 0:
        return _Finding(seen=True)
    ranks = trainer.accelerator.num_processes // trainer.get_tp_size()
    scale = ranks if trainer.args.average_tokens_across_devices else 1
    return _compared(once * float(items) / (scale * mean), inputs)


def _compared(tokens: float, inputs: Any) -> _Finding:
    """The number of tokens that the loss is over against both ways to count the labels."""
    counts = {shifted: counted_tokens([inputs], shifted)[0] for shifted in (True, False)}
    like = [shifted for shifted, count in counts.items() if abs(count - tokens) <= max(0.25, 1e-3 * count)]
    if not like:
        return _Finding(
            problem=f"the loss is over {tokens:.4g} tokens of a micro-batch with {counts[False]} labels "
            f"({counts[True]} if they are shifted): mark what the loss leaves out with -100 in the labels"
        )
    return _Finding(seen=True, shifted=like[0] if len(like) == 1 else None)


def _misnormalised(scaled: bool, ratio: float) -> str:
    if not scaled:
        return (
            "the loss is divided by num_items_in_batch, and the Trainer divides it by the accumulation once more: "
            "set loss_is_scaled_for_ga = True on the Trainer"
        )
    if abs(ratio - 1) <= TOLERANCE:
        return (
            "the loss does not depend on num_items_in_batch, and the Trainer, which believes it does, divides it "
            "by nothing: the gradient would grow with the accumulation; set accepts_loss_kwargs = False on the "
            "model before the Trainer is built, or loss_is_scaled_for_ga = False on the Trainer for a "
            "compute_loss of your own"
        )
    return (
        "only a part of the loss is divided by num_items_in_batch, and the rest of it (an auxiliary loss, as of "
        "a mixture of experts) would grow with the accumulation: leave that part out, or divide it as well"
    )
