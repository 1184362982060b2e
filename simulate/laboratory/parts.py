"""Parts by name: built-in ones, and classes of your own from a module or a file, with their settings.

    pseudo-huber                      built in
    rastrigin,dimension=20            with settings
    mypackage.mine:Steep              a class, or a function that returns one's instance
    mine.py:Steep,condition=1e4       from a file

Example:
    >>> find("objective", "quadratic,dimension=3,condition=2").make()
    Quadratic(dimension=3, largest=1.0, condition=2, initial=1.0)
    >>> find("optimizer", "lyon")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    ValueError: unknown optimizer 'lyon'; known: adagrad, ...; or name your own, as in mine.py:MyOptimizer
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from simulate.laboratory.bounds import BoundRule
from simulate.laboratory.theorems import BOUNDS
from simulate.noise import NOISES, Noise
from simulate.objectives import OBJECTIVES, Objective
from simulate.optimizers import OPTIMIZERS, Optimizer
from simulate.own_code import is_own, own_attribute
from simulate.registry import Registry

__all__ = ["KINDS", "Kind", "Part", "find", "settings_of"]

Kind = Literal["objective", "optimizer", "noise", "bound"]


@dataclass(frozen=True)
class _KindOfPart:
    """Where the built-in ones are, and what all are instances of."""

    registry: Registry[Any]
    base: type
    named: str
    methods: tuple[str, ...]


KINDS: Mapping[Kind, _KindOfPart] = {
    "objective": _KindOfPart(
        OBJECTIVES, Objective, "simulate.objectives.Objective", ("start", "value", "gradient", "smoothness")
    ),
    "optimizer": _KindOfPart(OPTIMIZERS, Optimizer, "simulate.optimizers.Optimizer", ("step",)),
    "noise": _KindOfPart(NOISES, Noise, "simulate.noise.Noise", ("begin",)),
    "bound": _KindOfPart(BOUNDS, BoundRule, "simulate.laboratory.BoundRule", ("value",)),
}


@dataclass(frozen=True)
class Part:
    """A part with its settings.

    Attributes:
        kind: of which it is.
        text: as it was asked for.
        factory: makes it.
        settings: as given.
    """

    kind: Kind
    text: str
    factory: Callable[..., Any]
    settings: Mapping[str, Any]

    @property
    def own(self) -> bool:
        """Whether it is not built in."""
        return is_own(self.text)

    def takes(self, name: str) -> bool:
        """Whether it has a setting of this name that is not given."""
        parameters = settings_of(self.factory)
        return name not in self.settings and (name in parameters)

    def make(self, **more: Any) -> Any:
        """Make one.

        Args:
            more: settings next to those that were given.

        Raises:
            ValueError: if it cannot be made, or is not of its kind, naming the part and what is missing.
        """
        missing = getattr(self.factory, "__abstractmethods__", None)
        if missing:
            names = ", ".join(f"{name}()" for name in sorted(missing))
            raise ValueError(f"{self.kind} {self.text!r} lacks {names}")
        try:
            made = self.factory(**self.settings, **more)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.kind} {self.text!r} cannot be made: {error}") from error
        kind = KINDS[self.kind]
        if not isinstance(made, kind.base):
            lacks = [f"{name}()" for name in kind.methods if not hasattr(made, name)]
            methods = f"; it lacks {', '.join(lacks)}" if lacks else "; make it a subclass"
            raise ValueError(f"{self.kind} {self.text!r} is not a {kind.named}{methods}")
        return made


def find(kind: Kind, text: str) -> Part:
    """The part that a text names; nothing is made yet.

    Args:
        kind: of part.
        text: a name or ``module:attribute`` or ``file.py:attribute``, then ``,key=value`` for each setting.

    Raises:
        ValueError: for what does not exist, naming what does.
    """
    name, *rest = text.split(",")
    factory = _factory(kind, name)
    settings = dict(_setting(kind, text, item) for item in rest)
    parameters = settings_of(factory)
    for key in settings:
        if key not in parameters:
            known = ", ".join(parameters) or "none"
            raise ValueError(f"{kind} {name!r} has no setting {key!r}; its settings are: {known}")
    return Part(kind, text, factory, settings)


def _factory(kind: Kind, name: str) -> Callable[..., Any]:
    if is_own(name):
        base = KINDS[kind].base
        return own_attribute(kind, name, object if base is Noise else base)
    try:
        factory: Callable[..., Any] = KINDS[kind].registry[name]
    except ValueError as error:
        raise ValueError(f"{error}; or name your own, as in mine.py:My{kind.capitalize()}") from None
    return factory


def _setting(kind: Kind, text: str, item: str) -> tuple[str, Any]:
    key, equals, value = item.partition("=")
    if not equals or not key.isidentifier():
        raise ValueError(f"{kind} {text!r}: a setting is written key=value, not {item!r}")
    for read in (ast.literal_eval, float):  # inf and nan are numbers too
        try:
            return key, read(value)
        except (ValueError, SyntaxError):
            continue
    return key, value


def settings_of(factory: Callable[..., Any]) -> tuple[str, ...]:
    """Names of what a class or function takes.

    >>> settings_of(NOISES["gaussian"])
    ('eta',)
    """
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    try:
        return tuple(p.name for p in inspect.signature(factory).parameters.values() if p.kind in kinds)
    except (TypeError, ValueError):
        return ()
