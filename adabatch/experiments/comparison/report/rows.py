"""Figures of intervals: a row for each schedule, with points for one or several quantities."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adabatch.reporting.figures import panels

__all__ = ["COLOURS", "MARKERS", "Mark", "rows_figure", "rows_in_panels"]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Of Okabe and Ito, told apart by colour-blind readers; without black and grey, which are for constant batches."""

MARKERS = "o^Dv"

SPREAD = 0.6
"""Of the points of a row, as a share of the distance between rows."""

WIDTH = 8.0
"""Of a figure, in inches."""


class Mark(NamedTuple):
    """A point with its interval.

    Attributes:
        value: where it lies.
        low: end of the interval; not finite for none.
        high: end of the interval.
        bound: ``<`` or ``>`` where the value is only known to lie on that side.
    """

    value: float
    low: float
    high: float
    bound: str = ""


Series = Mapping[str, Sequence[Mark | None]]
"""For each quantity a mark for each row, from the top; None for none."""


def rows_figure(rows: Sequence[str], series: Series, reference: float, label: str) -> Figure:
    """Several quantities in one panel, told apart by colour and marker.

    Args:
        rows: names, from the top.
        series: the quantities.
        reference: where a line is drawn.
        label: of the horizontal axis.
    """
    height = max(3.0, 1.2 + (0.22 + 0.08 * len(series)) * len(rows))
    figure, (axes,) = panels(1, size=(WIDTH, height))
    _prepare(axes, rows, reference)
    offsets = SPREAD * (0.5 - (np.arange(len(series)) + 0.5) / len(series))
    for number, (name, marks) in enumerate(series.items()):
        look = {"color": COLOURS[number % len(COLOURS)], "marker": MARKERS[number % len(MARKERS)]}
        axes.plot([], [], linestyle="", label=name, **look)  # type: ignore[arg-type]
        _draw(axes, marks, float(offsets[number]), look)
    axes.set_xlabel(label)
    if len(series) > 1:
        figure.legend(loc="outside upper center", ncols=len(series), frameon=False, fontsize=9)
    return figure


def rows_in_panels(rows: Sequence[str], series: Series, reference: float, label: str) -> Figure:
    """Each quantity in a panel of its own, next to each other; arguments as of :func:`rows_figure`."""
    height = max(3.0, 1.2 + 0.24 * len(rows))
    figure, places = panels(1, len(series), size=(WIDTH, height), sharex=True, sharey=True)
    for number, (axes, (name, marks)) in enumerate(zip(places, series.items(), strict=True)):
        _prepare(axes, rows, reference)
        _draw(axes, marks, 0, {"color": COLOURS[number % len(COLOURS)], "marker": "o"})
        axes.set_title(name, fontsize=9)
    figure.supxlabel(label, fontsize=10)
    return figure


def _prepare(axes: Axes, rows: Sequence[str], reference: float) -> None:
    axes.axvline(reference, color="0.5", linewidth=1, zorder=0)
    axes.set_yticks(-np.arange(len(rows)), rows)
    axes.set_ylim(0.4 - len(rows), 0.6)


def _draw(axes: Axes, marks: Sequence[Mark | None], offset: float, look: Mapping[str, Any]) -> None:
    for row, mark in enumerate(marks):
        if mark is not None:
            known = math.isfinite(mark.low) and math.isfinite(mark.high)
            ends = [[mark.value - mark.low], [mark.high - mark.value]] if known else None
            shown: dict[str, Any] = dict(look) | ({"marker": mark.bound} if mark.bound else {})
            axes.errorbar(mark.value, offset - row, xerr=ends, capsize=2, markersize=4.5, linestyle="", **shown)
