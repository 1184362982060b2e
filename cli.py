"""The ``adabatch`` command. Thin: a command imports its packages when it runs, so that ``--help`` is quick."""

from __future__ import annotations

import os
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from adabatch.commands.options import with_setting_options
from adabatch.distributed.signals import interrupts

app = typer.Typer(
    name="adabatch",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


@app.callback()
def adabatch() -> None:
    """Adaptive batch sizes for language-model training by the norm test."""


@app.command()
@with_setting_options
def train(
    preset: Annotated[str | None, typer.Option(help="Built-in settings to start from, such as demo.")] = None,
    config: Annotated[str | None, typer.Option(help="A settings file (TOML), over the preset.")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print settings, memory, communication and steps; train nothing.")
    ] = False,
    plan_ranks: Annotated[
        int | None, typer.Option(help="As --dry-run, for this many ranks, up to thousands.")
    ] = None,
    **overrides: Any,
) -> None:
    """Train a Llama with a batch size that may grow by the norm test.

    Defaults < --preset < --config < the options below.
    """
    from adabatch.settings import load_settings

    settings = load_settings(preset, config, overrides)
    if dry_run or plan_ranks is not None:
        from adabatch.planning.report import show_plan

        return show_plan(settings, plan_ranks)
    from adabatch.training.launch import launch

    raise typer.Exit(launch(settings))


@app.command()
@with_setting_options
def compare(
    preset: Annotated[str, typer.Option(help="Built-in settings of all runs.")] = "comparison",
    config: Annotated[str | None, typer.Option(help="A settings file (TOML), over the preset.")] = None,
    variants: Annotated[str, typer.Option(help="Names separated by commas; all if none.")] = "",
    seeds: Annotated[int, typer.Option(help="Seeds, each the same weights and order of samples for all.")] = 3,
    learning_rates: Annotated[str, typer.Option(help="Peak learning rates separated by commas.")] = "",
    constant_batches: Annotated[str, typer.Option(help="Batches of the constant schedules.")] = "",
    processes: Annotated[int, typer.Option(help="Runs at once, each on one thread; 0: one a core.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Tiny runs, for a first look.")] = False,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Train nothing: tables and figures of what is finished.")
    ] = False,
    output: Annotated[Path, typer.Option(help="Folder of the comparison.")] = Path("runs/compare"),
    **overrides: Any,
) -> None:
    """Train several batch-size schedules at equal samples over paired seeds; tables and figures.

    Stopped and started again, it goes on where it was. The options below set what all runs share.
    """
    from adabatch.commands.options import names, numbers
    from adabatch.experiments.comparison.compare import Request
    from adabatch.experiments.comparison.compare import compare as carry_out
    from adabatch.settings import load_settings

    carry_out(
        Request(
            base=load_settings(preset, config, overrides),
            output=output,
            variants=names(variants),
            seeds=seeds,
            learning_rates=numbers(learning_rates, float, "--learning-rates"),
            constant_batches=numbers(constant_batches, int, "--constant-batches"),
            processes=processes,
            quick=quick,
            report_only=report_only,
            command=_command_line(without="--report-only"),
        )
    )


@app.command()
@with_setting_options
def ablate(
    preset: Annotated[str, typer.Option(help="Built-in settings of all runs.")] = "ablation",
    config: Annotated[str | None, typer.Option(help="A settings file (TOML), over the preset.")] = None,
    etas: Annotated[str, typer.Option(help="Separated by commas.")] = "0.05,0.1,0.2,0.4,0.5,0.6,0.7,0.8,0.9,1",
    vary: Annotated[
        str, typer.Option(help="Beside eta: estimator, test interval, largest batch, groups; all if none.")
    ] = "",
    seeds: Annotated[int, typer.Option(help="Seeds a point.")] = 1,
    processes: Annotated[int, typer.Option(help="Runs at once, each on one thread; 0: one a core.")] = 0,
    quick: Annotated[bool, typer.Option("--quick", help="Tiny runs, for a first look.")] = False,
    report_only: Annotated[
        bool, typer.Option("--report-only", help="Train nothing: tables and heat maps of what is finished.")
    ] = False,
    output: Annotated[Path, typer.Option(help="Folder of the ablation.")] = Path("runs/ablate"),
    **overrides: Any,
) -> None:
    """Which settings of the norm test jump to the largest batch, which never grow, and which adapt.

    eta is crossed with one other setting at a time. Stopped and started again, it goes on where it was.
    """
    from adabatch.commands.options import names, numbers
    from adabatch.experiments.ablation.ablate import Request
    from adabatch.experiments.ablation.ablate import ablate as carry_out
    from adabatch.settings import load_settings

    carry_out(
        Request(
            base=load_settings(preset, config, overrides),
            output=output,
            etas=numbers(etas, float, "--etas"),
            blocks=names(vary),
            seeds=seeds,
            processes=processes,
            quick=quick,
            report_only=report_only,
            command=_command_line(without="--report-only"),
        )
    )


@app.command()
def plot(
    runs: Annotated[list[Path], typer.Argument(help="Folders of runs, or their metrics.jsonl.")],
    against: Annotated[str, typer.Option(help="samples or step.")] = "samples",
    output: Annotated[Path, typer.Option(help="Folder of the figure.")] = Path("runs/figures"),
) -> None:
    """Draw any runs together: training and validation loss and batch size."""
    from adabatch.reporting.overlays import draw_runs

    typer.echo(f"figure: {draw_runs(runs, output, against)[0]}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Folder of a run (its newest checkpoint), or of one checkpoint.")],
    to: Annotated[Path, typer.Option(help="Folder to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export there.")] = False,
) -> None:
    """Write a trained model as a Hugging Face checkpoint: safetensors, configuration, tokenizer."""
    from adabatch.export import export_run

    done = export_run(run, to, overwrite)
    typer.echo(f"{done.folder}: {done.parameters:,} parameters after step {done.step} ({done.checkpoint})")


