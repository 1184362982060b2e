"""A plan: parameters, tokens, steps, memory, communication and time of a run, from its settings alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from transformers import PreTrainedConfig

from adabatch.accelerators import Accelerator
from adabatch.distributed.communication import Traffic, by_kind
from adabatch.distributed.rank_map import RankMap
from adabatch.model.language_model import flops_per_token, model_shape
from adabatch.planning.layers import simulate_layers
from adabatch.planning.layouts import Layout, capacity, fitting_layouts
from adabatch.planning.optimizer_cost import OptimizerCost, orthogonalising_flops
from adabatch.planning.step_model import StepModel
from adabatch.planning.step_time import StepSeconds, StepWork, step_seconds
from adabatch.schedules import BatchSizeSchedule, Constant, Goodput, MicroBatching, MicroBatchPlan
from adabatch.schedules.coupling import Coupling
from adabatch.settings import Settings, overlay
from adabatch.training.building import build_micro_batching, build_schedule
from adabatch.training.checks import check_settings, resumes
from adabatch.training.model_size import config_parameters, planned_config

__all__ = ["STANDING_IN", "Course", "Plan", "course_of", "make_plan", "other_courses"]


STANDING_IN = {
    "batch_floor": "none",
    "noise_limit": 0.0,
    "noise_limit_scale": "trace",
    "test": "scalar",
    "estimator": "debiased",
    "eta": 1.0,
    "monitor_coordinates": False,
    "monitor_matrices": 0,
}
"""What is simulated: a schedule that measures, or one that does not, and what it computes on the device.

