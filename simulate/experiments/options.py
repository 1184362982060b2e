"""Which of the command's options an experiment reads, derived from its code: nobody keeps a list.

Every use of the parameter that holds the settings is followed: an attribute is an option that is read, a method of
the settings and a function that they are handed on to are followed in turn. Any other use is an error, so that no
option is overlooked.

Example:
    >>> from simulate.experiments.other_optimizers import rmsprop
    >>> sorted(options_read(rmsprop.run))
    ['level', 'seed', 'seeds']
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import cache
from typing import Any

from simulate.experiments.settings import Settings

__all__ = ["given_options", "option", "options_read"]

OF_THE_COMMAND = frozenset({"experiments", "output", "overwrite", "against"})
"""Settings that no experiment reads: which are run, where the report goes, and what it is compared with."""

_FLAGS = {"objectives": "--objective", "optimizers": "--optimizer", "noises": "--noise", "bounds": "--bound"}
_FIELDS = frozenset(item.name for item in fields(Settings))


def given_options(settings: Settings) -> tuple[str, ...]:
    """Names of the settings that differ from their defaults and are for experiments.

    >>> from simulate.experiments.settings import Level
    >>> given_options(Settings(level=Level.QUICK, eta=0.3, overwrite=True))
    ('level', 'eta')
    """
    items = [item for item in fields(Settings) if item.name not in OF_THE_COMMAND]
    return tuple(item.name for item in items if getattr(settings, item.name) != item.default)


def option(name: str, settings: Settings) -> str:
    """A setting as it is given on the command line.

    >>> from simulate.experiments.settings import Level
    >>> option("level", Settings(level=Level.FULL)), option("optimizers", Settings()), option("eta", Settings())
    ('--full', '--optimizer', '--eta')
    """
    return f"--{settings.level}" if name == "level" else _FLAGS.get(name, f"--{name}")


@cache
def options_read(function: Callable[..., Any], parameter: str = "settings") -> frozenset[str]:
    """Names of the settings that a function reads, itself or through what it hands the settings on to.

    Args:
        function: with a parameter that holds :class:`~simulate.experiments.settings.Settings`.
        parameter: its name.

    Raises:
        TypeError: for a use of the parameter that cannot be followed.
    """
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    uses = {node for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id == parameter}
    read: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.value in uses:
            uses.remove(node.value)
            read |= _of_attribute(node.attr)
        elif isinstance(node, ast.Call):
            for name, value in _arguments(node, function) if uses & {*_values(node)} else ():
                if value in uses:
                    uses.remove(value)
                    read |= options_read(_called(node, function), name)
    if uses:
        line = min(use.lineno for use in uses)
        raise TypeError(f"{function.__qualname__}, line {line}: this use of {parameter} cannot be followed")
    return frozenset(read)


def _of_attribute(name: str) -> frozenset[str]:
    """A field is read; a method of the settings reads what it reads."""
    return frozenset({name}) if name in _FIELDS else options_read(getattr(Settings, name), "self")


def _values(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _called(call: ast.Call, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function that is called, by its name where the code stands."""
    if not (isinstance(call.func, ast.Name) and call.func.id in function.__globals__):
        raise TypeError(f"{function.__qualname__}: the call {ast.unparse(call)} cannot be followed")
    called: Callable[..., Any] = function.__globals__[call.func.id]
    return called


def _arguments(call: ast.Call, function: Callable[..., Any]) -> Iterator[tuple[str, ast.expr]]:
    """Parameter names with what is handed to them."""
    names = list(inspect.signature(_called(call, function)).parameters)
    yield from zip(names, call.args, strict=False)
    yield from ((keyword.arg, keyword.value) for keyword in call.keywords if keyword.arg)
