"""Coordinate-wise gradient statistics: squares of the groups' gradients, summed over ranks into each rank's shard.

The same hooks as :class:`~adabatch.statistics.GradientStatistics`, but what they keep has the parameters' size,
and it is communicated. Enable it for test steps only: buffers are kept while it is on, nothing while it is off.
In fp32 (fp64 for fp64 gradients), for each of one or, with the conservative denominator, two sums; of large
parameters the stride's part of it:

==================================  ==============================  ===============================================
wrapping                            kept on a test step             communicated
==================================  ==============================  ===============================================
none                                all parameters                  nothing
DistributedDataParallel             all parameters                  one reduce-scatter of them a step
FSDP2 while it accumulates whole    all parameters, as FSDP2 does   one reduce-scatter of them a step
gradients (no synchronisation)      with the gradients
FSDP2 otherwise                     this rank's shard, and a few    one reduce-scatter of them a micro-batch
                                    whole parameters at a time
==================================  ==============================  ===============================================

Hybrid sharding adds an all-reduce of the shard over replicas; under tensor parallelism each rank has its own part
of each parameter. Standard deviations below about 3e-4 of a coordinate's |g_i| drown in the rounding of fp32 sums.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import Literal

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn

from adabatch.moments.coordinate_moments import BINS, CODES, CoordinateMoments, RatioHistogram
from adabatch.moments.gradient_moments import GradientMoments
from adabatch.moments.l1 import (
    conservative_l1_norm,
    noise_to_gradient,
    plug_in_l1_norm,
    sum_of_standard_deviations,
)
from adabatch.moments.noise_scale import weighted_sums
from adabatch.statistics.coordinate_sums import Bucket, buckets_of
from adabatch.statistics.gradients import GradientStatistics
from adabatch.statistics.groups import GroupSizes, StepSizes
from adabatch.statistics.leaves import Leaf

__all__ = ["CoordinateStatistics"]

CACHED = 1 << 17
"""Coordinates worked on at a time on a CPU, so that the dozen operations on them stay in its cache."""

STRIDE = 16
"""Of a large parameter's coordinates one in this many is looked at, unless asked otherwise."""

LOST = 2.0**-10
"""Of sums over coordinates, what may be lost where squares fall below the range of fp32."""

SAMPLED, EVERY = 1 << 16, 13
"""Of a bucket with more coordinates than this, the ratios of about every 13th count as often: thousands of them,
at a fraction of the cost. The sums are over all coordinates that are kept."""


