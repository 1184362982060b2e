r"""Per-sample gradients: the exact statistic of Eq. (3), slow, for models that fit.

The approximate norm test (Eq. 3) is written with the variance over single samples,
``||Var||_1 = sum_i 1/(b-1) sum_s (g_{s,i} - g_i)^2``. Here every sample's own gradient is computed
(``torch.func``: ``vmap`` over ``grad`` of ``functional_call``), a chunk of samples at a time, and only sums are
kept. The result has the type that :class:`~adabatch.statistics.GradientStatistics` returns, with groups of one
sample, so that ``moments.covariance_trace`` is ``||Var||_1`` and every test of
:mod:`adabatch.moments.statistic` applies. It is the reference against which cheaper statistics are measured.

Cost: ``chunk`` gradients of the model's size at a time, and one (two with ``coordinates``) in fp64 for the sums.

What the model must allow, for ``vmap``:

- A plain module: neither DistributedDataParallel nor ``fully_shard``, and no activation checkpointing. Tied and
  frozen parameters are fine.
- Samples that do not see each other: no batch normalization, but for one in ``eval()`` mode with running
  statistics. Dropout draws for each sample. Buffers are read, and what the model writes into them is dropped.
- Dense gradients: no ``sparse=True``.
- Attention by operators with a batching rule. ``scaled_dot_product_attention`` is held to its plain (math) form
  here, so the Llama of :mod:`adabatch.model.language_model` works as it is, ``sdpa`` or ``eager``; its key-value
  cache must be off (``use_cache=False``, as :func:`~adabatch.model.language_model.model_config` sets it). Flash
  attention called directly does not work.

Example:
    >>> model = nn.Linear(2, 1, bias=False)
    >>> moments = per_sample_moments(model, lambda model, x: model(x).mean(), torch.eye(2))
    >>> moments.groups, moments.group_size, moments.sum_of_squares, moments.squared_norm
    (2, 1, 2.0, 0.5)
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.parallel import DistributedDataParallel
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from adabatch.moments.coordinate_moments import CoordinateMoments, RatioHistogram
from adabatch.moments.gradient_moments import GradientMoments, accumulated_rounding, sums_rounding
from adabatch.moments.l1 import noise_to_gradient, plug_in_l1_norm, sum_of_standard_deviations
from adabatch.statistics.norms import as_real

__all__ = ["per_sample_moments"]

FAINT = 2.0**-1000
"""Mean squares below this may have lost squares that are below fp64's range."""

Loss = Callable[..., Tensor]
"""``loss(model, *samples)``: the mean loss over a batch of samples, a scalar."""


def per_sample_moments(
    model: nn.Module,
    loss: Loss,
    *samples: Any,
    chunk: int = 8,
    coordinates: bool = False,
    process_group: dist.ProcessGroup | None = None,
    norm_floor: float = 0.0,
) -> GradientMoments:
    """Moments over single samples, Eq. (3): S = sum_s ||g_s||^2 and ||g||^2, summed in fp64.

    The model's ``grad`` fields are neither read nor written.

    Args:
        model: a plain module (module docstring).
        loss: ``loss(model, *samples)``, a mean over samples, such as
            :func:`adabatch.model.language_model.language_model_loss`.
        samples: tensors whose first dimension runs over the b samples (of this rank), or tuples, lists and
            dictionaries of them, in one another; ``None`` stays as it is.
        chunk: samples whose gradients are held at a time; memory against speed, the result does not depend on it.
        coordinates: also sum squares coordinate by coordinate, and return
            :class:`~adabatch.moments.coordinate_moments.CoordinateMoments` (its conservative l1 norm is not
            measured).
        process_group: ranks that hold the same model and other samples; sums of the parameters' size are
            all-reduced over it.
        norm_floor: of the coordinate-wise test, with ``coordinates``.

    Raises:
        ValueError: for a wrapped model, one without trainable parameters, one that does not allow it (see above),
            complex parameters with ``coordinates``, no samples, tensors of different first dimensions, chunk < 1,
            a loss that is not a scalar, and gradients whose squares leave fp64's range.
    """
    leaves, structure = tree_flatten(samples)
    tensors = _tensors(leaves)
    _check(model, tensors, chunk)
    _check_modules(model, coordinates)
    whole = _Loss(model, loss, [isinstance(leaf, Tensor) for leaf in leaves], structure)
    trainable = {name: p.detach() for name, p in whole.named_parameters() if p.requires_grad}
    buffers = dict(whole.named_buffers())

    def loss_of(parameters: dict[str, Tensor], *sample: Tensor) -> Tensor:
        copies = {name: buffer.clone() for name, buffer in buffers.items()}  # what is written is dropped
        value: Tensor = functional_call(whole, {**copies, **parameters}, sample)
        return value

    gradient = vmap(grad(loss_of), in_dims=(None, *[0 for _ in tensors]), randomness="different")
    sums = {name: _Sums.like(parameter, coordinates) for name, parameter in trainable.items()}
    for parts in zip(*(tensor.split(chunk) for tensor in tensors), strict=True):
        with sdpa_kernel(SDPBackend.MATH):
            gradients = gradient(trainable, *parts)
        for name, values in gradients.items():
            sums[name].add(values)
    count = _all_reduced(torch.tensor(len(tensors[0]), device=tensors[0].device), process_group)
    for leaf in sums.values():
        leaf.all_reduce(process_group)
    return _moments(int(count), list(sums.values()), coordinates, norm_floor)


