"""A report that was written before, read back from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from simulate.experiments.result import Table
from simulate.report.contents import FORMAT

__all__ = ["REPORT", "SavedReport", "is_report"]

REPORT = "report.json"
"""The file that makes a folder a report's."""


def is_report(folder: Path) -> bool:
    """Whether a folder holds a report, readable or not.

    >>> is_report(Path("no/such/folder"))
    False
    """
    return (folder / REPORT).is_file()


@dataclass(frozen=True)
class SavedReport:
    """What a folder's report says.

    Attributes:
        folder: of the report.
        record: its report.json.
    """

    folder: Path
    record: Mapping[str, Any]

    @classmethod
    def read(cls, folder: Path) -> SavedReport:
        """Read the report of a folder.

        Raises:
            ValueError: without a report there, or for one that is damaged or of another version.
        """
        if not is_report(folder):
            raise ValueError(f"no report in {folder}: name a folder that adabatch verify-bounds has written")
        file = folder / REPORT
        try:
            record = json.loads(file.read_text(encoding="utf-8"))
            written = record["versions"]["adabatch"], record.get("format")
            report = cls(folder, record)
            _ = report.tables, report.verdicts
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{file} is not a report of verify-bounds, or damaged: {error!r}") from None
        if written[1] != FORMAT:
            raise ValueError(
                f"{file} is a report of another version (adabatch {written[0]}, format {written[1]}; here format "
                f"{FORMAT} is read): run verify-bounds again"
            )
        return report

    @property
    def tables(self) -> dict[str, Path]:
        """Its CSV files by the name of their table; names only, so that none is outside its folder."""
        names = [Path(table).stem for e in self.record["experiments"] for table in e["tables"]]
        return {name: self.folder / "figures" / f"{name}.csv" for name in names}

    @property
    def verdicts(self) -> dict[str, Mapping[str, Any]]:
        """Its verdicts by their names."""
        return {verdict["name"]: verdict for e in self.record["experiments"] for verdict in e["verdicts"]}

    @property
    def settings(self) -> Mapping[str, Any]:
        """What it was run with."""
        settings: Mapping[str, Any] = self.record["settings"]
        return settings

    def table(self, name: str) -> Table:
        """One of its tables.

        Raises:
            ValueError: if its file is missing or damaged.
        """
        file = self.tables[name]
        if not file.is_file():
            raise ValueError(f"{file} is missing: the report lists it")
        return Table.read_csv(file)
