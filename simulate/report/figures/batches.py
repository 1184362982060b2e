"""Batch sizes that the tests ask for, and what their estimators read."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adabatch.moments.noise_scale import saturation_level
from simulate.experiments.result import Table
from simulate.report.figures.style import (
    BLUE,
    CYCLE,
    GREEN,
    GREY,
    INK,
    MARKERS,
    ORANGE,
    RED,
    WIDTH,
    band,
    drawn_from,
    panels,
)

__all__ = ["plot_batch_demand", "plot_estimator_bias", "plot_statistic"]


def plot_batch_demand(table: Table, axes: Axes, problem: str) -> Axes:
    """Batch sizes that the tests ask for along one run on a finite sum.

    Args:
        table: columns problem, K, population, coordinate_wise, norm_wise, estimated (medians over seeds), and
            <name>_low, <name>_high for a band over seeds; miss_rate, of the estimated test.
        axes: to draw on.
        problem: whose rows are drawn.
    """
    rows = table.where(problem=problem)
    steps = rows["K"]
    for name, color, style, label in (
        ("coordinate_wise", BLUE, "-", "coordinate-wise, exact"),
        ("norm_wise", GREEN, "-.", "norm-wise (4), exact"),
        ("estimated", ORANGE, "--", "coordinate-wise, estimated"),
    ):
        band(axes, steps, rows[f"{name}_low"], rows[f"{name}_high"], color, 0.18)
        axes.plot(steps, rows[name], color=color, linestyle=style, label=label)
    population = float(rows["population"][0])
    axes.axhline(population, color=INK, linewidth=0.8, linestyle=":")
    axes.annotate(
        f"full batch, n = {population:g}", (steps[0], population), (2, 2), textcoords="offset points", fontsize=7.5
    )
    missed = 100 * float(rows["miss_rate"][-1])
    note = f"the estimate misses the exact\ncondition in {missed:.0f}% of the steps"
    axes.annotate(note, (0.97, 0.05), xycoords="axes fraction", ha="right", va="bottom", fontsize=8)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set(ylim=(1.5, 2.2 * population), xlabel="steps $k$", title=problem)
    return axes


@drawn_from(
    "batch_demand",
    "Batch that each test asks for along a run on finite sums of n terms, without replacement: median over the "
    "seeds, and a band from 10% to 90% of them.",
)
def batch_demand_figure(table: Table) -> Figure:
    """Batches asked for, a problem per panel."""
    figure, first = panels(plot_batch_demand, table, "problem", 2.9, "batch size (samples)", sharey=True)
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def plot_estimator_bias(table: Table, axes: Axes) -> Axes:
    """E[variance estimate] / tr Sigma against b: exact lines, Monte Carlo dots.

    Args:
        table: columns workers, batch_size, published_exact, published_mean, unbiased_mean.
        axes: to draw on.
    """
    for color, marker, workers in zip(CYCLE, MARKERS, table.values("workers"), strict=False):
        rows = table.where(workers=workers)
        batch = rows["batch_size"]
        axes.plot(batch, rows["published_exact"], color=color, linewidth=1.1)
        axes.plot(batch, rows["published_mean"], marker, color=color, markersize=3, label=f"$J = {workers}$")
        axes.plot(batch, rows["unbiased_mean"], marker, color=color, markersize=3, markerfacecolor="none")
    axes.axhline(1.0, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xscale("log", base=2)
    axes.set(yscale="log", xlabel="global batch size $b$ (samples)", ylabel=r"estimate / $\mathrm{tr}\,\Sigma$")
    handles, labels = axes.get_legend_handles_labels()
    handles.append(Line2D([], [], color=INK, marker="o", linestyle="", markersize=3, markerfacecolor="none"))
    axes.legend(handles, [*labels, r"times $b/(J-1)$"], loc="lower left")
    axes.set_title("published variance (Eq. 5), and corrected")
    return axes


def plot_statistic(table: Table, axes: Axes, workers: int, eta: float) -> Axes:
    """The test statistic T against b for the three estimators: its median, and the level where it saturates.

    Args:
        table: columns workers, batch_size, median_<estimator>.
        axes: to draw on.
        workers: J, whose rows are drawn.
        eta: of the test.
    """
    rows = table.where(workers=workers)
    batch = rows["batch_size"].astype(float)
    for name, color, marker in (("paper", RED, "o"), ("unbiased", BLUE, "s"), ("debiased", GREEN, "^")):
        label = "published" if name == "paper" else name
        axes.plot(batch, rows[f"median_{name}"], color=color, marker=marker, markersize=3, label=label)
    axes.plot(batch, batch, color=GREY, linewidth=0.9, linestyle=(0, (5, 2)))
    note: dict[str, Any] = {"textcoords": "offset points", "fontsize": 8}
    axes.annotate("$T = b$", (batch[-1], batch[-1]), (0, -8), ha="right", va="top", color=GREY, **note)
    level = saturation_level(eta, workers)
    axes.axhline(level, color=RED, linewidth=0.8, linestyle=":")
    axes.annotate(f"$(J-1)/\\eta^2 = {level:g}$", (batch[0], level), (0, 4), ha="left", color=RED, **note)
    axes.set_xscale("log", base=2)
    axes.set(yscale="log", xlabel="global batch size $b$ (samples)", ylabel="test statistic $T$ (samples)")
    axes.set_ylim(top=30 * float(np.nanmax(rows["median_debiased"])))
    axes.legend(loc="upper left")
    axes.set_title(rf"noise dominates, $J = {workers}$, $\eta = {eta:g}$")
    return axes


@drawn_from(
    "estimator_bias",
    "Left: the variance between J workers over the per-sample variance: exact expectations (lines), means of "
    "samples (filled), and the same times b / (J - 1) (hollow, all at 1). Right: medians of the statistics made "
    "from it; above T = b a test asks for a larger batch.",
)
def estimator_bias_figure(table: Table) -> Figure:
    """What the variance estimators read, and the statistics made from them."""
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_estimator_bias(table, left)
    plot_statistic(table, right, workers=4, eta=0.2)
    return figure