@app.command()
@partial(with_setting_options, sections=("data",))
def prepare(
    preset: Annotated[str | None, typer.Option(help="Built-in settings to start from, such as demo.")] = None,
    config: Annotated[str | None, typer.Option(help="A settings file (TOML), over the preset.")] = None,
    **overrides: Any,
) -> None:
    """Tokenize a corpus into files that training maps into memory, in parallel.

    Work that was interrupted is taken up again; training prepares what is not prepared yet by itself.
    """
    from adabatch.data.progress import prepare_with_progress, summary_of
    from adabatch.settings import load_settings

    settings = load_settings(preset, config, {"processes": 0, **overrides})
    try:
        folder = prepare_with_progress(settings.data)
    except KeyboardInterrupt:
        typer.echo("interrupted; the same command takes the work up again", err=True)
        raise typer.Exit(130) from None
    typer.echo(summary_of(folder))


@app.command()
def claims(
    run: Annotated[
        bool, typer.Option("--run", help="Check every claim and its proofs; show the numbers.")
    ] = False,
    show: Annotated[
        str | None, typer.Option(help='Check one claim, such as "Thm B.1", and show all of it.')
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """The paper's claims, each with its verdict and what checks it.

    Exit code 1 if a check does not come to the verdict on record.
    """
    from proofs.claims_report import show_claim, show_claims, show_json
    from theory.audit.claims import CLAIMS, find_claim

    if show is not None:
        claim = find_claim(show)
        confirmed = show_json([claim], check=True) if json else show_claim(claim)
    else:
        confirmed = show_json(CLAIMS, check=run) if json else show_claims(check=run)
    raise typer.Exit(0 if confirmed else 1)


@app.command()
def prove(
    names: Annotated[list[str] | None, typer.Argument(help="Names of proofs, such as L5; all if none.")] = None,
    show: Annotated[bool, typer.Option("--show", help="Print each derivation, step by step.")] = False,
    write_docs: Annotated[bool, typer.Option("--write-docs", help="Write docs/theory.md and stop.")] = False,
) -> None:
    """Check the proofs by machine, step by step.

    Exit code 1 if a step of any of them does not hold.
    """
    if write_docs:
        from proofs.rendering import write_theory_page

        typer.echo(f"wrote {write_theory_page()}")
        return
    from proofs.report import selected, show_derivations, show_table

    chosen = selected(names or [])
    holds = show_derivations(chosen) if show else show_table(chosen)
    raise typer.Exit(0 if holds else 1)


@app.command("verify-bounds")
def verify_bounds(
    quick: Annotated[bool, typer.Option("--quick", help="Under 20 seconds.")] = False,
    full: Annotated[bool, typer.Option("--full", help="Longer runs, more seeds, the whole grid.")] = False,
    objective: Annotated[list[str] | None, typer.Option(help="Objective of the grid; may be repeated.")] = None,
    optimizer: Annotated[list[str] | None, typer.Option(help="Optimizer; may be repeated.")] = None,
    experiment: Annotated[list[str] | None, typer.Option(help="Run only this one; may be repeated.")] = None,
    beta1: Annotated[float | None, typer.Option(help="Adam's beta1, in place of the grid's.")] = None,
    beta2: Annotated[float | None, typer.Option(help="Adam's beta2, in place of the grid's.")] = None,
    eta: Annotated[float | None, typer.Option(help="eta of the norm test, in place of the grid's.")] = None,
    steps: Annotated[int | None, typer.Option(help="Largest number of steps K on the grid.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Seeds per configuration.")] = None,
    seed: Annotated[int, typer.Option(help="Base of all random numbers.")] = 0,
    output: Annotated[Path, typer.Option(help="Folder for the report and its figures.")] = Path(
        "runs/verify-bounds"
    ),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier report there.")] = False,
) -> None:
    """Measured gradient norms against the theorems' bounds, with refutations and negative controls.

    Exit code 1 if a verdict does not come out as it should.
    """
    from simulate.experiments.settings import Level, Settings
    from simulate.verify_bounds import verify_bounds as verify

    settings = Settings(
        level=Level.of_flags(quick=quick, full=full),
        objectives=tuple(objective or ()),
        optimizers=tuple(optimizer or ()),
        experiments=tuple(experiment or ()),
        beta1=beta1,
        beta2=beta2,
        eta=eta,
        steps=steps,
        seeds=seeds,
        seed=seed,
        output=output,
        overwrite=overwrite,
    )
    raise typer.Exit(verify(settings, _command_line()))


def _command_line(without: str = "") -> str:
    """The command as it was called, but for one option."""
    return shlex.join(["adabatch", *(word for word in sys.argv[1:] if word != without)])


def main() -> None:
    """Run the command line; what a user got wrong is one message and exit code 2."""
    try:
        with interrupts():  # also while a command imports its packages
            app()
    except KeyboardInterrupt:  # before a command began
        raise SystemExit(130) from None
    except ValueError as error:
        if "ADABATCH_TRACEBACK" in os.environ:
            raise
        typer.echo(f"Error: {error}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
