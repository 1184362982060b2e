"""The command ``adabatch compare``: tune every schedule, train results and controls, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from adabatch.data.corpus import check_sources
from adabatch.data.progress import prepare_with_progress
from adabatch.experiments.comparison.claims.claims import load_claims, print_survival
from adabatch.experiments.comparison.plan import BUDGETS, ComparisonPlan
from adabatch.experiments.comparison.report.report import write_report
from adabatch.experiments.comparison.results import BySeed, Comparison, RunResult
from adabatch.experiments.comparison.schedules import choose_schedules, own_schedules, standard_schedules
from adabatch.experiments.comparison.tuning.points import Point, settings_at
from adabatch.experiments.comparison.tuning.search import Effort
from adabatch.experiments.comparison.tuning.tuned_file import read_tuned, write_tuned
from adabatch.experiments.progress import Progress
from adabatch.experiments.request import Request
from adabatch.experiments.run import ExperimentRun, changed_settings
from adabatch.experiments.runner import log
from adabatch.settings import CONFIG, Settings, load_settings, overlay, write_config
from adabatch.training.checks import check_settings

__all__ = ["compare", "gather"]

SEARCHED = ("lr_path", "decay_fraction", "warmup_samples")
"""What no run takes from the comparison's settings, since every schedule has its own."""

SMALLEST_BATCHES = {"initial_batch": 2, "max_batch": 32, "micro_batch": 1}
"""Goodput takes no larger first batch in so few samples."""

QUICK = {
    "samples": 256,
    "validation_interval": 256,
    "validation_samples": 8,
    "sequence_length": 32,
} | SMALLEST_BATCHES
"""Settings of the smallest comparison, for a first look and for tests."""

EFFORT = Effort()

QUICK_EFFORT = Effort(points=2, finalists=1, seeds=2, closing=0)


def compare(
    request: Request,
    names: Sequence[str] = (),
    variants: Sequence[str] = (),
    constant_batches: Sequence[int] = (),
    effort: Effort = EFFORT,
    tuned_by: Path | None = None,
    claims: Path | None = None,
) -> None:
    """Tune every schedule, train the runs that are not finished, then write tables and figures.

    Args:
        request: what every experiment is asked for.
        names: of the schedules; all if none. Constant ones always take part.
        variants: schedules of the user's; see :func:`adabatch.experiments.comparison.schedules.own_schedules`.
        constant_batches: see :func:`adabatch.experiments.comparison.schedules.standard_schedules`.
        effort: of each search.
        tuned_by: the folder of a comparison whose points are taken in place of searches.
        claims: the file of a page's sentences, to be checked against this comparison.

    Raises:
        ValueError: for a request that cannot work, and for a run that fails.
    """
    if claims is not None:
        load_claims(claims)  # before anything is trained
    base = request.settings(QUICK)
    if not base.run.validation_interval:
        raise ValueError("a comparison needs validation losses: set --validation-interval above 0")
    plan = _plan(request, base, names, variants, constant_batches, effort, tuned_by)
    _refuse_other_settings(base, request.output)
    if not request.report_only:
        _check_sources(base)
        request.output.mkdir(parents=True, exist_ok=True)
        write_config(base, request.output)
        train(plan, request)
    comparison = gather(plan)
    if not comparison.results:
        raise ValueError(
            f"no schedule of this comparison is finished in {request.output}: leave out --report-only"
        )
    heading = request.heading(len(plan.finished_runs()), plan.work().runs, "runs")
    print(write_report(comparison, request.output, heading))
    if claims is not None:
        print(print_survival(claims, request.output / "comparison.json"))
    print(f"tables: {request.output / 'comparison.md'}   figures: {request.output / 'figures'}")


def _plan(
    request: Request,
    base: Settings,
    names: Sequence[str],
    variants: Sequence[str],
    constant_batches: Sequence[int],
    effort: Effort,
    tuned_by: Path | None,
) -> ComparisonPlan:
    """The runs, once every schedule is known to be one that can be trained."""
    known = standard_schedules(base, constant_batches)
    schedules = [*choose_schedules(known, names), *own_schedules(variants, base, known)]
    for schedule in schedules:
        try:
            check_settings(settings_at(base, schedule, Point(), base.data.seed), base.parallel.ranks)
        except ValueError as refusal:
            others = "take other constant batches (--constant-batches, --initial-batch)"
            way = others if schedule.kind == "constant" else "leave it out (--schedules)"
            raise ValueError(f"the schedule {schedule.name}: {refusal}; or {way}") from None
    seeds = request.seed_range()
    first, chosen = base.schedule.initial_batch, [schedule.name for schedule in schedules]
    tuned = {} if tuned_by is None else read_tuned(tuned_by, chosen, seeds, first)
    if request.quick:
        effort = replace(QUICK_EFFORT, points=min(effort.points, QUICK_EFFORT.points))
    return ComparisonPlan(base, schedules, seeds, request.output, effort, tuned)


def _check_sources(base: Settings) -> None:
    """Raise ValueError for a mixture with a source that ends before the largest budget does."""
    if base.data.mixture:
        most = max(BUDGETS)
        try:
            check_sources(base.data, prepare_with_progress(base.data), round(most * base.run.samples))
        except ValueError as refusal:
            raise ValueError(f"constant batches are trained on {most:g} times --samples too: {refusal}") from None


def _refuse_other_settings(base: Settings, folder: Path) -> None:
    """Raise ValueError if the folder's comparison had other settings: its tables would be of something else."""
    saved = load_settings(file=folder / CONFIG) if (folder / CONFIG).is_file() else base
    saved = overlay(saved, {name: getattr(base.optimizer, name) for name in SEARCHED})
    if differences := changed_settings(saved, base):
        raise ValueError(
            f"the folder {folder} has a comparison with other settings ({'; '.join(differences)}): take another "
            "--output, or the settings that it had"
        )


def train(plan: ComparisonPlan, request: Request) -> None:
    """Train the searches, all schedules' next tries together until nothing is left, and then the results."""
    progress = Progress(plan.work(), plan.finished_runs())
    if progress.finished:
        log(f"{progress.count()} are finished already")
    while wanted := plan.wanted_tries():
        request.train(wanted, progress)
        progress.planned = plan.work()
        progress.finished |= plan.finished_runs()  # also tries of an earlier start
    if not plan.tuned:
        write_tuned(plan.points(), plan.search_seeds, plan.base.schedule.initial_batch, request.output)
    request.train(plan.result_runs(), progress)


def gather(plan: ComparisonPlan) -> Comparison:
    """The comparison as far as it is finished."""
    points = plan.points()
    results = {name: by_seed for name in points if (by_seed := _finished(plan.results(name)))}
    schedules = [schedule for schedule in plan.schedules if schedule.name in results]
    constants = [schedule.name for schedule in plan.constants if schedule.name in results]
    controls = plan.controls()
    return Comparison(
        base=plan.base,
        schedules=schedules,
        constants=plan.constants,
        searches={schedule.name: plan.search(schedule) for schedule in plan.schedules},
        points=points,
        results=results,
        rates_replayed={name: _finished(controls[name][0]) for name in controls if name in results},
        batches_replayed={name: _finished(controls[name][1]) for name in controls if name in results},
        budgets={
            name: {budget: _finished(plan.results(name, budget)) for budget in BUDGETS} for name in constants
        },
    )


def _finished(runs: Mapping[int, ExperimentRun]) -> BySeed:
    return {seed: RunResult.of(run) for seed, run in runs.items() if run.finished()}
