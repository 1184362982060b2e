"""Tables of every run and every try in full precision, for files."""

from __future__ import annotations

from adabatch.experiments.comparison.plan import SEARCH_SEEDS
from adabatch.experiments.comparison.results import Comparison, RunResult
from adabatch.experiments.comparison.tuning.points import PATHS, WARMUPS, rate_at
from adabatch.experiments.text import TextTable

__all__ = ["runs_table", "search_table"]


def search_table(comparison: Comparison) -> TextTable:
    """Every try of every search; empty where a schedule's own settings fix what would be tuned."""
    rows = []
    first_seed = comparison.base.data.seed + SEARCH_SEEDS
    for name, search in comparison.searches.items():
        axes = search.axes
        for (point, seed), loss in search.losses.items():
            rate = repr(rate_at(comparison.base, point)) if axes.rate else ""
            path = list(PATHS)[point.path] if axes.path else ""
            warmup = repr(WARMUPS[point.warmup]) if axes.warmup else ""
            rows.append((name, rate, path, warmup, str(first_seed + seed), repr(loss)))
    return TextTable("Search", "", ("schedule", "rate", "path", "warmup", "seed", "loss"), rows)


def runs_table(comparison: Comparison) -> TextTable:
    """Every result, control and other budget."""
    groups = [("result", name, 1.0, runs) for name, runs in comparison.results.items()]
    groups += [("rates replayed", name, 1.0, runs) for name, runs in comparison.rates_replayed.items()]
    groups += [("batches replayed", name, 1.0, runs) for name, runs in comparison.batches_replayed.items()]
    groups += [
        ("budget", name, budget, runs)
        for name, budgets in comparison.budgets.items()
        for budget, runs in budgets.items()
    ]
    columns = ("schedule", "part", "seed", "budget", "steps", "mean_batch", "largest_batch", "final_loss")
    rows = [
        (name, part, str(seed), repr(budget), *_numbers(run))
        for part, name, budget, runs in groups
        for seed, run in sorted(runs.items())
    ]
    return TextTable("Runs", "", columns, rows)


def _numbers(run: RunResult) -> tuple[str, ...]:
    return str(run.steps), repr(run.mean_batch), str(run.largest_batch), repr(run.final_loss)