class _Loss(nn.Module):
    """The loss of one sample as a module, so that ``functional_call`` can put parameters into it."""

    def __init__(self, model: nn.Module, loss: Loss, given: list[bool], structure: TreeSpec) -> None:
        super().__init__()
        self.model, self._loss, self._given, self._structure = model, loss, given, structure

    def forward(self, *sample: Tensor) -> Tensor:
        parts = iter(sample)
        leaves = [next(parts).unsqueeze(0) if given else None for given in self._given]
        value = self._loss(self.model, *tree_unflatten(leaves, self._structure))
        if value.ndim:
            raise ValueError(
                f"the loss of one sample has the shape {tuple(value.shape)}: give a loss that returns a scalar, "
                "the mean over its samples"
            )
        return value


@dataclass
class _Sums:
    """One parameter's sums over samples, in fp64.

    Attributes:
        gradient: of the gradients, the parameter's shape (of a complex one, both parts).
        squares: of their squares: the parameter's shape, or a scalar if coordinates are not asked for.
    """

    gradient: Tensor
    squares: Tensor

    @classmethod
    def like(cls, parameter: Tensor, coordinates: bool) -> _Sums:
        gradient = torch.zeros_like(as_real(parameter), dtype=torch.float64)
        return cls(gradient, torch.zeros_like(gradient) if coordinates else gradient.new_zeros(()))

    def add(self, gradients: Tensor) -> None:
        """Add the gradients of a chunk, [chunk, *shape]."""
        wide = as_real(gradients).double()
        self.gradient += wide.sum(0)
        squares = wide.square()
        self.squares += squares.sum(0) if self.squares.shape == self.gradient.shape else _sum(squares)

    def all_reduce(self, process_group: dist.ProcessGroup | None) -> None:
        _all_reduced(self.gradient, process_group)
        _all_reduced(self.squares, process_group)


def _sum(values: Tensor) -> Tensor:
    """The sum, by rows of about sqrt(N) numbers: a number takes at most 2 sqrt(N) + 3 roundings, in any order."""
    flat = values.reshape(-1)
    width = math.isqrt(flat.numel()) + 1
    whole = flat.numel() // width * width
    return flat[:whole].view(-1, width).sum(1).sum() + flat[whole:].sum()


def _all_reduced(values: Tensor, process_group: dist.ProcessGroup | None) -> Tensor:
    if process_group is not None:
        dist.all_reduce(values, group=process_group)
    return values


