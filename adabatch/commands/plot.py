"""``adabatch plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adabatch.commands.looks import SIZE, figure_format, style_of
from adabatch.commands.values import FOLDER, PATH

REPORT = "report.json"
"""The file of a report of ``verify-bounds``."""


def plot(
    runs: Annotated[
        list[Path],
        typer.Argument(**PATH, help="Folders of runs, or their metrics.jsonl; or one report of verify-bounds."),
    ],
    against: Annotated[str | None, typer.Option(help=r"Of runs: samples or step. \[default: samples]")] = None,
    output: Annotated[Path, typer.Option(**FOLDER, help="Folder of the figure.")] = Path("runs/figures"),
    size: Annotated[
        tuple | None, typer.Option(**SIZE, help="Of a figure, in inches: width, or width and height.")
    ] = None,
    format: Annotated[
        list[str] | None,
        typer.Option(
            parser=figure_format,
            metavar="<format>",
            help=r"Of files: png, pdf or svg; may be repeated. \[default: png and pdf]",
        ),
    ] = None,
    style: Annotated[Path | None, typer.Option(**FOLDER, help="File: a style sheet of matplotlib.")] = None,
) -> None:
    """Draw any runs together: training and validation loss and batch size; or a report's figures from its CSV."""
    kinds, settings = tuple(dict.fromkeys(format or ("png", "pdf"))), style_of(style)
    reports = [path for path in runs if (path / REPORT).is_file()]
    if not reports:
        from adabatch.reporting.overlays import draw_runs

        paths = draw_runs(runs, output, against or "samples", kinds=kinds, size=size, style=settings)
        typer.echo(f"figure: {paths[0]}")
        return
    if len(runs) > 1:
        raise ValueError(
            f"{reports[0]} is a report of verify-bounds: name it alone, its figures are drawn one by one"
        )
    if against is not None:
        raise ValueError("--against is for runs: the figures of a report have their own axes")
    from simulate.report.redrawing import redraw

    for path in redraw(runs[0], output, kinds=kinds, size=size, style=settings):
        typer.echo(f"figure: {path}")
