"""Figures of a comparison: curves against samples, the frontier, the paired gaps, simulated wall-clock."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adabatch.experiments.comparison.results import BySeed, Comparison, Selection
from adabatch.experiments.comparison.tables import relative_time
from adabatch.experiments.comparison.variants import Variant
from adabatch.reporting.figures import save_figure, series, smoothed
from adabatch.reporting.overlays import finish_panels

__all__ = ["save_comparison_figures"]

SATURATING_BATCHES = tuple(2.0**power for power in np.arange(2, 8.25, 0.25))
CURVE_POINTS = 200
COLOURS = (0, 2, 4, 6, 8, 10, 12, 16, 18, 1, 3, 5, 7, 9, 11, 13, 17, 19)
"""Of the map tab20, strong ones first, without its greys: those are the constants'."""


def save_comparison_figures(comparison: Comparison, folder: Path) -> list[Path]:
    """Draw everything, each figure as PNG and PDF, for every learning rate and for each schedule's best."""
    folder.mkdir(parents=True, exist_ok=True)
    selections = {f"lr-{rate:g}": comparison.at(rate) for rate in comparison.learning_rates}
    if len(selections) > 1:
        selections["best"] = comparison.at_best()
    paths = []
    for name, selection in selections.items():
        for what, figure in _figures(selection).items():
            paths += [save_figure(figure, folder / f"{what}-{name}.{kind}") for kind in ("png", "pdf")]
    return paths


def _figures(selection: Selection) -> dict[str, Figure]:
    figures = {}
    for kind in ("fixed", "adaptive"):
        shown = [variant for variant in selection.variants if variant.kind in ("constant", kind)]
        figures[f"curves-{kind}"] = curves_figure(selection, shown)
    if selection.frontiers:
        figures["frontier"] = frontier_figure(selection)
        figures["gaps"] = gaps_figure(selection)
        figures["wall-clock"] = wall_clock_figure(selection)
    return figures


def curves_figure(selection: Selection, variants: Sequence[Variant]) -> Figure:
    """Training and validation loss and batch size against samples, means over seeds; constants grey."""
    figure = Figure(figsize=(8, 8.4), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    for variant in variants:
        style = _style(variant, selection)
        for axes, name in zip(panels, ("loss", "val_loss", "batch_size"), strict=True):
            x, y = _mean_curve(selection.runs[variant.name], name)
            axes.plot(x, y, linewidth=1.4, label=variant.label, **style)
    finish_panels(panels)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def frontier_figure(selection: Selection) -> Figure:
    """Final validation loss against optimizer steps; the constants' frontier as a line."""
    figure = Figure(figsize=(8.5, 5.2), layout="constrained")
    axes = figure.subplots()
    for variant in selection.variants:
        runs = list(selection.runs[variant.name].values())
        steps = [run.steps for run in runs]
        losses = [run.final_loss for run in runs]
        style = _style(variant, selection)
        axes.plot(steps, losses, "." if variant.kind == "constant" else "x", markersize=4, alpha=0.5, **style)
        axes.plot(np.mean(steps), np.mean(losses), _marker(variant), markersize=7, label=variant.label, **style)
    points = [
        (np.mean([run.steps for run in runs]), np.mean([run.final_loss for run in runs]))
        for variant in selection.constants
        for runs in [list(selection.runs[variant.name].values())]
    ]
    axes.plot(*zip(*sorted(points), strict=True), color="0.5", linewidth=1.2, zorder=0)
    axes.set_xscale("log")
    ticks = sorted({round(float(steps)) for steps, _ in points})
    axes.set_xticks(ticks, [str(tick) for tick in ticks], minor=False)
    axes.xaxis.set_minor_formatter("")
    axes.set_xlabel("optimizer steps")
    axes.set_ylabel("final validation loss (nats per token)")
    _tidy(axes)
    figure.legend(loc="outside right upper", frameon=False)
    return figure


def gaps_figure(selection: Selection) -> Figure:
    """The paired gap to the constants' frontier at equal steps, with its interval and each seed's value."""
    shown = [v for v in selection.variants if v.kind != "constant" and selection.gaps(v.name)]
    figure = Figure(figsize=(8, 1.2 + 0.36 * len(shown)), layout="constrained")
    axes = figure.subplots()
    for row, variant in enumerate(reversed(shown)):
        interval, style = selection.gap(variant.name), _style(variant, selection)
        gaps = list(selection.gaps(variant.name).values())
        axes.plot(gaps, [row] * len(gaps), "|", markersize=9, alpha=0.6, **style)
        if interval is not None:
            half = interval.half_width if np.isfinite(interval.half_width) else 0.0
            axes.errorbar(interval.mean, row, xerr=half, fmt=_marker(variant), capsize=3, **style)
    axes.axvline(0, color="0.5", linewidth=1)
    axes.set_yticks(range(len(shown)), [variant.label for variant in reversed(shown)])
    axes.set_xlabel("validation loss minus that of constant batches at equal steps (nats)")
    _tidy(axes)
    return figure


def wall_clock_figure(selection: Selection) -> Figure:
    """Simulated time to the losses of the two largest constants, over the fastest constant's, against B_sat."""
    targets = selection.constants[:-3:-1]
    figure = Figure(figsize=(10.5, 4.6), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, target in zip(panels, targets, strict=True):
        for variant in selection.variants:
            ratios = [relative_time(selection, variant, target, size) for size in SATURATING_BATCHES]
            axes.plot(
                SATURATING_BATCHES,
                [np.nan if ratio is None else ratio for ratio in ratios],
                label=variant.label,
                linewidth=1.3,
                **_style(variant, selection),
            )
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.set_xlabel("batch at which the hardware saturates")
        axes.set_title(f"to the loss of {target.label}", fontsize=10)
        axes.axhline(1, color="0.5", linewidth=1)
        _tidy(axes)
    panels[0].set_ylabel("time over fastest constant")
    figure.legend(*panels[1].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    return figure


def _mean_curve(runs: BySeed, name: str) -> tuple[Any, Any]:
    """A quantity against samples, averaged over seeds on common points."""
    curves = [series(run.records, name, "samples") for run in runs.values()]
    curves = [(x, smoothed(y) if name == "loss" else y) for x, y in curves if x]
    if not curves:
        return [], []
    if name == "val_loss":  # measured at nearly the same places by every seed
        length = min(len(x) for x, _ in curves)
        return tuple(
            np.mean([np.asarray(part)[:length] for part in parts], axis=0) for parts in zip(*curves, strict=True)
        )
    points = np.linspace(max(x[0] for x, _ in curves), min(x[-1] for x, _ in curves), CURVE_POINTS)
    return points, np.mean([np.interp(points, x, y) for x, y in curves], axis=0)


def _style(variant: Variant, selection: Selection) -> dict[str, Any]:
    """Constants in shades of grey, the others each in a colour of their own."""
    same = [
        other.name for other in selection.variants if (other.kind == "constant") == (variant.kind == "constant")
    ]
    index = same.index(variant.name)
    if variant.kind == "constant":
        return {"color": str(0.25 + 0.5 * index / max(1, len(same) - 1))}
    return {"color": matplotlib.colormaps["tab20"](COLOURS[index % len(COLOURS)])}


def _marker(variant: Variant) -> str:
    return {"constant": "s", "fixed": "^", "adaptive": "o"}[variant.kind]


def _tidy(axes: Axes) -> None:
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
