"""The pieces of an experiment's work: each is computed once, told when it is there, and kept for a later start."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

__all__ = ["Keep", "Pieces", "Told"]

T = TypeVar("T")
R = TypeVar("R")

Told = Callable[[float, bool], None]
"""Told which fraction of the work is there now, and whether it was kept; the fractions add up to 1."""


class Keep(Protocol):
    """Where what is finished is kept, by name."""

    def read(self, name: str) -> tuple[Any, float] | None:
        """What was found, and in how many seconds; None if it is not there."""

    def write(self, name: str, found: tuple[Any, float]) -> None:
        """Keep it."""


@dataclass
class Pieces:
    """Of one experiment, which calls :meth:`each` once.

    Attributes:
        told: of every piece.
        keep: for a later start; None for nothing.
        name: of the experiment.
        earlier: seconds that the kept pieces took.

    >>> Pieces().each([1, 2, 3], lambda number: number**2)
    [1, 4, 9]
    """

    told: Told = lambda fraction, kept: None
    keep: Keep | None = None
    name: str = ""
    earlier: float = field(default=0.0, init=False)

    def each(
        self, over: Sequence[T], function: Callable[[T], R], weight: Callable[[T], float] = lambda one: 1.0
    ) -> list[R]:
        """A function of each, as a list.

        Args:
            over: what the pieces are about, in the same order at every start.
            function: depends on nothing but its argument and the settings.
            weight: the work of one, in any unit.
        """
        total, results = sum(map(weight, over)), []
        for number, one in enumerate(over):
            name = f"{self.name}-{number}"
            known = None if self.keep is None else self.keep.read(name)
            if known is None:
                began = time.perf_counter()
                result = function(one)
                if self.keep is not None:
                    self.keep.write(name, (result, time.perf_counter() - began))
            else:
                result, seconds = known
                self.earlier += seconds
            results.append(result)
            self.told(weight(one) / total, known is not None)
        return results
