"""Batch sizes that the tests ask for, and what their estimators read."""

from __future__ import annotations

from functools import partial

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from adabatch.moments.noise_scale import saturation_level
from simulate.experiments.result import Table
from simulate.report.figures.style import BLUE, CYCLE, GREEN, GREY, INK, ORANGE, RED, WIDTH, panels

__all__ = [
    "batch_demand_figure",
    "estimator_bias_figure",
    "plot_batch_demand",
    "plot_estimator_bias",
    "plot_statistic",
]


def plot_batch_demand(table: Table, axes: Axes, problem: str) -> Axes:
    """Batch sizes that the tests ask for along one run on a finite sum.

    Args:
        table: columns problem, K, population, coordinate_wise, norm_wise, estimated (medians over seeds), and
            <name>_low, <name>_high for a band over seeds; miss_rate, of the estimated test.
        axes: to draw on.
        problem: whose rows are drawn.
    """
    rows = table.where(problem=problem)
    steps = rows.column("K")
    for name, color, label in (
        ("coordinate_wise", BLUE, "coordinate-wise, exact"),
        ("norm_wise", GREEN, "norm-wise (4), exact"),
        ("estimated", ORANGE, "coordinate-wise, estimated"),
    ):
        axes.fill_between(
            steps, rows.column(f"{name}_low"), rows.column(f"{name}_high"), color=color, alpha=0.18, linewidth=0
        )
        axes.plot(steps, rows.column(name), color=color, label=label)
    population = float(rows.column("population")[0])
    axes.axhline(population, color=INK, linewidth=0.8, linestyle=":")
    axes.annotate(
        f"full batch, n = {population:g}", (steps[0], population), (2, 2), textcoords="offset points", fontsize=7.5
    )
    missed = 100 * float(rows.column("miss_rate")[-1])
    note = f"the estimate misses the exact\ncondition in {missed:.0f}% of the steps"
    axes.annotate(note, (0.97, 0.05), xycoords="axes fraction", ha="right", va="bottom", fontsize=8)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_ylim(1.5, 2.2 * population)
    axes.set_xlabel("steps $k$")
    axes.set_title(problem)
    return axes


def batch_demand_figure(table: Table) -> Figure:
    """Batches asked for, a problem per panel."""
    plot, problems = partial(plot_batch_demand, table), table.values("problem")
    figure, first = panels(plot, problems, 2.9, "batch size (samples)", sharey=True)
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=3)
    return figure


def plot_estimator_bias(table: Table, axes: Axes) -> Axes:
    """E[variance estimate] / tr Sigma against b: exact lines, Monte Carlo dots.

    Args:
        table: columns workers, batch_size, published_exact, published_mean, unbiased_mean.
        axes: to draw on.
    """
    for color, workers in zip(CYCLE, table.values("workers"), strict=False):
        rows = table.where(workers=workers)
        axes.plot(rows.column("batch_size"), rows.column("published_exact"), color=color, linewidth=1.1)
        axes.plot(
            rows.column("batch_size"),
            rows.column("published_mean"),
            "o",
            color=color,
            markersize=3,
            label=f"$J = {workers}$",
        )
        axes.plot(
            rows.column("batch_size"),
            rows.column("unbiased_mean"),
            "s",
            color=color,
            markersize=3,
            markerfacecolor="none",
        )
    axes.axhline(1.0, color=INK, linewidth=0.8, linestyle=":")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("global batch size $b$")
    axes.set_ylabel(r"estimate / $\mathrm{tr}\,\Sigma$")
    handles, labels = axes.get_legend_handles_labels()
    handles.append(Line2D([], [], color=INK, marker="s", linestyle="", markersize=3, markerfacecolor="none"))
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
    batch = rows.column("batch_size").astype(float)
    for name, color, marker in (("paper", RED, "o"), ("unbiased", BLUE, "s"), ("debiased", GREEN, "^")):
        label = "published" if name == "paper" else name
        axes.plot(batch, rows.column(f"median_{name}"), color=color, marker=marker, markersize=3, label=label)
    axes.plot(batch, batch, color=GREY, linewidth=0.9, linestyle=(0, (5, 2)))
    axes.annotate(
        "$T = b$",
        (batch[-1], batch[-1]),
        (0, -8),
        textcoords="offset points",
        ha="right",
        va="top",
        color=GREY,
        fontsize=8,
    )
    level = saturation_level(eta, workers)
    axes.axhline(level, color=RED, linewidth=0.8, linestyle=":")
    axes.annotate(
        f"$(J-1)/\\eta^2 = {level:g}$",
        (batch[0], level),
        (0, 4),
        textcoords="offset points",
        ha="left",
        color=RED,
        fontsize=8,
    )
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("global batch size $b$")
    axes.set_ylabel("test statistic $T$ (samples)")
    axes.set_ylim(top=30 * float(np.nanmax(rows.column("median_debiased"))))
    axes.legend(loc="upper left")
    axes.set_title(rf"noise dominates, $J = {workers}$, $\eta = {eta:g}$")
    return axes


def estimator_bias_figure(table: Table) -> Figure:
    """What the variance estimators read, and the statistics made from them."""
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2)
    plot_estimator_bias(table, left)
    plot_statistic(table, right, workers=4, eta=0.2)
    return figure
