"""Gradient statistics from leaf hooks: the moments that the norm test reads, for one all-reduce of two numbers.

Every rank's every micro-batch is a group: with J data-parallel ranks and M micro-batches a step has n = J M
groups of m samples. A hook on each autograd leaf sees the group's own gradient before anything accumulates or
reduces it, and adds its squared norm to a running fp64 sum; after the last micro-batch the squared norm of the
reduced gradient is taken where it lies. The two numbers are summed over ranks, and
``sum_j ||g_j - g||^2 = sum_j ||g_j||^2 - n ||g||^2`` does the rest (:mod:`theory.gradient_moments`). Nothing of
the parameters' size is stored or communicated.

Where the leaf is: for a plain module and under ``DistributedDataParallel`` it is the parameter; under FSDP2 it is
the *unsharded* parameter, reached once through ``unshard()`` and ``reshard()``. Tied parameters are one leaf. On
a mesh of several dimensions (hybrid sharding, FSDP2 x tensor parallel) the two numbers take one all-reduce a
dimension, and what tensor-parallel ranks hold alike is counted once (:mod:`adabatch.data_parallel`).

Example:
    >>> from torch import nn
    >>> model = nn.Linear(2, 1, bias=False)
    >>> statistics = GradientStatistics(model)                 # after DDP, fully_shard or nothing
    >>> for micro_batch in torch.eye(2).split(1):
    ...     (model(micro_batch).sum() / 2).backward()          # loss / number of micro-batches
    ...     statistics.end_microbatch(samples=1)
    >>> moments = statistics.finish()
    >>> moments.groups, round(moments.sum_of_squares, 9), round(moments.squared_norm, 9)
    (2, 2.0, 0.5)
"""

from __future__ import annotations

from functools import partial

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from adabatch.data_parallel import autograd_leaves, copies, data_parallel, like
from adabatch.norms import local, squared_norm, squared_norm_rounding, sum_of_squared_norms
from theory.gradient_moments import GradientMoments, sums_rounding

__all__ = ["GradientStatistics"]


