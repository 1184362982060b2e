"""``adabatch verify-bounds``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adabatch.commands.options import command_line
from adabatch.commands.values import FOLDER, number
from adabatch.cores import visible_cores
from adabatch.distributed.workers import worker_pool
from adabatch.ranges import Range

DECAY, ETA = number(float, Range(0, 1, below=True)), number(float, Range(0, 1e6))
SEEDS, SEED = number(int, Range(1, 10**6)), number(int, Range(0, 2**63 - 1))


def verify_bounds(
    quick: Annotated[bool, typer.Option("--quick", help="Under 20 seconds.")] = False,
    full: Annotated[
        bool, typer.Option("--full", help="Longer runs, more seeds, the whole grid: 8 minutes on two free cores.")
    ] = False,
    objective: Annotated[
        list[str] | None,
        typer.Option(
            help="Objective, with settings as in rastrigin,dimension=20; your own as in mine.py:Steep or "
            "package.module:Steep. May be repeated; so may the next three. Names: adabatch list."
        ),
    ] = None,
    optimizer: Annotated[list[str] | None, typer.Option(help="Optimizer, likewise.")] = None,
    noise: Annotated[
        list[str] | None,
        typer.Option(help="Noise, likewise: studies of all these parts are run, and nothing else."),
    ] = None,
    bound: Annotated[
        list[str] | None,
        typer.Option(help="Bound, likewise; without one the theorem on the optimizer, if there is one."),
    ] = None,
    experiment: Annotated[list[str] | None, typer.Option(help="Run only this one; may be repeated.")] = None,
    beta1: Annotated[float | None, typer.Option(**DECAY, help="Adam's beta1, in place of the grid's.")] = None,
    beta2: Annotated[float | None, typer.Option(**DECAY, help="Adam's beta2, in place of the grid's.")] = None,
    eta: Annotated[
        float | None,
        typer.Option(**ETA, help="eta of the norm test, in place of the grid's."),
    ] = None,
    steps: Annotated[
        int | None, typer.Option(**number(int, Range(16, 10**8)), help="Largest number of steps K on the grid.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(**SEEDS, help="Seeds per configuration.")] = None,
    seed: Annotated[int, typer.Option(**SEED, help="Base of all random numbers; another shares no run.")] = 0,
    output: Annotated[Path, typer.Option(**FOLDER, help="Folder for the report and its figures.")] = Path(
        "runs/verify-bounds"
    ),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier report there.")] = False,
    against: Annotated[
        Path | None,
        typer.Option(**FOLDER, help="Folder of an earlier report: which verdicts, ratios and slopes changed."),
    ] = None,
    processes: Annotated[
        int,
        typer.Option(
            **number(int, Range(0, 1024)), help="Experiments at once; 0: as many as cores, but with --quick one."
        ),
    ] = 0,
) -> None:
    """Measured gradient norms against the theorems' bounds, with refutations and negative controls.

    Stopped and started again, the same command continues with the pieces of experiments that are not finished.

    Exit code 1 if a verdict does not come out as it should; 2, and no report, where nothing would be checked, an
    option applies to no chosen experiment, or an objective's gradient, L or infimum disagrees with its values.
    """
    from simulate.experiments.settings import Level, Settings
    from simulate.verify_bounds import verify_bounds as verify

    settings = Settings(
        level=Level.of_flags(quick=quick, full=full),
        objectives=tuple(objective or ()),
        optimizers=tuple(optimizer or ()),
        noises=tuple(noise or ()),
        bounds=tuple(bound or ()),
        experiments=tuple(experiment or ()),
        beta1=beta1,
        beta2=beta2,
        eta=eta,
        steps=steps,
        seeds=seeds,
        seed=seed,
        output=output,
        overwrite=overwrite,
        against=against,
    )
    cores = 1 if quick else visible_cores()
    raise typer.Exit(verify(settings, command_line(), processes or cores, worker_pool))
