"""Gradient statistics from leaf hooks: the moments that the norm test reads, for one small all-reduce.

Every rank's every micro-batch is a group: with J data-parallel ranks and M micro-batches there are n = J M
groups of m samples. A hook on each autograd leaf sees the group's own gradient before anything accumulates or
reduces it, and adds its squared norm to a running fp64 sum; after the last micro-batch the squared norm of the
reduced gradient is taken where it lies. The two numbers are summed over ranks, and
``sum_j ||g_j - g||^2 = sum_j ||g_j||^2 - n ||g||^2`` does the rest (:mod:`adabatch.moments.gradient_moments`).
Nothing of the parameters' size is stored or communicated. Apart from the two numbers (two for each part of the
model, if parts are asked for) the all-reduce carries nine more, which show mistakes
(:mod:`adabatch.statistics.probe`).

Where the leaf is: for a plain module and under ``DistributedDataParallel`` it is the parameter; under FSDP2 it is
the *unsharded* parameter, reached once through ``unshard()`` and ``reshard()``. Tied parameters are one leaf. On
a mesh of several dimensions (hybrid sharding, FSDP2 x tensor parallel) the numbers take one all-reduce per
dimension, and what tensor-parallel ranks hold alike is counted once (:mod:`adabatch.statistics.reductions`).

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

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from adabatch.moments.gradient_moments import GradientMoments, accumulated_rounding, sums_rounding
from adabatch.statistics.norms import SquaredNorms, local
from adabatch.statistics.probe import (
    GroupSizes,
    require_equal_sizes,
    require_no_scaler,
    require_same_gradient,
)
from adabatch.statistics.reductions import Leaf, autograd_leaves, data_parallel, like, replica_count

__all__ = ["GradientStatistics", "ReducedStep"]


@dataclass(frozen=True)
class ReducedStep:
    """What all ranks know of a step after its one all-reduce.

    Attributes:
        moments: of the gradients; None if the statistics were disabled.
        squared_norm: ||g||^2 of the reduced gradient.
        sums: the further scalars, summed over all ranks.
    """

    moments: GradientMoments | None
    squared_norm: float
    sums: list[float]


class GradientStatistics:
    """Moments of the gradient over groups = ranks x micro-batches (module docstring).

    Call :meth:`end_microbatch` after each micro-batch's ``backward()`` and :meth:`finish` after the last one,
    before clipping, the optimizer step and ``zero_grad``. Losses are means over the group's samples divided by
    the number of micro-batches, as gradient accumulation does anyway.

    Args:
        model: after wrapping: a plain module, ``DistributedDataParallel`` or an FSDP2 (``fully_shard``) module.
        process_group: the data-parallel group; found from the wrapping if not given. Give it for a plain module
            whose gradients you average over ranks yourself before :meth:`finish`.
        part_of: names the part of the model that a parameter belongs to, from the parameter's name; the moments
            then hold those of each part too. :func:`adabatch.model.parts.model_part` tells layers and kinds.

    Raises:
        ValueError: if no parameter is trainable, if other statistics are attached to the model, or if the module
            is plain while several ranks run and no process group was given: then the statistics were attached
            before wrapping.
    """

    def __init__(
        self,
        model: nn.Module,
        process_group: dist.ProcessGroup | None = None,
        part_of: Callable[[str], str] | None = None,
    ) -> None:
        self._model = model
        self._leaves = list(autograd_leaves(model))
        if not self._leaves:
            raise ValueError(
                "the model has no trainable parameter: attach the statistics after the parameters exist and "
                "require gradients"
            )
        self.layout = data_parallel(model, self._leaves, process_group)
        self._device = self._leaves[0].parameter.device
        parts = [part_of(leaf.name) if part_of else "" for leaf in self._leaves]
        self._parts = sorted(set(parts))
        self._named = part_of is not None
        self._part = torch.tensor([self._parts.index(part) for part in parts], device=self._device)
        self._weights = self._fp64(
            [1 / replica_count(leaf.tensor, self.layout.tensor_parallel) for leaf in self._leaves]
        )
        self._share = self._own_share()
        self._share_weights = self._fp64([self._share.get(index, 0.0) for index in range(len(self._leaves))])
        self._probe = min(range(len(self._leaves)), key=lambda index: self._leaves[index].tensor.numel())
        self._roundoff = max(torch.finfo(leaf.parameter.dtype).eps / 2 for leaf in self._leaves)
        self._norms = self._norms_of([leaf.tensor for leaf in self._leaves])
        self._share_norms = self._norms_of([leaf.parameter for leaf in self._leaves])
        self._processes = _processes()
        self._look_for_scaler = True
        self._handles: list[RemovableHandle] = []
        self._seen: list[bool] = []
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
            ValueError: if other statistics are attached to the model.
        """
        if enabled == self.enabled:
            return
        if self._sizes.micro_batches:
            raise RuntimeError(
                "the statistics were switched between two micro-batches of one step; switch them after finish()"
            )
        if enabled:
            _require_alone(self._leaves)
            self._handles = [
                leaf.tensor.register_hook(_LeafHook(self, index)) for index, leaf in enumerate(self._leaves)
            ]
        else:
            for handle in self._handles:
                handle.remove()
            self._handles = []
        self._reset()

    def _observe(self, index: int, gradient: Tensor) -> None:
        """The hook: add this leaf's squared norm to the current group."""
        if self._seen[index]:
            raise RuntimeError(
                f"the parameter {self._leaves[index].name} received its gradient twice in one micro-batch: call "
                "end_microbatch() after each backward(), use one backward() per micro-batch, and non-reentrant "
                "activation checkpointing (use_reentrant=False)"
            )
        own = local(like(gradient.detach(), self._leaves[index].tensor))
        self._norms.put(index, own)
        self._seen[index] = True
        if index == self._probe:
            self._probe_sum += own.sum(dtype=torch.float64)
        self._observe_coordinates(index, own)

    def _observe_coordinates(self, index: int, gradient: Tensor) -> None:
        """What :class:`~adabatch.statistics.CoordinateStatistics` adds to the hook."""

    def end_microbatch(self, samples: int, tokens: int = 0, loss_scale: float | None = None) -> None:
        """Close a group: call it after the micro-batch's ``backward()``.

        Args:
            samples: m, the number of samples in the micro-batch (this rank's), the same in every group.
            tokens: that count in the micro-batch's loss, where samples have different lengths; must be the same
                in every group too. 0 if not told.
            loss_scale: by which the loss was multiplied, ``scaler.get_scale()`` with a ``GradScaler``. Not told,
                it is 1, and the first ``finish()`` makes sure that no ``GradScaler`` is in use.

        Raises:
            ValueError: for groups of unequal size, or a loss scale that changed.
            RuntimeError: if a trainable parameter received no gradient.
        """
        if not self.enabled:
            return
        if not all(self._seen):
            missing = [leaf.name for leaf, seen in zip(self._leaves, self._seen, strict=True) if not seen]
            raise RuntimeError(
                f"{len(missing)} of {len(self._leaves)} trainable parameters received no gradient in this "
                f"micro-batch, the first is {missing[0]}: freeze what the loss does not use before attaching "
                "(requires_grad_(False)), and attach again if the model's parameters were replaced"
            )
        self._look_for_scaler &= loss_scale is None
        self._sizes.add(samples, tokens, 1.0 if loss_scale is None else loss_scale)
        self._groups_sum += self._norms.sums()
        self._seen = [False for _ in self._leaves]

    def finish(self) -> GradientMoments:
        """The step's moments, equal on every rank. One all-reduce of a few fp64 numbers per mesh dimension.

        Raises:
            RuntimeError: if no micro-batch was seen (also while disabled), parameters have no gradient, or the
                ranks were started, or parameters added, after attaching.
            ValueError: if the ranks' groups are of unequal size, or the reduced gradient is not the mean of the
                groups', or is that of a loss that a ``GradScaler`` scaled without a word
                (:mod:`adabatch.statistics.probe`).
        """
        return self._measured(())[0]

    def reduce_step(self, *further: Tensor) -> ReducedStep:
        """:meth:`finish` if enabled, else the squared norm alone; the loop's own scalars travel along.

        There is one all-reduce per mesh dimension and one transfer to the host.

        Args:
            further: scalars of this rank on the model's device, such as its loss; their sums over all ranks (the
                tensor-parallel ones too) are returned.

        Raises:
            RuntimeError: see :meth:`finish`.
            ValueError: see :meth:`finish`.

        >>> model = nn.Linear(2, 1, bias=False)
        >>> statistics = GradientStatistics(model)
        >>> statistics.enable(False)
        >>> loss = model(torch.tensor([[3.0, 4.0]])).sum()
        >>> loss.backward()
        >>> reduced = statistics.reduce_step(loss.detach())
        >>> reduced.moments, reduced.squared_norm, reduced.sums == [loss.item()]
        (None, 25.0, True)
        """
        if self.enabled:
            moments, sums = self._measured(further)
            return ReducedStep(moments, float(moments.squared_norm), sums)
        squared_norm, *sums = self._all_reduce(self._local_share().sum(), *further)
        return ReducedStep(None, squared_norm, sums)

    def _measured(self, further: Sequence[Tensor]) -> tuple[GradientMoments, list[float]]:
        """The moments, and the sums of the further scalars."""
        try:
            self._require_step()
        except (RuntimeError, ValueError):
            self._reset()  # the caller may continue with a new step
            raise
        sizes = self._sizes
        # Leaves saw gradients of scale * loss / M; the group's own gradient is M / scale times that.
        squares = self._groups_sum * self._weights * (sizes.micro_batches / sizes.loss_scale) ** 2
        probe = self._probed(squares[self._probe])
        checks = self._fp64(sizes.powers())
        coordinates = self._coordinate_sums(sizes)
        parts = self._by_part(squares), self._local_share()
        self._reset()
        sums = iter(self._all_reduce(*parts, probe, checks, coordinates, *further))
        by_part = [list(islice(sums, len(part))) for part in parts]
        mean, reduced, probe_squares = islice(sums, 3)
        require_equal_sizes(list(islice(sums, len(checks))), self.layout.world_size)
        moments = self._moments(sizes, *by_part)
        require_same_gradient(
            groups=moments.groups,
            mean=mean,
            reduced=reduced,
            probe_squares=probe_squares,
            sum_of_squares=moments.sum_of_squares,
            squared_norm=moments.squared_norm,
        )
        moments = self._with_coordinates(moments, list(islice(sums, len(coordinates))))
        return moments, list(sums)

    def _coordinate_sums(self, sizes: GroupSizes) -> Tensor:
        """What :class:`~adabatch.statistics.CoordinateStatistics` adds to the all-reduce, flat."""
        return self._fp64([])

    def _with_coordinates(self, moments: GradientMoments, sums: Sequence[float]) -> GradientMoments:
        """What :class:`~adabatch.statistics.CoordinateStatistics` adds to the moments."""
        return moments

    def _require_step(self) -> None:
        """Raise unless there is a whole step to finish."""
        if not self._sizes.micro_batches:
            raise RuntimeError(
                "no micro-batch was seen since the last finish(): call end_microbatch() after each backward(), "
                "and enable() the statistics before the step's first one"
            )
        without = [leaf.name for leaf in self._leaves if leaf.parameter.grad is None]
        if without:
            raise RuntimeError(
                f"{len(without)} of {len(self._leaves)} parameters have no reduced gradient, the first is "
                f"{without[0]}: call finish() after the backward() that synchronises and before zero_grad(), and "
                "attach again if the model's parameters were replaced"
            )
        if _processes() != self._processes:
            raise RuntimeError(
                f"{_processes()} ranks run, but {self._processes} did when the statistics were attached: attach "
                "them after init_process_group and after DistributedDataParallel or fully_shard"
            )
        if self._look_for_scaler:
            require_no_scaler()
            self._look_for_scaler = False
        trainable = sum(parameter.requires_grad for parameter in self._model.parameters())
        if trainable != len(self._leaves):
            raise RuntimeError(
                f"the model has {trainable} trainable parameters, but had {len(self._leaves)} when the statistics "
                "were attached: attach again after adding, replacing, freezing or unfreezing parameters"
            )

    def _moments(self, sizes: GroupSizes, squares: Sequence[float], norms: Sequence[float]) -> GradientMoments:
        """The whole model's moments, with those of its parts if they were asked for."""
        groups = self.layout.ranks * sizes.micro_batches
        additions = sizes.micro_batches * self.layout.world_size + 1
        rounding = sums_rounding(accumulated_rounding(additions, self._roundoff), self._norms.rounding)
        parts = {
            part: GradientMoments(groups, sizes.samples, *sums, rounding=rounding)
            for part, *sums in zip(self._parts, squares, norms, strict=True)
        }
        whole = GradientMoments(groups, sizes.samples, sum(squares), sum(norms), rounding=rounding)
        return replace(whole, parts=parts) if self._named else whole

    def _reset(self) -> None:
        self._groups_sum = torch.zeros(len(self._leaves), dtype=torch.float64, device=self._device)
        self._probe_sum = torch.zeros((), dtype=torch.float64, device=self._device)
        self._seen = [False for _ in self._leaves]
        self._sizes = GroupSizes()

    def _own_share(self) -> dict[int, float]:
        """The leaves of whose reduced gradient this rank counts its part, and by how much.

        Where gradients are replicated every rank counts every J-th; else each its shard, by 1/replica_count.
        """
        if self.layout.replicated:
            rank = dist.get_rank(self.layout.process_groups[0])
            return dict.fromkeys(range(rank, len(self._leaves), self.layout.ranks), 1.0)
        return {
            index: 1 / replica_count(leaf.parameter, self.layout.world_size)
            for index, leaf in enumerate(self._leaves)
        }

    def _local_share(self) -> Tensor:
        """This rank's share of ||g||^2 by part; parameters without gradient count as 0."""
        self._share_norms.clear()
        for index in self._share:
            if self._leaves[index].parameter.grad is not None:
                self._share_norms.put(index, self._reduced(index))
        return self._by_part(self._share_norms.sums() * self._share_weights)

    def _reduced(self, index: int) -> Tensor:
        """This rank's part of a leaf's reduced gradient."""
        parameter = self._leaves[index].parameter
        assert parameter.grad is not None
        return local(like(parameter.grad, parameter))

    def _probed(self, squares: Tensor) -> Tensor:
        """This rank's part of what :func:`~adabatch.statistics.probe.require_same_gradient` compares."""
        mean = self._probe_sum * self._weights[self._probe] / (self._sizes.loss_scale * self.layout.ranks)
        reduced = torch.zeros_like(mean)
        if self._probe in self._share:
            reduced = self._reduced(self._probe).sum(dtype=torch.float64) * self._share[self._probe]
        return torch.stack([mean, reduced, squares])

    def _by_part(self, values: Tensor) -> Tensor:
        """The leaves' values summed over the leaves of each part."""
        return torch.zeros(len(self._parts), dtype=torch.float64, device=self._device).index_add_(
            0, self._part, values
        )

    def _norms_of(self, tensors: list[Tensor]) -> SquaredNorms:
        parts = [local(tensor) for tensor in tensors]
        return SquaredNorms([part.numel() for part in parts], [part.dtype for part in parts], self._device)

    def _fp64(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=self._device)

    def _all_reduce(self, *values: Tensor) -> list[float]:
        """All values, flat and in order, summed over ranks and brought to the host at once."""
        flat = torch.cat([value.double().reshape(-1) for value in values])
        return [float(value) for value in self.layout.sum(flat).tolist()]


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _LeafHook:
    """A leaf's hook; a class of its own so that other statistics on the leaf can be found."""

    def __init__(self, statistics: GradientStatistics, index: int) -> None:
        self._statistics, self._index = statistics, index

    def __call__(self, gradient: Tensor) -> None:
        self._statistics._observe(self._index, gradient)


def _require_alone(leaves: list[Leaf]) -> None:
    for leaf in leaves:
        hooks = getattr(leaf.tensor, "_backward_hooks", None) or {}
        if any(isinstance(hook, _LeafHook) for hook in hooks.values()):
            raise ValueError(
                "other gradient statistics are attached to this model already: keep one object for all steps, or "
                "call enable(False) on the other one first"
            )
