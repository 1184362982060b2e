"""From settings to the objects of a run."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from adabatch.model.parts import model_part
from adabatch.reporting.metrics import read_metrics
from adabatch.schedules import BatchSizeSchedule, MicroBatching
from adabatch.schedules.composition import schedule_from_settings
from adabatch.schedules.coupling import Coupling, SecondMomentDecay
from adabatch.schedules.learning_rate import BatchScaling, LearningRate, rule_of_optimizer
from adabatch.schedules.length_stages import LengthStages
from adabatch.schedules.paths import PATHS
from adabatch.schedules.registry import RunContext
from adabatch.settings import ScheduleSettings, Settings
from adabatch.statistics import CoordinateStatistics, GradientStatistics
from adabatch.statistics.matrix_noise import MatrixNoise
from adabatch.training.optimizers import muon_matrices

__all__ = [
    "build_coupling",
    "build_lengths",
    "build_matrix_noise",
    "build_micro_batching",
    "build_schedule",
    "build_statistics",
]


ReadRecords = Callable[[Path], Sequence[Mapping[str, Any]]]
"""Reads the records of another run, from its folder."""


def build_schedule(settings: Settings, read_records: ReadRecords = read_metrics) -> BatchSizeSchedule:
    """The batch-size schedule at its first batch, which is not yet rounded to what ranks can make.

    Args:
        settings: which schedule and its parameters, the budget, and for an exchange the learning rate.
        read_records: for a replay.

    Raises:
        ValueError: for parameters outside their range.
    """
    rule = rule_of_optimizer(settings.optimizer.optimizer)
    context = RunContext(settings.run.samples, partial(_rates_to_exchange, settings), read_records, rule)
    return schedule_from_settings(settings.schedule, context)


def build_micro_batching(
    settings: ScheduleSettings, first_batch: int, world_size: int, resumed: bool = False
) -> MicroBatching:
    """How batches are split over ranks, accumulation and micro-batch.

    Args:
        settings: the sizes of micro-batches.
        first_batch: the schedule's.
        world_size: data-parallel ranks.
        resumed: the run began before, perhaps on another number of ranks.

    Raises:
        ValueError: for a first batch that ranks x micro-batch cannot make, unless the run is resumed.
    """
    build = MicroBatching.resuming if resumed else MicroBatching.starting_at
    return build(first_batch, world_size, settings.micro_batch, settings.max_micro_batch)


def build_statistics(model: nn.Module, settings: Settings, schedule: BatchSizeSchedule) -> GradientStatistics:
    """The scalar statistics, or the coordinate-wise ones where the schedule or the monitoring needs them."""
    part_of = model_part if settings.run.monitor_layers else None
    if not (schedule.needs_coordinates or settings.run.monitor_coordinates):
        return GradientStatistics(model, part_of=part_of)
    given = settings.schedule
    limited_by = given.noise_limit_scale if given.noise_limit else ""
    return CoordinateStatistics(
        model,
        part_of=part_of,
        conservative=given.l1_denominator == "conservative" or limited_by == "l1",
        stride=given.coordinate_stride,
        weighted=limited_by == "weighted",
        norm_floor=given.norm_floor if given.test == "coordinate" else 0.0,
    )


def build_matrix_noise(model: nn.Module, settings: Settings) -> MatrixNoise:
    """Of Muon's matrices, where they are monitored; else of none."""
    asked = settings.optimizer.optimizer == "muon" and settings.run.monitor_interval > 0
    return MatrixNoise(model, muon_matrices(model) if asked else (), settings.run.monitor_matrices)


def build_coupling(settings: Settings, first_batch: int, read_records: ReadRecords = read_metrics) -> Coupling:
    """What a step uses apart from its samples: learning rate, beta2, weight decay, sequence length.

    Args:
        settings: of the optimizer, the stages of the length, and the budget.
        first_batch: the schedule's; the reference of what is scaled unless the settings give one.
        read_records: for a replay of learning rates.

    Raises:
        ValueError: for rates, a warm-up, a reference batch or stages out of range.
    """
    given = settings.optimizer
    reference = given.lr_reference_batch or first_batch
    scaling = BatchScaling(given.lr_scaling, reference)
    if not given.lr_replay:
        rates = _path(settings, scaling)
    elif given.lr_scaling == "none" and not settings.schedule.noise_limit:
        rates = LearningRate.of_records(read_records(Path(given.lr_replay)), settings.run.samples)
    else:
        scaled = "--noise-limit" if given.lr_scaling == "none" else f"--lr-scaling {given.lr_scaling}"
        raise ValueError(
            f"--lr-replay takes the learning rates of another run as they were: leave out {scaled}, which scales "
            "them"
        )
    return Coupling(
        learning_rate=rates,
        second_moment=SecondMomentDecay(given.beta2, given.beta2_half_life),
        weight_decay=given.weight_decay,
        decay_scaling=BatchScaling(given.weight_decay_scaling, reference),
        lengths=build_lengths(settings),
        uncorrected_beta1=None if given.bias_correction else given.beta1,
    )


def build_lengths(settings: Settings) -> LengthStages:
    """The sequence length by the samples seen.

    Raises:
        ValueError: for stages that cannot be.
    """
    return LengthStages.parse(settings.schedule.length_stages, settings.data.sequence_length, settings.run.samples)


def _rates_to_exchange(settings: Settings) -> LearningRate:
    if settings.optimizer.lr_replay:
        raise ValueError(
            "exchange and seesaw make their own learning rates: leave out --lr-replay, or take another schedule"
        )
    return _path(settings, BatchScaling())


def _path(settings: Settings, scaling: BatchScaling) -> LearningRate:
    rates = settings.optimizer
    warmup, total = rates.warmup_samples, settings.run.samples
    path = PATHS[rates.lr_path].from_settings(rates, warmup, total)
    return LearningRate(rates.lr, rates.min_lr, warmup, total, scaling, path)
