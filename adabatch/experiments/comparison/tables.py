"""Tables of a comparison."""

from __future__ import annotations

import math
from statistics import fmean

from adabatch.experiments.comparison.frontier import Bound
from adabatch.experiments.comparison.noise import equilibrium
from adabatch.experiments.comparison.results import Comparison, Selection
from adabatch.experiments.comparison.variants import ADAPTIVE, Variant
from adabatch.experiments.comparison.wall_clock import time_to_loss
from adabatch.experiments.intervals import Interval, mean_interval
from adabatch.experiments.text import TextTable
from adabatch.reporting.console import summary

__all__ = ["gap_table", "loss_table", "noise_table", "speed_table", "wall_clock_table"]

SATURATING_BATCHES = (8, 16, 32, 64, 128, 256)
"""B_sat of the simulated hardware."""


def loss_table(selection: Selection, title: str) -> TextTable:
    """Steps, mean batch and validation losses of every variant."""
    columns = ("schedule", "lr", "seeds", "steps", "mean batch", "largest", "best val. loss", "final val. loss")
    note = "Means over seeds ± half of the 95% t interval; losses in nats per token; all at equal samples."
    return TextTable(title, note, columns, [_loss_row(variant, selection) for variant in selection.variants])


def _loss_row(variant: Variant, selection: Selection) -> tuple[str, ...]:
    numbers = [run.numbers().values() for run in selection.runs[variant.name].values()]
    steps, batch, largest, *losses = map(mean_interval, zip(*numbers, strict=True))
    rate = f"{selection.rates[variant.name]:g}"
    batches = f"{batch.mean:.1f}", f"{largest.mean:.0f}"
    return (variant.label, rate, str(len(numbers)), interval_text(steps, 0), *batches, *map(interval_text, losses))


def gap_table(selection: Selection, title: str) -> TextTable:
    """Paired differences: to the constant frontier, to the smallest and largest constant, to :data:`ADAPTIVE`."""
    constants = selection.constants
    ends = [constants[0], constants[-1]] if constants else []
    against = next((variant.label for variant in selection.variants if variant.name == ADAPTIVE), None)
    columns = ["schedule", "gap at equal steps", "steps saved at equal loss"]
    columns += [f"minus {end.label}" for end in ends]
    columns += [f"gap minus that of {against}"] if against else []
    rows = []
    for variant in selection.variants:
        cells = [variant.label, signed(selection.gap(variant.name)), percent(selection.steps_saved(variant.name))]
        cells += [signed(selection.loss_difference(variant.name, end.name)) for end in ends]
        cells += [signed(selection.gap_difference(variant.name, ADAPTIVE))] if against else []
        rows.append(tuple(cells))
    note = (
        "Paired by seed, 95% t intervals, * where the interval excludes 0; negative is better. Gap: final "
        "validation loss minus that of constant batches interpolated at the same number of steps."
    )
    return TextTable(title, note, tuple(columns), rows)


def wall_clock_table(selection: Selection, target: Variant, title: str) -> TextTable:
    """Simulated time until each variant reaches a constant schedule's final loss, for hardware of each B_sat.

    In units of the time of the constant schedule that gets there first, mean over the seeds that have both.
    """
    columns = ("schedule", *(f"B_sat {size}" for size in SATURATING_BATCHES))
    rows = []
    for variant in selection.variants:
        ratios = [relative_time(selection, variant, target, size) for size in SATURATING_BATCHES]
        rows.append((variant.label, *("–" if ratio is None else f"{ratio:.2f}" for ratio in ratios)))
    note = (
        f"Time until the validation loss first falls to the final loss of {target.label} (same seed), a step "
        "taking max(1, b / B_sat), over the same of the fastest constant schedule. Below 1 it pays. –: a seed "
        "never gets there."
    )
    return TextTable(title, note, columns, rows)


