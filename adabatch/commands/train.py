"""``adabatch train``."""

from __future__ import annotations

import signal
from typing import Annotated

import typer

from adabatch.collecting import collect_as_usual
from adabatch.commands.options import with_settings
from adabatch.commands.values import number
from adabatch.ranges import Range
from adabatch.settings import Settings


@with_settings()
def train(
    settings: Settings,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print settings, memory, communication and steps; train nothing.")
    ] = False,
    plan_ranks: Annotated[
        int | None,
        typer.Option(**number(int, Range(1, 65_536)), help="As --dry-run, for this many ranks, up to thousands."),
    ] = None,
    ranks_allocated: Annotated[
        int,
        typer.Option(
            **number(int, Range(0, 65_536)),
            help="Of the ranks of --ranks-at, those that a scheduler has given to this job. When the batch gets "
            "another number, the run saves, writes it to wanted_ranks in its folder, and ends with exit code 76, "
            "for a job of that size to resume it. 0: all can be started here.",
        ),
    ] = 0,
) -> None:
    """Train a language model with a batch size that may grow by the norm test.

    Defaults < --preset < --config < the options below.
    """
    if dry_run or plan_ranks is not None:
        from adabatch.planning.report import show_plan

        return show_plan(settings, plan_ranks)
    from adabatch.exit_codes import code_of_signal
    from adabatch.training.train import TrainingFailedError
    from adabatch.training.train import train as execute

    collect_as_usual()
    try:
        execute(settings, ranks_allocated)
    except TrainingFailedError as failed:  # its message has been shown
        raise typer.Exit(failed.exit_code) from None
    except KeyboardInterrupt:
        raise typer.Exit(code_of_signal(signal.SIGINT)) from None
