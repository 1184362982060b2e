"""The searches as a figure: what was tried for every schedule, and what was chosen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import NullLocator

from adabatch.experiments.comparison.report.rows import COLOURS
from adabatch.experiments.comparison.results import Comparison
from adabatch.experiments.comparison.tuning.points import PATHS, Point, rate_at
from adabatch.experiments.comparison.tuning.search import Search
from adabatch.reporting.figures import panels
from adabatch.settings import Settings

__all__ = ["tuning_figure"]

ACROSS = 4
"""Panels of the searches in a line."""

SHOWN = 0.8
"""Share of a schedule's tries within its panel: the others may be so far above that no difference would show."""

OWN_PATH = "0.4"

CHOSEN: dict[str, Any] = {"marker": "o", "linestyle": "", "color": "black", "fillstyle": "none", "markersize": 9}


def tuning_figure(comparison: Comparison) -> Figure:
    """Loss of each try against its learning rate, a panel for each schedule; the point chosen in a ring.

    Args:
        comparison: with at least one try.
    """
    shown = {name: search for name, search in comparison.searches.items() if search.losses}
    across = min(ACROSS, len(shown))
    lines = math.ceil(len(shown) / across)
    figure, places = panels(lines, across, size=(8, 1.2 + 1.5 * lines), sharex=True)
    labels = {schedule.name: schedule.label for schedule in comparison.schedules}
    for axes, (name, search) in zip(places, shown.items(), strict=False):
        axes.set_title(labels.get(name, name), fontsize=8)
        _draw_search(axes, search, comparison.base)
    for axes in places[len(shown) :]:
        axes.set_visible(False)
    for axes in places[len(shown) - across : len(shown)]:
        axes.tick_params(labelbottom=True)
    _rates_axis(places, comparison)
    figure.supxlabel("peak learning rate", fontsize=10)
    figure.supylabel("final validation loss (nats per token)", fontsize=10)
    figure.legend(handles=_search_legend(), loc="outside upper center", ncols=5, frameon=False, fontsize=8)
    return figure


def _draw_search(axes: Axes, search: Search, base: Settings) -> None:
    """The tries, those far above the others (or diverged) as arrows, and the mean of the chosen one's seeds."""
    finite = [loss for loss in search.losses.values() if math.isfinite(loss)]
    top = float(np.quantile(finite, SHOWN)) if finite else 0.0
    for (point, seed), loss in search.losses.items():
        marker, shown = ("o", loss) if loss <= top else ("^", top)
        look = {"color": COLOURS[point.path] if search.axes.path else OWN_PATH}
        look |= {"markerfacecolor": "none"} if seed else {}
        axes.plot(rate_at(base, point), shown, marker, markersize=4, alpha=0.8, **look)  # type: ignore[arg-type]
    if search.over:
        best = search.best()
        axes.plot(rate_at(base, best), min(search.mean_loss(best), top), **CHOSEN)


def _rates_axis(places: Sequence[Axes], comparison: Comparison) -> None:
    """A logarithmic axis with ticks at the base's rate times powers of 2, or of 4 where there are many."""
    tried = [one.point.rate for search in comparison.searches.values() for one in search.losses]
    step = 2 if max(tried) - min(tried) <= 8 else 4
    ticks = [rate for rate in range(min(tried), max(tried) + 1) if rate % step == 0]
    places[0].set_xscale("log")
    values = [rate_at(comparison.base, Point(rate=rate)) for rate in ticks]
    places[0].set_xticks(values, [f"{value:.2g}" for value in values])
    places[0].xaxis.set_minor_locator(NullLocator())
    for axes in places:
        axes.tick_params(labelsize=7)


def _search_legend() -> list[Line2D]:
    paths = [
        Line2D([], [], marker="o", linestyle="", color=COLOURS[n], label=path) for n, path in enumerate(PATHS)
    ]
    paths.append(Line2D([], [], marker="o", linestyle="", color=OWN_PATH, label="the schedule's own path"))
    hollow = {"markerfacecolor": "none", "label": "on further seeds"}
    others = Line2D([], [], marker="o", linestyle="", color="0.7", **hollow)  # type: ignore[arg-type]
    above = Line2D([], [], marker="^", linestyle="", color="0.7", label="above, or diverged")
    return [*paths, others, above, Line2D([], [], label="chosen (mean of its seeds)", **CHOSEN)]
