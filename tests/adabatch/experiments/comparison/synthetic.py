"""A comparison made up without training: losses that follow from steps, schedule and seed."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adabatch.experiments.comparison.plan import BUDGETS
from adabatch.experiments.comparison.results import BySeed, Comparison, RunResult
from adabatch.experiments.comparison.schedules import Schedule, standard_schedules
from adabatch.experiments.comparison.tuning.points import Axes
from adabatch.experiments.comparison.tuning.search import Effort, Search
from adabatch.settings import Settings, load_settings, overlay

BASE = load_settings("comparison", overrides={"samples": 960, "initial_batch": 8, "sequence_length": 16})
SCHEDULES = {schedule.name: schedule for schedule in standard_schedules(BASE, (8, 16, 32))}
CHOSEN = ("constant-8", "constant-16", "constant-32", "norm-test-1-sqrt", "norm-test-0.7", "cyclic")


@dataclass(frozen=True, eq=False)
class MadeUpRun:
    """What a result needs of a run."""

    chosen: Settings
    steps: list[dict[str, Any]]

    def settings(self) -> Settings:
        return self.chosen

    def records(self) -> list[dict[str, Any]]:
        return self.steps


def result(sizes: list[int], loss: float, settings: Settings = BASE, noise: float | None = None) -> RunResult:
    """A run with these batches; ``noise`` is its noise scale where it measures one."""
    records, samples = [], 0
    for step, size in enumerate(sizes, start=1):
        samples += size
        measured = {} if noise is None else {"noise_trace": 2 * noise, "grad_sq_norm": 2 + 2 * noise / size}
        records.append(
            {"step": step, "samples": samples, "loss": loss + 1 / step, "batch_size": size, "accumulation": 2}
            | measured
        )
    records[0]["val_loss"], records[-1]["val_loss"] = loss + 1, loss
    return RunResult(np.array(sizes), loss, MadeUpRun(settings, records))


def loss_of(batch: float, samples: float, seed: int) -> float:
    """Of a constant batch: fewer samples or larger batches lose; seeds share an offset."""
    return 1.5 + 20 / samples**0.5 + 0.02 * batch**0.5 + 0.03 * math.sin(5 * seed)


def constants_results(size: int, seeds: range, budget: float = 1.0) -> BySeed:
    samples = round(budget * BASE.run.samples)
    return {seed: result([size] * (samples // size), loss_of(size, samples, seed)) for seed in seeds}


def search_of(schedule: Schedule) -> Search:
    """Played to its end with losses of a bowl around half the base's rate."""
    search = Search(Axes.of(schedule), Effort(points=8, finalists=2, seeds=2, closing=0), {})
    while wanted := search.wanted():
        losses = {
            one: 2.0 + 0.01 * (one.point.rate + 1) ** 2 + 0.01 * abs(one.point.path - 2) + 0.001 * one.seed
            for one in wanted
        }
        search = replace(search, losses={**search.losses, **losses})
    return search


def made_up(names: tuple[str, ...] = CHOSEN, seeds: range = range(4)) -> Comparison:
    """A comparison with everything finished; a rate that moves gains .05, of which the rates are the whole."""
    schedules = [SCHEDULES[name] for name in names]
    searches = {schedule.name: search_of(schedule) for schedule in schedules}
    results: dict[str, BySeed] = {}
    rates: dict[str, BySeed] = {}
    batches: dict[str, BySeed] = {}
    for schedule in schedules:
        if schedule.kind == "constant":
            results[schedule.name] = constants_results(schedule.overrides["initial_batch"], seeds)
            continue
        moves, settings = schedule.needs_control(BASE), overlay(BASE, schedule.overrides)
        noise = 12.0 if schedule.kind == "adaptive" else None
        losses = {seed: loss_of(16, 960, seed) - 0.05 * moves + 0.004 * math.cos(9 * seed) for seed in seeds}
        sizes = [8] * 40 + [16] * 20 + [32] * 10
        results[schedule.name] = {seed: result(sizes, losses[seed], settings, noise) for seed in seeds}
        if moves:
            replayed = {seed: losses[seed] + 0.003 * math.sin(3 * seed + 1) for seed in seeds}
            rates[schedule.name] = {seed: result([16] * 60, replayed[seed]) for seed in seeds}
            batches[schedule.name] = {seed: result(sizes, losses[seed] + 0.05) for seed in seeds}
    budgets = {
        schedule.name: {
            budget: constants_results(schedule.overrides["initial_batch"], seeds, budget) for budget in BUDGETS
        }
        for schedule in schedules
        if schedule.kind == "constant"
    }
    points = {name: search.best() for name, search in searches.items()}
    constants = [schedule for schedule in schedules if schedule.kind == "constant"]
    return Comparison(BASE, schedules, constants, searches, points, results, rates, batches, budgets)
