"""``adabatch export-schedule``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from adabatch.commands.options import run_or_settings
from adabatch.commands.values import FOLDER, PATH, number
from adabatch.ranges import Range

COUNT = number(int, Range(1, 2**24))


def export_schedule(
    run: Annotated[
        Path | None, typer.Argument(**PATH, help="Folder of a run: the steps that it has taken.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Built-in settings, in place of a run.")] = None,
    config: Annotated[
        Path | None, typer.Option(**FOLDER, help="A settings file (TOML), over the preset, in place of a run.")
    ] = None,
    form: Annotated[
        Literal["megatron", "olmo-core", "json"],
        typer.Option(
            "--format", help="Megatron-LM's options, OLMo-core's callback, or every step's rate in JSON."
        ),
    ] = "json",
    micro_batch: Annotated[
        int, typer.Option(**COUNT, help="megatron: sequences of a micro-batch there; batches are multiples of it.")
    ] = 1,
    data_parallel: Annotated[
        int, typer.Option(**COUNT, help="megatron: data-parallel ranks there; batches are multiples of them.")
    ] = 1,
    doublings: Annotated[
        bool,
        typer.Option(
            "--doublings", help="Only the first batch times powers of 2, the largest that is at most the batch."
        ),
    ] = False,
    batches_only: Annotated[bool, typer.Option("--batches-only", help="Leave the learning rates out.")] = False,
    output: Annotated[
        Path | None, typer.Option(**FOLDER, help="File to write, in place of standard output.")
    ] = None,
) -> None:
    """Write a batch-size schedule for another trainer, with the learning rates that belong to it."""
    from adabatch.files import write_whole
    from adabatch.integrations.schedule_formats import FORMATS, Target
    from adabatch.planning.exported import planned_schedule, recorded_schedule
    from adabatch.reporting.metrics import read_metrics

    settings = run_or_settings("export-schedule", run, preset, config)
    schedule = planned_schedule(settings) if run is None else recorded_schedule(settings, read_metrics(run))
    if doublings:
        schedule = schedule.doubled()
    text = FORMATS[form](schedule, Target(micro_batch, data_parallel, rates=not batches_only))
    if output is None:
        typer.echo(text)
        return
    write_whole(output, f"{text}\n".encode())
    typer.echo(f"{output}: {len(schedule.stages)} stages over {schedule.samples:,} samples")
