"""``adabatch evaluate``."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adabatch.commands.options import names, with_overrides
from adabatch.commands.values import FOLDER, PATH, number
from adabatch.ranges import Range

if TYPE_CHECKING:
    from lm_eval.tasks import TaskManager

    from adabatch.evaluation.subject import Subject

SETTINGS = (
    *("data_config", "text_field", "split", "tokenizer", "end_of_document", "sequence_length"),
    "document_mask",
    *("cache", "processes", "device", "threads", "precision"),
)
"""Those of a run that may be given otherwise."""


@with_overrides(SETTINGS)
def evaluate(
    given: dict[str, Any],
    model: Annotated[
        Path,
        typer.Argument(
            **PATH,
            help="Folder of a run, of one checkpoint (RUN/checkpoints/best: that with the lowest "
            "validation loss), or of an exported model.",
        ),
    ],
    data: Annotated[
        list[str] | None,
        typer.Option(
            help="What to read, named as in training: files, folders, a dataset; may be repeated. "
            r"\[default: the run's own validation data, each set]"
        ),
    ] = None,
    step: Annotated[
        int | None,
        typer.Option(**number(int, Range(0, 10**12)), help=r"Of a run's checkpoint. \[default: the newest]"),
    ] = None,
    sequences: Annotated[
        int | None,
        typer.Option(
            **number(int, Range(0, 10**9)),
            help="Sequences at most, drawn at random, the same for every model with this tokenizer; 0: all. "
            r"\[default: the run's validation_samples, or 256]",
        ),
    ] = None,
    batch: Annotated[int, typer.Option(**number(int, Range(1, 2**20)), help="Sequences at once.")] = 8,
    output: Annotated[Path | None, typer.Option(**FOLDER, help="File: write all of it as JSON.")] = None,
    tasks: Annotated[
        str, typer.Option(help="Tasks of lm-eval separated by commas, for which a run's model is exported.")
    ] = "",
    task_folder: Annotated[
        Path | None, typer.Option(**FOLDER, help="Folder of definitions (YAML) of lm-eval tasks of your own.")
    ] = None,
) -> None:
    """Loss, perplexity and bits per byte of any checkpoint or exported model on any data, with 95% intervals.

    The intervals are Student's t over sequences. Settings that are not given are those of the run. With --tasks
    also the scores that lm-eval gives, and of an exported model without --data these alone.
    """
    from transformers.utils import logging

    from adabatch.evaluation.subject import open_subject
    from adabatch.evaluation.tasks import open_tasks
    from adabatch.evaluation.text_loss import text_losses
    from adabatch.files import write_json

    logging.disable_progress_bar()  # on standard error, where a refusal is to be the only line
    if task_folder is not None and not tasks:
        raise ValueError("--task-folder is for --tasks: name a task, or leave it out")
    if output is not None and output.is_dir():
        raise ValueError(f"{output} is a folder: name a file (--output)")
    if output is not None and not output.parent.is_dir():
        raise ValueError(
            f"there is no folder {output.parent} to write to: make it, or name another file (--output)"
        )
    manager = open_tasks(names(tasks), task_folder) if tasks else None  # before anything is computed
    subject = open_subject(model, step, {**given, **({"data": data} if data else {})})
    found: dict[str, Any] = {"model": str(subject.folder), "step": subject.step, "parameters": subject.parameters}
    shown = [f"{subject.folder}: {subject.parameters:,} parameters"]
    if subject.has_data or manager is None:
        on = []
        for name, loss in text_losses(subject, sequences, batch).items():
            source, length = ", ".join(data or [f"its own validation data {name}".strip()]), loss.predicted + 1
            on.append({"data": source, "sequence_length": length, **loss.as_json()})
            shown.append(f"{source}: {len(loss.losses):,} of {loss.available:,} sequences of {length} tokens")
            shown.append(str(loss))
        found |= on[0] | ({"other_validation_sets": on[1:]} if on[1:] else {})
    typer.echo("\n".join(shown))  # before it is written: a disk may be full
    if output is not None:
        write_json(output, found)
    if manager is not None:
        found["tasks"] = _scores(subject, names(tasks), manager, batch)
        for task, scores in found["tasks"].items():
            texts = (
                f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}"
                for name, value in scores.items()
            )
            typer.echo(f"{task}: {'  '.join(texts)}")
        if output is not None:
            write_json(output, found)


def _scores(subject: Subject, tasks: tuple[str, ...], manager: TaskManager, batch: int) -> dict[str, Any]:
    """By task; of a run's model by way of an export that is not kept."""
    from adabatch.distributed.parallel import choose_device
    from adabatch.evaluation.tasks import task_scores
    from adabatch.export import export_run

    device = str(choose_device(subject.settings.parallel))
    if subject.step is None:
        return task_scores(subject.folder, tasks, manager, device, batch)
    with tempfile.TemporaryDirectory() as folder:
        export_run(subject.folder, Path(folder, "model"))
        return task_scores(Path(folder, "model"), tasks, manager, device, batch)
