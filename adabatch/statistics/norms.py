r"""Squared norms that keep their digits and cost one read of the tensor.

A plain fp32 ``vector_norm`` of a large flat tensor accumulates naively on the CPU (about 2e-3 relative error in
the square, and another one for another layout of the same numbers), which is more than the difference that the
norm test lives on. Norms of chunks, combined in fp64, run at the same speed with an error near 1e-8; small tensors
accumulate in fp64 right away, which is exact.

A GPU adds in a tree, which keeps the digits by itself, and there launches count: one per tensor, into its place in
a vector that is squared once per micro-batch.

Guarantee (:attr:`SquaredNorms.rounding`, with gamma_k = k u / (1 - k u), which bounds k roundings that all go one
way, and u the unit roundoff of the sum's arithmetic):

- On a CPU a chunk's square in fp32 takes gamma_k with k = ``CHUNK / LANES`` + 6: torch adds lane by lane, in
  ``LANES`` accumulators or more, then the lanes one by one, and the root counts twice. Sums in fp64 take at most
  as many roundings as they have terms, in any order.
- On CUDA (and ROCm) k = ``TREE`` for a tensor of up to 2^28 elements: torch's reduction gives a thread no more
  than 256 numbers (``max_values_per_thread`` in ``aten/src/ATen/native/cuda/Reduce.cuh``) and then adds in trees.
  This is read from the source of torch 2.13, with a margin; it has not been measured.
- On any other device it is infinite: no bound is known.

Range: on a CPU gradients of all sizes that bf16, fp16 and fp32 can hold. In fp64, and in a GPU's fp32, squares may
fall below the smallest number: :meth:`SquaredNorms.rounding_of` counts what is lost. Squares that are too large
for fp64 are refused on a CPU; in a GPU's fp32 they are infinite (norms above 1.8e19).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributed.tensor import DTensor

from adabatch.moments.gradient_moments import accumulated_rounding

__all__ = ["CHUNK", "SMALL", "SquaredNorms", "as_real", "local"]

CHUNK = 512
"""Elements whose norm is taken in one fp32 sum; the chunks' squares are added in fp64."""

LANES = 4
"""Accumulators that torch's CPU kernels have at least: fp32 numbers in a vector of 128 bits."""

SMALL = 32 * 1024
"""Up to here fp64 is free compared with the launch on a CPU; beyond, its cast would cost 20 times the read."""

TREE = 512
"""Roundings on the way through a GPU's reduction of 2^28 numbers, at most: 1 product, 258 additions of a thread,
3 between its accumulators, 9 + 9 in two trees of 512 threads, 8 between blocks, 2 for the root; and a margin."""

SLAB = 1 << 20
"""Elements that are made wider at a time, into one buffer: fresh memory costs a CPU more than a pass over it."""

FAINT = 2.0**-96
"""A mean square below this may have lost squares below fp32's range (2^-126 if subnormals are flushed)."""

FLUSHED = 2.0**-126 / FAINT
"""What squares below the range can be at most of a mean square that is not faint."""

LARGEST = 2.0**400
"""Norms up to this can be squared and added in fp64 without overflow."""


