"""Refutations and negative controls: sums that exceed a published bound, runs that climb."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulate.experiments.result import Table
from simulate.report.figures.style import BLUE, GREEN, INK, ORANGE, RED, WIDTH, panels

__all__ = [
    "clipping_figure",
    "divergence_figure",
    "plot_clipping",
    "plot_divergence",
    "plot_published_theorem",
    "plot_scalar_test",
    "published_theorem_figure",
    "scalar_test_figure",
]


def plot_published_theorem(table: Table, axes: Axes, counterexample: str) -> Axes:
    """Measured sum of gradient norms over K against the published and the corrected bound.

    Args:
        table: columns counterexample, K, measured, published_bound, corrected_bound.
        axes: to draw on.
        counterexample: whose rows are drawn.
    """
    rows = table.where(counterexample=counterexample)
    steps, measured, published = (rows.column(name).astype(float) for name in ("K", "measured", "published_bound"))
    axes.plot(steps, rows.column("corrected_bound"), color=GREEN, linestyle="--", label="corrected Theorem 1")
    axes.plot(steps, measured, color=BLUE, marker="o", markersize=3, label="measured sum")
    axes.plot(steps, published, color=RED, linestyle="-.", label="published bound (B.2)")
    axes.fill_between(steps, published, measured, where=measured > published, color=RED, alpha=0.12, linewidth=0)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("steps $K$")
    axes.set_title(counterexample)
    return axes


def published_theorem_figure(table: Table) -> Figure:
    """The published bound against the measured sum, a counterexample per panel."""
    plot, examples = partial(plot_published_theorem, table), table.values("counterexample")
    figure, first = panels(plot, examples, 2.7, r"$\sum_{k\leq K} |L'(w_k)|$")
    first.legend()
    return figure


def plot_scalar_test(table: Table, axes: Axes) -> Axes:
    """a.w along Adam's run, for the batch that each test asks for.

    Args:
        table: columns test, batch_size, step, a_dot_w.
        axes: to draw on.
    """
    looks = ((RED, "-", 1.3), (BLUE, "-", 2.6), (ORANGE, (0, (4, 2)), 1.3))
    for (color, style, width), test in zip(looks, table.values("test"), strict=False):
        rows = table.where(test=test)
        size = rows.column("batch_size")[0]
        label = f"{test} test, $b = {size}$".replace("l1", r"$\ell_1$")
        line: dict[str, Any] = {"color": color, "linestyle": style, "linewidth": width}
        axes.plot(rows.column("step"), rows.column("a_dot_w"), label=label, **line)
    axes.axhline(0.0, color=INK, linewidth=0.6)
    axes.set_xlabel("steps $k$")
    axes.set_ylabel(r"$\langle a, w_k\rangle$ (minimum at 0)")
    axes.legend()
    return axes


def scalar_test_figure(table: Table) -> Figure:
    """The whole run, and its beginning, where the two convergent runs are seen."""
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    whole, beginning = figure.subplots(1, 2)
    plot_scalar_test(table, whole)
    plot_scalar_test(table, beginning)
    last = int(table.where(test="l1").column("step").max())
    beginning.set_xlim(0, last)
    scalar = table.where(test="scalar")
    early = scalar.column("a_dot_w")[scalar.column("step") <= last]
    beginning.set_ylim(-0.3, 1.1 * float(np.nanmax(early)))
    beginning.set_title(f"first {last} steps")
    whole.set_title("whole run")
    beginning.get_legend().remove()
    return figure


def plot_clipping(table: Table, axes: Axes) -> Axes:
    """a.w with and without clipping, one line per seed.

    Args:
        table: columns clipped, seed, step, a_dot_w.
        axes: to draw on.
    """
    for clipped, color, label in ((True, RED, "clipped"), (False, BLUE, "not clipped")):
        for seed in table.values("seed"):
            rows = table.where(clipped=clipped, seed=seed)
            name = label if seed == table.values("seed")[0] else None
            axes.plot(
                rows.column("step"), rows.column("a_dot_w"), color=color, alpha=0.85, linewidth=1, label=name
            )
    axes.axhline(0.0, color=INK, linewidth=0.6)
    axes.set_xlabel("steps $k$")
    axes.set_ylabel(r"$\langle a, w_k\rangle$ (minimum at 0)")
    axes.legend()
    return axes


def clipping_figure(table: Table) -> Figure:
    """Runs with clipping."""
    figure = Figure(figsize=(0.55 * WIDTH, 2.5), layout="constrained")
    plot_clipping(table, figure.subplots())
    return figure


def plot_divergence(table: Table, axes: Axes) -> Axes:
    """Objective value along RMSProp's runs, one colour per eta, with a band over seeds.

    Args:
        table: columns eta, K, mean, low, high.
        axes: to draw on.
    """
    for color, eta in zip((RED, BLUE), table.values("eta"), strict=False):
        rows = table.where(eta=eta)
        axes.fill_between(
            rows.column("K"), rows.column("low"), rows.column("high"), color=color, alpha=0.2, linewidth=0
        )
        axes.plot(rows.column("K"), rows.column("mean"), color=color, label=rf"$\eta = {eta:g}$")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xlabel("steps $K$")
    axes.set_ylabel("$L(w_{K+1}) - \\inf L$")
    axes.legend()
    return axes


def divergence_figure(table: Table) -> Figure:
    """Runs of RMSProp."""
    figure = Figure(figsize=(0.55 * WIDTH, 2.5), layout="constrained")
    plot_divergence(table, figure.subplots())
    return figure
