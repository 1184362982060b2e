"""``adabatch worth``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adabatch.commands.values import FOLDER, PATH, number
from adabatch.ranges import Range


def worth(
    run: Annotated[
        Path,
        typer.Argument(**PATH, help="Folder of a run, its metrics.jsonl, or the JSON lines of another loop."),
    ],
    saturation: Annotated[
        float | None,
        typer.Option(
            **number(float, Range(0, 1e12, above=True)),
            help="B_sat, the batch at which half of a step's time is for its samples, in place of a fit.",
        ),
    ] = None,
    step_time: Annotated[
        str | None,
        typer.Option(help="T0,T1: seconds per step and per sample, in place of a fit.", metavar="<t0,t1>"),
    ] = None,
    gpu: Annotated[
        str | None,
        typer.Option(help="a100, h100, h200 or b200: the step times that a plan has for this run on that GPU."),
    ] = None,
    output: Annotated[Path, typer.Option(**FOLDER, help="Folder of the figure.")] = Path("runs/worth"),
    json: Annotated[bool, typer.Option("--json", help="Print all figures as JSON in place of the text.")] = False,
) -> None:
    """What a batch schedule could still save in a run, and which constant batch to use.

    From the noise scale along the run and the time of its steps: the best batch, what the run's own batches lost
    against it, and the most that any batch schedule saves against the best constant batch, in McCandlish's model.
    """
    from json import dumps

    from adabatch.reporting.figures import write_figures
    from adabatch.worth.assessment import assess
    from adabatch.worth.course import noise_course
    from adabatch.worth.evidence import read_evidence, step_time_of
    from adabatch.worth.figure import worth_figure
    from adabatch.worth.optimum import optimum_nearby
    from adabatch.worth.report import report

    evidence = read_evidence(run)
    planned = None
    if gpu is not None:
        from adabatch.planning.device_times import step_time_on

        planned = step_time_on(run, gpu), f"--gpu {gpu}"
    course = noise_course(evidence)
    found = assess(evidence, course, *step_time_of(evidence, saturation, step_time, planned))
    nearby = optimum_nearby(found.rho.value, found.s.value)
    figure = write_figures({"worth": worth_figure(found, evidence)}, output)[0]
    if json:
        optimum = [vars(near) for near in nearby]
        typer.echo(dumps({**found.as_json(), "optimum": optimum, "figure": str(figure)}, indent=1))
    else:
        typer.echo(f"{report(found, nearby)}\n\nfigure: {figure}")
