"""Coordinate-wise gradient statistics: squares of the groups' gradients, summed over ranks into each rank's shard.

The same hooks as :class:`~adabatch.statistics.GradientStatistics`, but what they keep has the parameters' size,
and it is communicated. Switch it on for test steps only; between them nothing is kept. In fp32 (fp64 for fp64
gradients), for each of one or, with the conservative denominator, two sums:

============================  ================================  ==========================================
wrapping                      kept on a test step               communicated
============================  ================================  ==========================================
none                          all parameters                    nothing
DistributedDataParallel       all parameters                    one reduce-scatter of them a step
FSDP2, hybrid sharding        this rank's shard (and, within    one reduce-scatter of them a micro-batch
                              the hook, one whole parameter)
============================  ================================  ==========================================

Standard deviations below about 3e-4 of a coordinate's |g_i| drown in the rounding of fp32 sums.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from adabatch.coordinate_moments import CoordinateMoments, RatioHistogram
from adabatch.data_parallel import DataParallel, Leaf, copies
from adabatch.norms import local
from adabatch.statistics import GradientStatistics
from theory.gradient_moments import GradientMoments
from theory.l1_norm_test import (
    conservative_l1_norm,
    noise_to_gradient,
    plug_in_l1_norm,
    sum_of_standard_deviations,
)

__all__ = ["CoordinateStatistics"]

CHUNK = 1 << 20
"""Coordinates taken to fp64 at a time."""


class CoordinateStatistics(GradientStatistics):
    """:class:`~adabatch.statistics.GradientStatistics` whose moments know the coordinates too.

    Args:
        model: after wrapping; single process, DDP, FSDP2 or hybrid sharding.
        process_group: see :class:`~adabatch.statistics.GradientStatistics`.
        conservative: also estimate ||G||_1 from below, by two halves of the groups; it doubles memory and traffic.

    Raises:
        ValueError: see :class:`~adabatch.statistics.GradientStatistics`; also for tensor-parallel models.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> statistics = CoordinateStatistics(model)
    >>> for micro_batch in torch.tensor([[[1.0, -2.0]], [[3.0, -2.0]]]):
    ...     (model(micro_batch).sum() / 2).backward()
    ...     statistics.end_microbatch(samples=1)
    >>> moments = statistics.finish()
    >>> round(moments.sum_of_standard_deviations, 4), moments.plug_in_l1_norm
    (1.7725, 4.0)
    """

    def __init__(
        self, model: nn.Module, process_group: dist.ProcessGroup | None = None, conservative: bool = False
    ) -> None:
        super().__init__(model, process_group)
        if self.layout.tensor_parallel > 1:
            raise ValueError(
                "coordinate-wise statistics do not cover tensor parallelism: take GradientStatistics and the "
                "scalar test there (--test scalar)"
            )
        self.conservative = conservative
        self._sums = [_CoordinateSums(leaf, self.layout) for leaf in self._leaves]

    def enable(self, enabled: bool = True) -> None:
        """Attach or remove the hooks; see :meth:`GradientStatistics.enable`."""
        switched = enabled != self.enabled
        super().enable(enabled)
        if switched:
            self._forget()

    def _forget(self) -> None:
        for sums in getattr(self, "_sums", []):  # the base class enables the hooks before there are any
            sums.clear()

    def _observe(self, index: int, gradient: Tensor) -> None:
        """The hook: also add each coordinate's square, and its value with the sign of the group's half."""
        super()._observe(index, gradient)
        sums = self._sums[index]
        wide = gradient.detach().to(torch.promote_types(gradient.dtype, torch.float32))
        parts = [wide.square()]
        if self.conservative:
            group = self._micro_batches * self.layout.ranks + sums.rank
            parts.append(wide if group % 2 == 0 else -wide)
        sums.add(torch.stack(parts))

    def finish(self) -> GradientMoments:
        """The step's moments, equal on every rank: :class:`CoordinateMoments` if there are two groups or more."""
        micro_batches = self._micro_batches
        moments = super().finish()
        if moments.groups < 2:
            self._forget()
            return moments
        totals = torch.zeros(3, dtype=torch.float64)
        counts = np.zeros(0)
        for sums in self._sums:
            values, mean = sums.finish()
            scale = [[float(micro_batches**2)], [float(micro_batches)]][: len(values)]  # of loss / M
            values = values.double() * torch.tensor(scale, dtype=torch.float64, device=values.device)
            for part, means in zip(values.split(CHUNK, 1), mean.double().split(CHUNK), strict=True):
                # Gradients that are not finite show in the moments.
                with np.errstate(invalid="ignore", over="ignore"):
                    shares, histogram = _summed(moments, part.cpu().numpy(), means.cpu().numpy(), sums.precision)
                totals += shares / sums.copies
                counts = histogram.counts / sums.copies + (counts if counts.size else 0.0)
        both = torch.cat([totals, torch.from_numpy(counts)]).to(self._device)
        deviations, plug_in, conservative, *histogram_counts = self._all_reduce(both)
        return CoordinateMoments(
            groups=moments.groups,
            group_size=moments.group_size,
            sum_of_squares=moments.sum_of_squares,
            squared_norm=moments.squared_norm,
            rounding=moments.rounding,
            sum_of_standard_deviations=deviations,
            plug_in_l1_norm=plug_in,
            conservative_l1_norm=conservative if self.conservative else None,
            ratios=RatioHistogram(np.array(histogram_counts)),
        )


