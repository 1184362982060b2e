"""The branches as branch.md, branch.csv, a figure, and report.json."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adabatch.experiments.branching.critical import LEVEL, WINDOWS, CriticalBatch, Tracking, tracking
from adabatch.experiments.branching.plan import BranchPlan
from adabatch.experiments.branching.results import PointResult
from adabatch.experiments.branching.scales import SCALES, stationary_batches
from adabatch.experiments.intervals import Interval
from adabatch.experiments.text import MISSING, TextTable, difference_text
from adabatch.files import write_json, write_text
from adabatch.moments.noise_scale import stationary_eta
from adabatch.reporting.figures import BLUE, GREEN, GREY, LABELS, ORANGE, panels, plain_numbers, write_figures
from adabatch.reporting.metrics import finite_or_null
from adabatch.settings import Settings

__all__ = ["branch_figure", "plot_courses", "plot_differences", "write_report"]

RUN_BATCH, GOODPUT = "the run's own batch", "goodput"


def write_report(
    results: Sequence[PointResult],
    plan: BranchPlan,
    base: Settings,
    folder: Path,
    heading: str,
    deviation: float | None,
) -> str:
    """Write tables, figure and report.json of the finished points into ``folder``; the tables as Markdown text.

    Args:
        results: of the points.
        plan: of the experiment.
        base: settings of the run.
        folder: of the experiment.
        heading: begins the text.
        deviation: of the steps that were taken again, in loss; None if there are none.
    """
    tests = [stationary_batches(each.scales["B_noise"], base.schedule, each.point.groups) for each in results]
    tracked = _tracked(results)
    shown = {name: tracked[name] for name in _courses(results)}
    tables = [_critical_table(results, tests, base), _difference_table(results), _tracking_table(shown, base)]
    again = "" if deviation is None else f"{_again(deviation)}\n\n"
    text = f"{heading}\n\n{_setting(plan, results)}\n\n{again}" + "\n".join(table.markdown() for table in tables)
    write_text(folder / "branch.md", text)
    write_text(folder / "branch.csv", _branches_table(results).csv())
    write_json(folder / "report.json", _as_json(results, plan, tests, tracked, deviation))
    write_figures({"branch": branch_figure(results)}, folder)
    return text


def _setting(plan: BranchPlan, results: Sequence[PointResult]) -> str:
    seeds = len({branch.seed for branch in results[0].branches})
    return (
        f"Each branch takes {plan.samples} samples with k times the batch of the run at that place; {seeds} "
        f"seed{'s' * (seeds > 1)}. A loss is the mean over the last quarter of a branch; tolerance "
        f"{results[0].critical.tolerance:g} nats. Intervals cover {LEVEL:.0%}."
    )


def _again(deviation: float) -> str:
    if math.isinf(deviation):
        return (
            "The steps that were taken again to make missing checkpoints are not those of the run: batches "
            "differ. Branches begin on the path of another run with the same settings."
        )
    return (
        "Steps that were taken again to make missing checkpoints differ from the run's by at most "
        f"{deviation:.2g} in loss."
    )


def _tracked(results: Sequence[PointResult]) -> dict[str, Tracking]:
    """Each statistic against the critical batch."""
    courses = _courses(results) | {
        f"B_noise of {part}": [each.parts.get(part, math.nan) for each in results] for part in results[0].parts
    }
    critical = [each.critical for each in results]
    return {name: tracking(course, critical) for name, course in courses.items()}


def _courses(results: Sequence[PointResult]) -> dict[str, list[float]]:
    """The statistics over the points, in samples."""
    scales = {name: [each.scales[name] for each in results] for name in SCALES}
    return {
        RUN_BATCH: [float(each.point.batch) for each in results],
        **scales,
        GOODPUT: [each.goodput for each in results],
    }


def critical_text(critical: CriticalBatch) -> str:
    """The critical batch in samples, with its interval."""
    largest = critical.batch * critical.factors[-1]
    if critical.kind == "unresolved":
        return "unresolved"
    if critical.kind == "at least":
        return f"≥ {_number(largest)}"
    low, high = _number(critical.batch * critical.low), f"> {_number(largest)}"
    if math.isfinite(critical.high):
        high = _number(critical.batch * critical.high)
    return f"{_number(critical.value)} [{low}, {high}]"


def _critical_table(
    results: Sequence[PointResult], tests: Sequence[Mapping[float, float]], base: Settings
) -> TextTable:
    etas = list(tests[0])
    rows = [
        (
            each.point.at,
            str(each.point.samples),
            str(each.point.batch),
            critical_text(each.critical),
            "unresolved" if each.critical.kind == "unresolved" else f"{each.critical.largest_within:g}",
            *(_number(each.scales[name]) for name in SCALES),
            *(_number(batches.get(eta, math.nan)) for eta in etas),
            _number(each.goodput),
        )
        for each, batches in zip(results, tests, strict=True)
    ]
    heads = ("at", "samples", "batch", "critical batch", "largest k within", *SCALES)
    columns = (*heads, *(f"eta {eta:g}" for eta in etas), GOODPUT)
    note = (
        "Batches in samples. plug-in: tr Σ / ‖g‖² of the batch's own gradient; B_noise: with the squared norm "
        f"debiased; B_1: the l1 noise scale; eta: where the norm test ({base.schedule.estimator}) stops growing; "
        f"goodput: that rule on this machine. inf: noise hides the gradient; {MISSING}: not measured."
    )
    return TextTable("The critical batch, and what is measured online", note, columns, rows)


def _difference_table(results: Sequence[PointResult]) -> TextTable:
    factors = sorted({factor for each in results for factor in each.critical.factors})
    rows = []
    for each in results:
        found = each.critical
        cells = dict.fromkeys(factors, MISSING)
        for number, factor in enumerate(found.factors):
            difference = Interval(found.differences[number], found.half_widths[number], 2)
            cells[factor] = f"{difference_text(difference)} {found.verdict(number)}" if number else "0"
        rows.append((each.point.at, *cells.values()))
    note = (
        "Loss minus that of the smallest k, in nats, and whether the interval lies within the tolerance, beyond "
        f"it as those of all larger k do, or neither (unresolved); {MISSING}: too large a batch for the samples "
        "of a branch."
    )
    return TextTable("What larger batches cost", note, ("at", *(f"k = {factor:g}" for factor in factors)), rows)


def _tracking_table(tracked: Mapping[str, Tracking], base: Settings) -> TextTable:
    estimator = base.schedule.estimator
    rows = [
        (
            name,
            str(each.points),
            MISSING
            if math.isnan(each.correlation)
            else f"{each.correlation:.2f} [{each.low:.2f}, {each.high:.2f}]".replace("-", "−"),
            _number(each.ratio),
            _number(each.spread),
            _number(float(stationary_eta(each.ratio, 1.0, estimator)))
            if name == "B_noise" and estimator != "paper" and not math.isnan(each.ratio)
            else "",
        )
        for name, each in tracked.items()
    ]
    note = (
        "Rank correlation (Spearman) over the places where the critical batch is resolved or known from below "
        "(≥, which ranks above all others), with the interval that its own uncertainty gives; ratio: critical "
        "batch over statistic where it is resolved, geometric mean, and the largest over the smallest such "
        "ratio; eta: at which the run's norm test would stop at the critical batch."
    )
    columns = ("statistic", "places", "rank correlation", "ratio", "spread", "eta")
    return TextTable("Which statistic tracks the critical batch", note, columns, rows)


def _branches_table(results: Sequence[PointResult]) -> TextTable:
    windows = tuple(f"loss_last_{share:g}" for share in WINDOWS)
    rows = [
        (
            *(each.point.at, str(each.point.samples), f"{branch.factor:g}", str(branch.batch), str(branch.seed)),
            *map(repr, branch.losses),
            *(repr(branch.scales[name]) for name in SCALES),
        )
        for each in results
        for branch in each.branches
    ]
    return TextTable("", "", ("at", "samples", "factor", "batch", "seed", *windows, *SCALES), rows)


def _number(value: float) -> str:
    if math.isnan(value):
        return MISSING
    return f"{value:.3g}" if value < 1000 or math.isinf(value) else f"{value:.0f}"


def _as_json(
    results: Sequence[PointResult],
    plan: BranchPlan,
    tests: Sequence[Mapping[float, float]],
    tracked: Mapping[str, Tracking],
    deviation: float | None,
) -> dict[str, Any]:
    """All figures; NaN and infinities are null."""
    return {
        "samples": plan.samples,
        "level": LEVEL,
        "windows": list(WINDOWS),
        "made_again": deviation is not None,
        **finite_or_null({"largest_deviation": deviation}),
        "places": [_place(each, batches) for each, batches in zip(results, tests, strict=True)],
        "tracking": {name: finite_or_null(asdict(each)) for name, each in tracked.items()},
    }


def _place(result: PointResult, batches: Mapping[float, float]) -> dict[str, Any]:
    found, point = result.critical, result.point
    low, high = (found.batch * end for end in (found.low, found.high))
    critical = {"kind": found.kind, "batch": found.value, "low": low, "high": high}
    return {
        **asdict(point),
        "tolerance": found.tolerance,
        "critical": finite_or_null(critical),
        "factors": [
            finite_or_null(
                {
                    "factor": factor,
                    "difference": found.differences[number],
                    "half_width": found.half_widths[number],
                    "verdict": found.verdict(number),
                }
            )
            for number, factor in enumerate(found.factors)
        ],
        "scales": finite_or_null(result.scales),
        "parts": finite_or_null(result.parts),
        "norm_test": finite_or_null({f"{eta:g}": batch for eta, batch in batches.items()}),
        **finite_or_null({"goodput": result.goodput}),
        "branches": [
            asdict(branch)
            | {
                "losses": [loss if math.isfinite(loss) else None for loss in branch.losses],
                "scales": finite_or_null(branch.scales),
            }
            for branch in result.branches
        ],
    }


def branch_figure(results: Sequence[PointResult]) -> Figure:
    """What larger batches cost at each point, above the critical batch and the statistics over the run."""
    figure, axes = panels(2, size=(7.5, 7.6))
    plot_differences(results, axes[0])
    plot_courses(results, axes[1])
    return figure


def plot_differences(results: Sequence[PointResult], axes: Axes) -> Axes:
    """D_k over the batch with its interval, a curve per point, and the tolerance."""
    colors = colormaps["viridis"](np.linspace(0, 0.9, len(results)))
    for each, color in zip(results, colors, strict=True):
        found = each.critical
        finite = [number for number, value in enumerate(found.differences) if math.isfinite(value)]
        batches = [found.batch * found.factors[number] for number in finite]
        values = [found.differences[number] for number in finite]
        halves = [half if math.isfinite(half := found.half_widths[number]) else 0.0 for number in finite]
        axes.errorbar(batches, values, halves, fmt="o-", color=color, markersize=4, capsize=2, label=each.point.at)
    axes.axhline(results[0].critical.tolerance, color=ORANGE, linestyle="--", linewidth=1, label="tolerance")
    axes.set_xscale("log", base=2)
    plain_numbers(axes.xaxis)
    axes.set_xlabel("batch of the branch (sequences)")
    axes.set_ylabel("loss − that of the smallest (nats)")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return axes


def plot_courses(results: Sequence[PointResult], axes: Axes) -> Axes:
    """The critical batch with its interval, and the statistics, over the samples."""
    samples = [each.point.samples for each in results]
    styles = {
        RUN_BATCH: (GREY, "-"),
        "plug-in": (BLUE, ":"),
        "B_noise": (BLUE, "-"),
        "B_1": (GREEN, "-"),
        GOODPUT: (GREEN, ":"),
    }
    for name, course in _courses(results).items():
        known = [(x, y) for x, y in zip(samples, course, strict=True) if math.isfinite(y)]
        if known:
            color, line = styles[name]
            axes.plot(*zip(*known, strict=True), line, marker=".", color=color, linewidth=1.2, label=name)
    labels = {"resolved": "critical batch", "at least": "critical batch, at least"}
    for kind, marker in (("resolved", "D"), ("at least", "^")):
        chosen = [each for each in results if each.critical.kind == kind]
        if chosen:
            bars, x = np.array([_bar(each.critical) for each in chosen]).T, [each.point.samples for each in chosen]
            axes.errorbar(
                x, bars[0], bars[1:], fmt=marker, color=ORANGE, markersize=6, capsize=3, label=labels[kind]
            )
    axes.set_yscale("log", base=2)
    plain_numbers(axes.yaxis)
    axes.set_xlabel(LABELS["samples"])
    axes.set_ylabel("sequences")
    axes.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return axes


def _bar(critical: CriticalBatch) -> tuple[float, float, float]:
    """Value, and how far its interval reaches below and above, within the batches that were tried."""
    largest = critical.batch * critical.factors[-1]
    if critical.kind == "at least":
        return largest, 0.0, 0.0
    low, high = critical.batch * critical.low, min(critical.batch * critical.high, largest)
    return critical.value, max(0.0, critical.value - low), max(0.0, high - critical.value)
