"""Figures of the experiments: functions take a table and axes, and return the axes.

:data:`FIGURES` names the table each figure is drawn from; :func:`save_figures` writes that table as CSV next to
the PDF and the PNG, and :func:`draw` draws a figure from a table, for example one read back from its CSV.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure

from simulate.experiments.result import Table
from simulate.report.figures.batches import plot_batch_demand, plot_estimator_bias, plot_statistic
from simulate.report.figures.convergence import plot_convergence, plot_ratios
from simulate.report.figures.ratio_map import plot_ratio_map
from simulate.report.figures.refutations import (
    plot_clipping,
    plot_divergence,
    plot_published_theorem,
    plot_scalar_test,
)
from simulate.report.figures.samples import plot_samples
from simulate.report.figures.schedules import plot_exchange, plot_rules, plot_schedule_limit
from simulate.report.figures.style import FIGURES, STYLE, FigureRecipe

__all__ = [
    "FIGURES",
    "FigureRecipe",
    "draw",
    "plot_batch_demand",
    "plot_clipping",
    "plot_convergence",
    "plot_divergence",
    "plot_estimator_bias",
    "plot_exchange",
    "plot_published_theorem",
    "plot_ratio_map",
    "plot_ratios",
    "plot_rules",
    "plot_samples",
    "plot_scalar_test",
    "plot_schedule_limit",
    "plot_statistic",
    "save_figures",
]


def draw(name: str, table: Table) -> Figure:
    """One figure from its table, in the style of the others.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    with mpl.rc_context(STYLE):
        return FIGURES[name].draw(table)


def save_figures(tables: Mapping[str, Table], folder: Path) -> dict[str, Path]:
    """Write every table as CSV, and the figure drawn from it (if there is one) as PDF and PNG.

    The files depend on the tables only: no dates are stored.

    Returns:
        The PNG of each figure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, table in tables.items():
        table.write_csv(folder / f"{name}.csv")
        if name in FIGURES:
            with mpl.rc_context(STYLE):
                figure, written[name] = draw(name, table), folder / f"{name}.png"
                figure.savefig(written[name], dpi=200, metadata={"Software": None})
                figure.set_layout_engine(None)  # it has been laid out; "none" would still draw it once more
                figure.savefig(folder / f"{name}.pdf", metadata={"CreationDate": None})
    return written
