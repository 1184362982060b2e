"""Samples rather than steps: a panel for each statement."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulate.experiments.result import Table
from simulate.report.figures.style import CYCLE, INK, WIDTH, drawn_from

__all__ = ["plot_samples"]

PANELS = {
    "hyperbola": ("steps $K/K_{\\min}$", "samples $N/N_{\\min}$", "SGD to a goal"),
    "eta": ("$\\eta$", "samples", "Adam to a goal"),
    "square": ("steps $K$", "samples", "Adam for $K$ steps"),
    "gain": ("$\\Delta/e$", "samples $\\cdot\\, e\\mu/\\sigma^2$ ($\\mu = 1$)", "SGD to a gap"),
    "tail": ("batch size $B$", "$P(b_2 > B)$", "tail of the second batch"),
    "measured": ("$\\eta_{\\mathrm{eff}}$", "mean $\\|G\\|_1$", "Theorem 3 after the run"),
}


def plot_samples(table: Table, axes: Axes, panel: str) -> Axes:
    """One statement: measured values as markers, the bound as a line of the same colour.

    Args:
        table: columns panel, curve, x, measured, bound.
        axes: to draw on.
        panel: whose rows are drawn.
    """
    rows = table.where(panel=panel)
    if panel == "hyperbola":
        _plot_hyperbola(rows, axes)
    else:
        for color, curve in zip(CYCLE, rows.values("curve"), strict=False):
            chosen = rows.where(curve=curve)
            axes.plot(chosen["x"], chosen["measured"], "o-", color=color, markersize=3, linewidth=0.7, label=curve)
            axes.plot(chosen["x"], chosen["bound"], color=color, linestyle="--")
    across, up, title = PANELS[panel]
    scale = "linear" if panel in ("eta", "measured") else "log"
    axes.set(xscale=scale, yscale="log", xlabel=across, ylabel=up, title=title)
    axes.minorticks_off()
    if panel == "gain":  # room for the legend
        axes.set_ylim(top=3e3)
    axes.legend(fontsize=5.5)
    return axes


def _plot_hyperbola(rows: Table, axes: Axes) -> None:
    """Steps against samples, both in units of their least bounds."""
    x = np.geomspace(1.15, 8, 60)
    axes.plot(x, 1 + 1 / (x - 1), color=INK, linestyle="--", label="$(K-1)(N-1) = 1$")
    for color, suffix, label in ((CYCLE[0], ", attained", "attained"), (CYCLE[1], "", "quadratic, from afar")):
        steps, samples = (rows.where(curve=f"{name}{suffix}")["measured"] for name in ("steps", "samples"))
        axes.plot(steps, samples, "o", color=color, markersize=3, label=label)


@drawn_from(
    "samples", "Costs in samples: measured (markers) and bounds (dashed), from above or, of K steps, below."
)
def samples_figure(table: Table) -> Figure:
    """A panel for each statement."""
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    grid = figure.subplots(2, 3).ravel()
    for axes, panel in zip(grid, table.values("panel"), strict=True):
        plot_samples(table, axes, panel)
    return figure
