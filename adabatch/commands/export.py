"""``adabatch export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from adabatch.commands.values import FOLDER, PATH


def export(
    run: Annotated[
        Path,
        typer.Argument(
            **PATH,
            help="Folder of a run (its newest checkpoint), or of one checkpoint (RUN/checkpoints/best: that with "
            "the lowest validation loss).",
        ),
    ],
    to: Annotated[Path, typer.Option(**FOLDER, help="Folder to write.")],
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier export there.")] = False,
) -> None:
    """Write a trained model as a Hugging Face checkpoint: safetensors, configuration, tokenizer."""
    from transformers.utils import logging

    from adabatch.export import export_run

    logging.disable_progress_bar()  # on standard error, where a refusal is to be the only line
    done = export_run(run, to, overwrite)
    typer.echo(f"{done.folder}: {done.parameters:,} parameters after step {done.step} ({done.checkpoint})")
