"""Squared norms that keep their digits and cost one read of the tensor.

A plain fp32 ``vector_norm`` of a large flat tensor accumulates naively on the CPU (about 2e-3 relative error in
the square, and another one for another layout of the same numbers), which is more than the difference that the
norm test lives on. Norms of chunks, combined in fp64, run at the same speed with an error near 1e-8; small tensors
accumulate in fp64 right away, which is exact.

A GPU adds in a tree, which keeps the digits by itself, and there launches count: one per tensor, into its place in
a vector that is squared once per micro-batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor

__all__ = ["CHUNK", "SquaredNorms", "local"]

CHUNK = 4096
"""Elements whose norm is taken in one fp32 accumulator; the chunks' squares are added in fp64."""

SMALL = 8 * CHUNK
"""Up to here fp64 is free compared with the launch on a CPU; beyond, its cast would cost 20 times the read."""

CHUNK_ROUNDING, SUM_ROUNDING = 1e-5, 1e-12
"""Largest relative error of a squared norm: of fp32 chunks (16 accumulators of 256 numbers each: measured up to
7.7e-6, for equal numbers, whose roundings all go one way; 1e-7 for normal ones), and in fp64. A GPU's threads add
some hundred numbers each in fp32 before the tree begins."""


def local(tensor: Tensor) -> Tensor:
    """This rank's own part of a tensor: the local shard of a ``DTensor``, or the tensor itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


class SquaredNorms:
    """||tensor||^2 of several tensors, in fp64; one number is kept for each.

    Args:
        sizes: number of elements of each.
        dtypes: of each, any floating type.
        device: of all.

    Attributes:
        rounding: largest relative error of a squared norm.

    >>> norms = SquaredNorms([2, 3], [torch.float32, torch.float32], torch.device("cpu"))
    >>> norms.put(1, torch.tensor([0.0, 2.0, 0.0]))
    >>> norms.put(0, torch.tensor([3.0, 4.0]))
    >>> norms.sums().tolist()
    [25.0, 4.0]
    """

    def __init__(self, sizes: Sequence[int], dtypes: Sequence[torch.dtype], device: torch.device) -> None:
        self._in_chunks = device.type == "cpu"
        small = self._in_chunks and max(sizes) <= SMALL
        exact = small or all(dtype == torch.float64 for dtype in dtypes)
        self.rounding = SUM_ROUNDING if exact else CHUNK_ROUNDING
        wide = self._in_chunks or torch.float64 in dtypes
        self._norms = torch.zeros(len(sizes), dtype=torch.float64 if wide else torch.float32, device=device)

    def put(self, index: int, tensor: Tensor) -> None:
        """Take one tensor's norm."""
        flat = tensor.reshape(-1)
        if self._in_chunks and flat.numel() > SMALL:
            flat = _chunk_norms(flat)
        place = self._norms[index]
        torch.linalg.vector_norm(flat, dtype=place.dtype, out=place)

    def clear(self) -> None:
        """Make all norms 0."""
        self._norms.zero_()

    def sums(self) -> Tensor:
        """The squared norms of what was put last, [tensors], fp64."""
        return self._norms.double().square()


def _chunk_norms(flat: Tensor) -> Tensor:
    """The norms of chunks, whose norm is the tensor's, [chunks]."""
    dtype = torch.promote_types(flat.dtype, torch.float32)
    whole = flat.numel() // CHUNK * CHUNK
    norms: Tensor = torch.linalg.vector_norm(flat[:whole].view(-1, CHUNK), dim=1, dtype=dtype)
    if whole == flat.numel():
        return norms
    rest = torch.linalg.vector_norm(flat[whole:], dtype=torch.float64).to(dtype)
    return torch.cat([norms, rest.reshape(1)])
