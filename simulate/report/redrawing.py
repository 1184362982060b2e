"""The figures of a report that was written before, drawn again from its CSV files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from simulate.report.figures import FIGURES, write_figure
from simulate.report.saved import SavedReport

__all__ = ["redraw"]


def redraw(report: Path, output: Path, **look: Any) -> list[Path]:
    """Draw every figure of a report's folder.

    Args:
        report: folder of the report.
        output: folder of the figures, made if need be.
        look: how they are written, as of :func:`~simulate.report.figures.write_figure`.

    Returns:
        The files.

    Raises:
        ValueError: for a folder without a report, a report of another version or without figures, and a table that
            is missing, damaged or not that of its figure.
    """
    saved = SavedReport.read(report)
    tables = {name: saved.table(name) for name in saved.tables if name in FIGURES}
    if not tables:
        raise ValueError(f"the report in {report} has no figures: none of its experiments draws one")
    output.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for name, table in tables.items():
        try:
            written += write_figure(name, table, output, **look)
        except (ValueError, TypeError, KeyError, IndexError) as error:  # what a table of other columns leads to
            raise ValueError(f"{saved.tables[name]} is not the table of the figure {name!r}: {error}") from error
    return written
