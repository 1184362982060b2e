"""Colours, type and width of the figures, and what they share: panels, bands, the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulate.experiments.result import Table
from simulate.registry import Registry

__all__ = [
    "BLUE",
    "COLUMN",
    "CYCLE",
    "FIGURES",
    "GREEN",
    "GREY",
    "INK",
    "MARKERS",
    "ORANGE",
    "PINK",
    "RED",
    "STYLE",
    "WIDTH",
    "FigureRecipe",
    "band",
    "drawn_from",
    "one_panel",
    "panels",
]

BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#8e5ea2", "#56b4e9"
GREY, INK, PINK = "#8d99ae", "#222222", "#f25fb0"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)
MARKERS = ("o", "s", "^", "D", "v", "P")
"""One for each colour of the cycle, so that curves can be told apart without colours."""

STYLE: dict[str, Any] = {
    "figure.dpi": 200,
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 9,
    "axes.titlesize": 9.5,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "pdf.fonttype": 42,
}
"""For paper: small serif type that matches text set in Times."""

WIDTH, COLUMN = 7.0, 3.4
"""Inches: the width of a page's text, and of a column where there are two."""


@dataclass(frozen=True)
class FigureRecipe:
    """How a figure is made.

    Attributes:
        draw: from its table.
        caption: what it shows, in a sentence or two.
    """

    draw: Callable[[Table], Figure]
    caption: str


FIGURES: Registry[FigureRecipe] = Registry("figure", {})
"""Figures by the name of their table."""


def drawn_from(table: str, caption: str) -> Callable[[Callable[[Table], Figure]], Callable[[Table], Figure]]:
    """Register a function as the figure of a table."""

    def register(draw: Callable[[Table], Figure]) -> Callable[[Table], Figure]:
        FIGURES[table] = FigureRecipe(draw, caption)
        return draw

    return register


def band(axes: Axes, x: Any, low: Any, high: Any, color: str, alpha: float) -> None:
    """A band over seeds, without an edge."""
    axes.fill_between(x, low, high, color=color, alpha=alpha, linewidth=0)


def one_panel(plot: Callable[[Table, Axes], object], table: Table) -> Figure:
    """A figure of a single panel, a column wide."""
    figure = Figure(figsize=(COLUMN, 2.4), layout="constrained")
    axes = figure.subplots()
    plot(table, axes)
    axes.legend()
    return figure


def panels(
    plot: Callable[[Table, Axes, Any], object],
    table: Table,
    column: str,
    height: float,
    ylabel: str,
    sharey: bool = False,
) -> tuple[Figure, Axes]:
    """A figure with one panel per value of a column, in a row; returns it with its first axes.

    Args:
        plot: draws the rows of one value on axes.
        table: of all values.
        column: whose values they are.
        height: inches.
        ylabel: of the first panel.
        sharey: whether the panels share their vertical axis.
    """
    values = table.values(column)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    grid = figure.subplots(1, len(values), sharey=sharey, squeeze=False)[0]
    for axes, value in zip(grid, values, strict=True):
        plot(table, axes, value)
    grid[0].set_ylabel(ylabel)
    return figure, grid[0]
