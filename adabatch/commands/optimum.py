"""``adabatch optimum``."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adabatch.commands.options import command_line
from adabatch.commands.values import FOLDER, number
from adabatch.files import write_json
from adabatch.ranges import Range

if TYPE_CHECKING:
    from simulate.exact.tasks import Tasks


TASKS = 24


class Optimizer(StrEnum):
    """What makes a step."""

    SGD = "sgd"
    ADAM_LIKE = "adam-like"


class Equal(StrEnum):
    """What schedules are given equal amounts of."""

    TIME = "time"
    ROOFLINE = "roofline"
    SAMPLES = "samples"
    STEPS = "steps"


def optimum(
    tasks: Annotated[
        int, typer.Option(**number(int, Range(1, 4096)), help="How many tasks (Sobol points).")
    ] = TASKS,
    optimizer: Annotated[
        list[Optimizer] | None, typer.Option(help="Optimizer; may be repeated. None given: both.")
    ] = None,
    equal: Annotated[
        Equal, typer.Option(help="What is equal: time t0 + t1 b or, on a roofline, max(t0, t1 b); samples; steps.")
    ] = Equal.TIME,
    iterations: Annotated[
        int, typer.Option(**number(int, Range(1, 10_000)), help="Iterations of L-BFGS per schedule.")
    ] = 40,
    duration: Annotated[
        float,
        typer.Option(**number(float, Range(0.01, 100)), help="Multiplies the budgets of 200 to 3,000 step times."),
    ] = 1.0,
    seed: Annotated[int, typer.Option(**number(int, Range(0, 2**31 - 1)), help="Of the tasks.")] = 0,
    plane: Annotated[
        bool,
        typer.Option(
            "--plane",
            help="Batch rules against the optimum over the plane of source and capacity instead, on about as many "
            "tasks; minutes.",
        ),
    ] = False,
    task: Annotated[
        str | None,
        typer.Option(
            help="Tasks of your own in place of Sobol points, as mine.py:build: a function that returns "
            "simulate.exact.tasks.Tasks, such as spectrum_task(eigenvalues, errors, ...)."
        ),
    ] = None,
    rule: Annotated[
        list[str] | None,
        typer.Option(
            help="--plane, --task: a batch rule against the optimum, by name or your own as mine.py:build; may "
            "be repeated. None: all in the plane."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            **FOLDER,
            help="JSON of rho, s and saving per task, as adabatch worth reads it; with --plane the folder of the "
            "figure and its CSV, runs/plane if none is given.",
        ),
    ] = None,
) -> None:
    """The best batch and learning-rate schedules in the exact dynamics, and what they save.

    Power-law regression in second moments; every schedule is tuned for every task. Times are relative to the best
    constant batch whose learning rate falls as a power of what is left: geometric mean, best and worst task.
    """
    methods = [str(name) for name in optimizer or list(Optimizer)]
    if plane and task is not None:
        raise ValueError("--plane has tasks of its own: leave --task out, or take --task with --rule")
    fixed = {"--equal": equal is not Equal.TIME, "--seed": seed != 0}
    if plane:
        _refuse_idle("--plane", fixed)
    if task is not None:
        _refuse_idle("--task", {"--tasks": tasks != TASKS, **fixed})
        _refuse_idle("--rule", {"--output": bool(output and rule)})
    if plane:
        _plane(methods, tasks, tuple(rule or ()), iterations, duration, output or Path("runs/plane"))
        return
    if rule and task is None:
        raise ValueError("--rule is for --plane or --task: give one of them too, or leave --rule out")
    from simulate.exact.dynamics import Dynamics
    from simulate.exact.survey import survey
    from simulate.exact.tasks import Resource, own_tasks, sobol_tasks

    if output is not None:
        if equal is not Equal.TIME:
            raise ValueError(
                f"--output is the table of what is saved at equal time: give --equal time, not {equal}"
            )
        _check_is_writable(output)
    chosen = sobol_tasks(tasks, seed, Resource(equal)) if task is None else own_tasks(task)
    chosen = chosen.at(range(len(chosen)), duration)
    if rule:
        _rules(methods, chosen, tuple(rule), iterations)
        return
    typer.echo(f"{len(chosen)} tasks, equal {chosen.resource}, {iterations} iterations; relative to {REFERENCE}")
    records: list[dict[str, str | float]] = []
    for name in methods:
        found = survey(Dynamics(name), chosen, iterations)
        typer.echo(f"{name:<40}{'mean':>8}{'best':>8}{'worst':>8}")
        for label, ratios in (*found.relative.items(), (OVER_RATES, found.over_rates)):
            typer.echo(line(f"  {label}", ratios.tolist()))
        typer.echo(line("  closed form for the last line", (1 - found.predicted).tolist()))
        columns = zip(found.rho.tolist(), found.s.tolist(), found.saving.tolist(), strict=True)
        records += [{"optimizer": name, "rho": rho, "s": s, "saving": saving} for rho, s, saving in columns]
    if output is not None:
        date = datetime.now(UTC).strftime("%Y-%m-%d")
        write_json(output, {"command": command_line(), "date": date, "tasks": records})
        typer.echo(f"written to {output}")


def _refuse_idle(chosen: str, idle: Mapping[str, bool]) -> None:
    """Raise ValueError for an option that would change nothing."""
    if given := [option for option, is_given in idle.items() if is_given]:
        raise ValueError(f"{given[0]} does nothing with {chosen}: leave it out")


def _plane(
    methods: list[str], tasks: int, rules: tuple[str, ...], iterations: int, duration: float, folder: Path
) -> None:
    """Run every method's plane, print the mean ratios, and write figure and CSV."""
    from rich.progress import Progress

    from simulate.exact.dynamics import Dynamics
    from simulate.exact.plane import DURATION, chosen_rules, plane
    from simulate.report.figures import save_figures
    from simulate.table import Table

    wanted = chosen_rules(rules)
    side = max(2, round(tasks**0.5))
    rows = []
    with Progress(transient=True) as progress:
        task = progress.add_task(f"{side} x {side} tasks", total=len(methods))
        for method in methods:
            found = plane(
                Dynamics(method),
                side,
                wanted,
                DURATION * duration,
                iterations,
                lambda fraction: progress.advance(task, fraction),
            )
            rows += found.rows()
    table = Table.of_rows(rows)
    typer.echo(f"{side} x {side} tasks, equal time, {iterations} iterations; risk over the optimum's")
    for method in methods:
        typer.echo(f"{method:<40}{'mean':>8}{'best':>8}{'worst':>8}")
        for name in wanted:
            typer.echo(line(f"  {name}", table.where(method=method, rule=name)["ratio"].tolist()))
    save_figures({"plane": table}, folder)
    typer.echo(f"written to {folder}")


