"""``adabatch plot``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adabatch.commands.values import FOLDER, PATH


def plot(
    runs: Annotated[list[Path], typer.Argument(**PATH, help="Folders of runs, or their metrics.jsonl.")],
    against: Annotated[str, typer.Option(help="samples or step.")] = "samples",
    output: Annotated[Path, typer.Option(**FOLDER, help="Folder of the figure.")] = Path("runs/figures"),
) -> None:
    """Draw any runs together: training and validation loss and batch size."""
    from adabatch.reporting.overlays import draw_runs

    typer.echo(f"figure: {draw_runs(runs, output, against)[0]}")
