"""Tables of a comparison."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from adabatch.experiments.comparison.findings import CONTRASTS, Findings
from adabatch.experiments.comparison.noise import NoiseRange, equilibrium, noise_scales
from adabatch.experiments.comparison.report.cells import contrast_text, range_text, time_text
from adabatch.experiments.comparison.report.tuned import Tuned
from adabatch.experiments.comparison.results import Comparison, RunResult
from adabatch.experiments.comparison.schedules import Schedule
from adabatch.experiments.intervals import LEVEL, mean_interval, seeds_needed
from adabatch.experiments.text import MISSING, TextTable, interval_text

__all__ = ["loss_table", "noise_table", "time_table", "tuning_table"]

EDGES = {"rate": "rate", "warmup": "warm-up"}
"""Directions of a search in words."""

PRECISION = 0.01
"""Half width, in nats per token, for which the seeds needed are said."""


def loss_table(findings: Findings) -> TextTable:
    """Steps, mean batch, loss and contrasts of every schedule, and the seeds that its gap needs."""
    columns = ("schedule", "seeds", "steps", "mean batch", "loss", "gap")
    controls = ("minus rates replayed", "minus batches replayed")
    note = (
        "Final validation losses in nats per token at equal samples, means over seeds ± half of the 95% t "
        "interval. A schedule that shortens its sequences sees fewer tokens in as many samples. Gap: minus the "
        "constant batches' loss at as many steps. Minus rates replayed: minus a constant batch with as many steps "
        "and the schedule's learning rates. Minus batches replayed: minus the schedule's batches with a constant "
        "batch's learning rates. Differences are paired by seed (n where fewer are finished); negative is better. "
        f"*: below {1 - LEVEL:.0%} after Holm's correction over all differences of the table. Last column: seeds "
        f"needed to know the gap to ±{PRECISION:g}."
    )
    rows = [_loss_row(schedule, findings) for schedule in findings.comparison.schedules]
    return TextTable("Losses at equal samples", note, (*columns, *controls, f"seeds for ±{PRECISION:g}"), rows)


def _loss_row(schedule: Schedule, findings: Findings) -> tuple[str, ...]:
    runs = list(findings.comparison.results[schedule.name].values())
    contrasts = findings.contrasts.get(schedule.name, dict.fromkeys(CONTRASTS))
    gap = contrasts["gap"]
    needed = None if gap is None else seeds_needed(gap.interval, PRECISION)
    return (
        schedule.label,
        str(len(runs)),
        f"{fmean(run.steps for run in runs):.0f}",
        f"{fmean(run.mean_batch for run in runs):.1f}",
        interval_text(mean_interval([run.final_loss for run in runs])),
        *(contrast_text(contrast, len(runs)) for contrast in contrasts.values()),
        MISSING if needed is None else str(needed),
    )


def time_table(findings: Findings) -> TextTable:
    """Time to each schedule's loss on several kinds of hardware, over that of the fastest constant batch."""
    names = list(dict.fromkeys(name for times in findings.times.values() for name in times))
    rows = [
        (schedule.label, *(time_text(findings.times[schedule.name][name]) for name in names))
        for schedule in findings.comparison.schedules
    ]
    note = (
        "A schedule's time over the least in which a tuned constant batch, given half to twice the samples, "
        "comes to the same loss; below 1 the schedule is faster. A step on b samples takes 1 + b / B_sat, on a "
        "roofline max(1, b / B_sat); a shortened sequence counts as part of a sample. Geometric means with their "
        f"95% t intervals{_time_seeds(findings)}. ≥: the ratio is at least this, since a constant batch might be "
        "faster that missed the loss with the most samples it was given, or reached it with the fewest already. "
        "≤: it is at most this, since no constant batch reached the loss. With more or fewer samples, constant "
        "batches keep the learning rate tuned at the comparison's own, which slightly favours the schedules."
    )
    return TextTable("Time to equal loss", note, ("schedule", *names), rows)


