"""``adabatch covers``."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adabatch.commands.options import run_or_settings
from adabatch.commands.values import FOLDER, PATH
from adabatch.reporting.metrics import METRICS, Record, read_metrics
from adabatch.settings import Settings

if TYPE_CHECKING:
    from theory.coverage import Configuration


SIZES = ("batch_size", "micro_batch")
"""What is read of every record."""

ELSEWHERE = {"sgd": "; those on SGD without momentum are in theory.other_optimizers.sgd and theory.samples.sgd"}
"""Where the theorems on other optimizers are."""


def covers(
    run: Annotated[
        Path | None, typer.Argument(**PATH, help="Folder of a run: its settings, and what its records tell.")
    ] = None,
    preset: Annotated[str | None, typer.Option(help="Built-in settings, in place of a run.")] = None,
    config: Annotated[
        Path | None, typer.Option(**FOLDER, help="A settings file (TOML), over the preset, in place of a run.")
    ] = None,
) -> None:
    """Which theorem covers a run, and what would have to change for one that none covers.

    All theorems on plain Adam under the run's test are shown side by side. Of a run that has measured its
    coordinates, also whether the ratio of noise to gradient that it has had certifies it afterwards, whichever
    test it ran.

    The theorems are on Adam: none of them covers a run of another optimizer.

    Exit code 0 either way: most runs that train a model leave some hypothesis.
    """
    from adabatch.commands.recorded_run import after_the_run
    from theory.coverage import coverage

    settings = run_or_settings("covers", run, preset, config)
    records = read_metrics(run) if run is not None and (run / METRICS).is_file() else ()
    described = configuration(settings, records)
    assert described.dimension is not None  # counted once for both reports
    batch = f"batches by {settings.schedule.schedule}, the {described.test} norm test at eta = {described.eta:g}"
    typer.echo(f"{described.dimension:,} parameters; {batch}")
    typer.echo(recorded_tests(records))
    if (name := settings.optimizer.optimizer) != "adamw":
        typer.echo(f"not covered: the theorems are on Adam, not on --optimizer {name}{ELSEWHERE.get(name, '')}")
        return
    found = coverage(described)
    typer.echo("\n".join(filter(None, (found.summary(), found.table()))))
    for line in after_the_run(run, settings, records, described.dimension):
        typer.echo(line)


def configuration(settings: Settings, records: Sequence[Record] = ()) -> Configuration:
    """What the theorems need to know of a run.

    Without records, the test counts as not enforced: the trainer tests a batch in order to choose the next one.
    With decoupled weight decay on all parameters, the weights are bounded by the box that AdamW keeps them in.

    Args:
        settings: of the run.
        records: of its steps, if it has been run.

    >>> configuration(Settings()).dimension
    469632
    """
    from adabatch.training.model_size import planned_parameters
    from theory.adam.constants import normalized_step_bound
    from theory.coverage import Configuration, NormTestKind

    schedule, optimizer = settings.schedule, settings.optimizer
    decay = optimizer.weight_decay
    box = float(normalized_step_bound(optimizer.beta1, optimizer.beta2)) / decay if decay else None
    if decay and optimizer.weight_decay_on != "all":
        box = math.inf  # nothing holds what does not decay
    return Configuration(
        beta1=optimizer.beta1,
        beta2=optimizer.beta2,
        eta=schedule.eta,
        test=NormTestKind(schedule.test),
        dimension=planned_parameters(settings),
        epsilon=optimizer.epsilon,
        bias_correction=optimizer.bias_correction,
        warmup_steps=-(-optimizer.warmup_samples // schedule.initial_batch),
        decays=optimizer.min_lr < optimizer.lr,
        weight_decay=decay,
        largest_weight=box,
        clips=optimizer.clip > 0,
        groups=_fewest_groups(settings, records),
        share=schedule.coordinate_quantile,
        enforced=bool(records) and all(map(_passes, records)),
    )


def recorded_tests(records: Sequence[Record]) -> str:
    """How many steps were tested, and how many met the test themselves.

    >>> recorded_tests([{"loss": 2.0, "batch_size": 8, "test_statistic": 9.0}])
    'of 1 steps, 1 were tested, 0 met the test with their own batch, 0 batches were held back by --max-growth'
    """
    if not records:
        return "no step has been recorded"
    tested = sum(record.get("test_statistic") is not None for record in records)
    met, limited = sum(map(_passes, records)), sum(bool(record.get("batch_limited")) for record in records)
    return (
        f"of {len(records)} steps, {tested} were tested, {met} met the test with their own batch, {limited} "
        "batches were held back by --max-growth"
    )


def _passes(record: Record) -> bool:
    statistic = record.get("test_statistic")
    return statistic is not None and statistic <= record["batch_size"]


def _fewest_groups(settings: Settings, records: Sequence[Record]) -> int:
    """Micro-batches of the step with the fewest, at least 2: with fewer nothing is estimated."""
    for record in records:
        if not all(isinstance(record.get(name), int) and record[name] > 0 for name in SIZES):
            raise ValueError(
                f"the record of step {record.get('step')} lacks {' or '.join(SIZES)}: metrics.jsonl is damaged "
                "or not the metrics of a run; take --config with the run's config.toml instead"
            )
    first = {"batch_size": settings.schedule.initial_batch, "micro_batch": settings.schedule.micro_batch}
    return max(2, min(int(step["batch_size"]) // int(step["micro_batch"]) for step in records or [first]))
