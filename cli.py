"""The ``adabatch`` command. Thin: a command imports its packages when it runs, so that ``--help`` is quick."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="adabatch",
    help="Adaptive batch sizes for language-model training by the norm test.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_show_locals=False,
)


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
