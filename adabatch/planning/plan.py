"""A plan: parameters, tokens, steps, memory and communication of a run, from its settings alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

from transformers import LlamaConfig

from adabatch.distributed.communication import Traffic
from adabatch.planning.simulated import SimulatedStep, simulate_steps
from adabatch.schedules import BatchSizeSchedule, Constant, Goodput, MicroBatching, MicroBatchPlan
from adabatch.schedules.coupling import Coupling
from adabatch.settings import Settings, overlay
from adabatch.training.building import build_micro_batching
from adabatch.training.checks import check_settings, resumes
from adabatch.training.model_size import config_parameters, planned_config

__all__ = ["Plan", "make_plan", "step_range"]


STANDING_IN = {
    "batch_floor": "none",
    "noise_limit": 0.0,
    "noise_limit_scale": "trace",
    "test": "scalar",
    "monitor_coordinates": False,
}
"""What is simulated: a schedule that measures, or one that does not, and what it computes on the device.

Coordinate-wise statistics compute on the host, with numbers that a simulation does not have."""


@dataclass(frozen=True)
class Plan:
    """What a run would need.

    Attributes:
        settings: of the run.
        coupling: what moves with its batch.
        scaling: of the learning rate by the batch, the settings' or the schedule's own.
        parameters: of the whole model.
        first: the first step's batch.
        largest: the largest batch that the schedule may come to.
        steps: fewest and most; equal if the schedule does not depend on gradients.
        memory: bytes by part on one rank, at the peak of a step with the largest micro-batch.
        traffic: of a step with the first batch, by collective.
        traffic_at_largest: of a step with the largest batch.
    """

    settings: Settings
    coupling: Coupling
    scaling: str
    parameters: int
    first: MicroBatchPlan
    largest: MicroBatchPlan
    steps: tuple[int, int]
    memory: dict[str, int]
    traffic: dict[str, Traffic]
    traffic_at_largest: dict[str, Traffic]

    @property
    def tokens(self) -> int:
        """Tokens of the budget."""
        return self.coupling.lengths.tokens(self.settings.run.samples)


def make_plan(settings: Settings, ranks: int | None = None) -> Plan:
    """Simulate steps of the run on fake tensors, and count.

    Args:
        settings: of the run.
        ranks: in place of the settings' number.

    Coordinate-wise statistics are not counted: scalar ones stand in for them.

    Raises:
        ValueError: for settings that a run on that many ranks would refuse where each of them has a device.
    """
    if ranks is not None:
        settings = replace(settings, parallel=replace(settings.parallel, ranks=ranks))
    world_size, resumed = settings.parallel.ranks, resumes(settings)
    start = check_settings(settings, world_size, resumed)
    schedule = start.schedule
    config = planned_config(settings)
    data_parallel_ranks = world_size // settings.parallel.tensor_parallel
    micro_batching = build_micro_batching(settings.schedule, schedule.batch_size, data_parallel_ranks, resumed)
    first, largest, steps = step_range(schedule, micro_batching, settings.run.samples)
    counted = overlay(
        settings, STANDING_IN | {"schedule": "norm-test" if schedule.groups_needed > 1 else "constant"}
    )
    at_largest = at_first = _simulate(counted, config, largest)
    if settings.parallel.tensor_parallel > 1 and first.micro_batch != largest.micro_batch:
        at_first = _simulate(counted, config, first)  # activations are communicated too
    return Plan(
        settings=settings,
        coupling=start.coupling,
        scaling=schedule.learning_rate_scaling or settings.optimizer.lr_scaling,
        parameters=config_parameters(config),
        first=first,
        largest=largest,
        steps=steps,
        memory=at_largest.steps[-1].memory,  # from the second micro-batch on nothing is added
        traffic=at_first.traffic(first.accumulation),
        traffic_at_largest=at_largest.traffic(largest.accumulation),
    )


def step_range(
    schedule: BatchSizeSchedule, micro_batching: MicroBatching, samples: int
) -> tuple[MicroBatchPlan, MicroBatchPlan, tuple[int, int]]:
    """First and largest batch, and the fewest and most steps, of a schedule at its beginning over a budget.

    A schedule that looks at gradients may stay at its first batch or be at its maximum from the second step on,
    and goodput may fall to the smallest batch; the others are played through.
    """
    schedule.round_by(micro_batching)
    first = micro_batching.plan(schedule.batch_size)
    if schedule.groups_needed > 1:
        largest = micro_batching.plan(schedule.maximum)
        fewest = 1 + max(0, -(-(samples - first.batch_size) // largest.batch_size))
        falls = all(isinstance(part, Goodput) for part in schedule.parts)
        smallest = micro_batching.plan(1 if falls else first.batch_size)
        return first, largest, (fewest, 1 + max(0, -(-(samples - first.batch_size) // smallest.batch_size)))
    if isinstance(schedule, Constant):  # at once, however long the run
        steps = -(-samples // first.batch_size)
        return first, first, (steps, steps)
    biggest = schedule.batch_size
    while schedule.samples < samples:
        biggest = max(biggest, schedule.batch_size)
        schedule.update()
    return first, micro_batching.plan(biggest), (schedule.steps, schedule.steps)


@dataclass(frozen=True)
class _Simulated:
    """Steps with a few micro-batches, from which any number follows: each adds the same.

    Attributes:
        fewest: M of the first step.
        steps: what one step did, or two, the second with a micro-batch more.
    """

    fewest: int
    steps: list[SimulatedStep]

    def traffic(self, accumulation: int) -> dict[str, Traffic]:
        """By collective, with this many micro-batches."""
        fewest, most = self.steps[0].traffic, self.steps[-1].traffic
        beyond = accumulation - self.fewest
        return {kind: fewest[kind] + (most[kind] - fewest[kind]) * beyond for kind in most}


def _simulate(settings: Settings, config: LlamaConfig, plan: MicroBatchPlan) -> _Simulated:
    fewest = min(plan.accumulation, 1 if plan.world_size > 1 else 2)  # a test needs two groups
    most = fewest + (fewest < plan.accumulation and settings.parallel.ranks > 1)
    layouts = [MicroBatching(plan.world_size, count, plan.micro_batch) for count in range(fewest, most + 1)]
    return _Simulated(fewest, simulate_steps(settings, config, layouts))
