"""Figures of a comparison, one for each question."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, LogLocator, NullLocator

from adabatch.experiments.comparison.findings import CONTRASTS, Contrast, Findings
from adabatch.experiments.comparison.frontier import Frontier
from adabatch.experiments.comparison.hardware import RelativeTime
from adabatch.experiments.comparison.report.rows import COLOURS, MARKERS, Mark, rows_figure, rows_in_panels
from adabatch.experiments.comparison.report.tuning_figure import tuning_figure
from adabatch.experiments.comparison.results import BySeed, Comparison
from adabatch.experiments.comparison.schedules import Schedule
from adabatch.experiments.intervals import Interval
from adabatch.reporting.figures import panels, plain_numbers, write_figures
from adabatch.reporting.metrics import Record
from adabatch.reporting.overlays import Curve, curves_figure, points_of
from adabatch.reporting.series import smoothing_width

__all__ = ["save_comparison_figures"]

CURVES = 4
"""Schedules drawn with the smallest and the largest constant batch: those of the lowest gaps."""


def save_comparison_figures(findings: Findings, folder: Path) -> list[Path]:
    """Draw what is finished, each figure as PNG and PDF."""
    comparison = findings.comparison
    figures = {"frontier": frontier_figure(findings), "curves": training_figure(findings)}
    if any(search.losses for search in comparison.searches.values()):
        figures["tuning"] = tuning_figure(comparison)
    if findings.contrasts:
        figures["gaps"] = gaps_figure(findings)
    if _controlled(findings):
        figures["controls"] = controls_figure(findings)
    if any(any(findings.times[schedule.name].values()) for schedule in _others(comparison)):
        figures["time"] = time_figure(findings)
    return write_figures(figures, folder)


def frontier_figure(findings: Findings) -> Figure:
    """Final validation loss against steps, the intervals those of the gaps to the constants' frontier of means.

    The frontier is drawn once all constant schedules have results.
    """
    comparison = findings.comparison
    figure, (axes,) = panels(1, size=(8, 5))
    means = {schedule.name: _mean_point(comparison.results[schedule.name]) for schedule in comparison.schedules}
    constants = [means[schedule.name] for schedule in _finished_constants(comparison)]
    frontier = Frontier.of_points(constants)
    if len(frontier.steps) > 1 and len(constants) == len(comparison.constants):
        steps = np.geomspace(frontier.steps[0], frontier.steps[-1], 200)[1:-1]
        losses = np.array([frontier.loss_at(each) for each in steps], dtype=float)
        axes.plot(steps, losses, color="0.6", linewidth=1.2, zorder=0)
    for schedule in comparison.schedules:
        if not math.isfinite(means[schedule.name][1]):
            continue
        gap = _gap(findings, schedule)
        half = gap.half_width if gap and math.isfinite(gap.half_width) else None
        look = _look(schedule, comparison)
        axes.errorbar(*means[schedule.name], yerr=half, capsize=2, linestyle="", label=schedule.label, **look)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(sorted({round(at) for at, _ in constants})))
    axes.xaxis.set_minor_locator(NullLocator())
    plain_numbers(axes.xaxis)
    axes.set(xlabel="optimizer steps", ylabel="final validation loss (nats per token)")
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    return figure


def gaps_figure(findings: Findings) -> Figure:
    """The gap to the constants' frontier at equal steps, with its interval and each seed's value."""
    comparison, shown = findings.comparison, _others(findings.comparison)
    marks = [_of_contrast(findings.contrasts[schedule.name]["gap"]) for schedule in shown]
    label = "validation loss minus that of constant batches at equal steps (nats)"
    figure = rows_figure([schedule.label for schedule in shown], {"mean": marks}, 0, label)
    for row, schedule in enumerate(shown):
        gaps = list(comparison.gaps(schedule.name).values())
        figure.axes[0].plot(gaps, [-row] * len(gaps), "|", markersize=9, alpha=0.5, color="0.3", zorder=0)
    return figure


def controls_figure(findings: Findings) -> Figure:
    """Whether a gain is that of the batches: the gap, and the loss minus that of each control."""
    shown = _controlled(findings)
    contrasts = [findings.contrasts[schedule.name] for schedule in shown]
    names = dict(zip(CONTRASTS, ("gap", "minus its rates replayed", "minus its batches replayed"), strict=True))
    series = {name: [_of_contrast(each[what]) for each in contrasts] for what, name in names.items()}
    return rows_figure(
        [schedule.label for schedule in shown],
        series,
        0,
        "difference of validation losses (nats), negative is better",
    )


def time_figure(findings: Findings) -> Figure:
    """Time to each schedule's loss on several kinds of hardware, over that of the fastest constant batch."""
    shown = _others(findings.comparison)
    times = [findings.times[schedule.name] for schedule in shown]
    series = {name: [_of_time(each[name]) for each in times] for name in times[0]}
    label = (
        "time to equal loss, over the fastest constant batch's\n"
        "(below 1 the schedule is faster; arrows are bounds)"
    )
    figure = rows_in_panels([schedule.label for schedule in shown], series, 1, label)
    axis = figure.axes[0].xaxis
    figure.axes[0].set_xscale("log", base=2)
    axis.set_major_locator(LogLocator(base=2, subs=(1, 1.5)))
    axis.set_minor_locator(NullLocator())
    plain_numbers(axis)
    return figure


