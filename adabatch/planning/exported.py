"""The steps of a run, or those that settings will make, for :mod:`adabatch.integrations.schedule_formats`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from adabatch.distributed.rank_map import RankMap
from adabatch.integrations.schedule_formats import ExportedSchedule, TakenStep
from adabatch.reporting.metrics import Record, step_tokens
from adabatch.schedules import BatchSizeSchedule, Exchange
from adabatch.schedules.composition import Composed
from adabatch.schedules.coupling import Coupling
from adabatch.schedules.learning_rate import LearningRate
from adabatch.settings import Settings
from adabatch.training.building import build_coupling, build_micro_batching, build_schedule

__all__ = ["planned_schedule", "recorded_schedule"]


def recorded_schedule(settings: Settings, records: Sequence[Record]) -> ExportedSchedule:
    """What a run has done.

    Raises:
        ValueError: if its records are not complete.
    """
    schedule = build_schedule(settings)
    steps = [
        TakenStep(r["samples"] - r["batch_size"], r["batch_size"], round(step_tokens(r)), float(r["lr"]))
        for r in records
    ]
    return ExportedSchedule(
        steps, _rates(build_coupling(settings, schedule.batch_size), schedule), bool(settings.schedule.noise_limit)
    )


def planned_schedule(settings: Settings) -> ExportedSchedule:
    """What settings will do.

    Raises:
        ValueError: for a schedule that looks at gradients or at step times.
    """
    schedule = build_schedule(settings)
    if schedule.groups_needed > 1 or schedule.needs_step_times:
        raise ValueError(
            f"what {schedule.name} does depends on what it measures: train with it, and export the run's folder"
        )
    ranks = RankMap.of(settings.parallel, settings.parallel.ranks).most // settings.parallel.tensor_parallel
    schedule.round_by(build_micro_batching(settings.schedule, schedule.batch_size, ranks))
    coupling = build_coupling(settings, schedule.batch_size)
    return ExportedSchedule(list(_played(schedule, coupling, settings.run.samples)), _rates(coupling, schedule))


def _played(schedule: BatchSizeSchedule, coupling: Coupling, samples: int) -> Iterator[TakenStep]:
    while schedule.samples < samples:
        step = coupling.next_step(schedule)
        tokens = step.batch_size * step.sequence_length
        yield TakenStep(schedule.samples, step.batch_size, tokens, step.learning_rate)
        schedule.update()


def _rates(coupling: Coupling, schedule: BatchSizeSchedule) -> LearningRate:
    """The path with its scaling: an exchange has its own."""
    rule = schedule.rule if isinstance(schedule, Composed) else schedule
    return replace(rule.rates, scaling=rule.scaling) if isinstance(rule, Exchange) else coupling.learning_rate