def _summed(
    moments: GradientMoments, sums: NDArray[np.float64], mean: NDArray[np.float64], precision: float
) -> tuple[Tensor, RatioHistogram]:
    """Sum of deviations and both l1 norms over a stretch of coordinates, and their ratios.

    Args:
        moments: for the number and size of the groups.
        sums: over groups, [1 or 2, coordinates]: squares, and values with the sign of their half.
        mean: of the groups, [coordinates].
        precision: relative rounding of sums and mean.
    """
    n, m = moments.groups, moments.group_size
    conservative = conservative_l1_norm(_halves(n, mean, sums[1], precision)) if len(sums) == 2 else 0.0
    shares = (sum_of_standard_deviations(n, m, sums[0], mean), plug_in_l1_norm(mean), conservative)
    return torch.tensor(shares, dtype=torch.float64), RatioHistogram.of(
        np.asarray(noise_to_gradient(n, m, sums[0], mean))
    )


def _halves(
    groups: int, mean: NDArray[np.float64], difference: NDArray[np.float64], precision: float
) -> NDArray[np.float64]:
    """Mean gradient of either half of the groups, [2, coordinates], from g and (first half - second half).

    What is left of a half that saw no gradient is rounding, whose sign would count: it is made 0.
    """
    total = groups * mean
    halves = np.stack([total + difference, total - difference])
    halves[np.abs(halves) <= groups * precision * (np.abs(total) + np.abs(difference))] = 0.0
    means: NDArray[np.float64] = halves / (2 * np.array([[(groups + 1) // 2], [groups // 2]]))
    return means


class _CoordinateSums:
    """One leaf's sums over groups, in the end those of this rank's shard of the coordinates.

    Attributes:
        rank: this rank's data-parallel number.
        copies: how many ranks end with the same shard (replicas).
    """

    def __init__(self, leaf: Leaf, layout: DataParallel) -> None:
        self._leaf = leaf
        self._values: Tensor | None = None
        self._scatter: dist.ProcessGroup | None = None
        self._replicas: dist.ProcessGroup | None = None
        self._sharded = isinstance(leaf.parameter, DTensor)
        self.rank, self.copies = 0, 1
        if layout.replicated:
            self._scatter = layout.process_groups[0]
            self.rank = dist.get_rank(self._scatter)
        elif isinstance(leaf.parameter, DTensor):
            mesh, placements = leaf.parameter.device_mesh, leaf.parameter.placements
            if not placements[-1].is_shard(0):
                raise ValueError(
                    f"{leaf.name} is laid out as {placements}; coordinate-wise statistics need parameters sharded "
                    "along their first dimension, as fully_shard does"
                )
            self._scatter = mesh.get_group(mesh.ndim - 1)
            self._replicas = mesh.get_group(0) if mesh.ndim == 2 else None
            self.rank = sum(
                part * stride for part, stride in zip(mesh.get_coordinate() or (), mesh.mesh.stride(), strict=True)
            )
            self.copies = copies(leaf.parameter, layout.world_size)

    @property
    def precision(self) -> float:
        """Relative rounding of the mean gradient (the sums are no coarser)."""
        return 0.0 if self._leaf.parameter.grad is None else torch.finfo(self._leaf.parameter.grad.dtype).eps

    @property
    def size(self) -> int:
        """Numbers kept at the moment."""
        return 0 if self._values is None else self._values.numel()

    def clear(self) -> None:
        """Forget, and free."""
        self._values = None

    def add(self, sums: Tensor) -> None:
        """Add a group's part, [sums, *shape of the leaf]; summed over shards at once if only a shard is kept."""
        part = self._reduce_scatter(sums) if self._sharded else sums.flatten(1)
        self._values = part if self._values is None else self._values.add_(part)

    def finish(self) -> tuple[Tensor, Tensor]:
        """This rank's shard of the sums, [sums, coordinates], and of the mean gradient, [coordinates]."""
        assert self._values is not None
        assert self._leaf.parameter.grad is not None
        values, self._values = self._values, None
        mean = local(self._leaf.parameter.grad).reshape(-1)
        if not self._sharded and self._scatter is not None:
            values = self._reduce_scatter(values)
            mean = mean[self.rank * values.shape[1] :]
        if self._replicas is not None:
            dist.all_reduce(values, group=self._replicas)
        mean = mean[: values.shape[1]]
        return values[:, : len(mean)], mean

    def _reduce_scatter(self, sums: Tensor) -> Tensor:
        """[sums, rows, ...] over the ranks of the shards to [sums, coordinates of this rank's rows], padded."""
        ranks = dist.get_world_size(self._scatter)
        rows = -(-sums.shape[1] // ranks)
        padding = torch.zeros((len(sums), ranks * rows - sums.shape[1], *sums.shape[2:]), dtype=sums.dtype)
        whole = torch.cat([sums, padding.to(sums.device)], 1).reshape(len(sums), ranks, -1)
        part = torch.empty((len(sums), whole.shape[2]), dtype=sums.dtype, device=sums.device)
        # torch 2.13 renamed it.
        reduce_scatter = getattr(dist, "reduce_scatter_single", None) or dist.reduce_scatter_tensor
        reduce_scatter(part.view(-1), whole.transpose(0, 1).reshape(-1), group=self._scatter)
        return part
