"""Conditions on the figures of comparisons, such as ``29k: exchange.gap resolved above 0``."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adabatch.experiments.comparison.claims.readings import (
    BY_SEED,
    AbsentError,
    Figure,
    Reading,
    read_difference,
    read_figure,
)
from adabatch.experiments.intervals import LEVEL

__all__ = ["Condition"]

NUMBER = r"[-−+]?(?:\d+\.?\d*|\.\d+)(?:e[-−+]?\d+)?"
RELATIONS = (
    "resolved below X",
    "resolved above X",
    "unresolved",
    "mean below X",
    "mean above X",
    "mean between X and Y",
)
FORM = re.compile(
    r"(?P<comparison>[^\s:]+): *(?P<figures>.+?) +"
    rf"(?P<relation>unresolved|(?:resolved|mean) (?:below|above)|mean between)"
    rf"(?: (?P<first>{NUMBER}))?(?: and (?P<second>{NUMBER}))?"
)


@dataclass(frozen=True)
class Condition:
    """One condition.

    Whether a schedule's gap, or its loss minus a control's, is resolved below or above 0 is one test among those
    of the whole comparison: the interval lies on that side of 0, and the p value after Holm's correction is below
    0.05. Unresolved is what is neither. With a single seed nothing was tested, and the figure counts as absent.
    Against other limits than 0, and for other figures and differences of two, the interval alone decides.

    Attributes:
        comparison: name of the comparison, a folder in docs/results.
        figures: one, or two whose difference counts.
        relation: the words of one of :data:`RELATIONS`, without the numbers.
        limits: the numbers.
    """

    comparison: str
    figures: tuple[Figure, ...]
    relation: str
    limits: tuple[float, ...]

    @classmethod
    def parse(cls, text: str) -> Condition:
        """From ``<comparison>: <figure> [- <figure>] <relation>``.

        Raises:
            ValueError: for text of another form.

        >>> condition = Condition.parse("29k: late.gap - norm-test-0.7.gap mean between −0.01 and 0.01")
        >>> condition.comparison, condition.relation, condition.limits
        ('29k', 'mean between', (-0.01, 0.01))
        """
        match = FORM.fullmatch(" ".join(text.split()))
        wanted = {"unresolved": 0, "mean between": 2}.get(match["relation"], 1) if match else 0
        limits = [_number(limit) for limit in match.group("first", "second") if limit] if match else []
        if match is None or len(limits) != wanted:
            raise ValueError(
                f"{text!r} is not a condition: write <comparison>: <figure> [- <figure>] <relation>, where the "
                f"relation is one of {', '.join(RELATIONS)}"
            )
        figures = tuple(Figure.parse(figure) for figure in match["figures"].split(" - "))
        condition = cls(match["comparison"], figures, match["relation"], tuple(limits))
        _refuse_what_cannot_hold(condition)
        return condition

    def read(self, content: Mapping[str, Any]) -> Reading:
        """The value of the figure, or of the difference, in the content of a comparison.json.

        Raises:
            AbsentError: where the comparison does not have it, or did not test it.
            ValueError: for an unknown name.
        """
        if len(self.figures) == 2:
            return read_difference(content, *self.figures)
        reading = read_figure(content, *self.figures)
        if self.tested and reading.adjusted is None and math.isfinite(reading.least):
            raise AbsentError(f"{self.what} was not tested: more than one seed is needed")
        return reading

    @property
    def tested(self) -> bool:
        """Whether it is about one of the tests of the comparison."""
        about_zero = not self.relation.startswith("mean") and self.limits in ((), (0.0,))
        return about_zero and len(self.figures) == 1 and self.figures[0].tested

    def holds(self, reading: Reading) -> bool:
        """Whether the relation holds; never for a figure that is not finite, since a run diverged."""
        if self.tested and not (reading.adjusted is not None and reading.adjusted < 1 - LEVEL):
            return self.relation == "unresolved" and math.isfinite(reading.least)
        match self.relation:
            case "resolved below":
                return reading.high < self.limits[0]
            case "resolved above":
                return reading.low > self.limits[0]
            case "mean below":
                return reading.most < self.limits[0]
            case "mean above":
                return reading.least > self.limits[0]
            case "mean between":
                return self.limits[0] <= reading.least and reading.most <= self.limits[1]
        no_difference = 1.0 if self.figures[0].ratio else 0.0
        return reading.low <= no_difference <= reading.high

    @property
    def what(self) -> str:
        """The figure or the difference."""
        return " - ".join(map(str, self.figures))

    @property
    def wanted(self) -> str:
        """The relation with its numbers."""
        return f"{self.relation} {' and '.join(f'{limit:g}' for limit in self.limits)}".strip()


def _refuse_what_cannot_hold(condition: Condition) -> None:
    figures = condition.figures
    if len(figures) > 2 or (len(figures) == 2 and not all(figure.by_seed for figure in figures)):
        raise ValueError(
            f"{condition.what!r} cannot be taken seed by seed: a difference is of two figures, each one of "
            f"{', '.join(BY_SEED)}"
        )
    has_interval = figures[0].by_seed or figures[0].ratio
    if not has_interval and not condition.relation.startswith("mean"):
        raise ValueError(
            f"{condition.what} has no interval, so that {condition.wanted!r} cannot be told: write mean below, "
            "mean above or mean between"
        )
    if len(condition.limits) == 2 and condition.limits[0] > condition.limits[1]:
        raise ValueError(f"{condition.what} cannot be {condition.wanted!r}: write the smaller number first")


def _number(text: str) -> float:
    return float(text.replace("−", "-"))
