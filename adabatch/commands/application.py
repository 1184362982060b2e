"""The typer application: all commands, in the order of the help."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from adabatch import __version__
from adabatch.commands.ablate import ablate
from adabatch.commands.claims import claims
from adabatch.commands.compare import compare
from adabatch.commands.covers import covers
from adabatch.commands.export import export
from adabatch.commands.plot import plot
from adabatch.commands.prepare import prepare
from adabatch.commands.prove import prove
from adabatch.commands.train import train
from adabatch.commands.verify_bounds import verify_bounds

__all__ = ["app"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)


UNSHOWN = {"None": "none", "False": "off", "''": "empty"}
"""Defaults that typer's help leaves out, by their repr, in words."""


class CommandWithDefaults(TyperCommand):
    """A command whose help shows the default of every option that need not be given."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        for option in self.params:
            text: str = getattr(option, "help", None) or ""
            default = UNSHOWN.get(repr(option.default))
            if default and not option.required and "[default: " not in text:
                option.help = rf"{text} \[default: {default}]"  # type: ignore[attr-defined]


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"adabatch {__version__}")
        raise typer.Exit


@app.callback()
def adabatch(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and stop.")
    ] = False,
) -> None:
    """Adaptive batch sizes for language-model training by the norm test."""


for command in (train, compare, ablate, plot, export, prepare, claims, covers, prove, verify_bounds):
    app.command(cls=CommandWithDefaults)(command)
