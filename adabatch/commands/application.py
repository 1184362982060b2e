"""The typer application. A command's module is loaded when it runs; the help of all commands loads none."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from adabatch import __version__
from adabatch.refusals import named_paths, refusing_os_errors

__all__ = ["app"]

COMMANDS = (
    "train",
    "compare",
    "ablate",
    "branch",
    "plot",
    "runs",
    "evaluate",
    "worth",
    "export",
    "export-schedule",
    "prepare",
    "claims",
    "covers",
    "prove",
    "verify-bounds",
    "attack",
    "list",
    "optimum",
)
"""In the order of the help; each is a function in the module of this package that has its name."""

UNSHOWN = {"None": "none", "False": "off", "''": "empty"}
"""Defaults that typer's help leaves out, by their repr, in words."""


class CommandWithDefaults(TyperCommand):
    """A command whose help shows the default of every option, and that refuses bad paths in one line."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        for option in self.params:
            text: str = getattr(option, "help", None) or ""
            default = UNSHOWN.get(repr(option.default))
            if default and not option.required and "[default: " not in text:
                option.help = rf"{text} \[default: {default}]"  # type: ignore[attr-defined]

    def invoke(self, ctx: Any) -> Any:
        """Run the command; a file that the operating system refuses is the user's to change."""
        with refusing_os_errors(
            named_paths((option.opts[0], ctx.params.get(option.name)) for option in self.params)
        ):
            return super().invoke(ctx)


class Commands(TyperGroup):
    """The group of all commands, each built when it is asked for; their summaries are read from the source."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Their names."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of this name; None if there is none."""
        if cmd_name in COMMANDS and cmd_name not in self.commands:
            self.commands[cmd_name] = _built(cmd_name)
        return self.commands.get(cmd_name)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is asked for; one that does not exist is compared with those that do."""
        if args[0] not in COMMANDS:
            self.commands = _summaries()
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """All commands with their summaries."""
        self.commands = _summaries()
        super().format_help(ctx, formatter)


def _built(name: str) -> Any:
    """The command with all its options."""
    function = name.replace("-", "_")
    alone = typer.Typer(add_completion=False)
    alone.command(name, cls=CommandWithDefaults)(getattr(import_module(f"adabatch.commands.{function}"), function))
    return typer.main.get_command(alone)


def _summaries() -> dict[str, Any]:
    """By name, commands that have nothing but the first paragraph of their docstring."""
    found: dict[str, Any] = {}
    for name in COMMANDS:
        function = name.replace("-", "_")
        tree = ast.parse(Path(__file__).with_name(f"{function}.py").read_text(encoding="utf-8"))
        texts = [
            ast.get_docstring(node) or ""
            for node in tree.body
            if isinstance(node, ast.FunctionDef) and node.name == function
        ]
        found[name] = TyperCommand(name, help=texts[0].split("\n\n")[0])
    return found


app = typer.Typer(cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_show_locals=False)


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
