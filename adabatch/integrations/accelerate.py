"""Variable gradient accumulation in Hugging Face accelerate, without a mis-scaled step.

``Accelerator.accumulate`` counts micro-batches in ``accelerator.step`` and synchronises where that count is a
multiple of ``gradient_accumulation_steps``, while ``Accelerator.backward`` divides the loss by the present value.
Changing the value alone leaves the count where it was: after 2 + 2 micro-batches, a change to 3 makes a window of
two micro-batches with the gradients divided by 3. The count has to start again with the window.

``backward`` divides by M and the ranks' gradients are averaged: where every token is to weigh alike,
:func:`over_tokens` takes both back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelerate import Accelerator
    from torch import Tensor

__all__ = ["over_tokens", "set_accumulation"]


def set_accumulation(accelerator: Accelerator, micro_batches: int) -> None:
    """Let the next window have this many micro-batches, each loss divided by this number.

    Call it between the optimizer step and the next micro-batch. Build the accelerator with
    ``GradientAccumulationPlugin(num_steps=..., sync_with_dataloader=False)``: otherwise the end of the data loader
    closes a window early, with gradients divided by micro-batches that never came.

    Args:
        accelerator: the one whose ``accumulate`` and ``backward`` the loop uses.
        micro_batches: M of the next window.

    Raises:
        ValueError: for M < 1.
        RuntimeError: in the middle of a window, or if the end of the data loader closes windows.

    >>> from accelerate import Accelerator
    >>> from accelerate.utils import GradientAccumulationPlugin
    >>> plugin = GradientAccumulationPlugin(num_steps=2, sync_with_dataloader=False)
    >>> accelerator = Accelerator(cpu=True, gradient_accumulation_plugin=plugin)
    >>> set_accumulation(accelerator, 3)
    >>> accelerator.gradient_accumulation_steps
    3
    """
    if micro_batches < 1:
        raise ValueError(f"a window needs at least 1 micro-batch, but {micro_batches} were asked for")
    if accelerator.gradient_state.sync_with_dataloader:
        raise RuntimeError(
            "the end of the data loader would close a window early and mis-scale its gradient: build the "
            "accelerator with GradientAccumulationPlugin(num_steps=..., sync_with_dataloader=False)"
        )
    if not accelerator.sync_gradients:
        raise RuntimeError(
            f"accumulation was changed from {accelerator.gradient_accumulation_steps} to {micro_batches} in the "
            "middle of a window: change it after the window's optimizer step (where accelerator.sync_gradients "
            "is true)"
        )
    accelerator.step = 0
    accelerator.gradient_accumulation_steps = micro_batches


def over_tokens(accelerator: Accelerator, loss: Tensor, total: float | Tensor) -> Tensor:
    """What to give to ``accelerator.backward``, so that every token of the window weighs alike.

    Args:
        accelerator: the one whose ``backward`` divides by the accumulation, and whose ranks average gradients.
        loss: the sum of the losses of a micro-batch's tokens.
        total: N, tokens of the window's micro-batches on all ranks.

    >>> import torch
    >>> from accelerate import Accelerator
    >>> float(over_tokens(Accelerator(cpu=True), torch.tensor(6.0), total=12))
    0.5
    """
    scale = int(accelerator.gradient_accumulation_steps) * int(accelerator.num_processes)
    return loss * scale / total
