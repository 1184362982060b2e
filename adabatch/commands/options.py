"""Command-line options made from the settings, so that each setting is written once."""

from __future__ import annotations

import inspect
import os
import shlex
import sys
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, Field
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import typer

from adabatch.commands.values import number
from adabatch.ranges import Range, option_of, ranges_of
from adabatch.refusals import Named, named_paths, refusing_os_errors
from adabatch.settings import CONFIG, SECTIONS, Settings, field_docs, load_settings, options, preset_summaries
from adabatch.settings.data import DEFAULT_CACHE
from adabatch.settings.paths import PATHS

Number = TypeVar("Number", int, float)
Overrides = Mapping[str, Any]

__all__ = [
    "ClusterName",
    "ClusterOptions",
    "Processes",
    "Quick",
    "ReportOnly",
    "command_line",
    "names",
    "numbers",
    "run_or_settings",
    "with_overrides",
    "with_settings",
]

Processes = Annotated[
    int,
    typer.Option(
        **number(int, Range(0, 1024)),
        help="Runs at once; 0: as many as the visible GPUs have room for, without GPUs the cores; 16 jobs.",
    ),
]
ClusterName = Annotated[
    str,
    typer.Option(
        metavar="<slurm|local>",
        help="Train each run in a job of this cluster, through submitit (local: processes of this machine); a job "
        "that ends early is submitted again, up to twice. Empty: on this machine, without jobs.",
    ),
]
ClusterOptions = Annotated[
    str,
    typer.Option(
        metavar="<name=value,...>",
        help="What submitit is told of each job, such as timeout_min=600,gpus_per_node=1,slurm_partition=gpu.",
    ),
]
Quick = Annotated[bool, typer.Option("--quick", help="Tiny runs, for a first look.")]
ReportOnly = Annotated[
    bool, typer.Option("--report-only", help="Train nothing: tables and figures of what is finished.")
]


def names(text: str) -> tuple[str, ...]:
    """The names in comma-separated text.

    >>> names("a, b,")
    ('a', 'b')
    """
    return tuple(part.strip() for part in text.split(",") if part.strip())


def numbers(text: str, kind: type[Number], option: str) -> tuple[Number, ...]:
    """The numbers in comma-separated text.

    >>> numbers("1,2", int, "--sizes")
    (1, 2)

    Raises:
        ValueError: for text that is not such a list.
    """
    try:
        return tuple(kind(part) for part in names(text))
    except ValueError:
        raise ValueError(f"{option} takes numbers separated by commas, such as 1,2,3, not {text!r}") from None


def command_line() -> str:
    """The command as it was called; a report is the same with --report-only and without."""
    return shlex.join(["adabatch", *(word for word in sys.argv[1:] if word != "--report-only")])


