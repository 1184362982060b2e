"""What an experiment hands on: its verdicts, and the tables that its figures are drawn from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from simulate.outcomes import Outcome
from simulate.table import Table, thinned

__all__ = ["Result", "Table", "thinned"]


@dataclass(frozen=True)
class Result:
    """The outcome of one experiment.

    Attributes:
        name: of the experiment, as in ``--experiment``.
        title: for people.
        summary: what was run and what is seen, in a few plain sentences.
        outcomes: on the statements it bears on.
        tables: by the name of the figure drawn from it; other tables are only written as CSV.
        unchecked: on what no verdict could be given, and why; empty if on everything there is one.
        theorems: the modules of :mod:`theory` that state what is checked.
    """

    name: str
    title: str
    summary: str
    outcomes: Sequence[Outcome]
    tables: Mapping[str, Table] = field(default_factory=dict)
    unchecked: str = ""
    theorems: Sequence[str] = ()