class CoordinateStatistics(GradientStatistics):
    """:class:`~adabatch.statistics.GradientStatistics` whose moments know the coordinates too.

    Args:
        model: after wrapping.
        process_group: see :class:`~adabatch.statistics.GradientStatistics`.
        part_of: see :class:`~adabatch.statistics.GradientStatistics`.
        reduction: see :class:`~adabatch.statistics.GradientStatistics`.
        averaged: see :class:`~adabatch.statistics.GradientStatistics`.
        idle: see :class:`~adabatch.statistics.GradientStatistics`; ``zero`` is not for ``fully_shard``.
        conservative: also estimate ||G||_1 from below, by two halves of the groups; it doubles memory and traffic.
        stride: look at every this-many-th block of 16 neighbouring coordinates of each parameter with more than
            65,536 of them, if a rank has at least that many rows, and let it count that often: memory, traffic and
            time fall with it, and sums are estimates, to 1% or so (``benchmarks/coordinate_sampling.py``). 1 sums
            over all. The scalar moments always see everything; shares and quantiles are read from a sample.
        weighted: also sum what the weighted noise scale needs, of five groups or more. Unbiased for Gaussian
            groups; where gradients have heavy tails (rare tokens), few groups underestimate that scale.
        norm_floor: of the coordinate-wise test: a smaller |g_i| counts as this in the ratios.

    Raises:
        ValueError: see :class:`~adabatch.statistics.GradientStatistics`; also for a stride below 1, complex
            parameters, parameters that FSDP2 shards along another dimension than the first, and ``idle="zero"``
            under FSDP2.

    >>> model = nn.Linear(2, 1, bias=False)
    >>> statistics = CoordinateStatistics(model)
    >>> for micro_batch in torch.tensor([[[1.0, -2.0]], [[3.0, -2.0]]]):
    ...     (model(micro_batch).sum() / 2).backward()
    ...     statistics.end_microbatch(samples=1)
    >>> moments = statistics.finish()
    >>> round(moments.sum_of_standard_deviations, 4), moments.plug_in_l1_norm
    (1.7725, 4.0)
    """

    @torch.inference_mode(False)
    def __init__(
        self,
        model: nn.Module,
        process_group: dist.ProcessGroup | None = None,
        part_of: Callable[[str], str] | None = None,
        conservative: bool = False,
        stride: int = STRIDE,
        *,
        weighted: bool = False,
        norm_floor: float = 0.0,
        reduction: Literal["mean", "sum"] = "mean",
        averaged: Collection[str] = (),
        idle: Literal["refuse", "zero"] = "refuse",
    ) -> None:
        if stride < 1:
            raise ValueError(f"the stride must be at least 1 (every coordinate), but is {stride}")
        _require_real(model)
        self._buckets: list[Bucket] = []
        super().__init__(model, process_group, part_of, reduction=reduction, averaged=averaged, idle=idle)
        self.conservative, self.weighted, self.norm_floor = conservative, weighted, norm_floor
        try:
            _require_same_order(self._leaves, idle)
            self._buckets = buckets_of(self._leaves, self.layout, 1 + conservative, stride)
        except ValueError:
            self.enable(False)
            raise
        places = {
            shard.leaf.name: (bucket, number)
            for bucket in self._buckets
            for number, shard in enumerate(bucket.shards)
        }
        dtypes = [shard.dtype for bucket in self._buckets for shard in bucket.shards]
        self._least = max(torch.finfo(dtype).tiny * torch.finfo(dtype).eps for dtype in dtypes)
        self._factor = 1.0
        self._places = [places[leaf.name] for leaf in self._leaves]

    def enable(self, enabled: bool = True) -> None:
        """Attach or remove the hooks; see :meth:`GradientStatistics.enable`."""
        super().enable(enabled)
        if not enabled:
            self._forget()

    def _forget(self) -> None:
        for bucket in self._buckets:
            bucket.clear()

    def reset(self) -> None:
        """Forget the micro-batches since the last finish(); see :meth:`GradientStatistics.reset`."""
        super().reset()
        for bucket in self._buckets:
            bucket.forget()

    def _observe_coordinates(self, index: int, gradient: Tensor) -> None:
        """The hook: also add each coordinate's square, and its value with the sign of the group's half."""
        bucket, number = self._places[index]
        group = self._sizes.micro_batches * self.layout.ranks + bucket.shards[number].group
        bucket.add(number, gradient, negative=group % 2 == 1)

    def _observe_idle(self, index: int) -> None:
        """A leaf without gradient in this group: its coordinates are 0."""
        bucket, number = self._places[index]
        bucket.skip(number)

    def _require_equal(self, step: StepSizes) -> None:
        """Raise for groups of unequal size: squares were added before a group's size was told."""
        if not step.equal:
            raise ValueError(
                "the groups of this step have unequal numbers of tokens, and coordinate-wise statistics cannot "
                "weigh them: pack or cut the texts so that as many tokens count in every micro-batch's loss, or "
                "use GradientStatistics (in training, a test that needs no coordinates)"
            )

    def _coordinate_sums(self, sizes: GroupSizes) -> Tensor:
        groups = self.layout.ranks * sizes.micro_batches
        if groups < 2:
            self._forget()
            return self._fp64([])
        size = sizes.samples if sizes.tokens is None else sizes.tokens
        # Of a group's own gradient over what the hooks saw, where all groups have one size.
        self._factor = groups / (self.layout.divisor * sizes.loss_scale)
        floor = self.norm_floor / self._factor
        sweep = _Sweep(groups, size, self._factor, self.conservative, self.weighted, floor, self._device)
        for bucket in self._buckets:
            sweep.add(*bucket.finish(), every=bucket.coprime(EVERY))
        return sweep.totals()

    def _with_coordinates(self, moments: GradientMoments, sums: Sequence[float]) -> GradientMoments:
        """:class:`CoordinateMoments` if there are two groups or more."""
        if not sums:
            return moments
        (deviations, plug_in, conservative, *weighted), counts = sums[: -BINS - 1], sums[-BINS - 1 :]
        seen = float(moments.sum_of_squares) / self._factor**2
        _require_range(seen, moments.groups, sum(counts), self._least, (deviations, plug_in))
        return CoordinateMoments(
            **vars(moments),
            sum_of_standard_deviations=deviations,
            plug_in_l1_norm=plug_in,
            conservative_l1_norm=conservative if self.conservative else None,
            ratios=RatioHistogram(np.array(counts)),
            weighted_sums=(weighted[0], weighted[1]) if self.weighted else None,
            norm_floor=self.norm_floor,
        )


