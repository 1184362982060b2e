"""Figures of runs: functions take records and axes and return the axes; :func:`write_figures` writes files."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure

from adabatch.reporting.figure_names import FIGURES, KINDS
from adabatch.reporting.left_out import note_what_is_left_out
from adabatch.reporting.metrics import Record
from adabatch.reporting.part_figures import has_parts, parts_figure
from adabatch.reporting.series import (
    series,
    set_name,
    smoothed,
    smoothed_series,
    smoothing_text,
    smoothing_width,
    validation_series,
)

__all__ = [
    "panels",
    "plain_numbers",
    "plot_batch_size",
    "plot_loss",
    "plot_moments",
    "save_figures",
    "training_figure",
    "write_figures",
]

LABELS = {"samples": "samples (sequences)", "step": "steps"}
BLUE, ORANGE, GREEN, GREY = "#20639b", "#d1495b", "#3a7d44", "#8d99ae"

OF_SETS = (ORANGE, GREEN, "#edae49", "#7b2d8b", "#00798c")
"""Of validation losses, by the place of their set."""


def plot_loss(records: Sequence[Record], axes: Axes, against: str = "samples") -> Axes:
    """Training loss (each step faint, and smoothed) and the loss of each validation set where it was measured."""
    axes.plot(*series(records, "loss", against), color=BLUE, alpha=0.25, linewidth=0.7)
    width = smoothing_width(records[-1]["samples"])
    label = f"training, {smoothing_text(width)}"
    axes.plot(*smoothed_series(records, "loss", width, against), color=BLUE, linewidth=1.6, label=label)
    for place, name in enumerate(validation_series(records)):
        label, color = " ".join(["validation", set_name(name)]).strip(), OF_SETS[place % len(OF_SETS)]
        axes.plot(*series(records, name, against), "o-", color=color, markersize=4, linewidth=1.2, label=label)
    axes.set_ylabel("loss (nats per token)")
    axes.legend(frameon=False)
    return axes


def plot_batch_size(records: Sequence[Record], axes: Axes, against: str = "samples") -> Axes:
    """The batch size as a staircase, with the test statistic as dots where it was measured."""
    x, statistic = series(records, "test_statistic", against)
    if statistic:
        axes.plot(x, statistic, ".", color=GREY, markersize=2.5, alpha=0.6, label="test statistic T")
    x, batch = series(records, "batch_size", against)
    axes.plot(x, batch, color=GREEN, drawstyle="steps-pre", linewidth=1.8, label="batch size")
    axes.set_yscale("log", base=2)
    axes.set_ylim(min(batch) / 2, 4 * max(batch))
    plain_numbers(axes.yaxis)
    axes.set_ylabel("sequences")
    axes.legend(frameon=False, loc="upper left")
    return axes


def plot_moments(records: Sequence[Record], axes: Axes, against: str = "samples") -> Axes:
    """The trace of the per-sample covariance and the squared gradient norm, smoothed on the logarithmic scale."""
    width = smoothing_width(records[-1]["samples"])
    for name, label, color in (
        ("noise_trace", r"$\mathrm{tr}\,\Sigma$ (per sample)", ORANGE),
        ("grad_sq_norm", r"$\Vert g\Vert^2$", BLUE),
    ):
        positive = [record for record in records if (record.get(name) or 0) > 0]
        x, values = series(positive, name, against)
        if values:
            samples = [record["samples"] for record in positive]
            logarithms = smoothed(
                [math.log(value) for value in values], samples, width
            )  # one outlier would raise a plain mean
            axes.plot(x, values, color=color, alpha=0.2, linewidth=0.7)
            axes.plot(x, np.exp(logarithms), color=color, linewidth=1.6, label=label)
    axes.set_yscale("log")
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False)
    return axes


def training_figure(records: Sequence[Record], against: str = "samples", moments: bool = False) -> Figure:
    """Loss above batch size (and gradient moments below), over the same axis."""
    plots = [plot_loss, plot_batch_size, plot_moments][: 3 if moments else 2]
    figure, axes = panels(len(plots), size=(7, 2.6 * len(plots)), sharex=True)
    for plot, place in zip(plots, axes, strict=True):
        plot(records, place, against)
    axes[-1].set_xlabel(LABELS[against])
    return figure


def save_figures(records: Sequence[Record], folder: Path) -> list[Path]:
    """Write ``training`` and ``moments`` (against samples and steps), and ``layers`` where they were measured.

    Each is written as PNG and as PDF.

    Returns:
        The files' paths.

    Raises:
        ValueError: without records.
    """
    if not records:
        raise ValueError("there is nothing to draw: the run has no step in its metrics")
    figures = [
        training_figure(records, "samples"),
        training_figure(records, "step"),
        training_figure(records, "samples", moments=True),
        training_figure(records, "step", moments=True),
    ]
    if has_parts(records):
        figures.append(parts_figure(records))
    return write_figures(dict(zip(FIGURES, figures, strict=False)), folder)


def panels(rows: int, columns: int = 1, *, size: tuple[float, float], **shared: Any) -> tuple[Figure, list[Axes]]:
    """A figure and its panels, line by line, with a faint grid and open at the top and on the right.

    Args:
        rows: of panels.
        columns: of panels.
        size: width and height in inches.
        shared: as of matplotlib's ``subplots``, for example ``sharex=True``.
    """
    figure = Figure(figsize=size, layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False, **shared).flat)
    for place in axes:
        place.grid(alpha=0.25)
        place.spines[["top", "right"]].set_visible(False)
    return figure, axes


def plain_numbers(axis: Axis) -> None:
    """Label the ticks of a logarithmic axis as 16, not as a power."""
    axis.set_major_formatter(lambda value, _: f"{value:g}")


def write_figures(figures: Mapping[str, Figure], folder: Path, kinds: Sequence[str] = KINDS) -> list[Path]:
    """Write figures by name into a folder, made if need be, each as PNG and as PDF, or as other kinds of files;
    returns the paths.

    A figure that does not show all of its curves says so below them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for figure in figures.values():
        note_what_is_left_out(figure)
    paths = [(figure, folder / f"{name}.{kind}") for name, figure in figures.items() for kind in kinds]
    for figure, path in paths:
        temporary = path.with_name(path.stem + ".tmp" + path.suffix)
        figure.savefig(temporary, dpi=160)
        os.replace(temporary, path)
    return [path for _, path in paths]
