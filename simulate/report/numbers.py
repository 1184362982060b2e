"""Numbers for tables: a few digits, no clutter."""

from __future__ import annotations

import math
from typing import Any

from simulate.outcomes import Kind, Outcome

__all__ = ["number", "ratio"]


def number(value: Any) -> str:
    """Four significant digits; a dash for what is not a number.

    >>> number(1234.5678), number(0.25), number(float("nan")), number(3), number(1.5e-9)
    ('1235', '0.25', '–', '3', '1.5e-09')
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        return str(value)
    if isinstance(value, int):
        return str(value)
    if math.isnan(value):
        return "–"
    return f"{value:.4g}" if abs(value) < 1e4 or math.isinf(value) else f"{value:.3g}"


def ratio(outcome: Outcome) -> str:
    """Guaranteed over measured, where the statement is a bound.

    >>> from simulate.outcomes import Assertion
    >>> ratio(Outcome("a", "b", (Assertion("c", 2.0, "<=", 3.0),), kind=Kind.UPPER))
    '1.500'
    """
    if outcome.kind is Kind.OTHER or not math.isfinite(outcome.ratio):
        return ""
    return f"{outcome.ratio:.3f}" if outcome.ratio < 100 else number(outcome.ratio)
