"""Preparing a corpus with a progress bar."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from adabatch.data.corpus import tokenizer_of
from adabatch.data.preparation import prepare, prepare_set
from adabatch.data.tasks import Progress as Show
from adabatch.settings.data import DataSettings
from adabatch.terminal import console as new_console

__all__ = ["prepare_sets", "prepare_with_progress", "summary_of"]

SECONDS_BETWEEN_LINES = 5.0


def prepare_with_progress(settings: DataSettings, saved_tokenizer: Path | None = None) -> Path:
    """As :func:`adabatch.data.preparation.prepare`, with a bar on a terminal, a line every few seconds elsewhere.

    Nothing is shown of work that is over before the first few seconds are.
    """
    with _shown() as show:
        return prepare(settings, show, saved_tokenizer)


def prepare_sets(settings: DataSettings, folder: Path) -> tuple[Path, ...]:
    """The folders of the validation sets but the first, prepared alike with the tokenizer of the corpus."""
    if not settings.other_validation:
        return ()
    tokenizer = tokenizer_of(settings, folder)
    with _shown() as show:
        return tuple(prepare_set(settings, data, tokenizer, show) for data in settings.other_validation.values())


@contextmanager
def _shown() -> Iterator[Show]:
    """What shows the progress."""
    console, last_line = new_console(stderr=True), time.monotonic()
    columns = (
        TextColumn("preparing"),
        BarColumn(bar_width=None),
        TextColumn("{task.completed}/{task.total} parts  {task.fields[tokens]:,} tokens"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task("", total=None, tokens=0)

        def show(done: int, total: int, tokens: int) -> None:
            nonlocal last_line
            bar.update(task, completed=done, total=total, tokens=tokens)
            if not console.is_terminal and time.monotonic() - last_line > SECONDS_BETWEEN_LINES:
                last_line = time.monotonic()
                print(f"preparing  {done}/{total} parts  {tokens:,} tokens", file=console.file, flush=True)

        yield show


def summary_of(folder: Path) -> str:
    """A prepared corpus in one line.

    >>> import tempfile
    >>> folder = prepare(DataSettings(cache=tempfile.mkdtemp()))
    >>> "for validation (bytes, 257 token values)" in summary_of(folder)
    True
    """
    record = json.loads((folder / "corpus.json").read_text("utf-8"))
    train, validation = (record["parts"][part]["tokens"] for part in ("train", "validation"))
    tokenizer = record["tokenizer"]
    nulls = f", {record['missing_texts']:,} nulls left out" if record["missing_texts"] else ""
    return (
        f"{train:,} tokens for training, {validation:,} for validation "
        f"({tokenizer['name']}, {tokenizer['size']} token values){nulls}: {folder}"
    )
