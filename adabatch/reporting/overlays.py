"""Several runs in one figure: training and validation loss and batch size, one colour per run."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count, cycle
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adabatch.reporting.figure_names import KINDS
from adabatch.reporting.figures import LABELS, panels, plain_numbers, write_figures
from adabatch.reporting.left_out import left_out
from adabatch.reporting.metrics import Record, read_metrics
from adabatch.reporting.series import (
    VALIDATION,
    series,
    set_name,
    smoothed_series,
    smoothing_text,
    smoothing_width,
    validation_series,
)

__all__ = ["Curve", "curves_figure", "draw_runs", "overlay_figure", "points_of", "run_labels"]

STYLES = {"-": "solid", "--": "dashed", ":": "dotted", "-.": "dash-dotted"}
"""Of lines of several validation sets, and what they are called."""


def draw_runs(
    paths: Sequence[Path],
    output: Path,
    against: str = "samples",
    *,
    kinds: Sequence[str] = KINDS,
    size: tuple[float, float | None] | None = None,
    style: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Draw runs together as ``runs.png`` and ``runs.pdf`` in the folder ``output``; returns the paths.

    What the figure does not show of the runs stands below it, and as a whole on the standard error.

    Args:
        paths: folders of runs or their metrics files, at least one.
        output: folder, made if need be.
        against: ``samples`` or ``step``.
        kinds: of files.
        size: width and height in inches; a height of None keeps the proportions.
        style: settings of matplotlib.

    Raises:
        ValueError: for a run without metrics or steps, or another axis.
    """
    if against not in LABELS:
        raise ValueError(f"runs are drawn against {' or '.join(LABELS)}, not {against!r} (--against)")
    runs = dict(zip(run_labels(paths), (read_metrics(path) for path in paths), strict=True))
    for label, records in runs.items():
        if not records:
            raise ValueError(f"there is nothing to draw: the run {label} has no step in its metrics")
    with matplotlib.rc_context(dict(style or {})):
        figure = overlay_figure(runs, against)
        if size is not None:
            width, height = figure.get_size_inches()
            figure.set_size_inches(size[0], size[1] or size[0] * height / width)
        for line in left_out(figure):
            print(f"not shown: {line}", file=sys.stderr)
        return write_figures({"runs": figure}, output, kinds)


def run_labels(paths: Sequence[Path]) -> list[str]:
    """The shortest endings of the paths that tell them apart.

    >>> run_labels([Path("runs/a/seed-0"), Path("runs/b/seed-0")])
    ['a/seed-0', 'b/seed-0']

    Raises:
        ValueError: for a path named twice.
    """
    parts = [Path(os.path.realpath(path)).parts for path in paths]
    if len(set(parts)) < len(parts):
        raise ValueError("the same run is named twice")
    endings = (["/".join(part[-length:]) for part in parts] for length in count(1))
    return next(labels for labels in endings if len(set(labels)) == len(labels))


def overlay_figure(runs: Mapping[str, Sequence[Record]], against: str = "samples") -> Figure:
    """Training loss (smoothed over a hundredth of the longest run), validation losses and batch size, by label."""
    width = smoothing_width(max(records[-1]["samples"] for records in runs.values()))
    colors = matplotlib.colormaps["tab10" if len(runs) <= 10 else "turbo"]
    curves = []
    for index, (label, records) in enumerate(runs.items()):
        color = colors(index if len(runs) <= 10 else index / (len(runs) - 1))
        curves.append(Curve(label, {"color": color}, partial(points_of, records, width=width, against=against)))
    sets = dict.fromkeys(name for records in runs.values() for name in validation_series(records))
    return curves_figure(curves, width, against, marker="o", validation=list(sets) or [VALIDATION])


def points_of(
    records: Sequence[Record], name: str, width: float, against: str = "samples"
) -> tuple[list[float], list[float]]:
    """Where a quantity was measured, and its values; the training loss smoothed over ``width`` samples."""
    if name == "loss":
        return smoothed_series(records, name, width, against)
    return series(records, name, against)


class Curve(NamedTuple):
    """One line of each panel of :func:`curves_figure`.

    Attributes:
        label: in the legend.
        look: colour and the like, as of matplotlib's ``plot``.
        points: x and y of a quantity (``loss``, ``val_loss``, ``batch_size``).
    """

    label: str
    look: Mapping[str, Any]
    points: Callable[[str], tuple[Any, Any]]


def curves_figure(
    curves: Sequence[Curve],
    width: float,
    against: str = "samples",
    marker: str = "",
    validation: Sequence[str] = (VALIDATION,),
) -> Figure:
    """Training loss, validation losses (with markers) and batch size, above each other.

    Args:
        curves: of the runs.
        width: the samples over which their training loss is smoothed.
        against: ``samples`` or ``step``.
        marker: of the validation losses.
        validation: the series of these, each with a line style of its own.
    """
    figure, axes = panels(3, size=(8, 8.4), sharex=True)
    for label, look, points in curves:
        axes[0].plot(*points("loss"), linewidth=1.2, label=label, **look)
        for name, style in zip(validation, cycle(STYLES), strict=False):
            look_of_set = {**look, "linestyle": style} if len(validation) > 1 else look
            axes[1].plot(*points(name), marker=marker, markersize=3, linewidth=1.2, label=label, **look_of_set)
        axes[2].plot(*points("batch_size"), drawstyle="steps-pre", linewidth=1.4, label=label, **look)
    names = ("training loss (nats)", "validation loss (nats)", "batch (sequences)")
    for place, name in zip(axes, names, strict=True):
        place.set_ylabel(name)
    if len(validation) > 1:
        named = zip(validation, cycle(STYLES.values()), strict=False)
        text = ", ".join(f"{set_name(name) or 'the first set'} {style}" for name, style in named)
        axes[1].set_title(text, fontsize=8, loc="right")
    axes[0].set_title(f"training loss {smoothing_text(width)}", fontsize=8, loc="right")
    for place in axes[:2]:
        zoom_on_the_end(place)
    axes[2].set_yscale("log", base=2)
    plain_numbers(axes[2].yaxis)
    axes[2].set_xlabel(LABELS[against])
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def zoom_on_the_end(axes: Axes) -> None:
    """Leave the steep beginning out of sight: only what is below the curves' values at an eighth of the run."""
    curves = [np.asarray(line.get_ydata(), dtype=float) for line in axes.lines]
    later = [part[np.isfinite(part)] for curve in curves if (part := curve[len(curve) // 8 :]).size]
    if any(part.size for part in later):
        top = max(float(part[0]) for part in later if part.size)
        bottom = min(float(np.nanmin(curve)) for curve in curves if np.isfinite(curve).any())
        axes.set_ylim(bottom - 0.05 * (top - bottom), top + 0.02 * (top - bottom) + 1e-9)