def _time_seeds(findings: Findings) -> str:
    """On how many seeds the times rest; nothing where there are none."""
    times = [time for by_hardware in findings.times.values() for time in by_hardware.values() if time]
    counts = sorted({time.seeds for time in times})
    if not counts:
        return ""
    most = max(map(len, findings.comparison.results.values()))
    return f" over {' or '.join(map(str, counts))} of the {most} seeds"


def tuning_table(comparison: Comparison) -> TextTable:
    """What was chosen for each schedule, after how many tries, and where the best lies at the edge of them."""
    columns = ("schedule", "learning rate", "path", "warm-up", "points", "runs", "at the edge")
    note = (
        "The point of the lowest mean loss on the seeds of the search. Warm-up: share of the samples. In "
        "brackets: set by the schedule itself. At the edge: nothing beyond it was tried, so that a better point "
        "may lie beyond it."
    )
    return TextTable("Tuning", note, columns, [_tuning_row(each, comparison) for each in comparison.schedules])


def _tuning_row(schedule: Schedule, comparison: Comparison) -> tuple[str, ...]:
    search, tuned = comparison.searches[schedule.name], Tuned.of(comparison, schedule)
    cells = (
        (tuned.axes.rate, f"{tuned.rate:.3g}"),
        (tuned.axes.path, tuned.path),
        (tuned.axes.warmup, f"{tuned.warmup:.0%}"),
    )
    return (
        schedule.label,
        *(text if by_search else f"({text})" for by_search, text in cells),
        str(len(search.ranking())),
        str(len(search.losses)),
        ", ".join(EDGES[edge] for edge in tuned.edges) or MISSING,
    )


def noise_table(comparison: Comparison, noise: NoiseRange) -> TextTable:
    """The noise scale along the runs that measured it, and the batch that eta makes of it.

    Args:
        comparison: whose runs measured it.
        noise: the range of all its noise scales.
    """
    adaptive = [schedule for schedule in comparison.schedules if schedule.kind == "adaptive"]
    rows = [_noise_row(schedule, list(comparison.results[schedule.name].values())) for schedule in adaptive]
    medians = ", ".join(range_text([scale]) for scale in noise.quarters)
    note = (
        f"Quarters of the samples; medians over all runs: {medians}, {'' if noise.within else 'not all '}within "
        f"the constant batches of {noise.smallest_batch} to {noise.largest_batch}. In the table "
        "the lowest and highest of the seeds; ∞: the noise hides the gradient; –: not measured. What eta "
        "means: over the later half of the tests, at equilibrium b eta^2 / B_noise is 1 for the debiased "
        "estimator and 1 − eta^2 for the unbiased one; growth that never falls adds to it."
    )
    quarters = ("1st quarter", "2nd", "3rd", "4th")
    columns = ("schedule", *quarters, "eta", "b eta^2 / B_noise", "predicted")
    return TextTable("Noise scale", note, columns, [row for row in rows if row])


def _noise_row(schedule: Schedule, runs: Sequence[RunResult]) -> tuple[str, ...]:
    """Empty for a test on coordinates."""
    settings = runs[0].settings.schedule
    if settings.test != "scalar":
        return ()
    records = [run.records() for run in runs]
    quarters = (range_text(scales) for scales in zip(*map(noise_scales, records), strict=True))
    if settings.schedule != "norm-test":
        return (schedule.label, *quarters, MISSING, MISSING, MISSING)
    found = [
        each
        for run, its_records in zip(runs, records, strict=True)
        if (each := equilibrium(its_records, run.settings)) is not None
    ]
    factors = [each.batch * settings.eta**2 / each.noise_scale for each in found]
    predicted = [(each.predicted or 0) * settings.eta**2 / each.noise_scale for each in found]
    return (
        schedule.label,
        *quarters,
        f"{settings.eta:g}",
        interval_text(mean_interval(factors), 2) if factors else MISSING,
        f"{fmean(predicted):.2f}" if predicted else MISSING,
    )