def relative_time(
    selection: Selection, variant: Variant, target: Variant, saturating_batch: float
) -> float | None:
    """Mean over seeds of time to the target's final loss over that of the fastest constant schedule.

    None where a seed never reaches it.
    """
    ratios = []
    for seed, loss in selection.losses(target.name).items():
        if seed in selection.runs[variant.name]:
            found = [selection.runs[each.name].get(seed) for each in (variant, *selection.constants)]
            own, *constants = [time_to_loss(run.records, loss, saturating_batch) for run in found if run]
            if own is None:
                return None
            ratios.append(own / min(time for time in constants if time is not None))
    return fmean(ratios) if ratios else None


def noise_table(selection: Selection, title: str) -> TextTable:
    """What eta means: the batch of every norm test against the noise scale measured in the same runs."""
    rows = [_noise_row(variant, selection) for variant in selection.variants if variant.kind == "adaptive"]
    note = (
        "Over the later half of each run's tested steps (none run at the largest batch), means over seeds. At "
        "equilibrium b eta^2 / B_noise is 1 for the debiased estimator and 1 - eta^2 for the unbiased one; growth "
        "that never falls adds to it."
    )
    columns = ("schedule", "eta", "tests", "b", "B_noise", "b eta^2 / B_noise", "predicted")
    return TextTable(title, note, columns, rows)


def _noise_row(variant: Variant, selection: Selection) -> tuple[str, ...]:
    runs = list(selection.runs[variant.name].values())
    eta = runs[0].settings.schedule.eta
    found = [each for run in runs if (each := equilibrium(run.records, run.settings)) is not None]
    if not found:
        return (variant.label, f"{eta:g}", "0", *["–"] * 4)
    factors = [each.batch * eta**2 / each.noise_scale for each in found]
    predicted = [each.predicted * eta**2 / each.noise_scale for each in found if each.predicted is not None]
    return (
        variant.label,
        f"{eta:g}",
        f"{fmean(each.tests for each in found):.0f}",
        f"{fmean(each.batch for each in found):.1f}",
        f"{fmean(each.noise_scale for each in found):.1f}",
        interval_text(mean_interval(factors), 2),
        f"{fmean(predicted):.2f}" if predicted else "–",
    )


def speed_table(comparison: Comparison) -> TextTable:
    """Throughput and seconds in steps on this machine, mean over the runs of a variant; not reproducible."""
    rows = []
    for variant in comparison.variants:
        values = [summary(run.records) for key, run in comparison.runs.items() if key.variant == variant.name]
        if values:
            rate, seconds = (fmean(value[name] for value in values) for name in ("tokens/s", "seconds in steps"))
            rows.append((variant.label, str(len(values)), f"{rate:,.0f}", f"{seconds:.1f}"))
    note = "On the machine that ran them, and on what else it did at the time: these numbers are not reproducible."
    return TextTable("Throughput", note, ("schedule", "runs", "tokens/s", "seconds in steps"), rows)


def interval_text(interval: Interval, digits: int = 4) -> str:
    """Mean ± half width.

    >>> interval_text(Interval(1.5, 0.25, 3), 2)
    '1.50 ± 0.25'
    """
    spread = f" ± {interval.half_width:.{digits}f}" if math.isfinite(interval.half_width) else ""
    return f"{interval.mean:.{digits}f}{spread}"


def signed(interval: Interval | None) -> str:
    """A difference with its sign, starred where its interval excludes 0.

    >>> signed(Interval(-0.05, 0.01, 3)), signed(None)
    ('-0.0500 ± 0.0100 *', '–')
    """
    if interval is None:
        return "–"
    return ("+" if interval.mean > 0 else "") + interval_text(interval) + (" *" if interval.excludes_zero else "")


def percent(saved: tuple[Interval, Bound] | None) -> str:
    """A share as percent; a bound on it without an interval, which would not be that of the share.

    >>> percent((Interval(0.25, 0.05, 3), "exact")), percent((Interval(0.25, 0.05, 3), "at least"))
    ('25 ± 5%', '≥ 25%')
    """
    if saved is None:
        return "–"
    interval, bound = saved
    if bound != "exact":
        return f"{'≥' if bound == 'at least' else '≤'} {100 * interval.mean:.0f}%"
    return interval_text(Interval(100 * interval.mean, 100 * interval.half_width, interval.count), 0) + "%"
