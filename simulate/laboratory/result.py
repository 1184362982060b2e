"""What a study finds: a verdict, the numbers behind it, and a figure and files of them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulate.outcomes import Expectation, Kind, Outcome, at_most
from simulate.rates import Slope
from simulate.table import Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["StudyResult", "StudyVerdict"]


class StudyVerdict(StrEnum):
    """What the runs say of a bound."""

    HOLDS = "holds"
    VIOLATED = "violated"
    UNRESOLVED = "unresolved"
    NO_BOUND = "no bound"


@dataclass(frozen=True)
class StudyResult:
    """The outcome of one study.

    Attributes:
        objective: its name, as it was asked for.
        noise: likewise.
        optimizer: likewise.
        bound: likewise; "no bound" if there is none.
        statement: of the bound, in words.
        seeds: how many were run.
        table: columns K, measured (mean over seeds), low and high (its interval: 99% for all K together), value
            (the bound, or without one what is guaranteed for Adam under the same noise), ratio (value / measured),
            and the four names.
        verdict: on the bound.
        slope: log-log slope against K of what is bounded, as an average over the steps; None if it cannot be told.
        checked: what was checked of the parts, in words.
    """

    objective: str
    noise: str
    optimizer: str
    bound: str
    statement: str
    seeds: int
    table: Table
    verdict: StudyVerdict
    slope: Slope | None
    checked: tuple[str, ...] = ()

    @property
    def ratio(self) -> float:
        """The smallest bound over measured."""
        return float(self.table["ratio"].min())

    def __str__(self) -> str:
        """One line."""
        slope = "" if self.slope is None else f", slope {self.slope}"
        found = (
            "" if self.verdict is StudyVerdict.NO_BOUND else f" {self.verdict}, smallest ratio {self.ratio:.3g}"
        )
        return f"{self.optimizer} on {self.objective} under {self.noise}: {self.bound}{found}{slope}"

    @property
    def outcome(self) -> Outcome:
        """As a report of ``verify-bounds`` takes it."""
        without, unresolved = self.verdict is StudyVerdict.NO_BOUND, self.verdict is StudyVerdict.UNRESOLVED
        rows = self.table.rows()[-1:] if without else self.table.rows()
        if unresolved:  # within its interval the mean may be what the bound allows
            rows = [row | {"measured": row["low"]} for row in rows]
        return Outcome(
            name=f"{self.bound}: {self.optimizer}, {self.noise}, {self.objective}",
            statement=self.statement or "Σ ‖G‖₁ is measured, and put next to what is guaranteed for Adam.",
            asserted=at_most(rows, "K = {K}", bound="value"),
            expected=Expectation.MEASURED if without else Expectation.HOLDS,
            kind=Kind.OTHER if without else Kind.UPPER,
            slope=self.slope,
            note="The mean is above the bound, the lower end of its interval is not." if unresolved else "",
        )

    def to_dataframe(self) -> Any:
        """The table as a pandas data frame.

        Raises:
            ModuleNotFoundError: without pandas.
        """
        try:
            pandas = import_module("pandas")
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError("to_dataframe() needs pandas: pip install pandas") from error
        return pandas.DataFrame(dict(self.table.columns))

    def plot(self) -> Figure:
        """Measured means with their intervals and the bound, against K."""
        from simulate.report.figures import draw

        return draw("studies", self.table)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "objective": self.objective,
            "noise": self.noise,
            "optimizer": self.optimizer,
            "bound": self.bound,
            "statement": self.statement,
            "seeds": self.seeds,
            "verdict": str(self.verdict),
            "ratio": self.ratio if self.ratio < float("inf") else None,
            "slope": None if self.slope is None else vars(self.slope),
            "checked": list(self.checked),
        }

    def save(self, folder: str | os.PathLike[str]) -> Path:
        """Write study.json, study.csv and study.png, each to a temporary name and then renamed.

        Returns:
            The folder.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        figure = self.plot()
        writers = {
            "study.json": lambda path: path.write_text(
                json.dumps(self.as_dict(), indent=2) + "\n", encoding="utf-8"
            ),
            "study.csv": self.table.write_csv,
            "study.png": lambda path: figure.savefig(path, dpi=200, format="png"),
        }
        for name, write in writers.items():
            temporary = target / f".{name}.{os.getpid()}"
            write(temporary)
            temporary.replace(target / name)
        return target
