"""Figures of batch schedules: their limit, the exchange and its ceiling, rules next to the optimum."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from simulate.experiments.result import Table
from simulate.report.figures.style import CYCLE, GREY, INK, WIDTH, drawn_from

__all__ = ["plot_exchange", "plot_rules", "plot_schedule_limit"]


def plot_schedule_limit(table: Table, axes: Axes) -> Axes:
    """Time of the best schedule over the best constant against rho: closed form as lines, search as dots.

    Args:
        table: columns power, rho, searched, closed_form, roofline; B grows from 1 to 100 with a power of the
            progress n.
        axes: to draw on.
    """
    for color, power in zip(CYCLE, table.values("power"), strict=False):
        rows = table.where(power=power)
        axes.plot(rows["rho"], rows["closed_form"], color=color, label=rf"$B = 1 + 99\, n^{{{power:g}}}$")
        axes.plot(rows["rho"], rows["searched"], "o", color=color, markersize=3, markerfacecolor="none")
    axes.plot(rows["rho"], rows["roofline"], color=GREY, linestyle=":", label="on a roofline")
    axes.set(xscale="log", xlabel=r"$\rho$ = mean $B$ / $B_\mathrm{sat}$", ylabel="best schedule / best constant")
    axes.set_title("time at equal progress")
    return axes


def plot_exchange(table: Table, axes: Axes) -> Axes:
    """Price of the exchange against its steps, a marker per limit and a colour per task.

    Args:
        table: columns task, limit, price, steps.
        axes: to draw on.
    """
    markers = dict(zip(table.values("limit"), "xo^vsDP", strict=False))
    for color, task in zip(CYCLE, table.values("task"), strict=False):
        for row in table.where(task=task).rows():
            face = color if row["limit"].startswith("weighted") else "none"
            style: dict[str, Any] = {"color": color, "markerfacecolor": face, "markersize": 5}
            axes.plot(row["steps"], 100 * row["price"], markers[row["limit"]], **style)
        axes.plot([], [], color=color, linewidth=4, label=task)
    for limit, marker in markers.items():
        face = INK if limit.startswith("weighted") else "none"
        label = "no ceiling" if limit == "none" else limit.replace("eta ", r"$\eta$ ")
        axes.plot([], [], marker, color=INK, markerfacecolor=face, markersize=5, linestyle="", label=label)
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set(xlabel="steps relative to decay alone", ylabel="price: excess loss (%)")
    return axes


def plot_rules(table: Table, axes: Axes, method: str) -> Axes:
    """Risk of every rule over the optimum's, a dot per task and the median as a bar.

    Args:
        table: columns method, rule, ratio.
        axes: to draw on.
        method: ``sgd`` or ``adam-like``.
    """
    rules = table.values("rule")
    for place, rule in enumerate(rules):
        ratios = table.where(method=method, rule=rule)["ratio"]
        axes.plot(ratios, np.full(len(ratios), place), "o", color=CYCLE[0], markersize=3, alpha=0.6)
        axes.plot(np.median(ratios), place, "|", color=INK, markersize=12, markeredgewidth=1.6)
    axes.axvline(1, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(rules)), rules)
    axes.set_ylim(len(rules) - 0.5, -0.5)
    axes.set(xscale="log", xlabel="risk / optimum's risk", title=method)
    for formatted in (axes.xaxis.set_major_formatter, axes.xaxis.set_minor_formatter):
        formatted("{x:g}")
    return axes


@drawn_from("schedule_limit", "Lines: closed form. Circles: search over batches. On a roofline nothing is saved.")
def schedule_limit_figure(table: Table) -> Figure:
    """What a schedule saves against rho."""
    figure = Figure(figsize=(0.6 * WIDTH, 2.6), layout="constrained")
    axes = plot_schedule_limit(table, figure.subplots())
    axes.legend(loc="lower left")
    return figure


@drawn_from("exchange", "Decay exchanged in whole; filled markers: ceilings by the weighted noise scale.")
def exchange_figure(table: Table) -> Figure:
    """Price against steps."""
    figure = Figure(figsize=(WIDTH, 3.0), layout="constrained")
    axes = plot_exchange(table, figure.subplots())
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure


@drawn_from("rules_and_optimum", "A dot per task, each rule at its best rate; bars: medians.")
def rules_figure(table: Table) -> Figure:
    """Rules next to the optimum, a panel per method."""
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    methods = table.values("method")
    grid = figure.subplots(1, len(methods), sharey=True, squeeze=False)[0]
    for axes, method in zip(grid, methods, strict=True):
        plot_rules(table, axes, method)
    return figure
