"""A class or function of the user's, from a module or a file."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["is_own", "own_attribute"]


def is_own(text: str) -> bool:
    """Whether a part is named by module or file: it has a colon.

    >>> is_own("mine.py:Steep,condition=3"), is_own("rastrigin,dimension=3")
    (True, False)
    """
    return ":" in text.split(",")[0]


def own_attribute(kind: str, name: str, base: type = object) -> Callable[..., Any]:
    """What ``module:attribute`` or ``file.py:attribute`` names.

    Args:
        kind: what it is to be, for messages.
        name: with a colon.
        base: its class; where the attribute is missing, the message lists the module's classes of it.

    Raises:
        ValueError: if it cannot be imported, is not there, or cannot be called.

    >>> own_attribute("number", "fractions:Fraction")(1, 2)
    Fraction(1, 2)
    """
    place, _, attribute = name.partition(":")
    module = _module(kind, name, place)
    if not hasattr(module, attribute):
        defined = {
            key: value
            for key, value in vars(module).items()
            if callable(value) and getattr(value, "__module__", "") == module.__name__ and not key.startswith("_")
        }
        fitting = [key for key, value in defined.items() if inspect.isclass(value) and issubclass(value, base)]
        there = ", ".join(fitting or defined) or "no class or function"
        raise ValueError(f"{kind} {name!r}: {place} has no {attribute!r}; it has: {there}")
    found: Any = getattr(module, attribute)
    if not callable(found):
        raise ValueError(f"{kind} {name!r} must be a class or a function, not of the type {type(found).__name__}")
    result: Callable[..., Any] = found
    return result


def _module(kind: str, name: str, place: str) -> ModuleType:
    try:
        return _from_file(Path(place).resolve()) if place.endswith(".py") else importlib.import_module(place)
    except FileNotFoundError:
        raise ValueError(f"{kind} {name!r}: there is no file {place}") from None
    except Exception as error:
        raise ValueError(f"{kind} {name!r}: importing {place} failed: {type(error).__name__}: {error}") from error


def _from_file(path: Path) -> ModuleType:
    """The file's module, imported once in a process."""
    if not path.is_file():
        raise FileNotFoundError(path)
    name = f"adabatch_own_{path.stem}_{abs(hash(path))}"
    if name in sys.modules:
        return sys.modules[name]
    specification = importlib.util.spec_from_file_location(name, path)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module
    try:
        specification.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
