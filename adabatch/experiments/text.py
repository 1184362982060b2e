"""Tables as text, readable on a terminal, as Markdown and as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from adabatch.experiments.intervals import Interval

__all__ = ["MISSING", "TextTable", "difference_text", "interval_text"]

MISSING = "–"
"""A cell of which nothing is known."""


@dataclass(frozen=True)
class TextTable:
    """A title, a sentence on how to read it, column heads and rows of text."""

    title: str
    note: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]

    def markdown(self) -> str:
        """The table in Markdown, columns aligned.

        >>> print(TextTable("Losses", "In nats.", ("run", "loss"), [("a", "1.5")]).markdown())
        ### Losses
        <BLANKLINE>
        In nats.
        <BLANKLINE>
        | run | loss |
        |-----|-----:|
        | a   |  1.5 |
        <BLANKLINE>
        """
        lines = [self.columns, *self.rows]
        first, *others = [max(map(len, column)) for column in zip(*lines, strict=True)]
        form = " | ".join([f"| {{:{first}}}", *(f"{{:>{width}}}" for width in others)]) + " |"
        head, *body = [form.format(*line) for line in lines]
        rule = "|".join(["|" + "-" * (first + 2), *("-" * (width + 1) + ":" for width in others)]) + "|"
        return "\n".join([f"### {self.title}", "", self.note, "", head, rule, *body, ""])

    def csv(self) -> str:
        """Heads and rows as CSV."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.columns, *self.rows])
        return text.getvalue()


def interval_text(interval: Interval, digits: int = 4) -> str:
    """Mean ± half width, or that a run diverged.

    >>> from adabatch.experiments.intervals import Interval
    >>> interval_text(Interval(-1.5, 0.25, 3), 2), interval_text(Interval(math.inf, math.inf, 3))
    ('−1.50 ± 0.25', 'diverged')
    """
    if not math.isfinite(interval.mean):
        return "diverged"
    spread = f" ± {interval.half_width:.{digits}f}" if math.isfinite(interval.half_width) else ""
    return f"{interval.mean:.{digits}f}{spread}".replace("-", "−")


def difference_text(interval: Interval | None, digits: int = 4) -> str:
    """The same of a difference, with its sign.

    >>> from adabatch.experiments.intervals import Interval
    >>> difference_text(Interval(1.5, 0.25, 3), 2), difference_text(None)
    ('+1.50 ± 0.25', '–')
    """
    if interval is None:
        return MISSING
    return ("+" if 0 < interval.mean < math.inf else "") + interval_text(interval, digits)
