"""The ``adabatch`` command. Thin: a command imports its packages when it runs, so that ``--help`` is quick."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from adabatch.options import with_setting_options

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
    **overrides: Any,
) -> None:
    """Train a Llama with a batch size that may grow by the norm test.

    Defaults < --preset < --config < the options below.
    """
    from adabatch.settings import load_settings

    settings = load_settings(preset, config, overrides)
    from adabatch.launch import launch

    raise typer.Exit(launch(settings))


def main() -> None:
    """Run the command line; what a user got wrong is one message and exit code 2."""
    try:
        app()
    except ValueError as error:
        if "ADABATCH_TRACEBACK" in os.environ:
            raise
        typer.echo(f"Error: {error}", err=True)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()
