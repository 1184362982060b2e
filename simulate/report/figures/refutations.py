"""Refutations and negative controls: sums that exceed a published bound, runs that climb."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulate.experiments.result import Table
from simulate.report.figures.style import BLUE, GREEN, INK, ORANGE, RED, WIDTH, band, drawn_from, one_panel, panels

__all__ = ["plot_clipping", "plot_divergence", "plot_published_theorem", "plot_scalar_test"]


def plot_published_theorem(table: Table, axes: Axes, counterexample: str) -> Axes:
    """Measured sum of gradient norms over K against the published and the corrected bound.

    Args:
        table: columns counterexample, K, measured, published_bound, corrected_bound.
        axes: to draw on.
        counterexample: whose rows are drawn.
    """
    rows = table.where(counterexample=counterexample)
    steps, measured, published = (rows[name].astype(float) for name in ("K", "measured", "published_bound"))
    axes.plot(steps, rows["corrected_bound"], color=GREEN, linestyle="--", label="corrected Theorem 1")
    axes.plot(steps, measured, color=BLUE, marker="o", markersize=3, label="measured sum")
    axes.plot(steps, published, color=RED, linestyle="-.", label="published bound (B.2)")
    axes.fill_between(steps, published, measured, where=measured > published, color=RED, alpha=0.12, linewidth=0)
    axes.set(xscale="log", yscale="log", xlabel="steps $K$", title=counterexample)
    return axes


@drawn_from(
    "published_theorem",
    "The published theorem refuted on two functions of one variable: the sum of the gradient norms exceeds its "
    "bound (shaded), and stays below the corrected one.",
)
def published_theorem_figure(table: Table) -> Figure:
    """The published bound against the measured sum, a counterexample per panel."""
    figure, first = panels(plot_published_theorem, table, "counterexample", 2.7, r"$\sum_{k\leq K} |L'(w_k)|$")
    first.legend()
    return figure


def _finish_paths(axes: Axes) -> Axes:
    axes.axhline(0.0, color=INK, linewidth=0.6)
    axes.set(xlabel="steps $k$", ylabel=r"$\langle a, w_k\rangle$ (minimum at 0)")
    return axes


def plot_scalar_test(table: Table, axes: Axes) -> Axes:
    """a.w along Adam's run, for the batch that each test asks for.

    Args:
        table: columns test, batch_size, step, a_dot_w.
        axes: to draw on.
    """
    looks = ((RED, "-", 1.3), (BLUE, "-", 2.6), (ORANGE, (0, (4, 2)), 1.3))
    for (color, style, width), test in zip(looks, table.values("test"), strict=False):
        rows = table.where(test=test)
        label = f"{test} test, $b = {rows['batch_size'][0]}$".replace("l1", r"$\ell_1$")
        (line,) = axes.plot(rows["step"], rows["a_dot_w"], label=label, color=color, linewidth=width)
        line.set_linestyle(style)
    return _finish_paths(axes)


@drawn_from(
    "scalar_test",
    "Adam on one convex function, with the batch b (in samples) that each test asks for: it climbs under the "
    "scalar test. The runs under the other tests, which nearly coincide, end after the steps of the right "
    "panel.",
)
def scalar_test_figure(table: Table) -> Figure:
    """The whole run, and its beginning, where the two convergent runs are seen."""
    figure = Figure(figsize=(WIDTH, 2.6), layout="constrained")
    whole, beginning = (plot_scalar_test(table, axes) for axes in figure.subplots(1, 2))
    last = int(table.where(test="l1")["step"].max())
    scalar = table.where(test="scalar")
    highest = float(np.nanmax(scalar["a_dot_w"][scalar["step"] <= last]))
    whole.set_title("whole run")
    beginning.set(xlim=(0, last), ylim=(-0.3, 1.1 * highest), title=f"first {last} steps")
    whole.legend()
    return figure


def plot_clipping(table: Table, axes: Axes) -> Axes:
    """a.w with and without clipping, one line per seed.

    Args:
        table: columns clipped, seed, step, a_dot_w.
        axes: to draw on.
    """
    for clipped, color, style, label in ((True, RED, "-", "clipped"), (False, BLUE, "--", "not clipped")):
        look: dict[str, Any] = {"color": color, "linestyle": style, "alpha": 0.85, "linewidth": 1}
        for number, seed in enumerate(table.values("seed")):
            rows, name = table.where(clipped=clipped, seed=seed), None if number else label
            axes.plot(rows["step"], rows["a_dot_w"], label=name, **look)
    return _finish_paths(axes)


@drawn_from(
    "clipping",
    "Clipping without a floor on its factor: the coordinate-wise test holds, and Adam climbs. A line for each "
    "seed.",
)
def clipping_figure(table: Table) -> Figure:
    """Runs with clipping."""
    return one_panel(plot_clipping, table)


def plot_divergence(table: Table, axes: Axes) -> Axes:
    """Objective value along RMSProp's runs, one colour per eta, with a band over seeds.

    Args:
        table: columns eta, K, mean, low, high.
        axes: to draw on.
    """
    for color, style, eta in zip((RED, BLUE), ("-", "--"), table.values("eta"), strict=False):
        rows = table.where(eta=eta)
        band(axes, rows["K"], rows["low"], rows["high"], color, 0.2)
        axes.plot(rows["K"], rows["mean"], color=color, linestyle=style, label=rf"$\eta = {eta:g}$")
    axes.set_xscale("log", base=2)
    axes.set(yscale="log", xlabel="steps $K$", ylabel="$L(w_{K+1}) - \\inf L$")
    return axes


@drawn_from(
    "rmsprop",
    "RMSProp at beta2 = 1e-4 under two-point noise: eta > 1 may diverge, eta < 1 converges. Mean over the "
    "seeds, and a band from 10% to 90% of them.",
)
def divergence_figure(table: Table) -> Figure:
    """Runs of RMSProp."""
    return one_panel(plot_divergence, table)