def training_figure(findings: Findings) -> Figure:
    """Loss and batch of the smallest and largest constant and of schedules of low gaps, means over seeds."""
    comparison = findings.comparison
    lowest = sorted(_others(comparison), key=lambda each: _mean_or_infinite(_gap(findings, each)))
    constants = _finished_constants(comparison)
    ends = [*constants[:1], *constants[1:][-1:]]
    colours = [_look(constant, comparison)["color"] for constant in ends] + list(COLOURS)
    width = smoothing_width(comparison.base.run.samples)
    curves = []
    for schedule, colour in zip([*ends, *lowest[:CURVES]], colours, strict=False):
        look = {"color": colour}
        records = [run.records() for run in comparison.results[schedule.name].values()]
        curves.append(Curve(schedule.label, look, partial(_mean_curve, records, width=width)))
    return curves_figure(curves, width)


def _mean_curve(runs: Sequence[Sequence[Record]], name: str, width: float) -> tuple[Any, Any]:
    """A quantity against samples, averaged over seeds at the points of the seed that has the fewest."""
    curves = [points_of(records, name, width) for records in runs]
    points = min((x for x, _ in curves if x), key=len, default=[])
    return points, np.mean([np.interp(points, x, y) for x, y in curves if x], axis=0) if points else []


def _others(comparison: Comparison) -> list[Schedule]:
    """The schedules that are not constant."""
    return [schedule for schedule in comparison.schedules if schedule.kind != "constant"]


def _finished_constants(comparison: Comparison) -> list[Schedule]:
    """The constant schedules with results, smallest batch first."""
    return [schedule for schedule in comparison.constants if schedule in comparison.schedules]


def _gap(findings: Findings, schedule: Schedule) -> Interval | None:
    """None of a constant schedule, and where runs are missing."""
    contrast = findings.contrasts.get(schedule.name, {}).get("gap")
    return contrast.interval if contrast else None


def _controlled(findings: Findings) -> list[Schedule]:
    """The schedules of which a control is finished."""
    controls = ("minus_rates_replayed", "minus_batches_replayed")
    contrasts = findings.contrasts
    return [each for each in _others(findings.comparison) if any(contrasts[each.name][what] for what in controls)]


def _mean_point(runs: BySeed) -> tuple[float, float]:
    """Steps and final loss, means over seeds."""
    return fmean(run.steps for run in runs.values()), fmean(run.final_loss for run in runs.values())


def _mean_or_infinite(interval: Interval | None) -> float:
    """To sort by."""
    return math.inf if interval is None or math.isnan(interval.mean) else interval.mean


def _of_contrast(contrast: Contrast | None) -> Mark | None:
    if contrast is None or not math.isfinite(contrast.interval.mean):
        return None
    return Mark(contrast.interval.mean, contrast.interval.low, contrast.interval.high)


def _of_time(time: RelativeTime | None) -> Mark | None:
    if time is None:
        return None
    if time.bound != "exact":
        return Mark(time.ratio, -math.inf, math.inf, ">" if time.bound == "at least" else "<")
    return Mark(time.ratio, time.low, time.high)


def _look(schedule: Schedule, comparison: Comparison) -> dict[str, Any]:
    """Constants in shades of grey, the others each with a pair of colour and marker."""
    if schedule in comparison.constants:
        place = comparison.constants.index(schedule) / max(1, len(comparison.constants) - 1)
        return {"color": str(0.65 * place), "marker": "s"}
    number = _others(comparison).index(schedule)
    marker = MARKERS[number // len(COLOURS) % len(MARKERS)]
    return {"color": COLOURS[number % len(COLOURS)], "marker": marker}
