"""A tree as a laboratory's run: what a bound is told of an instance, and what is measured of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from simulate.attack.instance import Instance
from simulate.attack.tree import Tree, grow
from simulate.laboratory.bounds import Run
from simulate.laboratory.parts import Part, find
from simulate.noise import Clipped, Noise
from simulate.objectives import Objective
from simulate.optimizers import Optimizer, OptimizerState
from simulate.streams import Array, SeedStreams
from simulate.trajectory import Trajectory
from theory.l1.costs import Kind
from theory.problem import Problem

__all__ = ["ExactRun", "averaged_eta", "optimizer_of", "runs"]


@dataclass(frozen=True, kw_only=True)
class Copies(Objective):
    """A sum over d coordinates of one function, of which it adds up the gaps, so that its infimum is 0."""

    name: ClassVar[str] = "piecewise-linear gradient"
    instance: Instance
    gap: float

    @property
    def smoothness(self) -> float:
        """L."""
        return self.instance.smoothness

    def start(self) -> Array:
        """w_1 in every coordinate."""
        return np.full(self.dimension, float(self.instance.start))

    def value(self, w: Array) -> Array:
        """Above the infimum."""
        result: Array = (self.gap + self.instance.objective.value(w - self.instance.start)).sum(-1)
        return result

    def gradient(self, w: Array) -> Array:
        """Coordinate by coordinate."""
        return self.instance.objective.gradient(w - self.instance.start)

    def problem(self, steps: Any) -> Problem:
        """L, d, Delta, K and ||G_1||_1."""
        return Problem(
            smoothness=self.smoothness,
            dimension=self.dimension,
            initial_gap=self.dimension * self.gap,
            steps=steps,
            initial_gradient_norm=self.dimension * abs(float(self.instance.first)),
        )


@dataclass(frozen=True)
class TwoPoint:
    """The noise of an instance, as bounds ask for it: what test it meets.

    Attributes:
        eta: of the test.
        floor: of the test, on |G|.
    """

    eta: float
    floor: float = 0.0

    def begin(self, objective: Objective, optimizer: Optimizer, streams: SeedStreams) -> Any:
        """Nothing is drawn: all paths are summed."""
        raise ValueError("the noise of an instance is not drawn: its paths are summed")


@dataclass(frozen=True)
class ExactRun(Run):
    """A run of an instance: in place of seeds all paths, each with its probability.

    Attributes:
        instance: of which.
        tree: its paths.
    """

    instance: Instance
    tree: Tree

    def expected(self, values: Array) -> float:
        """E of one number for each path."""
        return float(self.tree.expected(np.asarray(values)))

    @property
    def excess_deviation(self) -> float:
        """sum_k sum_i E(sd_{k,i} - eta |G_{k,i}|)^+."""
        excess = np.maximum(self.tree.deviations - self.instance.eta * np.abs(self.tree.gradients), 0)
        return self.instance.dimension * float(self.tree.expected(excess).sum())


@lru_cache(maxsize=64)
def _part(optimizer: str) -> tuple[Part, tuple[str, ...]]:
    """With the names of an instance's settings that it takes."""
    part = find("optimizer", optimizer)
    names = ("step_size", "beta1", "beta2", "initial_second_moment", "epsilon", "weight_decay", "schedule")
    return part, tuple(name for name in names if part.takes(name))


def optimizer_of(instance: Instance) -> Optimizer:
    """The optimizer with the instance's settings; of a population they have an axis for its paths."""
    part, taken = _part(instance.optimizer)
    s = instance.step_multipliers

    def each(value: Any) -> Any:
        return value[..., None] if np.ndim(value) else value.item() if isinstance(value, np.ndarray) else value

    values: dict[str, Any] = {name: each(getattr(instance, name, None)) for name in taken}
    values |= {"initial_second_moment": each(instance.v0)} if "initial_second_moment" in taken else {}
    values |= (
        {"schedule": None if s is None else lambda step: each(s[..., step - 1])} if "schedule" in taken else {}
    )
    made: Optimizer = part.make(**values)
    return made


