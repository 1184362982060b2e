"""``adabatch compare``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adabatch.commands.options import Processes, Quick, ReportOnly, command_line, names, numbers, with_settings
from adabatch.commands.values import FOLDER, number
from adabatch.ranges import Range
from adabatch.settings import Settings


@with_settings("comparison")
def compare(
    settings: Settings,
    variants: Annotated[str, typer.Option(help="Names separated by commas; empty: all.")] = "",
    seeds: Annotated[
        int,
        typer.Option(
            **number(int, Range(1, 10_000)), help="Seeds; each fixes the weights and the order of samples."
        ),
    ] = 3,
    learning_rates: Annotated[
        str, typer.Option(help="Peak learning rates separated by commas; empty: that of the settings.")
    ] = "",
    constant_batches: Annotated[
        str, typer.Option(help="Batches of the constant schedules; empty: powers of 2.")
    ] = "",
    processes: Processes = 0,
    quick: Quick = False,
    report_only: ReportOnly = False,
    output: Annotated[Path, typer.Option(**FOLDER, help="Folder of the comparison.")] = Path("runs/compare"),
) -> None:
    """Train several batch-size schedules at equal samples over paired seeds; tables and figures.

    Stopped and started again, it resumes where it was. The options below set what all runs share.
    """
    from adabatch.experiments.comparison.compare import compare as execute
    from adabatch.experiments.request import Request

    execute(
        Request(settings, output, seeds, processes, quick, report_only, command_line()),
        names(variants),
        numbers(learning_rates, float, "--learning-rates"),
        numbers(constant_batches, int, "--constant-batches"),
    )