def local(tensor: Tensor) -> Tensor:
    """This rank's own part of a tensor: the local shard of a ``DTensor``, or the tensor itself."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


class SquaredNorms:
    """||tensor||^2 of several tensors, in fp64; one number is kept for each.

    A complex number counts as its two parts, and a sparse tensor (COO) as the dense one.

    Args:
        sizes: number of elements of each.
        dtypes: of each, any floating or complex type.
        device: of all.

    Attributes:
        rounding: largest relative error of a squared norm (module docstring); infinite if no bound is known.

    >>> norms = SquaredNorms([2, 3], [torch.float32, torch.float32], torch.device("cpu"))
    >>> norms.put(1, torch.tensor([0.0, 2.0, 0.0]))
    >>> norms.put(0, torch.tensor([3.0, 4.0]))
    >>> norms.sums().tolist()
    [25.0, 4.0]
    """

    def __init__(self, sizes: Sequence[int], dtypes: Sequence[torch.dtype], device: torch.device) -> None:
        self._device_type, self._on_cpu = device.type, device.type == "cpu"
        self._sizes, self._dtypes = list(sizes), list(dtypes)
        wide = self._on_cpu or any(_is_double(dtype) for dtype in dtypes)
        self._norms = torch.zeros(len(sizes), dtype=torch.float64 if wide else torch.float32, device=device)
        self._places = list(self._norms.unbind())
        self._on_host = _values(self._norms) if self._on_cpu else None
        self.rounding = max(
            (self._bound(size, dtype) for size, dtype in zip(sizes, dtypes, strict=True)), default=0.0
        )

    def put(self, index: int, tensor: Tensor) -> None:
        """Take one tensor's norm.

        Raises:
            ValueError: for a tensor that is neither dense nor sparse in the COO layout, and on a CPU for finite
                numbers in fp64 whose squares are not.
        """
        if tensor.dtype is not self._dtypes[index]:
            self._retype(index, tensor.dtype)
        if tensor.layout is not torch.strided or tensor.dtype.is_complex:
            tensor = _real_values(tensor)
        place = self._places[index]
        if self._on_host is None:  # on a GPU, or in a plan for one
            torch.linalg.vector_norm(tensor.reshape(-1), dtype=place.dtype, out=place)
        elif tensor.dtype is torch.float64:
            self._put_double(index, tensor, place)
        elif tensor.numel() <= SMALL:
            torch.linalg.vector_norm(tensor, dtype=torch.float64, out=place)
        else:
            self._put_large(index, tensor.reshape(-1), place)

    def clear(self) -> None:
        """Make all norms 0."""
        self._norms.zero_()

    def sums(self) -> Tensor:
        """The squared norms of what was put last, [tensors], fp64."""
        return self._norms.double().square()

    def rounding_of(self, total: float) -> float:
        """Largest relative error of a sum of squared norms that came to ``total``: :attr:`rounding`, and what fell
        below the range of the arithmetic (nothing on a CPU, but for fp64).

        Args:
            total: of the squared norms of all tensors, in one micro-batch or several.

        Returns:
            The bound; infinite where everything may have been lost.

        >>> norms = SquaredNorms([2], [torch.float64], torch.device("cpu"))
        >>> norms.rounding_of(1.0) == norms.rounding, norms.rounding_of(1e-321) > 1e-3
        (True, True)
        """
        if self._norms.dtype is torch.float32:
            lost = 4 * sum(self._sizes) * 2.0**-149
        else:
            pairs = zip(self._sizes, self._dtypes, strict=True)
            lost = 4 * sum(size for size, dtype in pairs if _is_double(dtype)) * 2.0**-1022
        if not lost or not math.isfinite(total):
            return self.rounding
        return self.rounding + (lost / total if total > 0 else math.inf)

    def _bound(self, size: int, dtype: torch.dtype) -> float:
        """The rounding of a tensor of this size and type."""
        numbers = size * (2 if dtype.is_complex else 1)
        if not self._on_cpu:
            known = self._device_type == "cuda"
            roundoff = 2.0**-24 if self._norms.dtype is torch.float32 else 2.0**-53
            return _gamma(TREE + numbers / 2**28, roundoff) if known else math.inf
        if numbers <= SMALL:
            return _gamma(numbers + 3, 2.0**-53)
        if _is_double(dtype):
            return _gamma(CHUNK + numbers / CHUNK + 7, 2.0**-53)
        chunks = _gamma(CHUNK // LANES + 6, 2.0**-24) + FLUSHED
        return (1 + chunks) * (1 + _gamma(numbers / CHUNK + 4, 2.0**-53)) - 1

    def _put_double(self, index: int, tensor: Tensor, place: Tensor) -> None:
        """The norm of a tensor in fp64, whose squares may leave its range."""
        flat = tensor.reshape(-1)
        norms = _chunk_norms(flat) if flat.numel() > SMALL else flat
        torch.linalg.vector_norm(norms, dtype=torch.float64, out=place)
        if self._on_host is None or self._on_host[index] <= LARGEST:
            return
        if bool(flat.isfinite().all()):
            raise ValueError(
                f"a gradient in fp64 has numbers up to {float(flat.abs().max()):g}, whose squares cannot be added "
                f"in fp64 (norms up to {LARGEST:.0e} can): scale the loss down"
            )

    def _put_large(self, index: int, flat: Tensor, place: Tensor) -> None:
        """The norm of a tensor that is neither small nor in fp64: chunks in fp32 where that range is enough."""
        torch.linalg.vector_norm(_chunk_norms(flat), dtype=torch.float64, out=place)
        if self._on_host is None or FAINT * flat.numel() <= self._on_host[index] ** 2 < math.inf:
            return
        if self._on_host[index] == 0 and not any(bool(extreme) for extreme in torch.aminmax(flat)):
            return
        norms = [torch.linalg.vector_norm(slab, dtype=torch.float64) for slab in flat.split(SLAB)]
        torch.linalg.vector_norm(torch.stack(norms), out=place)

    def _retype(self, index: int, dtype: torch.dtype) -> None:
        """A gradient of another type than its tensor had: the model's type was changed."""
        self._dtypes[index] = dtype
        self.rounding = max(self.rounding, self._bound(self._sizes[index], dtype))


