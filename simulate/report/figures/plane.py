"""Batch rules against the optimum over the plane of source and capacity."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from simulate.report.figures.style import WIDTH, drawn_from
from simulate.table import Table

__all__ = ["plot_plane"]

COLUMNS = 5
WORST = 5.0
"""Ratios from here on have one colour."""


def plot_plane(table: Table, axes: Axes, method: str, rule: str) -> Any:
    """One rule's risk over the optimum's, capacity upwards; returns the image.

    Args:
        table: columns method, rule, capacity, source, ratio.
        axes: to draw on.
        method: whose rows are drawn.
        rule: whose rows are drawn.
    """
    rows = table.where(method=method, rule=rule)
    capacity, source = np.unique(rows["capacity"]), np.unique(rows["source"])
    ratios = rows["ratio"].astype(float).reshape(len(capacity), len(source))
    step = (capacity[1] - capacity[0]) / 2
    extent = (source[0] - step, source[-1] + step, capacity[0] - step, capacity[-1] + step)
    image = axes.imshow(
        ratios, origin="lower", extent=extent, cmap="viridis_r", norm=LogNorm(1.0, WORST), aspect="equal"
    )
    axes.grid(visible=False)
    axes.set_title(f"{rule}: {np.exp(np.log(ratios).mean()):.2f}", fontsize=8)
    return image


@drawn_from(
    "plane",
    "Risk of each rule over the optimum's at equal time, over the exponents of source and capacity; above each "
    "panel its geometric mean. From 5 on one colour.",
)
def plane_figure(table: Table) -> Figure:
    """A block of panels per method, a rule per panel."""
    methods, rules = table.values("method"), table.values("rule")
    lines = -(-len(rules) // COLUMNS)
    figure = Figure(figsize=(WIDTH, len(methods) * (0.35 + 1.55 * lines) + 0.2), layout="constrained")
    image = None
    blocks = figure.subfigures(len(methods), 1, squeeze=False).ravel()
    for block, method in zip(blocks, methods, strict=True):
        block.suptitle(method, fontsize=9.5)
        grid = block.subplots(lines, COLUMNS, sharex=True, sharey=True, squeeze=False)
        for axes, rule in zip(grid.ravel(), rules, strict=False):
            image = plot_plane(table, axes, method, rule)
        for axes in grid.ravel()[len(rules) :]:
            axes.set_visible(False)
        for axes in grid[:, 0]:
            axes.set_ylabel("capacity")
        for column in range(COLUMNS):
            last = (len(rules) - 1 - column) // COLUMNS
            grid[last, column].set_xlabel("source")
            grid[last, column].xaxis.set_tick_params(labelbottom=True)
        block.colorbar(image, ax=grid, label="risk / optimum's", ticks=[1, 1.5, 2, 3, 5], format="%g", shrink=0.7)
    return figure
