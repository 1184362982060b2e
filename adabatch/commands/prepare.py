"""``adabatch prepare``."""

from __future__ import annotations

import typer

from adabatch.commands.options import with_settings
from adabatch.settings import Settings


@with_settings(sections=("data",), defaults={"processes": 0})
def prepare(settings: Settings) -> None:
    """Tokenize a corpus into files that training maps into memory, in parallel.

    Interrupted work is resumed by the same command; training prepares by itself what is not prepared yet.
    """
    from adabatch.data.progress import prepare_sets, prepare_with_progress, summary_of

    folder = prepare_with_progress(settings.data)
    for corpus in (folder, *prepare_sets(settings.data, folder)):
        typer.echo(summary_of(corpus))
