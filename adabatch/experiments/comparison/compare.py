"""The command ``adabatch compare``: plan, train what is missing, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from adabatch.experiments.comparison.plan import Plan, plan_runs
from adabatch.experiments.comparison.report import write_report
from adabatch.experiments.comparison.results import read_results
from adabatch.experiments.comparison.variants import Variant, choose_variants, standard_variants
from adabatch.experiments.runner import alone, carry_out, say
from adabatch.experiments.text import heading_of
from adabatch.settings import Settings, overlay
from adabatch.training.building import check_settings

__all__ = ["Request", "compare"]

QUICK = {
    "samples": 256,
    "warmup_samples": 32,
    "validation_interval": 128,
    "validation_samples": 8,
    "sequence_length": 32,
}
"""Settings of the smallest comparison, for a first look and for tests."""


@dataclass(frozen=True)
class Request:
    """What to compare.

    Attributes:
        base: settings of all runs.
        output: folder.
        variants: names; all if none.
        seeds: how many, from the base's seed on.
        learning_rates: peaks; the base's if none.
        constant_batches: of the frontier; see :func:`adabatch.experiments.comparison.variants.standard_variants`.
        processes: runs at once; 0 takes the cores.
        quick: a tiny comparison.
        report_only: train nothing; report what is finished.
        command: as it was called, for the report.
    """

    base: Settings
    output: Path
    variants: Sequence[str] = ()
    seeds: int = 3
    learning_rates: Sequence[float] = ()
    constant_batches: Sequence[int] = ()
    processes: int = 0
    quick: bool = False
    report_only: bool = False
    command: str = "adabatch compare"


def compare(request: Request) -> None:
    """Train the runs that are not finished, then write tables and figures and print the tables.

    Raises:
        ValueError: for whatever the request gets wrong, and for a run that fails.
    """
    variants, plan = plan_comparison(request)
    if not request.report_only:
        with alone(request.output):
            carry_out(list(plan.values()), request.processes)
    comparison = read_results(variants, plan)
    if not comparison.runs:
        raise ValueError(f"no run of this comparison is finished in {request.output}: leave out --report-only")
    heading = heading_of(request.command, len(comparison.runs), len(plan), "runs")
    print(write_report(comparison, request.output, heading))
    print(f"tables: {request.output / 'comparison.md'}   figures: {request.output / 'figures'}")


def plan_comparison(request: Request) -> tuple[list[Variant], Plan]:
    """The variants and their runs, all settings checked that need no other run."""
    base = overlay(request.base, QUICK) if request.quick else request.base
    if not base.run.validation_interval:
        raise ValueError("a comparison needs validation losses: set --validation-interval above 0")
    known = standard_variants(base, request.constant_batches)
    variants = choose_variants(known, request.variants)
    if request.seeds == 1:
        alone = [
            variant for variant in variants if variant.derived is not None and variant.derived.how == "replay"
        ]
        for variant in alone:
            say(f"{variant.name} is left out: it needs at least 2 seeds (--seeds)")
        variants = [variant for variant in variants if variant not in alone]
    seeds = range(base.data.seed, base.data.seed + request.seeds)
    rates = request.learning_rates or (base.optimizer.lr,)
    plan = plan_runs(variants, base, seeds, rates, request.output)
    for run in plan.values():
        if not run.needs:
            check_settings(run.resolved(), base.parallel.ranks)
    return variants, plan
