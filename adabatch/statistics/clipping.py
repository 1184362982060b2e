"""Gradient clipping from a norm that is known already."""

from __future__ import annotations

import math

import torch
from torch import nn

from adabatch.statistics.norms import local

__all__ = ["clip_gradients", "scale_gradients"]


def scale_gradients(model: nn.Module, factor: float) -> None:
    """Multiply all gradients in place; sharded ones shard by shard."""
    if factor != 1.0:
        gradients = [local(p.grad) for p in model.parameters() if p.grad is not None]
        torch._foreach_mul_(gradients, factor)


def clip_gradients(model: nn.Module, norm: float, maximum: float) -> float:
    """Scale all gradients in place by min(1, maximum / (norm + 1e-6)), and return that factor.

    That is what ``torch.nn.utils.clip_grad_norm_`` does, but the norm is the global one that the statistics
    computed: nothing is read or reduced a second time. Sparse and complex gradients are scaled like any other.

    Args:
        model: wrapped or not; sharded gradients are scaled shard by shard.
        norm: ||g|| of the reduced gradient.
        maximum: 0 does not clip.

    Raises:
        ValueError: for a maximum that is negative or NaN; and, where there is one, for a norm that is negative or
            not finite, since no factor would make such a gradient usable.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> model.weight.grad = torch.tensor([[3.0, 4.0]])
    >>> factor = clip_gradients(model, norm=5.0, maximum=1.0)
    >>> round(factor, 5), round(float(model.weight.grad.norm()), 5)
    (0.2, 1.0)
    """
    if not maximum >= 0:
        raise ValueError(f"gradients are clipped to a norm of at least 0 (0: not at all), but {maximum} was given")
    if maximum > 0 and not 0 <= norm < math.inf:
        raise ValueError(
            f"gradients cannot be clipped from a norm of {norm}: skip the step (zero_grad() instead of the "
            "optimizer's step) where the norm is not finite"
        )
    factor = min(1.0, maximum / (norm + 1e-6)) if maximum > 0 else 1.0
    scale_gradients(model, factor)
    return factor
