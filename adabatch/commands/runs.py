"""``adabatch runs``."""

from __future__ import annotations

import shutil
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from adabatch.commands.values import PATH


class Format(StrEnum):
    """How a table is written."""

    text = "text"
    csv = "csv"
    markdown = "markdown"


def runs(
    folders: Annotated[
        list[Path], typer.Argument(**PATH, help="Folders of runs, or folders above them, such as a comparison's.")
    ],
    sort: Annotated[
        str,
        typer.Option(
            help="Column: schedule, steps, batch, seconds, loss, val_loss, samples, "
            "tokens_per_second, noise_scale, state or run; val_loss/NAME of a further validation set."
        ),
    ] = "run",
    descending: Annotated[bool, typer.Option("--descending", help="Largest first.")] = False,
    format: Annotated[
        Format, typer.Option(help="text for people, csv for programs, markdown for documents.")
    ] = Format.text,
) -> None:
    """Show a table of runs, finished or under way: schedule, steps, batch, time, losses, tokens/s, noise, state.

    A folder that is damaged or half written is named on standard error, and left out.
    """
    from adabatch.experiments import run_table

    found = []
    for folder in run_table.find_runs(folders):
        try:
            found.append(run_table.read_run(folder))
        except (ValueError, OSError) as refusal:
            print(f"left out: {folder}: {refusal}", file=sys.stderr)
    run_table.check_column(sort, run_table.columns_of(found))
    ordered = run_table.sort_runs(found, sort, descending)
    if format is Format.csv:
        typer.echo(run_table.as_csv(ordered), nl=False)
    elif format is Format.markdown:
        typer.echo(run_table.as_markdown(ordered), nl=False)
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        typer.echo(run_table.as_text(ordered, width))
