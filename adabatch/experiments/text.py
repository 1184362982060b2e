"""Tables as text, readable on a terminal, as Markdown and as CSV; and files that are whole or absent."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["TextTable", "heading_of"]


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
        widths = [max(len(line[i]) for line in lines) for i in range(len(self.columns))]
        head, *body = [
            "| " + " | ".join(_aligned(text, i, widths[i]) for i, text in enumerate(line)) + " |" for line in lines
        ]
        rule = "|" + "|".join("-" * (width + 1) + ("-" if i == 0 else ":") for i, width in enumerate(widths)) + "|"
        return "\n".join([f"### {self.title}", "", self.note, "", head, rule, *body, ""])

    def csv(self) -> str:
        """Heads and rows as CSV."""
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([self.columns, *self.rows])
        return text.getvalue()


def heading_of(command: str, finished: int, planned: int, what: str) -> str:
    """What a report begins with: the command, and how much of it is done if that is not all.

    >>> print(heading_of("adabatch compare", 3, 4, "runs"))
    `adabatch compare`
    <BLANKLINE>
    3 of 4 runs are finished; the report is of these.
    """
    part = (
        f"\n\n{finished} of {planned} {what} are finished; the report is of these." if finished < planned else ""
    )
    return f"`{command}`{part}"


def _aligned(text: str, column: int, width: int) -> str:
    return text.ljust(width) if column == 0 else text.rjust(width)
