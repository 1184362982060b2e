"""The results of the finished runs: losses, steps and batches by schedule and seed, and how they compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from adabatch.experiments.comparison.frontier import Frontier
from adabatch.experiments.comparison.schedules import Schedule
from adabatch.experiments.comparison.tuning.points import Point
from adabatch.experiments.comparison.tuning.search import Search
from adabatch.experiments.intervals import Interval, mean_interval, paired_difference
from adabatch.experiments.run import ExperimentRun, final_loss
from adabatch.reporting.metrics import Record
from adabatch.settings import Settings

__all__ = ["BySeed", "Comparison", "RunResult", "measured_loss"]


@dataclass(frozen=True, eq=False)
class RunResult:
    """One finished run.

    Attributes:
        batch_sizes: samples of each step.
        final_loss: the last validation loss, in nats per token; infinite where it was not a number.
        run: which; :meth:`records` and ``settings`` are read from it.
        lengths: of each step's sequences, as a share of the full length.
    """

    batch_sizes: NDArray[np.int64]
    final_loss: float
    run: ExperimentRun
    lengths: ArrayLike = 1.0

    @classmethod
    def of(cls, run: ExperimentRun) -> RunResult:
        """From a finished run.

        Raises:
            ValueError: if no validation loss was measured.
        """
        records = run.records()
        sizes = np.array([record["batch_size"] for record in records], dtype=np.int64)
        full = run.settings().data.sequence_length
        lengths = np.array([record.get("sequence_length", full) for record in records]) / full
        return cls(sizes, measured_loss(records), run, lengths)

    @property
    def loads(self) -> NDArray[np.float64]:
        """Samples of each step in units of full length: half as many where sequences are half as long."""
        return np.multiply(self.batch_sizes, self.lengths, dtype=np.float64)

    @property
    def steps(self) -> int:
        """Optimizer steps."""
        return len(self.batch_sizes)

    @property
    def samples(self) -> int:
        """Sequences seen."""
        return int(self.batch_sizes.sum())

    @property
    def mean_batch(self) -> float:
        """Samples per step."""
        return self.samples / self.steps

    @property
    def largest_batch(self) -> int:
        """Samples of the largest step."""
        return int(self.batch_sizes.max())

    @property
    def settings(self) -> Settings:
        """Of the run."""
        return self.run.settings()

    def records(self) -> list[Record]:
        """Of every step; read from the run's folder each time, since all runs' take too much memory."""
        return self.run.records()


def measured_loss(records: Sequence[Record]) -> float:
    """The final loss of a run, from its records or the last one, which is validated.

    Raises:
        ValueError: if no validation loss was measured.
    """
    loss = final_loss(records)
    if loss is None:
        raise ValueError("a comparison needs validation losses: set --validation-interval above 0")
    return loss


BySeed = Mapping[int, RunResult]


@dataclass(frozen=True)
class Comparison:
    """All that is finished.

    Attributes:
        base: settings of all runs.
        schedules: those with a result, in order.
        constants: all constant schedules that are planned, smallest batch first. A seed that one of them lacks has
            no frontier: a line through the others would be another one.
        searches: by the schedule's name.
        points: the rate, path and warm-up of each schedule's results.
        results: by schedule and seed.
        rates_replayed: of the schedules that move the learning rate, a constant batch with as many steps and their
            rates.
        batches_replayed: of the same, their batches with a constant batch's rates.
        budgets: of the constant schedules, by schedule, and by samples over those of the comparison.
    """

    base: Settings
    schedules: Sequence[Schedule]
    constants: Sequence[Schedule]
    searches: Mapping[str, Search]
    points: Mapping[str, Point]
    results: Mapping[str, BySeed]
    rates_replayed: Mapping[str, BySeed] = field(default_factory=dict)
    batches_replayed: Mapping[str, BySeed] = field(default_factory=dict)
    budgets: Mapping[str, Mapping[float, BySeed]] = field(default_factory=dict)

    @cached_property
    def frontiers(self) -> dict[int, Frontier]:
        """The constant schedules' frontier of each seed that all of them have."""
        runs = [self.results.get(schedule.name, {}) for schedule in self.constants]
        seeds = set.intersection(*(set(by_seed) for by_seed in runs)) if runs else set()
        return {
            seed: Frontier.of_points([(run[seed].steps, run[seed].final_loss) for run in runs])
            for seed in sorted(seeds)
        }

    def losses(self, schedule: str) -> dict[int, float]:
        """Final validation loss by seed."""
        return _losses(self.results.get(schedule, {}))

    def gaps(self, schedule: str) -> dict[int, float]:
        """Loss above the frontier at the run's own number of steps, by seed; without those outside of it."""
        return {
            seed: run.final_loss - reference
            for seed, run in self.results.get(schedule, {}).items()
            if seed in self.frontiers and (reference := self.frontiers[seed].loss_at(run.steps)) is not None
        }

    def gap(self, schedule: str) -> Interval | None:
        """The mean of :meth:`gaps` with its interval."""
        gaps = list(self.gaps(schedule).values())
        return mean_interval(gaps) if gaps else None

    def minus_rates_replayed(self, schedule: str) -> Interval | None:
        """Loss minus that of a constant batch with as many steps and the same learning rates, paired."""
        return paired_difference(self.losses(schedule), _losses(self.rates_replayed.get(schedule, {})))

    def minus_batches_replayed(self, schedule: str) -> Interval | None:
        """Loss minus that of the same batches with a constant batch's learning rates, paired."""
        return paired_difference(self.losses(schedule), _losses(self.batches_replayed.get(schedule, {})))


def _losses(by_seed: BySeed) -> dict[int, float]:
    return {seed: run.final_loss for seed, run in by_seed.items()}
