"""What a figure does not show of the curves in it: points beyond the limits of an axis, and values not finite."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

__all__ = ["left_out", "note_what_is_left_out"]

LINES = 6
"""Lines of a figure's note; what is beyond them is counted."""

CHARACTERS_PER_INCH = 19
"""Of the note's font."""


def left_out(figure: Figure) -> list[str]:
    r"""A line for each labelled curve that its panel does not show as a whole: which, how many points, and where.

    >>> figure = Figure()
    >>> axes = figure.subplots()
    >>> _ = axes.plot([8, 16, 24], [5.0, 2.0, float("nan")], label="a")
    >>> _ = axes.set(ylim=(0, 3), ylabel="loss", xlabel="samples")
    >>> print(*left_out(figure), sep="\n")
    loss of a: 1 of 3 points above 3 (samples 8 to 8)
    loss of a: 1 of 3 points not finite (samples 24 to 24)
    """
    return [
        f"{axes.get_ylabel()} of {line.get_label()}: {text}"
        for axes in figure.axes
        for line in axes.lines
        if not str(line.get_label()).startswith("_")
        for text in _of_line(line, axes, _against(axes, figure))
    ]


def _against(axes: Axes, figure: Figure) -> str:
    """What a panel is drawn against: its own label, or that of a panel with the same axis, or else any."""
    alike = axes.get_shared_x_axes().get_siblings(axes)
    panels = (axes, *alike, *figure.axes)
    return next((label for panel in panels if (label := panel.get_xlabel())), "x")


def _of_line(line: Line2D, axes: Axes, against: str) -> Iterator[str]:
    x, y = (np.asarray(values, dtype=float) for values in line.get_data())
    low, high = sorted(axes.get_ylim())
    kinds = {f"above {high:.4g}": y > high, f"below {low:.4g}": y < low, "not finite": ~np.isfinite(y)}
    for kind, chosen in kinds.items():
        chosen = chosen & (np.isfinite(y) | (kind == "not finite"))
        if chosen.any():
            first, last = x[chosen].min(), x[chosen].max()
            yield f"{chosen.sum()} of {y.size} points {kind} ({against} {first:,g} to {last:,g})"


def note_what_is_left_out(figure: Figure) -> Figure:
    """Write below the figure what it does not show, as far as that fits."""
    lines = left_out(figure)
    shown = [f"not shown: {line}" for line in lines[:LINES]]
    shown += [f"not shown: points of {len(lines) - LINES} curves more"] if len(lines) > LINES else []
    if shown:
        width = round(CHARACTERS_PER_INCH * figure.get_figwidth())
        figure.supxlabel("\n".join(textwrap.fill(line, width) for line in shown), fontsize=6, x=0.02, ha="left")
    return figure
