"""``adabatch attack``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adabatch.commands.options import names, numbers
from adabatch.commands.values import FOLDER, PATH, number
from adabatch.cores import visible_cores
from adabatch.distributed.workers import worker_pool
from adabatch.files import write_json
from adabatch.ranges import Range
from adabatch.terminal import console

if TYPE_CHECKING:
    from simulate.attack.instance import Instance

ROUNDING = 1e-6
"""A bound that is missed by less is not broken: logarithms of what grows little lose as much to rounding."""


def attack(
    bound: Annotated[
        str | None,
        typer.Argument(
            help="As adabatch list bounds has it, with settings as in clipping,floor=0.8; your own as in "
            r"mine.py:MyBound or package.module:MyBound. With --replay none is needed. \[default: none]"
        ),
    ] = None,
    betas: Annotated[str, typer.Option(help="Adam's.")] = "0.9,0.95",
    eta: Annotated[
        float, typer.Option(**number(float, Range(0, 1e6)), help="Of the test that the noise meets at every step.")
    ] = 0.2,
    steps: Annotated[
        int, typer.Option(**number(int, Range(0, 12)), help="Steps with noise: of n, all 2^n paths are summed.")
    ] = 7,
    quiet_steps: Annotated[
        int, typer.Option(**number(int, Range(0, 9_000)), help="Steps without noise after them.")
    ] = 0,
    optimizer: Annotated[
        str | None,
        typer.Option(help="As adabatch list optimizers has it, or your own; none: the one that the bound is on."),
    ] = None,
    vary: Annotated[
        str | None,
        typer.Option(
            help="What is searched next to function and noise, of v0, epsilon, multipliers, falling, factors, "
            "violated, floor, start, weight_decay, separated by commas; none: what the bound allows."
        ),
    ] = None,
    seconds: Annotated[float, typer.Option(**number(float, Range(0.1, 1e6)), help="Of the search.")] = 60.0,
    processes: Annotated[
        int, typer.Option(**number(int, Range(0, 1024)), help="Searches at the same time; 0: one per core.")
    ] = 0,
    seed: Annotated[int, typer.Option(**number(int, Range(0, 2**31 - 1)), help="Of the search.")] = 0,
    scale_bound: Annotated[
        float,
        typer.Option(
            **number(float, Range(1e-9, 1e9)), help="Multiplies the bound: 0.9 asks whether 10% less is broken."
        ),
    ] = 1.0,
    exact: Annotated[
        bool, typer.Option("--exact", help="Measure the instance in fractions, with roots to 256 bits.")
    ] = False,
    replay: Annotated[
        Path | None,
        typer.Option(
            **PATH, metavar="<path>", help="An instance.json that was saved: measure it, search nothing."
        ),
    ] = None,
    output: Annotated[Path, typer.Option(**FOLDER, help="Folder of instance.json and its figure.")] = Path(
        "runs/attack"
    ),
) -> None:
    """Search the instance on which a bound is tightest, or breaks, in exact expectations.

    Functions of one variable with a piecewise linear gradient, two-point noises that look at the optimizer's
    state, v_0 and more, by covariance matrix adaptation from known near-tight instances and at random. Exit code 1
    if the bound is broken. If it is not, nothing is proven.
    """
    from simulate.attack.comparison import compare, hypotheses
    from simulate.attack.drawing import drawn
    from simulate.report.figures import save_figures

    if replay is not None:
        instance, after = _saved(replay, bound, optimizer), ""
    elif bound is None:
        raise ValueError("name a bound, as adabatch list bounds has it, or give --replay FILE")
    else:
        pair = numbers(betas, float, "--betas")
        if len(pair) != 2:
            raise ValueError(f"--betas takes two numbers, as in 0.9,0.95, not {betas!r}")
        if not steps + quiet_steps:
            raise ValueError("--steps 0 leaves nothing: give --quiet-steps")
        where: dict[str, Any] = {"optimizer": optimizer, "betas": (pair[0], pair[1]), "eta": eta}
        where |= {"steps": steps, "quiet": quiet_steps, "free": None if vary is None else names(vary)}
        instance, after = _search(bound, where, seconds, processes, seed, scale_bound)
    measured, value, run = compare(instance)
    wrong = [assertion for assertion in hypotheses(run) if not assertion.holds]
    if wrong or not 0 < measured < float("inf"):
        reason = f"{wrong[0].what}, {wrong[0].numbers}" if wrong else f"{measured:g} is measured"
        raise ValueError(f"{replay or 'what was found'} is not evidence on {instance.bound!r}: {reason}")
    ratio = scale_bound * value / measured
    scaled = "" if scale_bound == 1 else f"{scale_bound:g} times "
    typer.echo(f"{scaled}bound {scale_bound * value:.10g}, measured {measured:.10g}: ratio {ratio:.6g}")
    if exact:
        typer.echo(_exactly(instance, measured))
    if replay is None:
        save_figures({"attack": drawn(run)}, output)
        write_json(output / "instance.json", instance.to_dict())
        typer.echo(f"written to {output}")
    broken = ratio < 1 - ROUNDING
    typer.echo(f"the bound is broken{after}" if broken else "the bound holds on it")
    raise typer.Exit(int(broken))


def _saved(file: Path, bound: str | None, optimizer: str | None) -> Instance:
    """The instance in a file; code of yours runs only if the command line names it."""
    from dataclasses import replace

    from simulate.attack.instance import read_instance
    from simulate.own_code import is_own

    saved = read_instance(file)
    for given, named, option in ((bound, saved.bound, "BOUND"), (optimizer, saved.optimizer, "--optimizer")):
        if given is None and is_own(named):
            raise ValueError(f"{file} wants {named!r}, which is your own code: give it as {option} too")
    return replace(saved, bound=bound or saved.bound, optimizer=optimizer or saved.optimizer)


def _search(
    bound: str, where: dict[str, Any], seconds: float, processes: int, seed: int, scale: float
) -> tuple[Instance, str]:
    """The best instance, and when the bound broke, in words."""
    from rich.progress import Progress

    from simulate.attack.search import attack as search
    from simulate.attack.space import space_of

    space = space_of(bound, **where)
    screen = console()
    with Progress(transient=True, console=screen, disable=not screen.is_terminal) as progress:
        task = progress.add_task(space.label, total=seconds)

        def advance(gone: float, ratio: float) -> None:
            progress.update(task, completed=gone, description=f"{space.label}: ratio {scale * ratio:.4g}")

        cores = processes or visible_cores()
        found = search(space, seconds, processes=cores, seed=seed, advance=advance, pool=worker_pool)
    typer.echo(f"{space.label_with_free}: {found.evaluated:,} instances in {seconds:g} s")
    return found.instance, f" after {found.after((1 - ROUNDING) / scale):.1f} s"


def _exactly(instance: Instance, measured: float) -> str:
    """What is measured, to 30 digits, and how far the sum in floating point is from it."""
    from decimal import Context, Decimal

    from simulate.attack.comparison import measured_exactly

    try:
        value = measured_exactly(instance)
    except TypeError as refused:
        raise ValueError(f"bound {instance.bound!r} cannot be measured in fractions: {refused}") from None
    digits = Context(prec=30).divide(Decimal(value.numerator), Decimal(value.denominator))
    return (
        f"in fractions measured {digits}, floating point is off by {abs(float(value - measured) / measured):.1e}"
    )