def _gamma(additions: float, roundoff: float) -> float:
    return float(accumulated_rounding(additions, roundoff))


def as_real(values: Tensor) -> Tensor:
    """The values, complex ones as pairs of real numbers.

    >>> as_real(torch.tensor([1 + 2j])).tolist()
    [[1.0, 2.0]]
    """
    return torch.view_as_real(values.resolve_conj()) if values.is_complex() else values


def _values(tensor: Tensor) -> NDArray[np.float64] | None:
    """The same memory as a CPU tensor's; None for a tensor without memory, as a plan simulates it."""
    try:
        values: NDArray[np.float64] = tensor.numpy()
    except RuntimeError:
        return None
    return values


def _is_double(dtype: torch.dtype) -> bool:
    return dtype in (torch.float64, torch.complex128)


def _real_values(tensor: Tensor) -> Tensor:
    """Real numbers with the tensor's norm, of a sparse or complex one."""
    if tensor.layout is torch.sparse_coo:
        tensor = tensor.coalesce().values()
    elif tensor.layout is not torch.strided:
        raise ValueError(
            f"a gradient has the layout {tensor.layout}, but norms are taken of dense and of sparse (COO) "
            "gradients: make it dense in a hook of the parameter, or freeze the parameter"
        )
    return as_real(tensor)


def _chunk_norms(flat: Tensor) -> Tensor:
    """The norms of chunks, whose norm is the tensor's, [chunks], in fp32 or fp64."""
    whole = flat.numel() // CHUNK * CHUNK
    chunks = flat[:whole].view(-1, CHUNK)
    wide = flat.dtype in (torch.float32, torch.float64)
    norms = [torch.linalg.vector_norm(chunks, dim=1)] if wide else _widened(chunks)
    if whole < flat.numel():
        rest = torch.linalg.vector_norm(flat[whole:], dtype=torch.float64)
        norms.append(rest.to(norms[0].dtype).reshape(1))
    return norms[0] if len(norms) == 1 else torch.cat(norms)


def _widened(chunks: Tensor) -> list[Tensor]:
    """The norms of chunks of a narrower type, made fp32 some at a time."""
    wide = torch.empty(SLAB // CHUNK, CHUNK, dtype=torch.float32)
    return [torch.linalg.vector_norm(wide[: len(slab)].copy_(slab), dim=1) for slab in chunks.split(SLAB // CHUNK)]
