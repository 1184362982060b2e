"""Command-line options made from the settings, so that each setting is written once."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field
from typing import Annotated, Any, Literal, TypeVar

import typer

from adabatch.settings import SECTIONS, field_docs, options

Number = TypeVar("Number", int, float)

__all__ = ["names", "numbers", "with_setting_options"]


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
        ValueError: for what is no such number.
    """
    try:
        return tuple(kind(part) for part in names(text))
    except ValueError:
        raise ValueError(f"{option} takes numbers separated by commas, such as 1,2,3, not {text!r}") from None


def with_setting_options(
    command: Callable[..., None], sections: Sequence[str] = tuple(SECTIONS)
) -> Callable[..., None]:
    """Give a typer command an option for every setting of these sections.

    The command's last parameter, ``**overrides``, receives the options that were given, by field name. A setting
    named as one of the command's own parameters gets no option.
    """
    own = [p for p in inspect.signature(command, eval_str=True).parameters.values() if p.kind is not p.VAR_KEYWORD]
    docs = {section: field_docs(cls) for section, cls in SECTIONS.items()}
    taken = {p.name for p in own}
    made = [
        _parameter(section, item, hint, docs[section][item.name])
        for section, item, hint in options()
        if section in sections and item.name not in taken
    ]

    def wrapped(**given: Any) -> None:
        overrides = {name: value for name, value in given.items() if value not in (None, ()) and value != []}
        command(**{p.name: given[p.name] for p in own}, **{k: v for k, v in overrides.items() if k not in taken})

    wrapped.__name__, wrapped.__doc__ = command.__name__, command.__doc__
    wrapped.__signature__ = inspect.Signature([*own, *made])  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in [*own, *made]}
    return wrapped


def _parameter(section: str, item: Field[Any], hint: Any, doc: str) -> inspect.Parameter:
    """The option of one setting; None (not given) leaves preset, file and default as they are."""
    kind, several = _option_type(hint)
    help_text = doc + _default_text(item, hint)
    name = "--" + item.name.replace("_", "-")
    flag = f"{name}/--no-{name[2:]}" if kind is bool else name
    wanted: Any = list[str] | None if several else kind | None
    annotation = Annotated[wanted, typer.Option(flag, help=help_text, rich_help_panel=section)]
    return inspect.Parameter(item.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _option_type(hint: Any) -> tuple[type, bool]:
    """What typer parses, and whether the option may be repeated. Choices and tuples are checked as text later."""
    if hint in (bool, int, float):
        return hint, False
    arguments = typing.get_args(hint)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        if any(typing.get_origin(a) is Sequence for a in arguments):
            return str, True
        return next(_option_type(a) for a in arguments if a is not type(None))
    return str, False


def _default_text(item: Field[Any], hint: Any) -> str:
    default = None if item.default is MISSING else item.default
    choices = f" One of {', '.join(typing.get_args(hint))}." if typing.get_origin(hint) is Literal else ""
    if isinstance(default, tuple):
        default = ",".join(str(value) for value in default)
    return f"{choices} [default: {default}]" if default not in (None, "") else choices
