"""Gradient statistics from leaf hooks: the moments that the norm test reads, for one small all-reduce.

Every rank's every micro-batch is a group: with J data-parallel ranks and M micro-batches there are n = J M
groups of m samples. A hook on each autograd leaf sees the group's own gradient before anything accumulates or
reduces it, and adds its squared norm to a running fp64 sum; after the last micro-batch the squared norm of the
reduced gradient is taken where it lies. The two numbers are summed over ranks, and
``sum_j ||g_j - g||^2 = sum_j ||g_j||^2 - n ||g||^2`` does the rest (:mod:`adabatch.moments.gradient_moments`).
Nothing of the parameters' size is stored or communicated. Apart from the two numbers (two for each part of the
model, if parts are asked for) the all-reduce carries some hundred more, which show mistakes: the groups' sizes
(:mod:`adabatch.statistics.groups`) and a few coordinates (:mod:`adabatch.statistics.probe`).

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

import math
import operator
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from itertools import accumulate, pairwise
from typing import Any, Literal, SupportsIndex

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from adabatch.moments.gradient_moments import (
    GradientMoments,
    accumulated_rounding,
    sums_rounding,
    weighted_sum_of_squares,
)
from adabatch.statistics.groups import GroupSizes, StepSizes
from adabatch.statistics.hooks import Inventory, LeafHooks, accumulating_node
from adabatch.statistics.leaves import Leaf, autograd_leaves
from adabatch.statistics.loss_scale import require_no_scaler
from adabatch.statistics.norms import SquaredNorms, local
from adabatch.statistics.probe import DIVISIONS, Probe, require_mean, require_no_larger_norm
from adabatch.statistics.reductions import DataParallel, data_parallel, like, replica_count
from adabatch.statistics.roundoffs import accumulation_roundoff, reduction_roundoff, unit_roundoff

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
    the number of micro-batches, as gradient accumulation does anyway; or, with tokens told, sums over the group's
    tokens divided by the tokens of all groups (times the ranks, where those are averaged). A step that is given up
    (an error, a batch that is skipped) is forgotten by :meth:`reset`.

    The hooks end with this object; :func:`adabatch.statistics.detach` removes those of one that is lost.

    Args:
        model: after wrapping: a plain module, ``DistributedDataParallel`` or an FSDP2 (``fully_shard``) module.
        process_group: the data-parallel group; found from the wrapping if not given. Give it for a plain module
            whose gradients you average over ranks yourself before :meth:`finish`.
        part_of: names the part of the model that a parameter belongs to, from the parameter's name; the moments
            then hold those of each part too. :func:`adabatch.model.parts.model_part` tells layers and kinds.
        reduction: ``mean`` where the ranks' gradients are averaged, as DDP and FSDP2 do; ``sum`` where they are
            summed, each rank's loss being divided by the samples or tokens of all ranks.
        averaged: names of plain parameters in a model with sharded ones that you average over ranks yourself.
        idle: what a trainable parameter without gradient in a micro-batch is: ``refuse`` raises, ``zero`` counts
            its gradient as 0 (experts that got no token).

    Raises:
        ValueError: if no parameter is trainable, if other statistics are attached to the model, if the wrapping is
            not supported (:func:`adabatch.statistics.reductions.data_parallel` says which is), or if the module is
            plain while several ranks run and no process group was given: then the statistics were attached before
            wrapping.
    """

    @torch.inference_mode(False)  # what is made here is written to in backward passes
    def __init__(
        self,
        model: nn.Module,
        process_group: dist.ProcessGroup | None = None,
        part_of: Callable[[str], str] | None = None,
        *,
        reduction: Literal["mean", "sum"] = "mean",
        averaged: Collection[str] = (),
        idle: Literal["refuse", "zero"] = "refuse",
    ) -> None:
        if idle not in ("refuse", "zero"):
            raise ValueError(f"idle is 'refuse' or 'zero', but was given {idle!r}")
        self._model, self._idle = model, idle
        self._leaves: list[Leaf] = []
        nodes = []
        for leaf in autograd_leaves(model):
            if leaf.tensor.numel():
                self._leaves.append(leaf)
                nodes.append(accumulating_node(leaf.tensor))  # now, while it is unsharded
        if not self._leaves:
            raise ValueError(
                "the model has no trainable parameter: attach the statistics after the parameters exist and "
                "require gradients"
            )
        _require_one_device(self._leaves)
        self.layout = data_parallel(model, self._leaves, process_group, reduction, averaged)
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
        self._probe = Probe(self._leaves, self.layout, self._device, _sparse(model, self._leaves))
        self._over_ranks = _over_ranks(model, self._leaves, self.layout)
        kinds = {(id(leaf.wrapper), leaf.tensor.dtype, leaf.parameter.dtype): leaf for leaf in self._leaves}
        self._kinds = list(kinds.values())  # one of each kind says how its like are accumulated
        self._norms = self._norms_of([leaf.tensor for leaf in self._leaves])
        self._share_norms = self._norms_of([leaf.parameter for leaf in self._leaves])
        self._inventory = Inventory(model)
        self._processes = _processes()
        self._look_for_scaler = True
        self._hooks = LeafHooks(model, self._leaves, nodes, self)
        self.reset()
        self.enable()

    @property
    def enabled(self) -> bool:
        """Whether the hooks are attached."""
        return self._hooks.attached

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
                "the statistics were switched between two micro-batches of one step; switch them after finish(), "
                "or call reset() if the step was given up"
            )
        if enabled:
            self._hooks.attach()
        else:
            self._hooks.remove()
        self.reset()

    @torch.inference_mode(False)
    def reset(self) -> None:
        """Forget the micro-batches since the last :meth:`finish`: the step is given up.

        Call ``zero_grad()`` too, so that the gradient forgets them as well.

        >>> model = nn.Linear(2, 1, bias=False)
        >>> statistics = GradientStatistics(model)
        >>> for rows in (torch.ones(1, 2), torch.eye(2)):             # a batch that is skipped, and the next one
        ...     statistics.reset()
        ...     model.zero_grad()
        ...     model(rows).mean().backward()
        ...     statistics.end_microbatch(samples=len(rows))
        >>> round(statistics.finish().squared_norm, 9)
        0.5
        """
        self._groups_sum = torch.zeros(len(self._leaves), dtype=torch.float64, device=self._device)
        self._seen = [False] * len(self._leaves)
        self._counted = [False] * len(self._leaves)
        self._accumulation, self._waiting = 0.0, False  # read at the first micro-batch, when it is known
        self._sizes = GroupSizes()
        self._probe.clear()
        self._hooks.inputs.take()

    def observe(self, index: int, gradient: Tensor) -> None:
        """The hook's: add this leaf's squared norm to the current group."""
        if self._seen[index] or (self._counted[index] and self._dropped(index)):
            self._refuse_gradient(index)
        whole = own = gradient.detach() if gradient.requires_grad else gradient
        if isinstance(whole, DTensor):
            own = local(like(whole, self._leaves[index].tensor))
        self._norms.put(index, own)
        self._seen[index] = True
        self._probe.take(index, own, whole)
        self._observe_coordinates(index, own)

    def _dropped(self, index: int) -> bool:
        """Whether the gradients that were accumulated for this leaf are gone."""
        leaf = self._leaves[index]
        return leaf.parameter.grad is None and leaf.tensor.grad is None and not (leaf.wrapper and self._waiting)

    def _refuse_gradient(self, index: int) -> None:
        """Raise: this gradient is not of the step that is being counted."""
        name, counted = self._leaves[index].name, self._sizes.micro_batches
        twice = self._seen[index]
        self.reset()  # the caller may continue with a new step
        if not twice:
            raise RuntimeError(
                f"{counted} micro-batches are counted, but the gradient that they left in {name} is gone: call "
                "zero_grad() only after finish(), or reset() the statistics where a step is given up"
            )
        raise RuntimeError(
            f"the parameter {name} received its gradient twice in one micro-batch: call end_microbatch() after "
            "each backward(), use one backward() per micro-batch and non-reentrant activation checkpointing "
            "(use_reentrant=False), and reset() the statistics where a step is given up after an error"
        )

    def _observe_coordinates(self, index: int, gradient: Tensor) -> None:
        """What :class:`~adabatch.statistics.CoordinateStatistics` adds to the hook."""

    def _observe_idle(self, index: int) -> None:
        """What :class:`~adabatch.statistics.CoordinateStatistics` does for a leaf without gradient in a group."""

    def end_microbatch(
        self, samples: SupportsIndex, tokens: SupportsIndex | None = None, loss_scale: float | None = None
    ) -> None:
        """Close a group: call it after the micro-batch's ``backward()``.

        Args:
            samples: m, the number of samples in the micro-batch (this rank's); the same in every group unless
                tokens are told.
            tokens: how many tokens count in the micro-batch's loss (no padding), where the loss is their losses'
                sum over the tokens of all groups. The moments are then in tokens. None if not told.
            loss_scale: by which the loss was multiplied, ``scaler.get_scale()`` with a ``GradScaler``. Not told,
                it is 1, and the first ``finish()`` makes sure that no ``GradScaler`` is in use.

        Raises:
            ValueError: for groups of unequal size without tokens, or a loss scale that changed.
            RuntimeError: if a trainable parameter received no gradient, unless idle="zero".
        """
        if not self.enabled:
            return
        if not all(self._seen):
            self._close_idle()
        self._look_for_scaler &= loss_scale is None
        scale = 1.0 if loss_scale is None else loss_scale
        size = self._sizes.add(samples, tokens, scale, self._hooks.inputs.take())
        if size:
            self._groups_sum += self._norms.sums() / size
        self._probe.end_group()
        if self._sizes.micro_batches == 1:
            self._accumulation = max(map(accumulation_roundoff, self._kinds))
            self._waiting = not all(leaf.reduced_at_once for leaf in self._kinds)
        self._counted = list(map(operator.or_, self._counted, self._seen))
        self._seen = [False] * len(self._leaves)

    def _close_idle(self) -> None:
        """Leaves without gradient: refuse them, or count them as 0.

        Raises:
            RuntimeError: if they are not to be counted as 0, or none has a gradient.
        """
        idle = [index for index, seen in enumerate(self._seen) if not seen]
        replaced = self._hooks.replaced(idle)
        if replaced or self._idle == "refuse" or len(idle) == len(self._leaves):
            name = replaced[0] if replaced else self._leaves[idle[0]].name
            self.reset()
            raise RuntimeError(
                f"{len(idle)} of {len(self._leaves)} trainable parameters received no gradient in this "
                f"micro-batch, the first is {name}: "
                + (
                    "it was converted to another type, moved or replaced after the statistics were attached; "
                    "attach again, after model.to() and the like"
                    if replaced
                    else "freeze what the loss does not use before attaching (requires_grad_(False)), call "
                    "end_microbatch() once after each backward(), and pass idle='zero' for parameters that a "
                    "micro-batch may leave out, such as experts that get no token"
                )
            )
        for index in idle:
            self._norms.put(index, torch.zeros(1, dtype=self._leaves[index].tensor.dtype, device=self._device))
            self._probe.skip(index)
            self._observe_idle(index)

    def finish(self) -> GradientMoments:
        """The step's moments, equal on every rank. One all-reduce of a few fp64 numbers per mesh dimension.

        Raises:
            RuntimeError: if no micro-batch was seen (also while disabled), parameters have no gradient, or the
                ranks were started, or parameters added, after attaching.
            ValueError: if the ranks' groups cannot be put together, or the reduced gradient is not the mean of the
                groups' (:mod:`adabatch.statistics.probe`), or is that of a loss that a ``GradScaler`` scaled
                without a word.
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
        squared_norm, *sums = (float(total[0]) for total in self._all_reduce(self._local_share().sum(), *further))
        return ReducedStep(None, squared_norm, sums)

    def _measured(self, further: Sequence[Tensor]) -> tuple[GradientMoments, list[float]]:
        """The moments, and the sums of the further scalars."""
        try:
            self._require_step()
            sizes, accumulation = self._sizes, self._accumulation
            parts = self._by_part(self._groups_sum * self._weights / sizes.loss_scale**2), self._local_share()
            probe, counts = self._probe.totals(sizes.loss_scale), self._fp64(sizes.sums())
            coordinates = self._coordinate_sums(sizes)
        finally:
            self.reset()  # also after an error: the caller may continue with a new step
        squares, norms, probed, counted, by_coordinate, *rest = self._all_reduce(
            *parts, probe, counts, coordinates, *further
        )
        step = StepSizes.of(sizes, counted.tolist(), self.layout.world_size, self.layout.tensor_parallel)
        self._require_equal(step)
        rounding = self._mean_rounding(sizes, accumulation)
        moments = self._moments(step, squares, norms, rounding)
        mean, absolute, reduced = probed.reshape(3, -1)
        require_mean(self._probe.names, mean, absolute, reduced, rounding, self._probe.underflow(step.groups))
        require_no_larger_norm(step.groups, moments.sum_of_squares, moments.squared_norm, moments.rounding)
        moments = self._with_coordinates(moments, by_coordinate.tolist())
        return moments, [float(total[0]) for total in rest]

    def _require_equal(self, step: StepSizes) -> None:
        """What :class:`~adabatch.statistics.CoordinateStatistics` asks of the groups."""

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
        if any(self._seen):
            raise RuntimeError(
                "a gradient came after the last end_microbatch(): call it after each backward(), and finish() "
                "after the last one"
            )
        without = [leaf.name for leaf in self._leaves if leaf.parameter.grad is None]
        if without and self._idle == "refuse":
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
        if self._inventory.changed():
            trainable = sum(bool(p.requires_grad and p.numel()) for p in self._model.parameters())
            raise RuntimeError(
                f"the model has {trainable} trainable parameters, but had {len(self._leaves)} when the statistics "
                "were attached: attach again after adding, replacing, freezing or unfreezing parameters"
            )

    def _mean_rounding(self, sizes: GroupSizes, accumulation: float) -> float:
        """q: what rounding does to the mean at most, relative to the groups' mean absolute value.

        Args:
            sizes: of the step.
            accumulation: u of the arithmetic in which micro-batches are added on a rank.
        """
        on_rank = 1 + _accumulated(sizes.micro_batches, accumulation)
        if math.frexp(sizes.loss_scale)[0] != 0.5:  # a GradScaler multiplies by 1 / scale, which it has in fp32
            on_rank *= 1 + _accumulated(2, max(accumulation, 2.0**-24))
        return on_rank * (1 + self._over_ranks) - 1

    def _moments(
        self, step: StepSizes, squares: NDArray[np.float64], norms: NDArray[np.float64], mean_rounding: float
    ) -> GradientMoments:
        """The whole model's moments, with those of its parts if they were asked for."""
        groups = step.groups
        seen = self._norms.rounding_of(float(squares.sum()) * step.total / groups**2)
        reduced = self._share_norms.rounding_of(float(norms.sum()))
        make = partial(
            GradientMoments,
            groups,
            step.group_size,
            rounding=sums_rounding(mean_rounding, max(seen, reduced)),
            samples=None if step.tokens is None else step.samples,
        )
        weighted = [weighted_sum_of_squares(groups, step.total, self.layout.divisor, s) for s in squares.tolist()]
        whole = make(sum(weighted), sum(norms.tolist()))
        if not self._named:
            return whole
        parts = {part: make(*sums) for part, *sums in zip(self._parts, weighted, norms.tolist(), strict=True)}
        return replace(whole, parts=parts)

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
            parameter = self._leaves[index].parameter
            if parameter.grad is not None:
                self._share_norms.put(index, local(like(parameter.grad, parameter)))
        return self._by_part(self._share_norms.sums() * self._share_weights)

    def _by_part(self, values: Tensor) -> Tensor:
        """The leaves' values summed over the leaves of each part."""
        if len(self._parts) == 1:
            return values.sum().reshape(1)
        return torch.zeros(len(self._parts), dtype=torch.float64, device=self._device).index_add_(
            0, self._part, values
        )

    def _norms_of(self, tensors: list[Tensor]) -> SquaredNorms:
        # Of whole parameters, so that all ranks state one bound.
        return SquaredNorms([each.numel() for each in tensors], [each.dtype for each in tensors], self._device)

    def _fp64(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64, device=self._device)

    def _all_reduce(self, *values: Tensor) -> Iterator[NDArray[np.float64]]:
        """Each of the values, flat: summed over ranks and brought to the host, all at once."""
        flat = torch.cat([value.double().reshape(-1) for value in values])
        sums = _on_host(self.layout.sum(flat))
        ends = list(accumulate(value.numel() for value in values))
        return (sums[start:end] for start, end in pairwise([0, *ends]))

    def __getstate__(self) -> Any:
        """Refuse to be copied or pickled.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            "gradient statistics hold hooks of one model and cannot be copied or pickled: make new ones for "
            "the copy"
        )


def _require_one_device(leaves: Sequence[Leaf]) -> None:
    """Raise where gradients come, or stay, on several devices."""
    devices = {str(each.device): leaf.name for leaf in leaves for each in (leaf.tensor, leaf.parameter)}
    if len(devices) > 1:
        raise ValueError(
            f"trainable parameters and their gradients lie on {', '.join(devices)}, but the statistics need one "
            f"device: wrap without CPU offloading (offload_policy=) and place no part such as "
            f"{list(devices.values())[-1]} elsewhere"
        )


@lru_cache
def _accumulated(additions: int, roundoff: float) -> float:
    """:func:`accumulated_rounding`, worked out once."""
    return float(accumulated_rounding(additions, roundoff))


def _over_ranks(model: nn.Module, leaves: Sequence[Leaf], layout: DataParallel) -> float:
    """What rounding over ranks does to the mean, relatively, with what tensor-parallel ranks add in the hooks."""
    if layout.world_size == 1:
        return 0.0
    ranks = _accumulated(layout.world_size + DIVISIONS, max(reduction_roundoff(model, leaf) for leaf in leaves))
    if layout.tensor_parallel == 1:
        return ranks
    inside = max(unit_roundoff(leaf.tensor.dtype) for leaf in leaves)
    return (1 + ranks) * (1 + _accumulated(layout.tensor_parallel, inside)) - 1


def _on_host(values: Tensor) -> NDArray[np.float64]:
    """The values as an array."""
    try:
        array: NDArray[np.float64] = values.numpy(force=True)
    except RuntimeError:  # a plan's tensors have none, and answer for a list of them
        array = np.array(values.tolist())
    return array


def _processes() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _sparse(model: nn.Module, leaves: Sequence[Leaf]) -> frozenset[int]:
    """The leaves whose gradients will be sparse."""
    sparse = {id(module.weight) for module in model.modules() if getattr(module, "sparse", False) is True}
    return frozenset(index for index, leaf in enumerate(leaves) if id(leaf.parameter) in sparse)
