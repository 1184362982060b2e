"""What an experiment finds of a statement: numbers side by side, and whether that is what should have come out.

A verdict is derived, never written down: a statement *stands* if every comparison it asserts holds. Whether that
is good depends on what was expected of it: a theorem must stand, a refuted claim must not, and a negative control
(a bound that was weakened on purpose, a hypothesis that was dropped) must not either, or the check could not fail.

Example:
    >>> stands = Outcome("theorem", "sum <= bound", (Assertion("sum", 2.0, "<=", 10.0),))
    >>> stands.as_expected, stands.ratio
    (True, 5.0)
    >>> weaker = (Assertion("sum", 2.0, "<=", 0.5),)
    >>> weakened = Outcome("control", "sum <= bound / 20", weaker, Expectation.CONTROL)
    >>> weakened.stands, weakened.as_expected
    (False, True)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from heapq import nsmallest
from typing import Any

from simulate.rates import Slope
from theory.audit.evidence import Assertion

__all__ = ["Assertion", "Expectation", "Kind", "Outcome", "at_most"]


class Expectation(StrEnum):
    """What should come out for a statement."""

    HOLDS = "holds"
    REFUTED = "refuted"
    CONTROL = "control fails"
    MEASURED = "no bound"


class Kind(StrEnum):
    """What a bound promises: a ratio near 1 in some limit, or only not to be exceeded."""

    TIGHT = "tight"
    UPPER = "upper bound"
    OTHER = ""


@dataclass(frozen=True)
class Outcome:
    """The evidence on one statement.

    Attributes:
        name: short, unique in a report, for example ``"Theorem 1 on the grid"``.
        statement: what is asserted, in plain words.
        asserted: what the statement asserts of the measured numbers, one comparison per case.
        expected: what should come out.
        supporting: what must hold for the evidence to count, for example the hypotheses of a counterexample.
        kind: of the bound.
        slope: measured log-log slope, where the statement is about one.
        note: what the numbers show.
    """

    name: str
    statement: str
    asserted: Sequence[Assertion]
    expected: Expectation = Expectation.HOLDS
    supporting: Sequence[Assertion] = ()
    kind: Kind = Kind.OTHER
    slope: Slope | None = None
    note: str = ""

    @cached_property
    def stands(self) -> bool:
        """Whether everything that the statement asserts was found to hold."""
        return all(comparison.holds for comparison in self.asserted)

    @cached_property
    def as_expected(self) -> bool:
        """Whether the outcome is the one expected, on evidence that counts.

        Without comparisons, with a NaN among the numbers, or with a supporting comparison that fails, it is not:
        a simulation that broke down refutes nothing. What is only measured must be finite.
        """
        if self.expected is Expectation.MEASURED:
            return bool(self.asserted) and all(math.isfinite(comparison.left) for comparison in self.asserted)
        everything = [*self.asserted, *self.supporting]
        if not self.asserted or any(math.isnan(c.left) or math.isnan(c.right) for c in everything):
            return False
        if not all(comparison.holds for comparison in self.supporting):
            return False
        return self.stands == (self.expected is Expectation.HOLDS)

    @cached_property
    def headline(self) -> Assertion | None:
        """The comparison that says most: the one closest to failing, or furthest beyond it."""
        return min(self.asserted, key=_margin, default=None)

    @property
    def closest(self) -> list[Assertion]:
        """The ten comparisons that say most, the headline first."""
        return nsmallest(10, self.asserted, key=_margin)

    @property
    def measured(self) -> float:
        """Measured side of the headline (NaN without comparisons)."""
        return float(self.headline.left) if self.headline else math.nan

    @property
    def guaranteed(self) -> float:
        """Guaranteed side of the headline (NaN without comparisons)."""
        return float(self.headline.right) if self.headline else math.nan

    @property
    def ratio(self) -> float:
        """Guaranteed over measured, of the headline; the smallest over all cases of an upper bound."""
        if self.measured == 0:
            return math.inf if self.guaranteed > 0 else math.nan
        return self.guaranteed / self.measured

    @property
    def verdict(self) -> str:
        """In words: what came out, and, if that is not what should have, that it failed."""
        if self.as_expected:
            return "caught" if self.expected is Expectation.CONTROL else str(self.expected)
        return "FAILED"

    def as_dict(self) -> dict[str, Any]:
        """For JSON; of many comparisons only the ten that say most."""
        return {
            "name": self.name,
            "statement": self.statement,
            "expected": str(self.expected),
            "outcome": self.verdict,
            "as_expected": self.as_expected,
            "kind": str(self.kind),
            "cases": len(self.asserted),
            "measured": self.measured,
            "guaranteed": self.guaranteed,
            "ratio": self.ratio,
            "slope": None if self.slope is None else vars(self.slope),
            "asserted": [comparison.as_dict() for comparison in self.closest],
            "supporting": [comparison.as_dict() for comparison in self.supporting],
            "note": self.note,
        }


def at_most(
    rows: Iterable[Mapping[str, Any]], label: str, bound: str = "bound", measured: str = "measured"
) -> list[Assertion]:
    """That in every row of a table the measured value is at most the bound.

    Args:
        rows: of a table.
        label: of a comparison, a format string over the row's columns.
        bound: column of the bound.
        measured: column of the measured value.

    >>> [str(comparison) for comparison in at_most([{"K": 8, "measured": 1.0, "bound": 2.0}], "K = {K}")]
    ['K = 8: 1 <= 2']
    """
    return [Assertion(label.format(**row), row[measured], "<=", row[bound]) for row in rows]


def _margin(comparison: Assertion) -> tuple[float, float]:
    """How far a comparison is from failing; negative where it fails, NaN counted as failing most.

    Relative to the larger side, then as it is: next to 0 all differences of one sign are relatively the same.
    """
    left, right = float(comparison.left), float(comparison.right)
    if math.isnan(left) or math.isnan(right):
        return -math.inf, 0.0
    if comparison.relation in ("<=", "<", ">=", ">"):
        difference = right - left if "<" in comparison.relation else left - right
        return _relative(difference, left, right), difference
    slack = comparison.tolerance - abs(left - right)
    return slack if comparison.relation == "~" or comparison.holds else -math.inf, 0.0


def _relative(difference: float, left: float, right: float) -> float:
    """The difference in units of the larger side, so that cases of different sizes compare."""
    scale = max(abs(left), abs(right))
    if math.isinf(scale):
        return math.copysign(1.0, difference) if not math.isnan(difference) else -math.inf
    return difference / scale if scale > 0 else 0.0