def _rules(methods: list[str], tasks: Tasks, names: tuple[str, ...], iterations: int) -> None:
    """Print every rule's risk over the optimum's."""
    from simulate.exact.dynamics import Dynamics
    from simulate.exact.plane import chosen_rules, over_optimum

    rules = chosen_rules(names)
    typer.echo(f"tasks: {len(tasks)}, equal {tasks.resource}, {iterations} iterations; risk over the optimum's")
    for method in methods:
        ratios = over_optimum(Dynamics(method), tasks, rules, iterations).rules
        typer.echo(f"{method:<40}{'mean':>8}{'best':>8}{'worst':>8}")
        for name, row in zip(rules, ratios, strict=True):
            typer.echo(line(f"  {name}", row.tolist()))


def _check_is_writable(output: Path) -> None:
    """Refuse at the start what could not be written after minutes."""
    if output.is_dir():
        raise ValueError(f"--output {output} is a folder: name a file")
    if not (output.parent.is_dir() and os.access(output.parent, os.W_OK)):
        raise ValueError(
            f"--output {output} cannot be written: {output.parent} is not a folder to write in; name another"
        )


REFERENCE = "a constant batch with power decay"

OVER_RATES = "both over the best rate schedule"


def line(label: str, ratios: list[float]) -> str:
    """A line of the table: geometric mean, least and largest.

    >>> line("x", [0.5, 2.0]).split()
    ['x', '1.000', '0.500', '2.000']
    """
    from statistics import geometric_mean

    return f"{label:<40}{geometric_mean(ratios):8.3f}{min(ratios):8.3f}{max(ratios):8.3f}"
