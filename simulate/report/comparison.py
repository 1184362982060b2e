"""Two reports side by side: which verdicts, ratios and slopes differ.

Example:
    >>> before, after = {"outcome": "holds", "ratio": 2.0, "slope": None}, {"outcome": "holds", "ratio": 1.8}
    >>> [str(change) for change in changes({"claim": before}, {"claim": after})]
    ['claim, ratio: 2 -> 1.8']
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from simulate.report.saved import SavedReport
from simulate.text import counted

__all__ = ["Change", "SideBySide", "changes", "compare"]

SAME = 1e-6
"""Relative difference up to which numbers are the same: runs repeat, but another machine rounds otherwise."""

WITHOUT_EFFECT = frozenset({"output", "overwrite", "against"})
"""Settings that change no number."""


@dataclass(frozen=True)
class Change:
    """What differs.

    Attributes:
        name: of the verdict or the setting.
        what: ``verdict``, ``ratio``, ``slope`` or ``setting``.
        before: in the earlier report; a dash where it is not there.
        after: in this one.
    """

    name: str
    what: str
    before: str
    after: str

    def __str__(self) -> str:
        """In a line."""
        return f"{self.name}, {self.what}: {self.before} -> {self.after}"


@dataclass(frozen=True)
class SideBySide:
    """A report next to an earlier one.

    Attributes:
        folder: of the earlier one.
        changes: of settings, then of verdicts, ratios and slopes.
        compared: how many verdicts are in both.
    """

    folder: str
    changes: tuple[Change, ...]
    compared: int

    @property
    def conclusion(self) -> str:
        """In a sentence or two."""
        same = "Their verdicts, ratios and slopes are the same."
        found = f"{counted(len(self.changes), 'difference')}:" if self.changes else same
        return f"{counted(self.compared, 'verdict')} {'is' if self.compared == 1 else 'are'} in both. {found}"


def compare(
    before: SavedReport, settings: Mapping[str, Any], verdicts: Mapping[str, Mapping[str, Any]]
) -> SideBySide:
    """An earlier report and the verdicts of another, by their names, with the settings they came from."""
    names = [name for name in dict.fromkeys([*before.settings, *settings]) if name not in WITHOUT_EFFECT]
    pairs = [(name, _shown(before.settings.get(name)), _shown(settings.get(name))) for name in names]
    changed = [Change(name, "setting", old, new) for name, old, new in pairs if old != new]
    changed += changes(before.verdicts, verdicts)
    return SideBySide(str(before.folder), tuple(changed), len(before.verdicts.keys() & verdicts.keys()))


def changes(before: Mapping[str, Mapping[str, Any]], after: Mapping[str, Mapping[str, Any]]) -> Iterator[Change]:
    """What differs, verdict by verdict; of a verdict that only one has, that."""
    for name in dict.fromkeys([*before, *after]):
        old, new = before.get(name, {}), after.get(name, {})
        if old.get("outcome") != new.get("outcome"):
            yield Change(name, "verdict", _shown(old.get("outcome")), _shown(new.get("outcome")))
        if not old or not new:
            continue
        if not _same(old.get("ratio"), new.get("ratio")):
            yield Change(name, "ratio", _shown(old.get("ratio")), _shown(new.get("ratio")))
        slopes = [verdict.get("slope") or {} for verdict in (old, new)]
        if not all(_same(*(slope.get(part) for slope in slopes)) for part in {*slopes[0], *slopes[1]}):
            yield Change(name, "slope", *(_slope(slope) for slope in slopes))


def _same(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return abs(one - other) <= SAME * max(abs(one), abs(other))


def _slope(slope: Mapping[str, float]) -> str:
    """Value and interval."""
    return "{:.3f} [{:.3f}, {:.3f}]".format(*slope.values()) if slope else "–"


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or "–"
    if isinstance(value, float):
        return f"{value:.6g}"
    return "–" if value is None else str(value)
