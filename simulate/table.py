"""Columns of equal length, as they stand in a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulate.streams import Array

__all__ = ["Table", "thinned"]


@dataclass(frozen=True)
class Table:
    """Columns of equal length, as they stand in a CSV file.

    Attributes:
        columns: by name, in order.

    >>> table = Table.of_rows([{"K": 10, "sum": 1.5}, {"K": 20, "sum": 2.5}])
    >>> table.columns
    {'K': [10, 20], 'sum': [1.5, 2.5]}
    >>> table.where(K=20)["sum"]
    array([2.5])
    """

    columns: Mapping[str, Sequence[Any]]

    def __post_init__(self) -> None:
        lengths = {name: len(values) for name, values in self.columns.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns must be of equal length, these are not: {lengths}")

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, Any]]) -> Table:
        """From records that all have the same keys."""
        records = list(rows)
        names = list(records[0]) if records else []
        return cls({name: [_plain(record[name]) for record in records] for name in names})

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def __getitem__(self, name: str) -> NDArray[Any]:
        """One column as an array.

        Raises:
            ValueError: for an unknown name; the message lists the known ones.
        """
        return np.asarray(self._column(name))

    def _column(self, name: str) -> Sequence[Any]:
        if name not in self.columns:
            raise ValueError(f"unknown column {name!r}; known are: {', '.join(self.columns)}")
        return self.columns[name]

    def where(self, **values: Any) -> Table:
        """The rows in which the columns have the given values."""
        wanted = [(self._column(name), value) for name, value in values.items()]
        chosen = [i for i in range(len(self)) if all(column[i] == value for column, value in wanted)]
        return Table({name: [column[i] for i in chosen] for name, column in self.columns.items()})

    def values(self, name: str) -> list[Any]:
        """The different values of a column, in the order of their first appearance."""
        return list(dict.fromkeys(self._column(name)))

    def rows(self) -> list[dict[str, Any]]:
        """One record per row."""
        return [{name: column[i] for name, column in self.columns.items()} for i in range(len(self))]

    def write_csv(self, path: Path) -> None:
        """Write a header and one line per row; floats with all their digits."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(self.columns)
            writer.writerows(zip(*self.columns.values(), strict=True))

    @classmethod
    def read_csv(cls, path: Path) -> Table:
        """Read what :meth:`write_csv` wrote; numbers become numbers again.

        Raises:
            ValueError: for a file without rows, or with a line that does not have a value for each column.
        """
        try:
            with path.open(newline="", encoding="utf-8") as file:
                header, *lines = list(csv.reader(file)) or [[]]
        except (UnicodeDecodeError, csv.Error) as error:
            raise ValueError(f"{path} is not a table of verify-bounds: {error}") from None
        if not lines:
            raise ValueError(f"{path} is not a table of verify-bounds: it has no rows")
        for number, line in enumerate(lines, start=2):
            if len(line) != len(header):
                raise ValueError(f"{path}, line {number}: {len(line)} values for {len(header)} columns")
        return cls({name: [_parsed(line[i]) for line in lines] for i, name in enumerate(header)})


def thinned(path: Array, points: int) -> Iterator[dict[str, Any]]:
    """At most about this many points of a path of a.w, evenly spaced, as rows of a table."""
    return ({"step": k, "a_dot_w": float(path[k])} for k in range(0, len(path), max(1, len(path) // points)))


def _plain(value: Any) -> Any:
    """Numpy scalars as Python numbers, so that CSV and JSON write them the same way."""
    return value.item() if isinstance(value, np.generic) else value


def _parsed(text: str) -> Any:
    if text in ("True", "False"):
        return text == "True"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
