"""``adabatch list``."""

from __future__ import annotations

from typing import Annotated

import typer


def list(
    what: Annotated[str, typer.Argument(help="objectives, optimizers, noises, bounds, experiments or schedules.")],
) -> None:
    """The names that verify-bounds and train take, with a line and the settings of each."""
    from rich.console import Console
    from rich.table import Table

    from simulate.catalogue import catalogue

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for name, line in catalogue(what).items():
        table.add_row(name, line)
    console = Console(markup=False, emoji=False, highlight=False)
    (console if console.is_terminal else Console(width=100, markup=False, emoji=False, highlight=False)).print(
        table
    )