def with_settings(
    preset: str | None = None, sections: Sequence[str] = tuple(SECTIONS), defaults: Mapping[str, Any] | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a typer command ``--preset``, ``--config`` and an option for every setting of these sections.

    The command's first parameter receives the resolved settings. A setting named as one of the command's own
    parameters gets no option.

    Args:
        preset: taken unless the user names another.
        sections: whose settings become options.
        defaults: settings that this command sets unless the user gives them as options.
    """

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        def resolved(overrides: Overrides, preset: str | None, config: str | None, **given: Any) -> None:
            settings = load_settings(preset, config, {**(defaults or {}), **overrides})
            with refusing_os_errors(_named_by(settings, given)):
                command(settings, **given)

        chosen = [item.name for section, item, _ in options() if section in sections]
        return _with_options(command, resolved, chosen, _source_parameters(preset))

    return decorate


def with_overrides(settings: Collection[str]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a typer command an option for each of these settings; its first parameter receives what is given."""
    return lambda command: _with_options(command, command, settings, [])


def _with_options(
    command: Callable[..., None],
    execute: Callable[..., None],
    chosen: Collection[str],
    first: Sequence[inspect.Parameter],
) -> Callable[..., None]:
    """A typer command that hands to ``execute`` the settings that are given, and all other options by name."""
    parameters = inspect.signature(command, eval_str=True).parameters.values()
    own = [parameter.replace(kind=parameter.KEYWORD_ONLY) for parameter in parameters][1:]
    taken = {parameter.name for parameter in own}
    made = [
        _parameter(section, item, hint)
        for section, item, hint in options()
        if item.name in chosen and item.name not in taken
    ]

    def wrapped(**given: Any) -> None:
        values = {item.name: given.pop(item.name) for item in made}
        execute({name: value for name, value in values.items() if value not in (None, [])}, **given)

    all_options = [*first, *own, *made]
    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    wrapped.__signature__ = inspect.Signature(all_options)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {option.name: option.annotation for option in all_options}
    return wrapped


def run_or_settings(command: str, run: Path | None, preset: str | None, config: Path | None) -> Settings:
    """The settings of a run, or those that are named in its place.

    Raises:
        ValueError: for both or neither, and for a folder that is not a run's.
    """
    if (run is None) == (preset is None and config is None):
        raise ValueError(
            f"{command} takes either the folder of a run, or --config (and --preset): name one of them"
        )
    if run is None:
        return load_settings(preset, config)
    if not (run / CONFIG).is_file():
        raise ValueError(f"{run} is not the folder of a run: it has no {CONFIG}")
    return load_settings(None, run / CONFIG)


def _named_by(settings: Settings, own: Mapping[str, Any]) -> Named:
    """The files and folders that the settings and a command's own options name."""
    values = [
        (option_of(item.name), getattr(getattr(settings, section), item.name))
        for section, item, _ in options()
        if item.name in PATHS and item.name not in own
    ]
    cache = os.environ.get("ADABATCH_CACHE")
    default = ("ADABATCH_CACHE", cache) if cache else ("--cache", os.path.expanduser(DEFAULT_CACHE))
    sets = [(option_of("validation_data"), data) for data in settings.data.validation_sets().values()]
    return named_paths([*((option_of(name), value) for name, value in own.items()), *values, *sets, default])


def _source_parameters(preset: str | None) -> list[inspect.Parameter]:
    """``--preset`` and ``--config``."""
    described = "\n\n".join(f"{name}: {text}." for name, text in preset_summaries().items())
    presets = typer.Option(help=f"Built-in settings to start from:\n\n{described}\n\n")
    file = typer.Option(help="A settings file (TOML), over the preset; paths in it are relative to the file.")
    return [
        _keyword("preset", Annotated[str | None, presets], preset),
        _keyword("config", Annotated[str | None, file]),
    ]


def _keyword(name: str, annotation: Any, default: str | None = None) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _parameter(section: str, item: Field[Any], hint: Any) -> inspect.Parameter:
    """The option of one setting; None (not given) leaves preset, file and default as they are."""
    kind, several = _option_type(hint)
    name = option_of(item.name)
    flag = f"{name}/--no-{name[2:]}" if kind is bool else name
    help_text = field_docs(SECTIONS[section])[item.name] + _allowed(section, item)
    help_text += _choices_and_default(item, hint, several)
    help_text = help_text.replace("`", "").replace("[", r"\[")  # typer takes a bracket for a tag of rich
    wanted: Any = list[str] | None if several else kind | None
    reading = number(kind) if kind in (int, float) else {}
    made = typer.Option(flag, help=help_text, rich_help_panel=section, **reading)
    return _keyword(item.name, Annotated[wanted, made])


def _option_type(hint: Any) -> tuple[type, bool]:
    """What typer parses, and whether the option may be repeated. Choices and tuples are checked as text later."""
    if hint in (bool, int, float):
        return hint, False
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        if any(typing.get_origin(a) is Sequence for a in arguments):
            return str, True
        return next(_option_type(a) for a in arguments if a is not type(None))
    return str, typing.get_origin(hint) is tuple and arguments[0] is str


def _allowed(section: str, item: Field[Any]) -> str:
    """The range of a number, for its help."""
    allowed = ranges_of(SECTIONS[section]).get(item.name)
    return "" if allowed is None else f" {allowed.text[0].upper()}{allowed.text[1:]}."


def _choices_and_default(item: Field[Any], hint: Any, several: bool) -> str:
    default = None if item.default is MISSING else item.default
    choices = f" One of {', '.join(typing.get_args(hint))}." if typing.get_origin(hint) is Literal else ""
    repeated = " May be repeated." if several else ""
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    return f"{choices}{repeated} [default: {'none' if default in (None, '') else default}]"
