"""The command ``adabatch compare``: list the runs, train those that are not finished, report."""

from __future__ import annotations

from collections.abc import Sequence

from adabatch.experiments.comparison.report import write_report
from adabatch.experiments.comparison.results import Comparison, RunResult
from adabatch.experiments.comparison.runs import comparison_runs
from adabatch.experiments.comparison.variants import choose_variants, standard_variants
from adabatch.experiments.request import Request
from adabatch.experiments.runner import log
from adabatch.training.checks import check_settings

__all__ = ["compare"]

QUICK = {
    "samples": 256,
    "warmup_samples": 32,
    "validation_interval": 128,
    "validation_samples": 8,
    "sequence_length": 32,
}
"""Settings of the smallest comparison, for a first look and for tests."""


def compare(
    request: Request,
    variants: Sequence[str] = (),
    learning_rates: Sequence[float] = (),
    constant_batches: Sequence[int] = (),
) -> None:
    """Train the runs that are not finished, then write tables and figures and print the tables.

    Args:
        request: what every experiment is asked for.
        variants: names; all if none.
        learning_rates: peaks; the base's if none.
        constant_batches: of the frontier; see :func:`adabatch.experiments.comparison.variants.standard_variants`.

    Raises:
        ValueError: for a request that cannot work, and for a run that fails.
    """
    base = request.settings(QUICK)
    if not base.run.validation_interval:
        raise ValueError("a comparison needs validation losses: set --validation-interval above 0")
    chosen = choose_variants(standard_variants(base, constant_batches), variants)
    if request.seeds == 1:
        for variant in [variant for variant in chosen if variant.derived == "replay"]:
            log(f"{variant.name} is left out: it needs at least 2 seeds (--seeds)")
            chosen.remove(variant)
    rates = learning_rates or (base.optimizer.lr,)
    runs = comparison_runs(chosen, base, request.seed_range(), rates, request.output)
    for run in runs.values():
        if not run.needs:
            check_settings(run.resolved(), base.parallel.ranks)
    request.train(list(runs.values()))
    finished = {key: run for key, run in runs.items() if run.finished()}
    if not finished:
        raise ValueError(f"no run of this comparison is finished in {request.output}: leave out --report-only")
    results = {key: RunResult.of_run(run.records(), run.resolved()) for key, run in finished.items()}
    heading = request.heading(len(results), len(runs), "runs")
    print(write_report(Comparison(chosen, results), request.output, heading))
    print(f"tables: {request.output / 'comparison.md'}   figures: {request.output / 'figures'}")
