"""From finished branches to what they say at each point."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from adabatch.experiments.branching.critical import WINDOWS, CriticalBatch, critical_batch, window_loss
from adabatch.experiments.branching.plan import Branch, BranchPlan, Point
from adabatch.experiments.branching.scales import goodput_batch, noise_scales_of, part_scales
from adabatch.reporting.metrics import Record

__all__ = ["BranchResult", "PointResult", "largest_deviation", "point_results"]


@dataclass(frozen=True)
class BranchResult:
    """What one branch did.

    Attributes:
        factor: k.
        batch: samples per step.
        seed: of the order of its samples.
        losses: averaged over each window of :data:`~adabatch.experiments.branching.critical.WINDOWS`.
        scales: see :data:`~adabatch.experiments.branching.scales.SCALES`.
    """

    factor: float
    batch: int
    seed: int
    losses: tuple[float, ...]
    scales: dict[str, float]


@dataclass(frozen=True)
class PointResult:
    """What the branches of one point did.

    Attributes:
        point: where they begin.
        critical: batch.
        branches: by seed, then by factor.
        scales: of the branches with the factor next to 1, over all seeds.
        parts: B_noise of these by layer and kind of parameter.
        goodput: batch of that rule, on the machine of the branches; NaN if unknown.
    """

    point: Point
    critical: CriticalBatch
    branches: tuple[BranchResult, ...]
    scales: dict[str, float]
    parts: dict[str, float]
    goodput: float


def point_results(plan: BranchPlan, tolerance: float) -> list[PointResult]:
    """The results of the points whose branches are all finished."""
    by_point = ([each for each in plan.branches if each.point is point] for point in plan.points)
    return [
        _of_point(branches, plan.samples, tolerance)
        for branches in by_point
        if all(branch.run.finished() for branch in branches)
    ]


def _of_point(branches: Sequence[Branch], samples: int, tolerance: float) -> PointResult:
    point, factors = branches[0].point, sorted({branch.factor for branch in branches})
    records = {branch.run.name: branch.run.records() for branch in branches}
    results = tuple(_of_branch(branch, records[branch.run.name], samples) for branch in branches)
    by_factor = [[result.losses for result in results if result.factor == factor] for factor in factors]
    losses = np.array(by_factor).transpose(2, 0, 1)
    nearest = min(factors, key=lambda factor: abs(math.log(factor)))
    own = [record for branch in branches if branch.factor == nearest for record in records[branch.run.name]]
    scales = noise_scales_of(own)
    return PointResult(
        point=point,
        critical=critical_batch(losses, factors, point.batch, tolerance),
        branches=results,
        scales=scales,
        parts=part_scales(own),
        goodput=goodput_batch(scales["B_noise"], records.values()),
    )


def _of_branch(branch: Branch, records: Sequence[Record], samples: int) -> BranchResult:
    ends = np.array([record["samples"] for record in records]) - branch.point.samples
    losses = np.array([math.inf if record["loss"] is None else record["loss"] for record in records])
    seed = branch.run.settings().data.seed
    means = tuple(window_loss(ends, losses, (1 - share) * samples, samples) for share in WINDOWS)
    return BranchResult(branch.factor, branch.batch, seed, means, noise_scales_of(records))


def largest_deviation(plan: BranchPlan, records: Sequence[Record]) -> float | None:
    """By how much the losses of steps that were taken again differ from those of the run; None without such steps.

    Infinite where a step has another batch, or is of other samples.
    """
    known = {record["step"]: record for record in records}
    again = [record for run in plan.made_again if run.finished() for record in run.records()]
    if not again:
        return None
    return max(_deviation(record, known.get(record["step"])) for record in again)


def _deviation(record: Record, other: Record | None) -> float:
    if other is None or any(record[name] != other[name] for name in ("samples", "batch_size")):
        return math.inf
    losses = [math.inf if each["loss"] is None else float(each["loss"]) for each in (record, other)]
    return 0.0 if losses[0] == losses[1] else abs(losses[0] - losses[1])
