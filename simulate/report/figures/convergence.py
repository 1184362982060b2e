"""Convergence, and bounds over what was measured."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from simulate.experiments.result import Table
from simulate.report.figures.style import CYCLE, GREY, INK, MARKERS, WIDTH, band, drawn_from, panels

__all__ = ["plot_convergence", "plot_ratios"]


def plot_convergence(table: Table, axes: Axes, objective: str) -> Axes:
    """Measured average gradient norm against K, one colour per setting, with its bound and a K^-1/2 guide.

    Args:
        table: columns objective, setting, K, mean, low, high (a band over seeds), theorem_1, theorem_2 (NaN where
            the theorem does not apply); the smaller bound is drawn. Of more than three settings every second.
        axes: to draw on; both scales become logarithmic.
        objective: whose rows are drawn.
    """
    rows = table.where(objective=objective)
    for color, marker, setting in zip(CYCLE, MARKERS, _shown_settings(table), strict=False):
        part = rows.where(setting=setting)
        steps = part["K"]
        band(axes, steps, part["low"], part["high"], color, 0.25)
        axes.plot(steps, part["mean"], color=color, marker=marker, markersize=2.8)
        bound = np.fmin(part["theorem_1"].astype(float), part["theorem_2"].astype(float))
        axes.plot(steps, bound, color=color, linestyle="--", linewidth=1.0)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    _guide(axes, rows)
    axes.set_title(objective)
    return axes


def _shown_settings(table: Table) -> list[str]:
    settings: list[str] = table.values("setting")
    return settings if len(settings) <= 3 else settings[::2]


def _guide(axes: Axes, rows: Table) -> None:
    """A grey line of slope -1/2 below the measured curves."""
    steps = np.unique(rows["K"].astype(float))
    level = 0.5 * float(np.nanmin(rows["mean"].astype(float) * np.sqrt(rows["K"].astype(float))))
    guide = level / np.sqrt(steps)
    axes.plot(steps, guide, color=GREY, linewidth=0.9, linestyle=(0, (5, 2)), zorder=1)
    place: dict[str, Any] = {"textcoords": "offset points", "ha": "left", "va": "top", "fontsize": 8}
    axes.annotate(r"$K^{-1/2}$", (steps[0], guide[0]), (0, -3), color=GREY, **place)
    axes.set_ylim(bottom=0.2 * float(guide[-1]))


@drawn_from(
    "convergence",
    "Average gradient norm against K at step size sqrt(Delta / (L d K)), a run for each K: mean over the seeds, "
    "and a band from 10% to 90% of them. Dashed: the smaller of both theorems' bounds. Settings are (beta1, "
    "beta2), eta; of more than three every second is drawn.",
)
def convergence_figure(table: Table) -> Figure:
    """Measured gradient norms against K, an objective per panel."""
    objectives = table.values("objective")
    columns = min(3, len(objectives))
    lines = -(-len(objectives) // columns)
    figure = Figure(figsize=(WIDTH, 0.55 + 2.15 * lines), layout="constrained")
    grid = figure.subplots(lines, columns, sharex=True, squeeze=False).ravel()
    for axes, objective in zip(grid, objectives, strict=False):
        plot_convergence(table, axes, objective)
    for axes in grid[len(objectives) :]:
        axes.set_visible(False)
    for axes in grid[max(0, len(objectives) - columns) : len(objectives)]:
        axes.set_xlabel("steps $K$")
        axes.xaxis.set_tick_params(labelbottom=True)
    for axes in grid[::columns]:
        axes.set_ylabel(r"mean of $\|\nabla L(w_k)\|_1$ over $k \leq K$")
    figure.legend(handles=_convergence_legend(table), loc="outside lower center", ncols=3)
    return figure


def _pretty(setting: str) -> str:
    """A setting's label as a paper prints it: with the Greek letter."""
    betas, _, eta = setting.partition("eta ")
    return rf"{betas}$\eta = {eta}$"


def _convergence_legend(table: Table) -> list[Line2D]:
    looks = zip(CYCLE, MARKERS, _shown_settings(table), strict=False)
    handles = [
        Line2D([], [], color=color, marker=marker, markersize=2.8, label=_pretty(name))
        for color, marker, name in looks
    ]
    handles.append(Line2D([], [], color=INK, linestyle="--", linewidth=1.0, label="bound of the better theorem"))
    handles.append(Line2D([], [], color=GREY, linestyle=(0, (5, 2)), linewidth=0.9, label="guide of slope $-1/2$"))
    return handles


def plot_ratios(table: Table, axes: Axes, theorem: str) -> Axes:
    """Bound over measured sum of every case on the grid, against the step size in units of the theorem's own.

    Args:
        table: columns theorem, setting, step_factor, ratio.
        axes: to draw on.
        theorem: whose rows are drawn.
    """
    rows = table.where(theorem=theorem)
    settings = table.values("setting")
    spread = np.linspace(-0.15, 0.15, max(len(settings), 2))
    dots: dict[str, Any] = {"markersize": 2.2, "alpha": 0.5, "rasterized": len(rows) > 2000, "linestyle": ""}
    for color, marker, shift, setting in zip(CYCLE, MARKERS, spread, settings, strict=False):
        part = rows.where(setting=setting)
        look: dict[str, Any] = {"color": color, "marker": marker, "label": _pretty(setting), **dots}
        axes.plot(part["step_factor"] * 10.0**shift, part["ratio"], **look)
    axes.axhline(1.0, color=INK, linewidth=0.8)
    place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points", "va": "top"}
    axes.annotate("below 1 a bound would be violated", (0.02, 1.0), (0, -3), fontsize=7.5, **place)
    axes.set(xscale="log", yscale="log", title=theorem, xlabel="step size / the theorem's own")
    axes.set_ylim(bottom=0.1)
    return axes


@drawn_from(
    "ratios",
    "Bound over measured sum, a dot for each case of the grid that the theorem covers. Above 1 the bound holds. "
    "Settings are shifted sideways, to be told apart; step sizes between powers of 10 are those of the other "
    "theorem.",
)
def ratios_figure(table: Table) -> Figure:
    """Bound over measured sum, a theorem per panel."""
    figure, first = panels(plot_ratios, table, "theorem", 3.0, "bound / measured sum", sharey=True)
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=3, markerscale=2)
    return figure
