"""Squared norms that keep their digits and cost one read of the tensor.

A plain fp32 ``vector_norm`` of a large flat tensor accumulates naively on the CPU (about 2e-3 relative error in
the square, and another one for another layout of the same numbers), which is more than the difference that the
norm test lives on. Norms of chunks, combined in fp64, run at the same speed with an error near 1e-8. Small
tensors, where the launches cost more than the arithmetic, accumulate in fp64 right away, which is exact.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

__all__ = ["CHUNK", "local", "squared_norm", "squared_norm_rounding", "squared_norms"]

CHUNK = 4096
"""Elements whose norm is taken in one fp32 accumulator; the chunks' squares are added in fp64."""

SMALL = 8 * CHUNK
"""Up to here a cast to fp64 is free beside the launches; beyond, it would cost 20 times the read (CPU)."""


def local(tensor: Tensor) -> Tensor:
    """This rank's own part of a tensor: the local shard of a ``DTensor``, or the tensor itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def squared_norm(tensor: Tensor) -> Tensor:
    """||tensor||^2 as a 0-dimensional fp64 tensor on the same device.

    Args:
        tensor: any shape, any floating dtype. Large tensors of less than fp64 accumulate in fp32 within a chunk.

    >>> squared_norm(torch.tensor([3.0, 4.0]))
    tensor(25., dtype=torch.float64)
    """
    flat = tensor.detach().reshape(-1)
    if flat.numel() <= SMALL:
        return _norm(flat, torch.float64).square()
    accumulate = torch.float64 if flat.dtype == torch.float64 else torch.float32
    whole = flat.numel() // CHUNK * CHUNK
    chunks = _norm(flat[:whole].view(-1, CHUNK), accumulate, dim=1).double()
    total = torch.dot(chunks, chunks)
    return total if whole == flat.numel() else total + _norm(flat[whole:], torch.float64).square()


def squared_norm_rounding(size: int, dtype: torch.dtype) -> float:
    """Largest relative error of :func:`squared_norm` of a tensor with so many elements of this type.

    Sums of thousands in fp64, or of a chunk in fp32 (16 accumulators of 256 numbers each: measured up to 7.7e-6,
    for equal numbers, whose roundings all go one way; 1e-7 for normal ones).

    >>> squared_norm_rounding(100, torch.float32), squared_norm_rounding(10**6, torch.float32)
    (1e-12, 1e-05)
    """
    return 1e-12 if size <= SMALL or dtype == torch.float64 else 1e-5


def _norm(tensor: Tensor, dtype: torch.dtype, dim: int | None = None) -> Tensor:
    norm: Tensor = torch.linalg.vector_norm(tensor, dim=dim, dtype=dtype)
    return norm


def squared_norms(tensors: Sequence[Tensor]) -> Tensor:
    """The squared norm of each of at least one tensor, [tensors], fp64."""
    return torch.stack([squared_norm(tensor) for tensor in tensors])
