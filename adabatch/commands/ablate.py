"""``adabatch ablate``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adabatch.commands.options import (
    ClusterName,
    ClusterOptions,
    Processes,
    Quick,
    ReportOnly,
    command_line,
    names,
    numbers,
    with_settings,
)
from adabatch.commands.values import FOLDER, number
from adabatch.ranges import Range
from adabatch.settings import Settings


@with_settings("ablation")
def ablate(
    settings: Settings,
    etas: Annotated[str, typer.Option(help="Separated by commas.")] = "0.05,0.1,0.2,0.4,0.5,0.6,0.7,0.8,0.9,1",
    vary: Annotated[
        str,
        typer.Option(
            help="What eta is crossed with, of: estimator, test interval, largest batch, groups; empty: all."
        ),
    ] = "",
    seeds: Annotated[int, typer.Option(**number(int, Range(1, 10_000)), help="Seeds per point.")] = 1,
    frontier: Annotated[
        Path | None,
        typer.Option(
            **FOLDER,
            help="Folder of a comparison of the same model, data and samples: the loss of each point is also held "
            "against its constant batches at as many steps.",
        ),
    ] = None,
    processes: Processes = 0,
    cluster: ClusterName = "",
    cluster_options: ClusterOptions = "",
    quick: Quick = False,
    report_only: ReportOnly = False,
    output: Annotated[Path, typer.Option(**FOLDER, help="Folder of the ablation.")] = Path("runs/ablate"),
) -> None:
    """Which settings of the norm test jump to the largest batch, which never grow, and which adapt.

    eta is crossed with one other setting at a time; points that never grow in expectation are left out. Stopped
    and started again, it resumes where it was.
    """
    from adabatch.experiments.ablation.ablate import ablate as execute
    from adabatch.experiments.request import Request

    execute(
        Request(settings, output, seeds, processes, quick, report_only, command_line(), cluster, cluster_options),
        numbers(etas, float, "--etas"),
        names(vary),
        frontier,
    )
