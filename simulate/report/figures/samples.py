"""Samples rather than steps: a panel for each statement."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from simulate.experiments.result import Table
from simulate.report.figures.style import CYCLE, INK, WIDTH, drawn_from

__all__ = ["plot_samples"]

LOWER = {("square", "l1 test")}
"""Panel and curve of bounds from below; all others are from above."""

ROOM = {"gain": (0.0, 0.6), "tail": (0.55, 0.0)}
"""Room for a panel's legend, below and above, in units of the height without it."""

PANELS = {
    "hyperbola": ("steps $K/K_{\\min}$", "samples $N/N_{\\min}$", "SGD to a goal"),
    "eta": ("$\\eta$", "samples", "Adam to a goal"),
    "square": ("steps $K$", "samples", "Adam for $K$ steps"),
    "gain": ("$\\Delta/e$", "samples $\\cdot\\, e\\mu/\\sigma^2$ ($\\mu = 1$)", "SGD to a gap"),
    "tail": ("batch size $B$", "$P(b_2 > B)$", "tail of the second batch"),
    "measured": ("$\\eta_{\\mathrm{eff}}$", "mean $\\|G\\|_1$", "Theorem 3 after the run"),
}


def plot_samples(table: Table, axes: Axes, panel: str) -> Axes:
    """One statement: measured values as markers, the bound as a dashed (lower: dotted) line of the same colour.

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
            label = curve.replace("l1", r"$\ell_1$")
            axes.plot(chosen["x"], chosen["measured"], "o-", color=color, markersize=3, linewidth=0.7, label=label)
            axes.plot(
                chosen["x"], chosen["bound"], color=color, linestyle=":" if (panel, curve) in LOWER else "--"
            )
    across, up, title = PANELS[panel]
    scale = "linear" if panel in ("eta", "measured") else "log"
    axes.set(xscale=scale, yscale="log", xlabel=across, ylabel=up, title=title)
    axes.minorticks_off()
    if panel == "square":
        ticks = np.unique(rows["x"]).astype(int)
        axes.set_xticks(ticks, ticks)
    (low, high), (below, above) = axes.get_ylim(), ROOM.get(panel, (0.0, 0.0))
    axes.set_ylim(low * (low / high) ** below, high * (high / low) ** above)
    axes.legend(fontsize=5.5)
    return axes


def _plot_hyperbola(rows: Table, axes: Axes) -> None:
    """Steps against samples, both in units of their least bounds."""
    x = np.geomspace(1.15, 8, 60)
    product = r"$(K/K_{\min}-1)(N/N_{\min}-1) = 1$"
    axes.plot(x, 1 + 1 / (x - 1), color=INK, linestyle="--", label=product)
    for color, suffix, label in ((CYCLE[0], ", attained", "attained"), (CYCLE[1], "", "quadratic, from afar")):
        steps, samples = (rows.where(curve=f"{name}{suffix}")["measured"] for name in ("steps", "samples"))
        axes.plot(steps, samples, "o", color=color, markersize=3, label=label)


@drawn_from(
    "samples",
    "Costs in samples: measured (markers) and bounds, from above (dashed) or, of K steps, below (dotted).",
)
def samples_figure(table: Table) -> Figure:
    """A panel for each statement."""
    figure = Figure(figsize=(WIDTH, 4.6), layout="constrained")
    grid = figure.subplots(2, 3).ravel()
    for axes, panel in zip(grid, table.values("panel"), strict=True):
        plot_samples(table, axes, panel)
    looks = (("measured", "-", "o"), ("upper bound", "--", ""), ("lower bound", ":", ""))
    keys = [Line2D([], [], color=INK, ls=line, marker=mark, ms=3, label=name) for name, line, mark in looks]
    figure.legend(handles=keys, loc="outside lower center", ncols=len(keys))
    return figure
