"""A table of runs, finished or under way, in the columns of the paper's tables, with what those leave out.

The columns are the fields of :class:`FoundRun`; the first six are the paper's: schedule, steps, mean batch, time,
training loss, validation loss. Further validation sets have a column each, called ``val_loss/NAME``.
"""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

from adabatch.experiments.comparison.noise import late_noise_scale
from adabatch.experiments.run import final_loss
from adabatch.experiments.text import MISSING, TextTable
from adabatch.locks import is_occupied
from adabatch.refusals import did_you_mean
from adabatch.reporting.console import duration, last_loss
from adabatch.reporting.metrics import METRICS, RUN_MARKER, Record, read_metrics, step_seconds, step_tokens
from adabatch.reporting.series import VALIDATION, set_name, validation_series
from adabatch.settings import CONFIG, ScheduleSettings, Settings, load_settings

__all__ = [
    "COLUMNS",
    "FoundRun",
    "State",
    "as_csv",
    "as_markdown",
    "as_text",
    "find_runs",
    "read_run",
    "sort_runs",
]

State = Literal["finished", "running", "stopped", "diverged"]

OF_A_RUN = ("checkpoints", "figures", "profile", "tensorboard", "wandb")
"""Folders in a run's own, in which nobody keeps runs."""

NOTE = (
    "Batch: mean sequences per step. Time: of all steps. Loss: of training, smoothed over a hundredth of the "
    "samples, at the end. Val loss: the lowest. B_noise: noise scale over the later half of the measured steps; "
    f"inf where noise hides the gradient. {MISSING}: not measured."
)


@dataclass(frozen=True)
class FoundRun:
    """What a run has done so far; None and not a number stand for what was not measured.

    Attributes:
        schedule: its batch rule, in a few words.
        steps: optimizer steps.
        batch: samples per step, on average.
        seconds: in steps.
        loss: of training at the end, smoothed over a hundredth of the samples, in nats per token.
        val_loss: the lowest, in nats per token; of several validation sets on the first.
        samples: seen.
        tokens_per_second: over all steps.
        noise_scale: :func:`adabatch.experiments.comparison.noise.late_noise_scale`, in samples.
        state: ``running`` while a process has the folder, ``diverged`` after too many skipped steps or where the
            last validation loss is not finite, ``finished`` once the budget of samples is spent, else ``stopped``.
        run: its folder.
        others: the lowest losses on further validation sets, by column.
    """

    schedule: str
    steps: int
    batch: float | None
    seconds: float
    loss: float | None
    val_loss: float | None
    samples: int
    tokens_per_second: float | None
    noise_scale: float | None
    state: State
    run: str
    others: Mapping[str, float] = field(default_factory=dict)

    def value(self, column: str) -> Any:
        """What stands in a column; None where nothing was measured."""
        return getattr(self, column) if column in COLUMNS else self.others.get(column)


COLUMNS: tuple[str, ...] = tuple(item.name for item in fields(FoundRun) if item.name != "others")
"""What a table is sorted by, and the heads of its CSV."""


def columns_of(runs: Iterable[FoundRun]) -> tuple[str, ...]:
    """:data:`COLUMNS` with those of further validation sets, behind the numbers."""
    others = dict.fromkeys(name for run in runs for name in run.others)
    return (*COLUMNS[:-2], *others, *COLUMNS[-2:])


SHOWN: Mapping[str, tuple[str, Callable[[Any], str]]] = {
    "batch": ("batch", "{:.1f}".format),
    "seconds": ("time", duration),
    "loss": ("loss", "{:.3f}".format),
    "val_loss": ("val loss", "{:.3f}".format),
    "tokens_per_second": ("tokens/s", "{:.0f}".format),
    "noise_scale": ("B_noise", "{:.3g}".format),
}
"""Head and form of the columns that a person reads otherwise than a program."""


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """The folders of runs among these and below them, each once, in order.

    Raises:
        ValueError: for what is not a folder, and where there is no run.
    """
    for folder in folders:
        if not folder.is_dir():
            raise ValueError(
                f"there is no folder {folder}: name the folder of a run, or one that holds such folders"
            )
    found = dict.fromkeys(run for folder in folders for run in _below(folder))
    if not found:
        names = ", ".join(map(str, folders))
        raise ValueError(f"no run in {names} or below: name a folder that adabatch train or compare has written")
    return list(found)


def _below(folder: Path) -> Iterator[Path]:
    for place, inner, files in os.walk(folder):
        here = METRICS in files or RUN_MARKER in files
        inner[:] = sorted(name for name in inner if not (here and name in OF_A_RUN))
        if here:
            yield Path(place)


