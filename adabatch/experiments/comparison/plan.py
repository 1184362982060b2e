"""Which runs a comparison is made of: those of the search, the results, the controls and the other budgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any

from adabatch.experiments.comparison.results import measured_loss
from adabatch.experiments.comparison.schedules import Schedule, constant_batch
from adabatch.experiments.comparison.tuning.points import Axes, Point, settings_at
from adabatch.experiments.comparison.tuning.search import Effort, Search, Try
from adabatch.experiments.progress import Work
from adabatch.experiments.run import ExperimentRun
from adabatch.settings import Settings, overlay

__all__ = ["BUDGETS", "ComparisonPlan", "equal_steps"]

SEARCH_SEEDS = 1000
"""From the results' seeds to those of the search."""

BUDGETS = (0.5, 2**-0.5, 2**0.5, 2.0)
"""Times the samples of the comparison: what constant batches reach in less time, and in more."""


@dataclass(eq=False)
class ComparisonPlan:
    """The runs of a comparison, each made once.

    Attributes:
        base: settings of all runs.
        schedules: that are compared.
        seeds: of the results.
        folder: of the comparison.
        effort: of each search.
        tuned: points found elsewhere, by schedule; these are not searched.
    """

    base: Settings
    schedules: Sequence[Schedule]
    seeds: Sequence[int]
    folder: Path
    effort: Effort = field(default_factory=Effort)
    tuned: Mapping[str, Point] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.seeds) > SEARCH_SEEDS:
            raise ValueError(
                f"a comparison has at most {SEARCH_SEEDS} seeds, since its searches take those after them, but "
                f"{len(self.seeds)} are asked for (--seeds)"
            )
        self._runs: dict[tuple[object, ...], ExperimentRun] = {}
        self._losses: dict[ExperimentRun, float] = {}
        self._searches: dict[str, Search] = {}
        self._points: dict[str, Point] = dict(self.tuned)

    @cached_property
    def constants(self) -> list[Schedule]:
        """The constant schedules, smallest batch first."""
        found = [schedule for schedule in self.schedules if schedule.kind == "constant"]
        return sorted(found, key=lambda schedule: int(schedule.overrides["initial_batch"]))

    @property
    def search_seeds(self) -> list[int]:
        """The seeds of the searches."""
        return [self.base.data.seed + SEARCH_SEEDS + number for number in range(self.effort.seeds)]

    @property
    def budget_seeds(self) -> Sequence[int]:
        """The seeds on which constant batches have other budgets too: half of them, which is enough for times."""
        return self.seeds[: (len(self.seeds) + 1) // 2]

    @cached_property
    def controlled(self) -> list[Schedule]:
        """The schedules that move the learning rate, or set more of the optimizer."""
        return [schedule for schedule in self.schedules if schedule.needs_control(self.base)]

    def run(self, schedule: Schedule, point: Point, seed: int, budget: float = 1.0) -> ExperimentRun:
        """A schedule at a point."""
        key = (schedule.name, point, seed, budget)
        if key not in self._runs:
            settings = cache(partial(settings_at, self.base, schedule, point, seed, budget))
            self._runs[key] = ExperimentRun(f"{schedule.name}-seed-{seed}", self.folder, settings)
        return self._runs[key]

    def search(self, schedule: Schedule) -> Search:
        """A schedule's search as far as its runs are finished; empty where its point was found elsewhere."""
        search = self._searches.get(schedule.name, Search(Axes.of(schedule), self.effort, {}))
        while schedule.name not in self._points:
            wanted = search.wanted()
            found = {one: self._loss(self.search_run(schedule, one)) for one in wanted}
            new = {one: loss for one, loss in found.items() if loss is not None}
            search = self._searches[schedule.name] = replace(search, losses={**search.losses, **new})
            if not wanted:
                self._points[schedule.name] = search.best()
            elif len(new) < len(wanted):
                break
        return search

    def search_run(self, schedule: Schedule, one: Try) -> ExperimentRun:
        """A run of a search."""
        return self.run(schedule, one.point, self.search_seeds[one.seed])

    def wanted_tries(self) -> list[ExperimentRun]:
        """The runs that the searches want next."""
        return [
            self.search_run(schedule, one)
            for schedule in self.schedules
            for one in self.search(schedule).wanted()
            if schedule.name not in self._points
        ]

    def points(self) -> dict[str, Point]:
        """The best point of each schedule whose search is over, or was not needed."""
        for schedule in self.schedules:
            self.search(schedule)
        names = [schedule.name for schedule in self.schedules]
        return {name: self._points[name] for name in names if name in self._points}

    def finished_runs(self) -> set[ExperimentRun]:
        """What is finished of the searches so far and of the results."""
        return {run for run in {*self.result_runs(), *self._runs.values()} if run.finished()}

    def work(self) -> Work:
        """All runs, finished or not; of a search that is not over, the most that it can take."""
        points = self.points()
        searches = sum(
            len(self.search(schedule).losses) if schedule.name in points else self.effort.runs
            for schedule in self.schedules
        )
        results = len(self.seeds) * (len(self.schedules) + 2 * len(self.controlled))
        each_budget = len(self.budget_seeds) * len(self.constants)
        whole = searches + results + each_budget * sum(BUDGETS)
        return Work(
            runs=searches + results + each_budget * len(BUDGETS),
            samples=round(whole * self.base.run.samples),
            at_most=len(points) < len(self.schedules),
        )

    def results(self, name: str, budget: float = 1.0) -> dict[int, ExperimentRun]:
        """The runs of a tuned schedule at its best point, by seed."""
        (schedule,) = [schedule for schedule in self.schedules if schedule.name == name]
        seeds = self.seeds if budget == 1 else self.budget_seeds
        return {seed: self.run(schedule, self.points()[name], seed, budget) for seed in seeds}

    def controls(self) -> dict[str, tuple[dict[int, ExperimentRun], dict[int, ExperimentRun]]]:
        """Both controls of each tuned schedule that needs them, by seed: rates replayed, batches replayed."""
        points = self.points()
        constant_points = [points[constant.name] for constant in self.constants if constant.name in points]
        if len(constant_points) < len(self.constants):
            return {}
        return {
            schedule.name: (
                {seed: self.rates_replayed(schedule, points[schedule.name], seed) for seed in self.seeds},
                {
                    seed: self.batches_replayed(schedule, points[schedule.name], constant_points, seed)
                    for seed in self.seeds
                },
            )
            for schedule in self.controlled
            if schedule.name in points
        }

    def result_runs(self) -> list[ExperimentRun]:
        """Schedules and their rates replayed, which are pairs; constants, batches replayed, constants' budgets."""
        tuned, controls = list(self.points()), self.controls()
        constants = [constant.name for constant in self.constants if constant.name in tuned]
        others = [name for name in tuned if name not in constants]
        groups = [
            *(self.results(name) for name in others),
            *(rates for rates, _ in controls.values()),
            *(self.results(name) for name in constants),
            *(batches for _, batches in controls.values()),
            *(self.results(name, budget) for budget in BUDGETS for name in constants),
        ]
        return [run for group in groups for run in group.values()]

    def rates_replayed(self, schedule: Schedule, point: Point, seed: int) -> ExperimentRun:
        """The first control: a constant batch that makes as many steps, with the learning rates of the run."""
        source = self.run(schedule, point, seed)

        def settings() -> Settings:
            batches = equal_steps(source.settings(), source.steps())
            return _replaying(source, batches | {"lr_replay": str(source.folder)})

        return self._derived(f"rates-of-{schedule.name}", seed, settings, (source,))

    def batches_replayed(
        self, schedule: Schedule, point: Point, constant_points: Sequence[Point], seed: int
    ) -> ExperimentRun:
        """The second control: the run's batches with the learning rates of a constant batch.

        Of the constant batches it is the one whose number of steps is nearest to that of the first seed's run.
        """
        first, source = (self.run(schedule, point, each) for each in (self.seeds[0], seed))
        constants = [
            self.run(constant, at, seed) for constant, at in zip(self.constants, constant_points, strict=True)
        ]

        def settings() -> Settings:
            steps = math.log(first.steps())
            nearest = min(constants, key=lambda run: abs(math.log(run.steps()) - steps))
            replayed = {"replay_run": str(source.folder), "lr_replay": str(nearest.folder)}
            return _replaying(source, {"schedule": "replay"} | replayed)

        return self._derived(f"batches-of-{schedule.name}", seed, settings, (first, source, *constants))

    def _derived(
        self, name: str, seed: int, settings: Callable[[], Settings], needs: tuple[ExperimentRun, ...]
    ) -> ExperimentRun:
        key = (name, seed, *needs)
        if key not in self._runs:
            self._runs[key] = ExperimentRun(f"{name}-seed-{seed}", self.folder, cache(settings), needs)
        return self._runs[key]

    def _loss(self, run: ExperimentRun) -> float | None:
        """The final validation loss of a finished run."""
        if run not in self._losses and run.finished():
            self._losses[run] = measured_loss([record] if (record := run.last_record()) else [])
        return self._losses.get(run)


def equal_steps(settings: Settings, steps: int) -> dict[str, Any]:
    """A constant batch with which a run makes a number of steps, or two neighbouring ones where none does.

    Args:
        settings: of a run; its budget, ranks and largest micro-batch count.
        steps: wanted.

    >>> found = equal_steps(overlay(Settings(), {"samples": 100}), 12)      # 8 steps on 8, then 4 on 9
    >>> found["stage_batches"], found["stage_fractions"]
    ((8, 9), (0.635, 0.365))
    """
    samples, parallel = settings.run.samples, settings.parallel
    unit = parallel.ranks // parallel.tensor_parallel
    smaller = max(1, samples // (steps * unit)) * unit
    larger_steps = max(0, math.ceil((samples - steps * smaller) / unit))
    if larger_steps == 0 or larger_steps >= steps:
        return constant_batch(settings, smaller + (unit if larger_steps else 0))
    share = ((steps - larger_steps) * smaller - 0.5) / samples  # a half, so that rounding does not move its end
    stages = {"stage_batches": (smaller, smaller + unit), "stage_fractions": (share, 1 - share)}
    first = constant_batch(settings, smaller)
    return first | stages | {"schedule": "stagewise", "max_batch": smaller + unit}


def _replaying(source: ExperimentRun, replayed: Mapping[str, Any]) -> Settings:
    """The settings of a run but for its batches and learning rates."""
    settings = source.settings()
    alone = {"lr_scaling": "none", "noise_limit": 0.0, "noise_limit_scale": "trace", "batch_floor": "none"}
    if settings.optimizer.weight_decay_scaling != "none":  # else the reference would be the control's first batch
        reference = settings.optimizer.lr_reference_batch or settings.schedule.initial_batch
        alone |= {"lr_reference_batch": reference}
    return overlay(settings, alone | dict(replayed))
