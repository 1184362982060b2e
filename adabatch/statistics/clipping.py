"""Gradient clipping from a norm that is known already."""

from __future__ import annotations

import torch
from torch import nn

from adabatch.statistics.norms import local

__all__ = ["clip_gradients"]


def clip_gradients(model: nn.Module, norm: float, maximum: float) -> float:
    """Scale all gradients in place by min(1, maximum / norm), and return that factor.

    The norm is the global one that the statistics computed: nothing is read or reduced a second time.

    Args:
        model: wrapped or not; sharded gradients are scaled shard by shard.
        norm: ||g|| of the reduced gradient.
        maximum: 0 does not clip.
    """
    factor = min(1.0, maximum / (norm + 1e-6)) if maximum > 0 else 1.0
    if factor < 1.0:
        gradients = [local(p.grad) for p in model.parameters() if p.grad is not None]
        torch._foreach_mul_(gradients, factor)
    return factor
