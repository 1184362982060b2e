"""Dictionaries of named factories that say which names they know, and what was changed in them since."""

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
        self._original = dict(entries)

    def changes(self) -> dict[str, str]:
        """Names whose entry is not the one that the registry was made with, and what was done to it.

        >>> colours = Registry("colour", {"red": 1, "green": 2, "blue": 3})
        >>> colours |= {"red": 9, "mauve": 4}
        >>> del colours["blue"]
        >>> colours.changes()
        {'blue': 'removed', 'mauve': 'added', 'red': 'replaced'}
        """
        changed = {name: "added" for name in self if name not in self._original}
        for name, entry in self._original.items():
            if name not in self:
                changed[name] = "removed"
            elif self[name] is not entry:
                changed[name] = "replaced"
        return dict(sorted(changed.items()))

    def __missing__(self, name: str) -> NoReturn:
        raise ValueError(f"unknown {self.kind} {name!r}; known: {', '.join(sorted(self))}")