def _moments(samples: int, sums: list[_Sums], coordinates: bool, norm_floor: float) -> GradientMoments:
    """From the sums over all samples."""
    sum_of_squares = float(torch.stack([_sum(leaf.squares) for leaf in sums]).sum())
    squared_norm = float(torch.stack([_sum((leaf.gradient / samples).square()) for leaf in sums]).sum())
    sizes = [leaf.gradient.numel() for leaf in sums]
    _require_range(sum_of_squares, samples * sum(sizes), [leaf.gradient for leaf in sums])
    # A square takes one rounding, those within a sum, and one for each sample, rank or parameter at most.
    additions = 2 * math.sqrt(samples * max(sizes)) + samples + len(sums) + 6
    rounding = sums_rounding(
        accumulated_rounding(samples + 1, 2**-53), float(accumulated_rounding(additions, 2**-53))
    )
    if not coordinates or samples < 2:
        return GradientMoments(samples, 1, sum_of_squares, squared_norm, rounding=rounding)
    squares = torch.cat([leaf.squares.reshape(-1) for leaf in sums]).cpu().numpy()
    mean = torch.cat([leaf.gradient.reshape(-1) for leaf in sums]).cpu().numpy() / samples
    return CoordinateMoments(
        groups=samples,
        group_size=1,
        sum_of_squares=sum_of_squares,
        squared_norm=squared_norm,
        rounding=rounding,
        sum_of_standard_deviations=float(sum_of_standard_deviations(samples, 1, squares, mean)),
        plug_in_l1_norm=float(plug_in_l1_norm(mean)),
        conservative_l1_norm=None,
        ratios=RatioHistogram.of(np.asarray(noise_to_gradient(samples, 1, squares, mean, norm_floor))),
        norm_floor=norm_floor,
    )


def _require_range(sum_of_squares: float, numbers: int, gradients: list[Tensor]) -> None:
    """Raise if squares in fp64 overflowed, or all fell so low that some may be lost."""
    if FAINT * numbers <= sum_of_squares < math.inf:
        return
    largest = max(float(gradient.abs().max()) for gradient in gradients if gradient.numel())
    if 0 < largest < math.inf:
        raise ValueError(
            f"the sum of the gradients has numbers of up to {largest:.1e}, whose squares leave fp64's range: "
            "scale the loss, and the moments back"
        )


def _tensors(leaves: list[Any]) -> list[Tensor]:
    """The samples' tensors.

    Raises:
        ValueError: for anything else than a tensor with a first dimension, and None.
    """
    for leaf in leaves:
        if leaf is not None and not (isinstance(leaf, Tensor) and leaf.ndim):
            kind = "a tensor without dimensions" if isinstance(leaf, Tensor) else f"a {type(leaf).__name__}"
            raise ValueError(
                "samples are tensors whose first dimension runs over them, or tuples, lists and dictionaries of "
                f"such tensors, but {kind} was given: let the loss hold what is the same for all samples"
            )
    return [leaf for leaf in leaves if leaf is not None]


def _check_modules(model: nn.Module, coordinates: bool) -> None:
    """Raise for parts of the model that mix samples, or that ``vmap`` cannot take."""
    for name, module in model.named_modules():
        tracks = bool(getattr(module, "track_running_stats", False))
        mixes = isinstance(module, _BatchNorm) and (module.training or not tracks)
        if mixes or (isinstance(module, _InstanceNorm) and module.training and tracks):
            raise ValueError(
                f"{name or 'the model'} is a {type(module).__name__} whose statistics depend on other samples, so "
                "that no sample has a gradient of its own: put it into eval() mode with running statistics, or "
                "use GroupNorm or LayerNorm"
            )
        if getattr(module, "sparse", False) is True:
            raise ValueError(
                f"{name or 'the model'} has sparse gradients, of which no sample's own can be taken: build it "
                "with sparse=False"
            )
    complex_names = [name for name, p in model.named_parameters() if p.requires_grad and p.is_complex()]
    if coordinates and complex_names:
        raise ValueError(
            f"{complex_names[0]} is complex, and coordinate-wise moments are of real coordinates: leave "
            "coordinates=True out"
        )


def _check(model: nn.Module, samples: list[Tensor], chunk: int) -> None:
    parameters = list(model.parameters())
    if isinstance(model, DistributedDataParallel) or any(isinstance(p, DTensor) for p in parameters):
        raise ValueError(
            "per-sample gradients need the plain module: pass the model before DistributedDataParallel or "
            "fully_shard (model.module under DistributedDataParallel), and the ranks as process_group="
        )
    if not any(p.requires_grad for p in parameters):
        raise ValueError("the model has no trainable parameter: let those that you ask about require gradients")
    counts = [len(tensor) for tensor in samples]
    if not counts or counts[0] < 1 or len(set(counts)) > 1:
        raise ValueError(
            f"per-sample gradients of tensors with {counts} samples: give at least one tensor, all with the same "
            "number of samples (first dimension), at least 1"
        )
    if chunk < 1:
        raise ValueError(f"per-sample gradients are computed at least 1 sample at a time, but chunk is {chunk}")
