"""Figures of batch schedules: their limit, the exchange and its ceiling, rules next to the optimum."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullLocator

from simulate.experiments.result import Table
from simulate.report.figures.style import COLUMN, CYCLE, GREY, INK, MARKERS, WIDTH, drawn_from

__all__ = ["plot_exchange", "plot_rules", "plot_schedule_limit"]


def plot_schedule_limit(table: Table, axes: Axes) -> Axes:
    """Time of the best schedule over the best constant against rho: closed form as lines, search as dots.

    Args:
        table: columns power, rho, searched, closed_form, roofline; B grows from 1 to 100 with a power of the
            progress n.
        axes: to draw on.
    """
    for color, marker, power in zip(CYCLE, MARKERS, table.values("power"), strict=False):
        rows = table.where(power=power)
        look: dict[str, Any] = {"color": color, "marker": marker, "markersize": 3, "markerfacecolor": "none"}
        axes.plot(rows["rho"], rows["closed_form"], color=color)
        axes.plot(rows["rho"], rows["searched"], linestyle="", **look)
        growth = "n" if power == 1 else f"n^{power:g}"
        axes.plot([], [], label=rf"$B = 1 + 99\,{growth}$", **look)
    axes.plot(rows["rho"], rows["roofline"], color=GREY, linestyle=":", label="on a roofline")
    axes.set(xscale="log", xlabel=r"$\rho$ = mean $B$ / $B_\mathrm{sat}$", ylabel="best schedule / best constant")
    axes.set_title("time at equal progress")
    return axes


def plot_exchange(table: Table, axes: Axes, quantity: str) -> Axes:
    """Price or steps of the exchange under each ceiling, a marker and a colour per task.

    Args:
        table: columns task, limit, and the quantity.
        axes: to draw on.
        quantity: ``price`` or ``steps``.
    """
    limits = table.values("limit")
    tasks = table.values("task")
    for color, marker, task, shift in zip(CYCLE, MARKERS, tasks, np.linspace(-0.2, 0.2, len(tasks)), strict=False):
        values = table.where(task=task)[quantity] * (100 if quantity == "price" else 1)
        places = np.arange(len(values)) + shift
        axes.plot(values, places, marker, color=color, markersize=4, linestyle="", label=task)
    axes.axvline(0 if quantity == "price" else 1, color=GREY, linewidth=0.8)
    names = ["no ceiling" if limit == "none" else limit.replace("eta ", r"$\eta$ ") for limit in limits]
    axes.set_yticks(range(len(limits)), names)
    axes.set_ylim(len(limits) - 0.5, -0.5)
    axes.set_xlabel({"price": "price: excess loss (%)", "steps": "steps / steps of decay alone"}[quantity])
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
    axes.set(xscale="log", xlabel="risk / optimum's risk", title={"sgd": "SGD", "adam-like": "Adam-like"}[method])
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 7)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    return axes


@drawn_from(
    "schedule_limit",
    "Time of the best batch schedule over that of the best constant batch, where the noise scale B grows with "
    "the progress n, from 0 to 1. Lines: closed form. Markers: search over batches. On a roofline nothing is "
    "saved.",
)
def schedule_limit_figure(table: Table) -> Figure:
    """What a schedule saves against rho."""
    figure = Figure(figsize=(COLUMN, 2.9), layout="constrained")
    axes = plot_schedule_limit(table, figure.subplots())
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@drawn_from(
    "exchange",
    "Decay exchanged in whole, by task: what the exchange costs and the steps it takes, without a ceiling, and "
    "under ceilings b <= B / eta^2 by the trace's or the weighted noise scale B. Grey: decay alone.",
)
def exchange_figure(table: Table) -> Figure:
    """Price and steps."""
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    plot_exchange(table, left, "price")
    plot_exchange(table, right, "steps")
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


@drawn_from(
    "rules_and_optimum",
    "Risk of each rule, at its best rate, over that of the optimum on the same task: a dot per task, bars for "
    "medians. Numbers: the constant's batch over t0 / t1, the share of the decay that is exchanged, the norm "
    "test's eta, the goodput's kappa.",
)
def rules_figure(table: Table) -> Figure:
    """Rules next to the optimum, a panel per method."""
    figure = Figure(figsize=(WIDTH, 2.9), layout="constrained")
    methods = table.values("method")
    grid = figure.subplots(1, len(methods), sharey=True, squeeze=False)[0]
    for axes, method in zip(grid, methods, strict=True):
        plot_rules(table, axes, method)
    return figure
