"""Several runs in one figure: training and validation loss and batch size, one colour a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from adabatch.reporting.figures import LABELS, save_figure, series, smoothed
from adabatch.reporting.metrics import read_metrics

__all__ = ["draw_runs", "overlay_figure", "run_labels"]

Records = Sequence[dict[str, Any]]


def draw_runs(paths: Sequence[Path], output: Path, against: str = "samples") -> list[Path]:
    """Draw runs together as ``runs.png`` and ``runs.pdf`` in the folder ``output``; returns the paths.

    Args:
        paths: folders of runs or their metrics files.
        output: folder, made if need be.
        against: ``samples`` or ``step``.

    Raises:
        ValueError: for no run, a run without metrics or steps, or another axis.
    """
    if against not in LABELS:
        raise ValueError(f"runs are drawn against {' or '.join(LABELS)}, not {against!r} (--against)")
    if not paths:
        raise ValueError("name at least one run's folder, such as runs/train")
    runs = dict(zip(run_labels(paths), (read_metrics(path) for path in paths), strict=True))
    for label, records in runs.items():
        if not records:
            raise ValueError(f"there is nothing to draw: the run {label} has no step in its metrics")
    output.mkdir(parents=True, exist_ok=True)
    figure = overlay_figure(runs, against)
    return [save_figure(figure, output / f"runs.{kind}") for kind in ("png", "pdf")]


def run_labels(paths: Sequence[Path]) -> list[str]:
    """The shortest endings of the paths that tell them apart.

    >>> run_labels([Path("runs/a/seed-0"), Path("runs/b/seed-0")])
    ['a/seed-0', 'b/seed-0']

    Raises:
        ValueError: for a path named twice.
    """
    parts = [path.resolve().parts for path in paths]
    if len(set(parts)) < len(parts):
        raise ValueError("the same run is named twice")
    for length in range(1, max(map(len, parts), default=0) + 1):
        labels = ["/".join(part[-length:]) for part in parts]
        if len(set(labels)) == len(labels):
            return labels
    return []


def overlay_figure(runs: Mapping[str, Records], against: str = "samples") -> Figure:
    """Training loss (smoothed), validation loss and batch size of several runs, by label."""
    figure = Figure(figsize=(7.5, 8.2), layout="constrained")
    panels = figure.subplots(3, 1, sharex=True)
    colors = matplotlib.colormaps["tab10" if len(runs) <= 10 else "turbo"]
    for index, (label, records) in enumerate(runs.items()):
        color = colors(index if len(runs) <= 10 else index / (len(runs) - 1))
        x, loss = series(records, "loss", against)
        panels[0].plot(x, smoothed(loss), color=color, linewidth=1.2, label=label)
        panels[1].plot(*series(records, "val_loss", against), "o-", color=color, markersize=3, linewidth=1.2)
        panels[2].plot(*series(records, "batch_size", against), color=color, drawstyle="steps-pre", linewidth=1.4)
    finish_panels(panels, against)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper center", ncols=3, frameon=False)
    return figure


def finish_panels(panels: Sequence[Axes], against: str = "samples") -> None:
    """Names, scales and grids of the three panels."""
    names = ("training loss (nats)", "validation loss (nats)", "batch (sequences)")
    for axes, name in zip(panels, names, strict=True):
        axes.set_ylabel(name)
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[:2]:
        zoom_on_the_end(axes)
    panels[2].set_yscale("log", base=2)
    panels[2].yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panels[2].set_xlabel(LABELS[against])


def zoom_on_the_end(axes: Axes) -> None:
    """Leave the steep beginning out of sight: only what is below the curves' values at an eighth of the run."""
    curves = [np.asarray(line.get_ydata(), dtype=float) for line in axes.lines]
    curves = [curve for curve in curves if curve.size]
    if curves:
        top = max(float(curve[len(curve) // 8]) for curve in curves)
        bottom = min(float(curve.min()) for curve in curves)
        axes.set_ylim(bottom - 0.05 * (top - bottom), top + 0.02 * (top - bottom) + 1e-9)