def _noise(instance: Instance, tree: Tree) -> Noise:
    eta = float(averaged_eta(instance, tree, Kind(instance.averaged)) if instance.averaged else instance.eta)
    noise = TwoPoint(eta, float(instance.floor))
    return noise if instance.low_factors is None else Clipped(noise, np.inf)


def averaged_eta(instance: Instance, tree: Tree, kind: Kind) -> Array:
    """The least eta for which the test of a kind holds on average over the steps, shape [...]."""
    size = np.abs(tree.gradients)
    relative = np.divide(tree.deviations, size, out=np.zeros_like(size), where=size > 0)
    noise = tree.expected(tree.deviations if kind is Kind.L1 else tree.deviations * relative)
    s = instance.step_multipliers
    weights = np.ones(instance.steps) if s is None else s
    ratio: Array = (weights * noise).sum(-1) / (weights * tree.gradient_norms).sum(-1)
    return ratio if kind is Kind.L1 else np.sqrt(ratio)


def _recorded(instance: Instance, tree: Tree, records: tuple[int, ...]) -> dict[str, Array]:
    """What a trajectory records, over all coordinates, each [..., records, 2^K]; NaN for what is not known."""
    size = np.abs(tree.gradients)
    missed = tree.deviations > instance.eta * size * (1 + 1e-12)
    weights = 1.0 if (s := instance.step_multipliers) is None else s[..., None]
    preconditioned = np.zeros_like(size)
    np.divide(size**2, tree.denominators, out=preconditioned, where=tree.denominators > 0)
    each = {
        "l1_sum": size,
        "squared_sum": size**2,
        "preconditioned_sum": preconditioned,
        "weighted_l1_sum": weights * size,
        "misses": missed,
        "missed_l1_sum": missed * size,
        "deviation_sum": tree.deviations,
    }
    sums = {
        name: instance.dimension * np.stack([values[..., :k, :].sum(-2) for k in records], -2)
        for name, values in each.items()
    }
    ends = tree.weights[..., list(records), :] - instance.start[..., None, None]
    objective = instance.objective
    values = np.stack([objective.value(ends[..., i, :]) for i in range(len(records))], -2)
    sums["value"] = instance.dimension * (np.asarray(objective.gap)[..., None, None] + values)
    nothing = np.full((*size.shape[:-2], len(records), size.shape[-1]), np.nan)
    sums["l2_sum"] = sums["l1_sum"] if instance.dimension == 1 else nothing
    return {**sums, "batch_sum": nothing, "batch_size": nothing}


def _run(
    instance: Instance, tree: Tree, gap: float, recorded: dict[str, Array], records: tuple[int, ...]
) -> ExactRun:
    def coordinates(values: Array) -> Array:
        return np.broadcast_to(values[:, None], (len(values), instance.dimension))

    trajectory = Trajectory(
        steps=records,
        **recorded,
        final_w=coordinates(tree.weights[-1]),
        final_state=OptimizerState(coordinates(tree.first_moment), coordinates(tree.second_moment)),
        first_gradient=coordinates(tree.gradients[0]),
    )
    return ExactRun(
        Copies(dimension=instance.dimension, instance=instance, gap=gap),
        _noise(instance, tree),
        optimizer_of(instance),
        trajectory,
        len(records) - 1,
        instance,
        tree,
    )


def runs(instance: Instance, also: tuple[int, ...] = ()) -> Iterator[ExactRun]:
    """The run of an instance, or of each candidate of a population.

    Args:
        instance: one or a population.
        also: numbers of steps, next to K, after which sums are recorded.
    """
    tree = grow(instance, optimizer_of(instance))
    records = tuple(sorted({*also, instance.steps}))
    recorded, gap = _recorded(instance, tree, records), np.asarray(instance.objective.gap)
    if tree.probabilities.ndim == 1:
        yield _run(instance, tree, float(gap), recorded, records)
        return
    gap = np.broadcast_to(gap, tree.probabilities.shape[:-1])
    for i in range(len(tree.probabilities)):
        one = Tree(**{name: value[i] for name, value in vars(tree).items()})
        values = {name: value[i] for name, value in recorded.items()}
        yield _run(instance.candidate(i), one, float(gap[i]), values, records)
