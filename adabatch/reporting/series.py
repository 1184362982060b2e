"""A quantity over a run, as measured or smoothed; the memory of the running mean is counted in samples.

A mean over the last steps looks back on more samples the larger the batch, so that of two runs the one with the
larger batch would lag behind. Here a value fades with the samples seen since: after ``width`` samples to 1/e of
its weight, in however many steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from adabatch.reporting.metrics import AT_START, Record

__all__ = [
    "VALIDATION",
    "RunningMean",
    "series",
    "set_name",
    "smoothed",
    "smoothed_series",
    "smoothing_text",
    "smoothing_width",
    "validation_series",
]

VALIDATION = "val_loss"
"""The series of the first validation set; those of others are called ``val_loss/NAME``."""

SHARE = 0.01
"""The width, as a share of the samples of a run."""


class RunningMean:
    """A mean in which what was seen s samples ago has the weight exp(-s / width).

    A value stands for the samples since the value before: m <- (D m + (1 - d) value) / (D + 1 - d), where
    d = exp(-samples / width), and D is d times the sum of the weights so far; the first mean is the first value.

    Args:
        width: in samples, above 0.
        samples: seen before the first value.

    >>> mean = RunningMean(width=100)
    >>> mean.add(2.0, samples=50), round(mean.add(4.0, samples=100), 4)    # (2 exp(-1/2) + 4) / (exp(-1/2) + 1)
    (2.0, 3.2449)
    """

    def __init__(self, width: float, samples: float = 0) -> None:
        self.width = width
        self._samples, self._total, self._weight = samples, 0.0, 0.0

    def add(self, value: float, samples: float) -> float:
        """The mean with a value at which this many samples had been seen in all."""
        new = -math.expm1(-(samples - self._samples) / self.width)
        self._total += new * (value - self._total)
        self._weight += new * (1 - self._weight)
        self._samples = samples
        return self.value

    @property
    def value(self) -> float:
        """The mean so far; NaN before the first value."""
        return self._total / self._weight if self._weight else math.nan


def series(records: Sequence[Record], name: str, against: str = "samples") -> tuple[list[float], list[float]]:
    """Where a quantity was measured, before the first step too, and its values; NaN where they were not finite.

    >>> series([{"samples": 4, "loss": 2.5}, {"samples": 8, "loss": None}], "loss")
    ([4, 8], [2.5, nan])
    """
    at_start = [{**record[AT_START], "samples": 0, "step": 0} for record in records[:1] if AT_START in record]
    present = [record for record in (*at_start, *records) if _measured(record, name)]
    return (
        [record[against] for record in present],
        [math.nan if record[name] is None else record[name] for record in present],
    )


def _measured(record: Record, name: str) -> bool:
    """Metrics hold null for what is not finite, but also for moments and a test that a step leaves out."""
    if name not in record:
        return False
    unresolved = name == "test_statistic" and record.get("decision") == "unresolved"
    return record[name] is not None or unresolved or name == "loss" or name.startswith(VALIDATION)


def validation_series(records: Sequence[Record]) -> list[str]:
    """The names of the validation losses in these records, that of the first set first.

    >>> validation_series([{"samples": 4}, {"samples": 8, "val_loss": 2.5, "val_loss/code": 3.0}])
    ['val_loss', 'val_loss/code']
    """
    fields = (name for record in records for name in (*record, *record.get(AT_START, ())))
    names = dict.fromkeys(name for name in fields if name.startswith(VALIDATION))
    return sorted(names, key=lambda name: name != VALIDATION)


def set_name(series: str) -> str:
    """The name of the validation set that a series is of; empty for the first.

    >>> set_name("val_loss/code"), set_name("val_loss")
    ('code', '')
    """
    return series.removeprefix(VALIDATION).removeprefix("/")


def smoothed_series(
    records: Sequence[Record], name: str, width: float, against: str = "samples"
) -> tuple[list[float], list[float]]:
    """:func:`series` with the values smoothed over ``width`` samples, against samples or steps."""
    samples, values = series(records, name)
    return series(records, name, against)[0], smoothed(values, samples, width)


def smoothed(values: Sequence[float], samples: Sequence[float], width: float) -> list[float]:
    """The :class:`RunningMean` after each value; NaN, and no part of any mean, where a value is not finite.

    Args:
        values: of a quantity.
        samples: seen when each was measured, ascending.
        width: in samples.

    >>> smoothed([1.0, math.nan, 1.0], [4, 8, 16], width=4)
    [1.0, nan, 1.0]
    """
    mean = RunningMean(width)
    pairs = zip(values, samples, strict=True)
    return [mean.add(value, seen) if math.isfinite(value) else math.nan for value, seen in pairs]


def smoothing_width(samples: int) -> float:
    """The width, in samples, for a run of this many samples: a hundredth of them.

    Runs that are compared take one width, that of the longest.

    >>> smoothing_width(16384)
    163.84
    """
    return SHARE * samples


def smoothing_text(width: float) -> str:
    """For captions.

    >>> smoothing_text(163.84), smoothing_text(0.64)
    ('smoothed over 164 samples', 'smoothed over 0.64 samples')
    """
    return f"smoothed over {width:,.0f} samples" if width >= 10 else f"smoothed over {width:.2g} samples"
