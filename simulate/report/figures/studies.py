"""Studies: what was measured, and the bound."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from simulate.report.figures.style import CYCLE, INK, MARKERS, WIDTH, band, drawn_from
from simulate.table import Table

__all__ = ["plot_studies"]


def plot_studies(table: Table, axes: Axes, objective: str) -> Axes:
    """Measured means with their intervals against K, one colour per study of an objective, and their bounds.

    Args:
        table: columns objective, noise, optimizer, bound, K, measured, low, high, value (NaN for
            no bound); of more than six studies the first six are drawn.
        axes: to draw on; both scales become logarithmic.
        objective: whose rows are drawn.
    """
    rows = table.where(objective=objective)
    studies = list(dict.fromkeys(zip(rows["optimizer"], rows["noise"], rows["bound"], strict=True)))
    for color, marker, (optimizer, noise, bound) in zip(CYCLE, MARKERS, studies, strict=False):
        part = rows.where(optimizer=optimizer, noise=noise, bound=bound)
        middle = part["measured"]
        reach = np.nan_to_num(part["high"] - middle, posinf=0.0)  # one seed has no interval
        band(axes, part["K"], (middle - reach).clip(middle * 1e-3), middle + reach, color, 0.25)
        axes.plot(part["K"], part["measured"], color=color, marker=marker, markersize=2.8)
        style, alone = ":" if bound == "no bound" else "--", "_" if len(part) == 1 else ""
        axes.plot(part["K"], part["value"], color=color, linestyle=style, marker=alone, linewidth=1.0)
    axes.set(xscale="log", yscale="log", title=objective, xlabel="steps $K$")
    handles = [
        Line2D([], [], color=color, marker=marker, markersize=2.8, label=f"{optimizer}, {noise}: {bound}")
        for color, marker, (optimizer, noise, bound) in zip(CYCLE, MARKERS, studies, strict=False)
    ]
    axes.legend(handles=handles, fontsize=6.5, loc="upper center", bbox_to_anchor=(0.5, -0.22))
    return axes


@drawn_from(
    "studies",
    "What a bound is on, against K: mean over seeds with its interval (99% for all K together), and the bound. "
    "Without a bound the sum of gradient norms, and what is guaranteed for Adam under the same noise. Of more "
    "than six studies of an objective the first six.",
)
def studies_figure(table: Table) -> Figure:
    """An objective per panel."""
    objectives = table.values("objective")
    columns = min(2, len(objectives))
    lines = -(-len(objectives) // columns)
    figure = Figure(figsize=(WIDTH * (0.6 if columns == 1 else 1), 0.5 + 3.3 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False).ravel()
    for axes, objective in zip(grid, objectives, strict=False):
        plot_studies(table, axes, objective)
    for axes in grid[len(objectives) :]:
        axes.set_visible(False)
    for axes in grid[::columns]:
        axes.set_ylabel("measured, and bound")
    bounds = set(table.values("bound"))
    styles = {"--": "bound"} if bounds - {"no bound"} else {}
    styles |= {":": "guaranteed for Adam, where there is no bound"} if "no bound" in bounds else {}
    handles = [Line2D([], [], color=INK, linestyle=style, linewidth=1.0, label=styles[style]) for style in styles]
    figure.legend(handles=handles, loc="outside lower center", ncols=2)
    return figure