Coordinate-wise statistics compute on the host, with numbers that a simulation does not have; and a test at another
level may refuse the batches that are simulated."""

MOST_STEPS = 100_000
"""Schedules that a plan compares are played step by step, up to this many."""


@dataclass(frozen=True)
class Course:
    """The batches of a run, from its budget.

    Attributes:
        first: the first step's.
        largest: the largest that the schedule may come to.
        fewest: how many steps each batch has if there are as few steps as there may be.
        most: the same if there are as many; equal if the schedule does not depend on gradients.
    """

    first: MicroBatchPlan
    largest: MicroBatchPlan
    fewest: Mapping[int, int]
    most: Mapping[int, int]

    @property
    def steps(self) -> tuple[int, int]:
        """Fewest and most."""
        return sum(self.fewest.values()), sum(self.most.values())


@dataclass(frozen=True)
class Plan:
    """What a run would need.

    Attributes:
        settings: of the run.
        coupling: what moves with its batch.
        scaling: of the learning rate by the batch, the settings' or the schedule's own.
        config: of the model.
        parameters: of the whole model.
        course: the run's batches.
        micro_batching: how batches are split.
        tests: whether gradients are observed in every step.
        step: memory and traffic of its steps.
        gpu: figures of the hardware.
        ranks: that batches get.
        on_fewer: plans for these numbers of them but the largest.
    """

    settings: Settings
    coupling: Coupling
    scaling: str
    config: PreTrainedConfig
    parameters: int
    course: Course
    micro_batching: MicroBatching
    tests: bool
    step: StepModel
    gpu: Accelerator
    ranks: RankMap
    on_fewer: Mapping[int, Plan]

    @property
    def tokens(self) -> int:
        """Tokens of the budget, or until the run is to stop."""
        return self.coupling.lengths.tokens(self.settings.run.end)

    @property
    def memory(self) -> dict[str, int]:
        """Bytes by part on one rank, at the peak of a step with the largest micro-batch."""
        return self.step.memory

    @property
    def room(self) -> float:
        """Bytes of a GPU that tensors may take."""
        return capacity(self.gpu.memory)

    def traffic(self, batch: MicroBatchPlan) -> dict[str, Traffic]:
        """Of a step with this batch, by collective."""
        return by_kind(self.step.traffic(batch.accumulation, batch.micro_batch))

    def flops(self, batch: int) -> float:
        """Operations of the model in a step with this batch, by all ranks."""
        length = self.settings.data.sequence_length
        return flops_per_token(self.config, self.parameters, length) * length * batch

    def seconds(self, batch: MicroBatchPlan) -> StepSeconds:
        """Of a step with this batch."""
        parallel, hardware = self.settings.parallel, self.settings.hardware
        tokens, flops = batch.batch_size * self.settings.data.sequence_length, self.flops(batch.batch_size)
        again = flops / 3 - 2.0 * self.config.vocab_size * self.config.hidden_size * tokens
        held = self.memory.get("weights", 4 * self.parameters) / 4
        size = 2 if parallel.precision == "bf16" and parallel.parallel in ("fsdp", "hsdp") else 4
        observed = size * self.parameters / parallel.tensor_parallel * batch.accumulation
        work = StepWork(
            tokens=tokens,
            flops=flops,
            recomputed=again if parallel.activation_checkpointing else 0.0,
            traffic=self.step.traffic(batch.accumulation, batch.micro_batch),
            tensor_parallel=parallel.tensor_parallel,
            moved=self._moved(held),
            observed=observed if self.tests else 0.0,
            repeated=self._orthogonalising,
        )
        return step_seconds(work, self.gpu, parallel.ranks, hardware.gpus_per_node, hardware.utilisation)

    def _moved(self, held: float) -> float:
        """Bytes that clipping and the optimizer move on a rank that holds this many parameters."""
        in_layers = 1 - model_shape(self.config).outer / self.parameters
        costs = OptimizerCost.by_share(self.settings.optimizer, in_layers)
        return sum(share * cost.moved * (self.parameters if cost.whole else held) for share, cost in costs)

    @cached_property
    def _orthogonalising(self) -> float:
        return orthogonalising_flops(self.config, self.settings.optimizer)

    def mfu(self, batch: MicroBatchPlan) -> float:
        """Model FLOP utilisation of a step with this batch."""
        peak = self.gpu.tflops * 1e12 * self.settings.parallel.ranks
        return self.flops(batch.batch_size) / (peak * self.seconds(batch).all)

    def seconds_of(self, batches: Mapping[int, int]) -> float:
        """Of steps with these batches."""
        return sum(times * self.seconds(self.micro_batching.plan(batch)).all for batch, times in batches.items())

    def seconds_following(self, batches: Mapping[int, int]) -> tuple[float, float]:
        """Of steps with these batches, each on the ranks that it gets; and the same times its ranks. No pauses."""
        seconds = rank_seconds = 0.0
        for batch, times in batches.items():
            ranks = self.ranks.at(batch)
            batching = replace(self.micro_batching, present=ranks // self.settings.parallel.tensor_parallel)
            taken = times * self.on_fewer.get(ranks, self).seconds(batching.plan(batch)).all
            seconds, rank_seconds = seconds + taken, rank_seconds + ranks * taken
        return seconds, rank_seconds

    def fitting(self) -> dict[Layout, tuple[float, int]]:
        """Layouts of these ranks that fit into the GPUs, by estimate: bytes and the largest micro-batch."""
        return fitting_layouts(self.config, self.parameters, self.settings, self.room)


def make_plan(
    settings: Settings,
    ranks: int | None = None,
    device_name: str = "",
    progress: Callable[[str], None] = lambda _: None,
) -> Plan:
    """Simulate steps of the run on fake tensors, and count.

    Args:
        settings: of the run.
        ranks: in place of the settings' number.
        device_name: of the GPU that is there, where the settings name none.
        progress: is told what is being planned.

    Coordinate-wise statistics are not counted: scalar ones stand in for them. Where ranks follow the batch, the
    plan is for the most of them.

    Raises:
        ValueError: for settings that a run on that many ranks would refuse where each of them has a device.
    """
    if ranks is not None:
        settings = replace(settings, parallel=replace(settings.parallel, ranks=ranks))
    resumed, map_ = resumes(settings), RankMap.of(settings.parallel, settings.parallel.ranks)
    progress("settings and model")
    start = check_settings(settings, settings.parallel.ranks, resumed)
    fixed = [overlay(settings, {"ranks": number, "ranks_at": ""}) for number in map_.numbers]
    on_fewer = {each.parallel.ranks: make_plan(each, None, device_name, progress) for each in fixed[:-1]}
    settings, world_size = fixed[-1], map_.most
    schedule = start.schedule
    config = planned_config(settings)
    data_parallel_ranks = world_size // settings.parallel.tensor_parallel
    micro_batching = build_micro_batching(settings.schedule, schedule.batch_size, data_parallel_ranks, resumed)
    course = course_of(schedule, micro_batching, settings.run.end)
    tests = schedule.groups_needed > 1
    counted = overlay(settings, STANDING_IN | {"schedule": "norm-test" if tests else "constant"})
    return Plan(
        settings=settings,
        coupling=start.coupling,
        scaling=schedule.learning_rate_scaling or settings.optimizer.lr_scaling,
        config=config,
        parameters=config_parameters(config),
        course=course,
        micro_batching=micro_batching,
        tests=tests,
        step=_step_model(counted, config, course, progress),
        gpu=settings.hardware.planned(device_name),
        ranks=map_,
        on_fewer=on_fewer,
    )


def course_of(schedule: BatchSizeSchedule, micro_batching: MicroBatching, samples: int) -> Course:
    """The batches of a schedule at its beginning, over a budget.

    A schedule that looks at gradients may stay at its first batch or be at its maximum from the second step on,
    and goodput may fall to the smallest batch; the others are played through.
    """
    schedule.round_by(micro_batching)
    first = micro_batching.plan(schedule.batch_size)
    if schedule.groups_needed > 1:
        largest = micro_batching.plan(schedule.maximum)
        falls = all(isinstance(part, Goodput) for part in schedule.parts)
        smallest = micro_batching.plan(1 if falls else first.batch_size)
        fewest, most = (
            Counter({first.batch_size: 1})
            + Counter({then.batch_size: -(-(samples - first.batch_size) // then.batch_size)})
            for then in (largest, smallest)
        )
        return Course(first, largest, fewest, most)
    if isinstance(schedule, Constant):  # at once, however long the run
        steps = {first.batch_size: -(-samples // first.batch_size)}
        return Course(first, first, steps, steps)
    played: Counter[int] = Counter()
    while schedule.samples < samples:
        played[schedule.batch_size] += 1
        schedule.update()
    return Course(first, micro_batching.plan(max(played)), played, played)


def other_courses(plan: Plan) -> dict[str, Course]:
    """The batches of constant, stagewise and ramped schedules with the same settings, where they can be built."""
    given, samples, found = plan.settings.schedule, plan.settings.run.end, {}
    least, most = plan.course.first.batch_size, plan.course.largest.batch_size
    rules = {f"constant {batch:,}": {"schedule": "constant", "initial_batch": batch} for batch in (least, most)}
    if samples / least <= MOST_STEPS:
        rules |= {name: {"schedule": name} for name in ("stagewise", "linear-ramp") if name != given.schedule}
    for name, changes in rules.items():
        try:
            schedule = build_schedule(
                overlay(plan.settings, {"batch_floor": "none", "noise_limit": 0.0} | changes)
            )
            found[name] = course_of(schedule, plan.micro_batching, samples)
        except ValueError:  # its own options are not set
            continue
    return found


def _step_model(
    settings: Settings, config: PreTrainedConfig, course: Course, progress: Callable[[str], None]
) -> StepModel:
    """Two steps of as few micro-batches as the run's have, up to two: from the second on nothing is new."""
    ranks, micro_batch = course.largest.world_size, course.largest.micro_batch
    accumulation = min(2, max(course.first.accumulation, course.largest.accumulation))
    other = 8 * micro_batch  # a larger one, as which is the largest that fits follows from both
    layouts = [MicroBatching(ranks, accumulation, size) for size in (other, micro_batch)]
    first, second = simulate_layers(settings, config, layouts, progress)
    return StepModel(accumulation, other, micro_batch, first, second)
