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
- Samples that do not see each other: no batch normalization.
- Attention by operators with a batching rule. ``scaled_dot_product_attention`` is held to its plain (math) form
  here, so the Llama of :mod:`adabatch.model.llama` works as it is, ``sdpa`` or ``eager``; its key-value cache
  must be off (``use_cache=False``, as :func:`~adabatch.model.llama.model_config` sets it). Flash attention called
  directly does not work.

Example:
    >>> model = nn.Linear(2, 1, bias=False)
    >>> moments = per_sample_moments(model, lambda model, x: model(x).mean(), torch.eye(2))
    >>> moments.groups, moments.group_size, moments.sum_of_squares, moments.squared_norm
    (2, 1, 2.0, 0.5)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.func import functional_call, grad, vmap
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parallel import DistributedDataParallel

from adabatch.moments.coordinate_moments import CoordinateMoments, RatioHistogram
from adabatch.moments.gradient_moments import GradientMoments, accumulated_rounding, sums_rounding
from adabatch.moments.l1 import noise_to_gradient, plug_in_l1_norm, sum_of_standard_deviations

__all__ = ["per_sample_moments"]

SUM_ROUNDING = 1e-12
"""Relative error of sums in fp64, of billions of numbers (``torch.sum`` adds in pairs)."""

Loss = Callable[..., Tensor]
"""``loss(model, *samples)``: the mean loss over a batch of samples, a scalar."""


def per_sample_moments(
    model: nn.Module,
    loss: Loss,
    *samples: Tensor,
    chunk: int = 8,
    coordinates: bool = False,
    process_group: dist.ProcessGroup | None = None,
) -> GradientMoments:
    """Moments over single samples, Eq. (3): S = sum_s ||g_s||^2 and ||g||^2, summed in fp64.

    The model's ``grad`` fields are neither read nor written.

    Args:
        model: a plain module (module docstring).
        loss: ``loss(model, *samples)``, a mean over samples, such as
            :func:`adabatch.model.llama.language_model_loss`.
        samples: tensors whose first dimension runs over the b samples (of this rank).
        chunk: samples whose gradients are held at a time; memory against speed, the result does not depend on it.
        coordinates: also sum squares coordinate by coordinate, and return
            :class:`~adabatch.moments.coordinate_moments.CoordinateMoments` (its conservative l1 norm is not
            measured).
        process_group: ranks that hold the same model and other samples; sums of the parameters' size are
            all-reduced over it.

    Raises:
        ValueError: for a wrapped model, one without trainable parameters, no samples, tensors of different first
            dimensions, or chunk < 1.
    """
    _check(model, samples, chunk)
    whole = _Loss(model, loss)
    trainable = {name: p.detach() for name, p in whole.named_parameters() if p.requires_grad}
    gradient = vmap(
        grad(lambda parameters, *sample: functional_call(whole, parameters, sample)),
        in_dims=(None, *[0 for _ in samples]),
        randomness="different",
    )
    sums = {name: _Sums.like(parameter, coordinates) for name, parameter in trainable.items()}
    for parts in zip(*(tensor.split(chunk) for tensor in samples), strict=True):
        with sdpa_kernel(SDPBackend.MATH):
            gradients = gradient(trainable, *parts)
        for name, values in gradients.items():
            sums[name].add(values)
    count = _all_reduced(torch.tensor(len(samples[0]), device=samples[0].device), process_group)
    for leaf in sums.values():
        leaf.all_reduce(process_group)
    return _moments(int(count), list(sums.values()), coordinates)


class _Loss(nn.Module):
    """The loss of one sample as a module, so that ``functional_call`` can put parameters into it."""

    def __init__(self, model: nn.Module, loss: Loss) -> None:
        super().__init__()
        self.model, self._loss = model, loss

    def forward(self, *sample: Tensor) -> Tensor:
        return self._loss(self.model, *(part.unsqueeze(0) for part in sample))


@dataclass
class _Sums:
    """One parameter's sums over samples, in fp64.

    Attributes:
        gradient: of the gradients, the parameter's shape.
        squares: of their squares: the parameter's shape, or a scalar if coordinates are not asked for.
    """

    gradient: Tensor
    squares: Tensor

    @classmethod
    def like(cls, parameter: Tensor, coordinates: bool) -> _Sums:
        gradient = torch.zeros_like(parameter, dtype=torch.float64)
        return cls(gradient, torch.zeros_like(gradient) if coordinates else gradient.new_zeros(()))

    def add(self, gradients: Tensor) -> None:
        """Add the gradients of a chunk, [chunk, *shape]."""
        wide = gradients.double()
        self.gradient += wide.sum(0)
        self.squares += wide.square().sum(0) if self.squares.shape == self.gradient.shape else wide.square().sum()

    def all_reduce(self, process_group: dist.ProcessGroup | None) -> None:
        _all_reduced(self.gradient, process_group)
        _all_reduced(self.squares, process_group)


def _all_reduced(values: Tensor, process_group: dist.ProcessGroup | None) -> Tensor:
    if process_group is not None:
        dist.all_reduce(values, group=process_group)
    return values


def _moments(samples: int, sums: list[_Sums], coordinates: bool) -> GradientMoments:
    """From the sums over all samples."""
    sum_of_squares = float(torch.stack([leaf.squares.sum() for leaf in sums]).sum())
    squared_norm = float(torch.stack([(leaf.gradient / samples).square().sum() for leaf in sums]).sum())
    rounding = sums_rounding(accumulated_rounding(samples + 1, 2**-53), SUM_ROUNDING)
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
        ratios=RatioHistogram.of(np.asarray(noise_to_gradient(samples, 1, squares, mean))),
    )


def _check(model: nn.Module, samples: tuple[Tensor, ...], chunk: int) -> None:
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