def _require_real(model: nn.Module) -> None:
    """Raise for complex parameters: what the sign, or the deviation, of such a coordinate is, no test says."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and parameter.is_complex():
            raise ValueError(
                f"{name} is complex, and coordinate-wise statistics are of real coordinates: keep its real and "
                "imaginary part as a real parameter (torch.view_as_complex where it is used), or use "
                "GradientStatistics"
            )


def _require_same_order(leaves: Sequence[Leaf], idle: str) -> None:
    """Raise where sums are reduced while gradients come, and may come on some ranks only."""
    sharded = next((leaf.name for leaf in leaves if leaf.wrapper is not None), None)
    if idle == "zero" and sharded is not None:
        raise ValueError(
            f"{sharded} is sharded by fully_shard, whose ranks reduce coordinate-wise sums as gradients come, so "
            "that every rank needs every gradient: leave idle='zero' out, or use GradientStatistics or "
            "DistributedDataParallel"
        )


def _require_range(squares: float, groups: float, coordinates: float, least: float, sums: Sequence[float]) -> None:
    """Raise if the groups' squares leave the range of the arithmetic that adds them coordinate by coordinate.

    A coordinate loses what it has below sqrt(least) in each group, d sqrt(n least) in their sum of deviations at
    most. That must be ``LOST`` of the groups' norms, which no sum over coordinates of absolute values is below.

    Args:
        squares: of the gradients that the hooks saw, in fp64.
        groups: n.
        coordinates: d.
        least: positive number of that arithmetic.
        sums: over the coordinates.
    """
    small = 0 < squares < groups * coordinates**2 * least / LOST**2
    if not small and (not math.isfinite(squares) or all(map(math.isfinite, sums))):
        return
    size = math.sqrt(squares / (groups * max(coordinates, 1)))
    wrong = "small" if small else "large"
    raise ValueError(
        f"gradients of about {size:.1g} in each coordinate are too {wrong} for the sums of squares that "
        "coordinate-wise statistics keep: scale the loss, tell end_microbatch(loss_scale=...), and "
        "divide the gradients by it before finish()"
    )


class _Sweep:
    """One pass over this rank's coordinates: sum of deviations, both l1 norms, and how the ratios are distributed.

    With ``weighted`` two more sums follow the l1 norms.

    Args:
        groups: n.
        group_size: m.
        factor: of a group's gradient over what its hooks saw, in whose range the arithmetic stays.
        conservative: whether there are sums for the conservative l1 norm.
        weighted: whether the sums of the weighted noise scale are asked for.
        floor: of the coordinates' gradients, in the range of the arithmetic.
        device: of the sums.
    """

    def __init__(
        self,
        groups: int,
        group_size: int,
        factor: float,
        conservative: bool,
        weighted: bool,
        floor: float,
        device: torch.device,
    ) -> None:
        self._groups, self._group_size = groups, group_size
        self._factor, self._conservative, self._weighted, self._floor = factor, conservative, weighted, floor
        self._sums = torch.zeros(3 + 2 * weighted, dtype=torch.float64, device=device)
        self._counts = torch.zeros(CODES, dtype=torch.float64, device=device)

    def add(self, values: Tensor, mean: Tensor, weight: float, every: int) -> None:
        """Add a bucket's coordinates.

        Args:
            values: sums over groups, [1 or 2, coordinates].
            mean: the reduced gradient there, [coordinates].
            weight: how many coordinates each stands for.
            every: of many coordinates, the ratios of every this-many-th count.
        """
        n, m = self._groups, self._group_size
        chunk = CACHED if mean.device.type == "cpu" else max(1, len(mean))
        for part, means in zip(values.split(chunk, 1), mean.split(chunk), strict=True):
            means = means.to(part.dtype) / self._factor
            norms = [sum_of_standard_deviations(n, m, part[0], means), plug_in_l1_norm(means)]
            if self._conservative:
                halves = _halves(n, means, part[1], torch.finfo(mean.dtype).eps)
                norms.append(conservative_l1_norm(halves))
            self._sums[: len(norms)] += torch.stack(norms).double() * (weight * self._factor)
            if self._weighted:
                pair = torch.stack(weighted_sums(n, m, part[0], means))
                self._sums[3:] += pair.double() * (weight * self._factor)
        every = every if len(mean) > SAMPLED else 1
        means = mean[::every].to(values.dtype) / self._factor
        ratios = noise_to_gradient(n, m, values[0, ::every], means, self._floor)
        counts = torch.bincount(_codes(ratios), minlength=CODES)
        self._counts += counts.double() * (weight * len(mean) / max(len(ratios), 1))

    def totals(self) -> Tensor:
        """The sums and the histogram's counts, in one vector."""
        return torch.cat([self._sums, *RatioHistogram.bins_of(self._counts)])


def _codes(ratios: Tensor) -> Tensor:
    """The first 16 bits of each ratio >= 0 in fp32, without sign (a NaN may have one)."""
    return (ratios.float().view(torch.int32) >> 16) & (CODES - 1)


def _halves(groups: int, mean: Tensor, difference: Tensor, precision: float) -> Tensor:
    """Mean gradient of either half of the groups, [2, coordinates], from g and (first half - second half).

    What is left of a half that saw no gradient is rounding, whose sign would count: it is made 0.
    """
    total, difference = groups * mean.double(), difference.double()
    halves = torch.stack([total + difference, total - difference])
    halves[halves.abs() <= groups * precision * (total.abs() + difference.abs())] = 0.0
    counts = torch.tensor([[(groups + 1) // 2], [groups // 2]], device=mean.device)
    return halves / (2 * counts)
