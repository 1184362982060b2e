"""What a claim's check returns: numbers side by side, from which the verdict follows.

A check compares what a statement asserts with what was computed. The verdict is not written down by hand: it is
derived from the assertions, so that a check of a perturbed statement comes to another verdict.

Example:
    >>> published = Assertion("mean of the published left-hand side", 4.0, "==", 3.0)
    >>> corrected = Assertion("mean of the corrected left-hand side", 3.0, "==", 3.0)
    >>> ClaimEvidence(published=(published,), corrected=(corrected,)).verdict
    <Verdict.CORRECTED: 'holds corrected'>
    >>> str(published)
    'mean of the published left-hand side: 4 != 3'
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

__all__ = ["Assertion", "ClaimEvidence", "Verdict"]


class Verdict(StrEnum):
    """What can be said of a statement."""

    HOLDS = "holds"
    CORRECTED = "holds corrected"
    FAILS = "fails as published"
    VACUOUS = "vacuous"
    OPEN = "open"


def _close(left: float, right: float) -> bool:
    """Equal up to rounding."""
    return bool(abs(left - right) <= 1e-9 * max(abs(left), abs(right), 1e-300))


_RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": _close,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_OPPOSITE = {"==": "!=", "<=": ">", ">=": "<", "<": ">=", ">": "<="}


@dataclass(frozen=True)
class Assertion:
    """``left relation right``, as a statement asserts it, with both numbers.

    Attributes:
        what: what is compared, in words.
        left: computed side.
        relation: ``==`` (up to rounding), ``<=``, ``>=``, ``<``, ``>`` or ``~`` (within ``tolerance``).
        right: asserted side.
        tolerance: for ``~``, absolute.
    """

    what: str
    left: float
    relation: str
    right: float
    tolerance: float = 0.0

    @property
    def holds(self) -> bool:
        """Whether the relation is true of the two numbers; NaN satisfies none."""
        if self.relation == "~":
            return bool(abs(self.left - self.right) <= self.tolerance)
        return bool(_RELATIONS[self.relation](self.left, self.right))

    @property
    def numbers(self) -> str:
        """The two numbers with the relation that is true of them, for example ``995 > 761``."""
        if self.relation == "~":
            sign = "=" if self.holds else "!="
            return f"{self.left:.5g} {sign} {self.right:.5g} +- {self.tolerance:.2g}"
        sign = self.relation if self.holds else _OPPOSITE[self.relation]
        return f"{self.left:.5g} {'=' if sign == '==' else sign} {self.right:.5g}"

    def __str__(self) -> str:
        """What, and the numbers."""
        return f"{self.what}: {self.numbers}"

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "what": self.what,
            "left": float(self.left),
            "asserted": self.relation,
            "right": float(self.right),
            "tolerance": float(self.tolerance),
            "holds": self.holds,
        }


@dataclass(frozen=True)
class ClaimEvidence:
    """The evidence on one claim.

    Attributes:
        published: what the statement asserts, as published. It stands if all of them hold.
        corrected: what its corrected form asserts (empty if there is none).
        content: what the statement would have to give in order to mean anything. A statement that stands but
            fails one of these is vacuous.
        supporting: what must hold for the evidence to count (the hypotheses of a counterexample are met, a
            proof's numbers agree), and what puts it in proportion. If one fails, the verdict is open.
        note: what the assertions show, in words.
    """

    published: tuple[Assertion, ...]
    corrected: tuple[Assertion, ...] = ()
    content: tuple[Assertion, ...] = ()
    supporting: tuple[Assertion, ...] = ()
    note: str = field(default="", kw_only=True)

    @property
    def verdict(self) -> Verdict:
        """Derived from the assertions."""
        if not self.published or not all(c.holds for c in self.supporting):
            return Verdict.OPEN
        if all(c.holds for c in self.published):
            return Verdict.HOLDS if all(c.holds for c in self.content) else Verdict.VACUOUS
        if self.corrected and all(c.holds for c in self.corrected):
            return Verdict.CORRECTED
        return Verdict.FAILS

    @property
    def headline(self) -> str:
        """The assertion that says most: the first failing one, or the first."""
        candidates = [c for c in (*self.published, *self.content) if not c.holds] or list(self.published)
        return str(candidates[0]) if candidates else ""

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        groups = ("published", "corrected", "content", "supporting")
        return {
            "verdict": str(self.verdict),
            "note": self.note,
            **{group: [c.as_dict() for c in getattr(self, group)] for group in groups},
        }
