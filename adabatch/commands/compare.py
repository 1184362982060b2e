"""``adabatch compare``."""

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
from adabatch.experiments.comparison.schedules import standard_schedules
from adabatch.experiments.comparison.tuning.search import FEWEST_POINTS, Effort
from adabatch.ranges import Range
from adabatch.settings import Settings, load_settings

PRESET = "comparison"

KNOWN = ", ".join(schedule.name for schedule in standard_schedules(load_settings(PRESET)))
"""The names of the built-in schedules."""


@with_settings(PRESET)
def compare(
    settings: Settings,
    schedules: Annotated[
        str,
        typer.Option(
            help="Names separated by commas; empty: all. Constant batches always take part. The numbers in names "
            f"follow --initial-batch and --constant-batches; with the preset {PRESET} the names are {KNOWN}."
        ),
    ] = "",
    variant: Annotated[
        list[str] | None,
        typer.Option(
            metavar="<name:settings>",
            help="A schedule of your own next to those: a name, a colon, and settings (careful:eta=0.5,ema=0.99) "
            "or a settings file (careful:mine.toml, which may be the config.toml of a run; its sections run and "
            "parallel and its seed are left out, since the comparison sets these). What it sets is not tuned. May "
            "be repeated.",
        ),
    ] = None,
    seeds: Annotated[
        int,
        typer.Option(
            **number(int, Range(1, 1000)),
            help="Seeds of the results; each fixes the weights and the order of samples. Searches take others.",
        ),
    ] = 8,
    constant_batches: Annotated[
        str,
        typer.Option(
            help="Constant batches separated by commas, two or more; empty: 1, 2, 3, 4, 6 and 8 times "
            "--initial-batch."
        ),
    ] = "",
    points: Annotated[
        int,
        typer.Option(
            **number(int, Range(1, 1000)),
            help="Learning rates, paths and warm-ups that the search for each schedule tries, around --lr; at "
            f"least {FEWEST_POINTS}, except with --quick.",
        ),
    ] = Effort().points,
    tuned_by: Annotated[
        Path | None,
        typer.Option(
            **FOLDER,
            help="Folder of another comparison: search nothing, take what it found for each schedule, learning "
            "rates relative to --lr, batches to --initial-batch. For a larger model, or to repeat a comparison "
            "with another --seed.",
        ),
    ] = None,
    claims: Annotated[
        Path | None,
        typer.Option(
            **FOLDER,
            help="File of the sentences of a page of results, such as docs/results/claims.json: print which of "
            "them hold in this comparison.",
        ),
    ] = None,
    processes: Processes = 0,
    cluster: ClusterName = "",
    cluster_options: ClusterOptions = "",
    quick: Quick = False,
    report_only: ReportOnly = False,
    output: Annotated[Path, typer.Option(**FOLDER, help="Folder of the comparison.")] = Path("runs/compare"),
) -> None:
    """Tune batch-size schedules, and compare them at equal samples over paired seeds; tables and figures.

    Every schedule gets the same search for its learning rate, path and warm-up: searches begin at --lr, and
    --lr-path, --decay-fraction and --warmup-samples do nothing here. A schedule that moves the learning rate with
    the batch, or sets more of the optimizer, is also compared with its rates at a constant batch, and its batches
    at a constant's rates. Stopped and started again, it resumes where it was, with more schedules or seeds too.
    The options below set what all runs share.
    """
    if points < FEWEST_POINTS and not quick:
        raise ValueError(
            f"--points must be at least {FEWEST_POINTS}, but is {points}: a search begins with as many, the "
            "learning rates above --lr last; give more, or --quick for a first look"
        )
    from adabatch.experiments.comparison.compare import compare as execute
    from adabatch.experiments.request import Request

    execute(
        Request(settings, output, seeds, processes, quick, report_only, command_line(), cluster, cluster_options),
        names(schedules),
        variant or (),
        numbers(constant_batches, int, "--constant-batches"),
        Effort(points=points),
        tuned_by,
        claims,
    )
