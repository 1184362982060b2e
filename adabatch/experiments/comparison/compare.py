"""The command ``adabatch compare``: list the runs, train those that are not finished, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adabatch.experiments.comparison.report import write_report
from adabatch.experiments.comparison.results import read_results
from adabatch.experiments.comparison.runs import Runs, comparison_runs
from adabatch.experiments.comparison.variants import Variant, choose_variants, standard_variants
from adabatch.experiments.request import Request
from adabatch.experiments.runner import log
from adabatch.experiments.text import heading_of
from adabatch.training.checks import check_settings

__all__ = ["CompareRequest", "compare"]

QUICK = {
    "samples": 256,
    "warmup_samples": 32,
    "validation_interval": 128,
    "validation_samples": 8,
    "sequence_length": 32,
}
"""Settings of the smallest comparison, for a first look and for tests."""


@dataclass(frozen=True, kw_only=True)
class CompareRequest(Request):
    """What to compare; the other fields are those of every :class:`~adabatch.experiments.request.Request`.

    Attributes:
        variants: names; all if none.
        learning_rates: peaks; the base's if none.
        constant_batches: of the frontier; see :func:`adabatch.experiments.comparison.variants.standard_variants`.
    """

    variants: Sequence[str] = ()
    learning_rates: Sequence[float] = ()
    constant_batches: Sequence[int] = ()
    seeds: int = 3
    command: str = "adabatch compare"


def compare(request: CompareRequest) -> None:
    """Train the runs that are not finished, then write tables and figures and print the tables.

    Raises:
        ValueError: for a request that cannot work, and for a run that fails.
    """
    variants, runs = _variants_and_runs(request)
    request.train(list(runs.values()))
    comparison = read_results(variants, runs)
    if not comparison.runs:
        raise ValueError(f"no run of this comparison is finished in {request.output}: leave out --report-only")
    heading = heading_of(request.command, len(comparison.runs), len(runs), "runs")
    print(write_report(comparison, request.output, heading))
    print(f"tables: {request.output / 'comparison.md'}   figures: {request.output / 'figures'}")


def _variants_and_runs(request: CompareRequest) -> tuple[list[Variant], Runs]:
    """The variants and their runs, all settings checked that need no other run."""
    base = request.settings(QUICK)
    if not base.run.validation_interval:
        raise ValueError("a comparison needs validation losses: set --validation-interval above 0")
    known = standard_variants(base, request.constant_batches)
    variants = choose_variants(known, request.variants)
    if request.seeds == 1:
        replays = [v for v in variants if v.derived is not None and v.derived.how == "replay"]
        for variant in replays:
            log(f"{variant.name} is left out: it needs at least 2 seeds (--seeds)")
        variants = [variant for variant in variants if variant not in replays]
    rates = request.learning_rates or (base.optimizer.lr,)
    runs = comparison_runs(variants, base, request.seed_range(), rates, request.output)
    for run in runs.values():
        if not run.needs:
            check_settings(run.resolved(), base.parallel.ranks)
    return variants, runs