class GradientStatistics:
    """Moments of the gradient over groups = ranks x micro-batches (module docstring).

    Call :meth:`end_microbatch` after each micro-batch's ``backward()`` and :meth:`finish` after the last one,
    before clipping, the optimizer step and ``zero_grad``. Losses are means over the group's samples divided by
    the number of micro-batches, as gradient accumulation does anyway.

    Args:
        model: after wrapping: a plain module, ``DistributedDataParallel`` or an FSDP2 (``fully_shard``) module.
        process_group: the data-parallel group; found from the wrapping if not given. Give it for a plain module
            whose gradients you average over ranks yourself before :meth:`finish`.

    Raises:
        ValueError: if no parameter is trainable, or if the module is plain while several ranks run and no
            process group was given: then the statistics were attached before wrapping.
    """

    def __init__(self, model: nn.Module, process_group: dist.ProcessGroup | None = None) -> None:
        self._leaves = list(autograd_leaves(model))
        if not self._leaves:
            raise ValueError(
                "the model has no trainable parameter: attach the statistics after the parameters exist and "
                "require gradients"
            )
        self.layout = data_parallel(model, self._leaves, process_group)
        self._device = self._leaves[0].parameter.device
        self._weights = torch.tensor(
            [1 / copies(leaf.tensor, self.layout.tensor_parallel) for leaf in self._leaves],
            dtype=torch.float64,
            device=self._device,
        )
        self._roundoff = max(torch.finfo(leaf.parameter.dtype).eps / 2 for leaf in self._leaves)
        self._norm_rounding = max(
            squared_norm_rounding(local(leaf.tensor).numel(), leaf.tensor.dtype) for leaf in self._leaves
        )
        self._handles: list[RemovableHandle] = []
        self._squares: list[Tensor | None] = []
        self._groups_sum = torch.zeros((), dtype=torch.float64, device=self._device)
        self._micro_batches = 0
        self._group_size = 0
        self._reset()
        self.enable()

    @property
    def enabled(self) -> bool:
        """Whether the hooks are attached."""
        return bool(self._handles)

    def enable(self, enabled: bool = True) -> None:
        """Attach or remove the hooks; without them a step costs nothing. Call it between steps.

        Raises:
            RuntimeError: in the middle of a step.
        """
        if enabled == self.enabled:
            return
        if self._micro_batches:
            raise RuntimeError(
                "the statistics were switched between two micro-batches of one step; switch them after finish()"
            )
        if enabled:
            self._handles = [
                leaf.tensor.register_hook(partial(self._observe, index)) for index, leaf in enumerate(self._leaves)
            ]
        else:
            for handle in self._handles:
                handle.remove()
            self._handles = []
        self._squares = [None] * len(self._leaves)

    def _observe(self, index: int, gradient: Tensor) -> None:
        """The hook: add this leaf's squared norm to the current group."""
        if self._squares[index] is not None:
            raise RuntimeError(
                f"the parameter {self._leaves[index].name} received its gradient twice in one micro-batch: call "
                "end_microbatch() after each backward(), use one backward() a micro-batch, and non-reentrant "
                "activation checkpointing (use_reentrant=False)"
            )
        self._squares[index] = squared_norm(local(like(gradient, self._leaves[index].tensor)))

    def end_microbatch(self, samples: int) -> None:
        """Close a group: call it after the micro-batch's ``backward()``.

        Args:
            samples: m, the number of samples in the micro-batch (this rank's), the same in every group.

        Raises:
            ValueError: for groups of unequal size.
            RuntimeError: if a trainable parameter received no gradient.
        """
        if not self.enabled:
            return
        squares = [square for square in self._squares if square is not None]
        if len(squares) < len(self._leaves):
            missing = [
                leaf.name for leaf, square in zip(self._leaves, self._squares, strict=True) if square is None
            ]
            raise RuntimeError(
                f"{len(missing)} of {len(self._leaves)} trainable parameters received no gradient in this "
                f"micro-batch, the first is {missing[0]}: freeze what the loss does not use "
                "(requires_grad_(False)) before attaching, and attach anew if the model's parameters were replaced"
            )
        if samples < 1 or (self._micro_batches and samples != self._group_size):
            raise ValueError(
                f"groups of {self._group_size} and of {samples} samples in one step: the statistics need groups "
                "of equal size (at least 1); drop the last incomplete micro-batch"
            )
        self._group_size = samples
        self._micro_batches += 1
        self._groups_sum += torch.dot(torch.stack(squares), self._weights)
        self._squares = [None] * len(self._leaves)

    def finish(self) -> GradientMoments:
        """The step's moments, equal on every rank. One all-reduce of two fp64 numbers a mesh dimension.

        Raises:
            RuntimeError: if no micro-batch was seen (also while disabled).
        """
        if not self._micro_batches:
            raise RuntimeError(
                "no micro-batch was seen since the last finish(): call end_microbatch() after each backward(), "
                "and enable() the statistics before the step's first one"
            )
        without = [leaf.name for leaf in self._leaves if leaf.parameter.grad is None]
        if without:
            raise RuntimeError(
                f"{len(without)} of {len(self._leaves)} parameters have no reduced gradient, the first is "
                f"{without[0]}: call finish() after the backward() that synchronises and before zero_grad(), and "
                "attach anew if the model's parameters were replaced"
            )
        micro_batches, group_size = self._micro_batches, self._group_size
        # Leaves saw gradients of loss / M; the group's own gradient is M times that.
        sums = torch.stack([self._groups_sum * micro_batches**2, self._local_share()])
        self._reset()
        sum_of_squares, norm_of_mean = self._all_reduce(sums)
        return GradientMoments(
            groups=self.layout.ranks * micro_batches,
            group_size=group_size,
            sum_of_squares=sum_of_squares,
            squared_norm=norm_of_mean,
            rounding=sums_rounding(
                micro_batches * self.layout.world_size + 1, self._roundoff, self._norm_rounding
            ),
        )

    def gradient_squared_norm(self) -> float:
        """||g||^2 of the reduced gradient alone, for steps without statistics. One all-reduce of one number."""
        return self._all_reduce(self._local_share().reshape(1))[0]

    def _reset(self) -> None:
        self._groups_sum = torch.zeros((), dtype=torch.float64, device=self._device)
        self._micro_batches = 0
        self._group_size = 0

    def _local_share(self) -> Tensor:
        """This rank's share of ||g||^2: its shards, or every J-th parameter where gradients are replicated."""
        parameters = [leaf.parameter for leaf in self._leaves]
        if self.layout.replicated:
            rank = dist.get_rank(self.layout.process_groups[0])
            return sum_of_squared_norms(_gradients(parameters[rank :: self.layout.ranks]), self._device)
        by_copies: dict[int, list[Tensor]] = {}
        for parameter in parameters:
            by_copies.setdefault(copies(parameter, self.layout.world_size), []).append(parameter)
        shares = [
            sum_of_squared_norms(_gradients(alike), self._device) / count for count, alike in by_copies.items()
        ]
        return torch.stack(shares).sum()

    def _all_reduce(self, sums: Tensor) -> list[float]:
        return [float(value) for value in self.layout.sum(sums).tolist()]


def _gradients(parameters: list[Tensor]) -> list[Tensor]:
    """The reduced gradients of the parameters that have one."""
    return [like(parameter.grad, parameter) for parameter in parameters if parameter.grad is not None]
