"""Figures of the experiments: functions take a table and axes, and return the axes.

:data:`FIGURES` names the table each figure is drawn from; :func:`save_figures` writes that table as CSV next to
the PDF and the PNG, and :func:`draw` draws a figure from a table, for example one read back from its CSV.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from simulate.experiments.result import Table
from simulate.report.figures import (  # each registers its figures
    attack,
    batches,
    convergence,
    plane,
    ratio_map,
    refutations,
    samples,
    schedules,
    studies,
)
from simulate.report.figures.style import FIGURES, STYLE

__all__ = [
    "FIGURES",
    "attack",
    "batches",
    "convergence",
    "draw",
    "plane",
    "ratio_map",
    "refutations",
    "samples",
    "save_figures",
    "schedules",
    "studies",
    "write_figure",
]


def draw(name: str, table: Table) -> Figure:
    """One figure from its table, in the style of the others.

    Raises:
        ValueError: for an unknown name; the message lists the known ones.
    """
    with mpl.rc_context(STYLE):
        return FIGURES[name].draw(table)


def write_figure(
    name: str,
    table: Table,
    folder: Path,
    *,
    kinds: Sequence[str] = ("png", "pdf"),
    size: tuple[float, float | None] | None = None,
    style: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write a figure in a folder, a file per kind: ``<name>.png``, ``<name>.pdf``.

    The same arguments make the same files: no dates are stored.

    Args:
        name: of the figure.
        table: it is drawn from.
        folder: that exists.
        kinds: of files: png, pdf, svg.
        size: width and height in inches; None for the figure's own, and a height of None for its proportions.
        style: settings of matplotlib, over those of the reports.

    Raises:
        ValueError: for an unknown name.
    """
    with mpl.rc_context({**STYLE, "svg.hashsalt": name, **(style or {})}):
        figure = FIGURES[name].draw(table)
        if size is not None:
            width, height = figure.get_size_inches()
            figure.set_size_inches(size[0], size[1] or size[0] * height / width)
        figure.draw_without_rendering()  # laid out once: all kinds take it as it is
        figure.set_layout_engine(None)  # "none" would still draw it once more for each kind
        for kind in kinds:
            date = {"png": "Software", "pdf": "CreationDate", "svg": "Date"}[kind]
            figure.savefig(folder / f"{name}.{kind}", metadata={date: None})
    return [folder / f"{name}.{kind}" for kind in kinds]


def save_figures(tables: Mapping[str, Table], folder: Path) -> dict[str, Path]:
    """Write every table as CSV, and the figure drawn from it (if there is one) as PDF and PNG.

    Returns:
        The PNG of each figure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, table in tables.items():
        table.write_csv(folder / f"{name}.csv")
        if name in FIGURES:
            written[name] = write_figure(name, table, folder)[0]
    return written
