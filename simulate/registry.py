"""Dictionaries of named factories that say which names they know."""

from __future__ import annotations

from typing import NoReturn, TypeVar

__all__ = ["Registry"]

Factory = TypeVar("Factory")


class Registry(dict[str, Factory]):
    """A dictionary whose unknown names raise a ValueError that lists the known ones.

    >>> Registry("colour", {"red": 1, "green": 2})["blue"]
    Traceback (most recent call last):
    ...
    ValueError: unknown colour 'blue'; known: green, red
    """

    def __init__(self, kind: str, entries: dict[str, Factory]) -> None:
        super().__init__(entries)
        self.kind = kind

    def __missing__(self, name: str) -> NoReturn:
        raise ValueError(f"unknown {self.kind} {name!r}; known: {', '.join(sorted(self))}")
