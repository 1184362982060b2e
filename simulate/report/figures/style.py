"""Colours, type and width of the figures."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "CYCLE",
    "GREEN",
    "GREY",
    "INK",
    "ORANGE",
    "PINK",
    "PURPLE",
    "RED",
    "SKY",
    "STYLE",
    "WIDTH",
    "panels",
]

BLUE, ORANGE, GREEN, RED, PURPLE, SKY = "#0072b2", "#e69f00", "#009e73", "#d55e00", "#8e5ea2", "#56b4e9"
GREY, INK, PINK = "#8d99ae", "#222222", "#f25fb0"
CYCLE = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)

STYLE: dict[str, Any] = {
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

WIDTH = 7.0
"""Inches: the width of a page's text."""


def panels(
    plot: Callable[[Axes, Any], object], shown: Iterable[Any], height: float, ylabel: str, sharey: bool = False
) -> tuple[Figure, Axes]:
    """A figure with one panel per value in a row; returns it with its first axes.

    Args:
        plot: draws one value on its axes.
        shown: the values, from left to right.
        height: inches.
        ylabel: of the first panel.
        sharey: whether the panels share their vertical axis.
    """
    values = list(shown)
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    grid = figure.subplots(1, len(values), sharey=sharey, squeeze=False)[0]
    for axes, value in zip(grid, values, strict=True):
        plot(axes, value)
    grid[0].set_ylabel(ylabel)
    return figure, grid[0]
