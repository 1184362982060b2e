"""Figures of a comparison: curves against samples, the frontier, the paired gaps, simulated wall-clock."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from adabatch.experiments.comparison.results import BySeed, Comparison, Selection
from adabatch.experiments.comparison.tables import relative_time
from adabatch.experiments.comparison.variants import Variant
from adabatch.reporting.figures import panels, plain_numbers, write_figures
from adabatch.reporting.overlays import Curve, curves_figure, points_of
from adabatch.reporting.series import smoothing_width

__all__ = ["save_comparison_figures"]

SATURATING_BATCHES = tuple(2.0**power for power in np.arange(2, 8.25, 0.25))
MARKERS = {"constant": "s", "fixed": "^", "adaptive": "o"}
COLOURS = (0, 2, 4, 6, 8, 10, 12, 16, 18, 1, 3, 5, 7, 9, 11, 13, 17, 19)
"""Of the map tab20, strong ones first, without its greys: those are the constants'."""


def save_comparison_figures(comparison: Comparison, folder: Path) -> list[Path]:
    """Draw everything, each figure as PNG and PDF, for every learning rate and for each schedule's best."""
    figures = {
        f"{what}-{name}": figure
        for name, selection in comparison.selections().items()
        for what, figure in _figures(selection).items()
    }
    return write_figures(figures, folder)


def _figures(selection: Selection) -> dict[str, Figure]:
    figures, runs = {}, selection.runs
    ends = [run.records[-1]["samples"] for by_seed in runs.values() for run in by_seed.values()]
    width = smoothing_width(max(ends))
    for kind in ("fixed", "adaptive"):
        shown = [variant for variant in selection.variants if variant.kind in ("constant", kind)]
        curves = [
            Curve(v.label, _style(v, selection), partial(_mean_curve, runs[v.name], width=width)) for v in shown
        ]
        figures[f"curves-{kind}"] = curves_figure(curves, width)
    if selection.frontiers:
        figures["frontier"] = frontier_figure(selection)
        figures["gaps"] = gaps_figure(selection)
        figures["wall-clock"] = wall_clock_figure(selection)
    return figures


def frontier_figure(selection: Selection) -> Figure:
    """Final validation loss against optimizer steps; the constants' frontier as a line."""
    figure, (axes,) = panels(1, size=(8.5, 5.2))
    points = []
    for variant in selection.variants:
        runs, style = selection.runs[variant.name].values(), _style(variant, selection)
        steps, losses = [run.steps for run in runs], [run.final_loss for run in runs]
        mean = float(np.mean(steps)), float(np.mean(losses))
        axes.plot(steps, losses, "." if variant.kind == "constant" else "x", markersize=4, alpha=0.5, **style)
        axes.plot(*mean, MARKERS[variant.kind], markersize=7, label=variant.label, **style)
        points += [mean] if variant.kind == "constant" else []
    axes.plot(*zip(*sorted(points), strict=True), color="0.5", linewidth=1.2, zorder=0)
    axes.set_xscale("log")
    ticks = sorted({round(steps) for steps, _ in points})
    axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
    axes.xaxis.set_minor_formatter("")
    axes.set(xlabel="optimizer steps", ylabel="final validation loss (nats per token)")
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def gaps_figure(selection: Selection) -> Figure:
    """The paired gap to the constants' frontier at equal steps, with its interval and each seed's value."""
    shown = [v for v in selection.variants if v.kind != "constant" and selection.gaps(v.name)]
    figure, (axes,) = panels(1, size=(8, 1.2 + 0.36 * len(shown)))
    for row, variant in enumerate(reversed(shown)):
        interval, style = selection.gap(variant.name), _style(variant, selection)
        gaps = list(selection.gaps(variant.name).values())
        axes.plot(gaps, [row] * len(gaps), "|", markersize=9, alpha=0.6, **style)
        if interval is not None:
            half = interval.half_width if np.isfinite(interval.half_width) else 0.0
            axes.errorbar(interval.mean, row, xerr=half, fmt=MARKERS[variant.kind], capsize=3, **style)
    axes.axvline(0, color="0.5", linewidth=1)
    axes.set_yticks(range(len(shown)), [variant.label for variant in reversed(shown)])
    axes.set_xlabel("validation loss minus that of constant batches at equal steps (nats)")
    return figure


def wall_clock_figure(selection: Selection) -> Figure:
    """Simulated time to the losses of the two largest constants, over the fastest constant's, against B_sat."""
    targets = selection.constants[:-3:-1]
    figure, places = panels(1, len(targets), size=(5.25 * len(targets), 4.6), sharey=True)  # one or two
    for axes, target in zip(places, targets, strict=True):
        for variant in selection.variants:
            times = [relative_time(selection, variant, target, size) for size in SATURATING_BATCHES]
            ratios, style = np.array(times, dtype=float), _style(variant, selection)  # None becomes NaN
            axes.plot(SATURATING_BATCHES, ratios, label=variant.label, linewidth=1.3, **style)
        axes.set_xscale("log", base=2)
        plain_numbers(axes.xaxis)
        axes.set_xlabel("batch at which the hardware saturates")
        axes.set_title(f"to the loss of {target.label}", fontsize=10)
        axes.axhline(1, color="0.5", linewidth=1)
    places[0].set_ylabel("time over fastest constant")
    figure.legend(*places[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    return figure


def _mean_curve(runs: BySeed, name: str, width: float) -> tuple[Any, Any]:
    """A quantity against samples, averaged over seeds at the points of the seed that has the fewest."""
    curves = [points_of(run.records, name, width) for run in runs.values()]
    points = min((x for x, _ in curves if x), key=len, default=[])
    return points, np.mean([np.interp(points, x, y) for x, y in curves if x], axis=0) if points else []


def _style(variant: Variant, selection: Selection) -> dict[str, Any]:
    """Constants in shades of grey, the others each in a colour of their own."""
    constants = [other for other in selection.variants if other.kind == "constant"]
    if variant in constants:
        return {"color": str(0.25 + 0.5 * constants.index(variant) / max(1, len(constants) - 1))}
    others = [other for other in selection.variants if other not in constants]
    return {"color": matplotlib.colormaps["tab20"](COLOURS[others.index(variant) % len(COLOURS)])}
