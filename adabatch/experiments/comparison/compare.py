"""The command ``adabatch compare``: tune every schedule, train results and controls, report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from adabatch.experiments.comparison.plan import BUDGETS, Plan
from adabatch.experiments.comparison.points import Point
from adabatch.experiments.comparison.report import write_report
from adabatch.experiments.comparison.results import BySeed, Comparison, RunResult
from adabatch.experiments.comparison.schedules import Schedule, choose_schedules, standard_schedules
from adabatch.experiments.comparison.search import Effort
from adabatch.experiments.request import Request
from adabatch.experiments.run import ExperimentRun
from adabatch.training.checks import check_settings

__all__ = ["compare", "gather"]

QUICK = {"samples": 256, "validation_interval": 256, "validation_samples": 8, "sequence_length": 32}
"""Settings of the smallest comparison, for a first look and for tests."""

QUICK_EFFORT = Effort(points=2, finalists=1, seeds=2)


def compare(
    request: Request,
    names: Sequence[str] = (),
    own: Sequence[Schedule] = (),
    constant_batches: Sequence[int] = (),
    effort: Effort | None = None,
) -> None:
    """Tune every schedule, train the runs that are not finished, then write tables and figures.

    Args:
        request: what every experiment is asked for.
        names: of the schedules; all if none. Constant ones always take part.
        own: schedules of the user's.
        constant_batches: see :func:`adabatch.experiments.comparison.schedules.standard_schedules`.
        effort: of each search.

    Raises:
        ValueError: for a request that cannot work, and for a run that fails.
    """
    base = request.settings(QUICK)
    if not base.run.validation_interval:
        raise ValueError("a comparison needs validation losses: set --validation-interval above 0")
    known = [*standard_schedules(base, constant_batches), *own]
    schedules = choose_schedules(known, [*names, *(schedule.name for schedule in own)] if names else ())
    effort = effort or (QUICK_EFFORT if request.quick else Effort())
    plan = Plan(base, schedules, request.seed_range(), request.output, effort)
    for schedule in schedules:
        check_settings(plan.run(schedule, Point(), plan.seeds[0]).resolved(), base.parallel.ranks)
    tune(plan, request)
    request.train(plan.result_runs())
    comparison = gather(plan)
    if not comparison.results:
        raise ValueError(f"no schedule of this comparison is finished in {request.output}: leave out --report-only")
    heading = request.heading(len(comparison.results), len(schedules), "schedules")
    print(write_report(comparison, request.output, heading))
    print(f"tables: {request.output / 'comparison.md'}   figures: {request.output / 'figures'}")


def tune(plan: Plan, request: Request) -> None:
    """Train what the searches want, all schedules' next tries together, until nothing is left."""
    while wanted := plan.wanted_tries():
        if request.report_only:
            return
        request.train(wanted)


def gather(plan: Plan) -> Comparison:
    """The comparison as far as it is finished."""
    points = plan.points()
    results = {name: by_seed for name in points if (by_seed := _finished(plan.results(name)))}
    schedules = [schedule for schedule in plan.schedules if schedule.name in results]
    constants = [schedule.name for schedule in plan.constants if schedule.name in results]
    controls = plan.controls()
    return Comparison(
        base=plan.base,
        schedules=schedules,
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