def read_run(folder: Path) -> FoundRun:
    """What a run has done so far.

    Raises:
        ValueError: its settings or its records are missing or damaged.
    """
    if not (folder / CONFIG).is_file():
        raise ValueError(f"{folder} has no {CONFIG}")
    settings = load_settings(file=folder / CONFIG)
    records = read_metrics(folder) if (folder / METRICS).is_file() else []
    last = records[-1] if records else {"step": 0, "samples": 0}
    steps, samples = int(last["step"]), int(last["samples"])
    lowest = {name: _lowest(records, name) for name in validation_series(records)}
    try:
        seconds, tokens = sum(map(step_seconds, records)), sum(map(step_tokens, records))
        noise = late_noise_scale(records)
    except (LookupError, TypeError) as error:
        raise ValueError(f"{folder / METRICS} is damaged, or not the metrics of a run ({error!r})") from None
    return FoundRun(
        schedule=schedule_text(settings.schedule),
        steps=steps,
        batch=samples / steps if steps else None,
        seconds=seconds,
        loss=last_loss(records) if records else None,
        val_loss=lowest.pop(VALIDATION, None),
        samples=samples,
        tokens_per_second=tokens / seconds if seconds else None,
        noise_scale=noise,
        state=_state(folder, settings, records),
        run=str(folder),
        others={name: loss for name, loss in lowest.items() if loss is not None},
    )


def _lowest(records: Sequence[Record], name: str) -> float | None:
    """Of the values after steps; None where there is none."""
    return min((record[name] for record in records if record.get(name) is not None), default=None)


def _state(folder: Path, settings: Settings, records: Sequence[Record]) -> State:
    if is_occupied(folder):
        return "running"
    allowed = settings.run.max_skipped
    late = records[-allowed - 1 :]
    given_up = 0 < allowed < len(late) and all(record.get("decision") == "skipped" for record in late)
    if given_up or final_loss(records) == math.inf:
        return "diverged"
    return "finished" if records and records[-1]["samples"] >= settings.run.end else "stopped"


def schedule_text(settings: ScheduleSettings) -> str:
    """The batch rule with what sets it apart most: eta, the batch, or its stages.

    >>> schedule_text(Settings().schedule)
    'norm-test eta=1'
    """
    name = settings.schedule
    if name == "norm-test":
        test = "" if settings.test == "scalar" else f" {settings.test}"
        return f"{name}{test} eta={settings.eta:g}"
    if name == "stagewise":
        return f"{name} {'-'.join(map(str, settings.stage_batches))}"
    return f"{name} {settings.initial_batch}" + ("" if name == "constant" else f"-{settings.max_batch}")


def check_column(column: str, columns: Sequence[str]) -> None:
    """Raise ValueError for what is not one of a table's columns."""
    if column not in columns:
        hint = did_you_mean(column.replace("-", "_"), columns)
        raise ValueError(f"there is no column {column!r}: --sort takes one of {', '.join(columns)}{hint}")


def sort_runs(runs: Sequence[FoundRun], column: str, descending: bool = False) -> list[FoundRun]:
    """The runs by one of the columns; those without a value there come last."""
    known = [run for run in runs if not _is_missing(run.value(column))]
    known.sort(key=lambda run: run.value(column), reverse=descending)
    return [*known, *(run for run in runs if _is_missing(run.value(column)))]


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def as_csv(runs: Sequence[FoundRun]) -> str:
    """Numbers as they are, and nothing where nothing was measured."""
    text, columns = io.StringIO(), columns_of(runs)
    rows = [["" if _is_missing(value) else value for value in map(run.value, columns)] for run in runs]
    csv.writer(text, lineterminator="\n").writerows([columns, *rows])
    return text.getvalue()


def as_markdown(runs: Sequence[FoundRun]) -> str:
    """With a note on how to read it."""
    columns = columns_of(runs)
    return TextTable("Runs", NOTE, tuple(map(_head, columns)), [_cells(run, columns) for run in runs]).markdown()


def as_text(runs: Sequence[FoundRun], width: int | None = None) -> str:
    """Aligned columns, a run per line; where they do not fit, what is a name has a line of its own above numbers.

    Args:
        runs: in this order.
        width: of the terminal; None: lines may have any length.
    """
    columns = columns_of(runs)
    heads = tuple(map(_head, columns))
    schedules, *numbers, names = zip(heads, *(_cells(run, columns) for run in runs), strict=True)
    lines = ["  ".join(cells) for cells in zip(*map(_right, numbers), strict=True)]
    longest = max(map(len, schedules))
    whole = [f"{a:{longest}}  {b}  {c}" for a, b, c in zip(schedules, lines, names, strict=True)]
    if width is None or max(map(len, whole)) <= width:
        return "\n".join(whole)
    return "\n".join(f"{name}: {a}\n  {b}" for a, b, name in zip(schedules, lines, names, strict=True))


def _right(cells: Sequence[str]) -> list[str]:
    longest = max(map(len, cells))
    return [cell.rjust(longest) for cell in cells]


def _head(column: str) -> str:
    if column not in COLUMNS:
        return f"{SHOWN[VALIDATION][0]} {set_name(column)}"
    return SHOWN[column][0] if column in SHOWN else column


def _cells(run: FoundRun, columns: Sequence[str]) -> tuple[str, ...]:
    cells = []
    for name in columns:
        _, form = SHOWN.get(name if name in COLUMNS else VALIDATION, ("", str))
        value = run.value(name)
        cells.append(MISSING if _is_missing(value) else form(value))
    return tuple(cells)
