"""The numbers that an option may have, stated once: checked before anything runs, and shown in the help."""

from __future__ import annotations

import functools
import math
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Range", "option_of", "ranges_of"]


@dataclass(frozen=True)
class Range:
    """An interval of numbers; as ``Annotated[int, Range(1, 8)]`` in the hint of a dataclass's field.

    Attributes:
        least: the smallest number.
        most: the largest.
        above: whether ``least`` itself is left out.
        below: whether ``most`` itself is left out.
        zero: what 0 means, where that is allowed outside the interval.
        advice: what to do, for the message.

    >>> Range(0, 1, below=True).text, Range(1, 8, zero="no limit").text
    ('at least 0 and below 1', '0 (no limit) or from 1 to 8')
    """

    least: float
    most: float
    above: bool = False
    below: bool = False
    zero: str = ""
    advice: str = ""

    def __contains__(self, value: float) -> bool:
        """Whether the number is allowed; NaN never is."""
        if value == 0 and self.zero:
            return True
        enough = value > self.least if self.above else value >= self.least
        return enough and (value < self.most if self.below else value <= self.most)

    @property
    def text(self) -> str:
        """What is allowed, in words."""
        least, most = _number(self.least), _number(self.most)
        if self.above or self.below:
            from_least, to_most = "above" if self.above else "at least", "below" if self.below else "at most"
            interval = f"{from_least} {least} and {to_most} {most}"
        else:
            interval = f"from {least} to {most}"
        return f"0 ({self.zero}) or {interval}" if self.zero else interval

    def require(self, value: float, name: str) -> None:
        """Refuse a number outside.

        Args:
            value: that was given.
            name: of the option, as the user writes it.

        Raises:
            ValueError: what was given and what is allowed.
        """
        if value not in self:
            advice = f": {self.advice}" if self.advice else ""
            raise ValueError(f"{name} must be {self.text}, but is {value}{advice}")


def _number(value: float) -> str:
    """Whole numbers in groups of three digits, others short."""
    return f"{int(value):,}" if math.isfinite(value) and value == int(value) and value < 1e15 else f"{value:g}"


@functools.cache
def ranges_of(cls: type) -> Mapping[str, Range]:
    """The range of each field of a dataclass that has one; for tuples, that of each item.

    >>> from adabatch.settings import RunSettings
    >>> ranges_of(RunSettings)["samples"].least
    1
    """
    hints = typing.get_type_hints(cls, include_extras=True)
    found = {name: _range_in(hint) for name, hint in hints.items()}
    return {name: allowed for name, allowed in found.items() if allowed is not None}


def _range_in(hint: Any) -> Range | None:
    own = (item for item in getattr(hint, "__metadata__", ()) if isinstance(item, Range))
    inner = (allowed for part in typing.get_args(hint) if (allowed := _range_in(part)) is not None)
    return next(own, None) or next(inner, None)


def option_of(name: str) -> str:
    """The command-line option of a setting.

    >>> option_of("max_batch")
    '--max-batch'
    """
    return "--" + name.replace("_", "-")
