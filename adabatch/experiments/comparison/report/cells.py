"""Cells of a comparison's tables: intervals, tested differences, ratios of times."""

from __future__ import annotations

import math
from collections.abc import Sequence

from adabatch.experiments.comparison.findings import Contrast
from adabatch.experiments.comparison.hardware import RelativeTime
from adabatch.experiments.text import MISSING, difference_text

__all__ = ["contrast_text", "range_text", "time_text"]


def contrast_text(contrast: Contrast | None, seeds: int) -> str:
    """A difference with its sign, its number of seeds if that is not the one given, and a star if it is resolved.

    >>> from adabatch.experiments.intervals import Interval
    >>> contrast_text(Contrast(Interval(-0.05, 0.01, 3), 0.01), 3), contrast_text(None, 3)
    ('−0.0500 ± 0.0100 *', '–')
    >>> contrast_text(Contrast(Interval(0.05, 0.01, 2), 0.06), 3)
    '+0.0500 ± 0.0100 (n 2)'
    """
    if contrast is None:
        return MISSING
    interval = contrast.interval
    star = " *" if contrast.resolved else ""
    fewer = f" (n {interval.count})" if interval.count != seeds else ""
    return f"{difference_text(interval)}{fewer}{star}"


def time_text(time: RelativeTime | None) -> str:
    """A ratio of times with its interval, or the bound on it."""
    if time is None:
        return MISSING
    if time.bound != "exact":
        return f"{'≥' if time.bound == 'at least' else '≤'} {time.ratio:.2f}"
    spread = f" ({time.low:.2f} to {time.high:.2f})" if math.isfinite(time.high) else ""
    return f"{time.ratio:.2f}{spread}"


def range_text(values: Sequence[float]) -> str:
    """The lowest and the highest of some numbers but NaN.

    >>> range_text([math.nan, 12.0, 7.0]), range_text([math.inf]), range_text([math.nan])
    ('7 to 12', '∞', '–')
    """
    known = sorted(value for value in values if not math.isnan(value))
    ends = ["∞" if math.isinf(value) else f"{value:.3g}" for value in known]
    if not ends:
        return MISSING
    return ends[0] if ends[0] == ends[-1] else f"{ends[0]} to {ends[-1]}"
