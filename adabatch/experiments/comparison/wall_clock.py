"""Simulated wall-clock: what a run would take on hardware that saturates at a given batch.

Up to the saturating batch B_sat a step takes the same time whatever its batch; beyond, time is proportional to it:

    time of a step = max(1, b / B_sat)                            (sharp)
    time of a step = 1 + b / B_sat                                (smooth)

in units of a step's time on an idle machine. Small B_sat: samples cost, and a growing batch saves nothing. Large
B_sat: steps cost. Fixed costs of a step (test, communication) are not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Literal

from adabatch.reporting.metrics import Record

__all__ = ["Saturation", "step_time", "time_to_loss", "total_time"]

Saturation = Literal["sharp", "smooth"]


def step_time(batch_size: float, saturating_batch: float, form: Saturation = "sharp") -> float:
    """Time of a step on ``batch_size`` samples.

    Raises:
        ValueError: for a saturating batch that is not positive.

    >>> step_time(16, 64), step_time(128, 64), step_time(128, 64, "smooth")
    (1, 2.0, 3.0)
    """
    if saturating_batch <= 0:
        raise ValueError(f"the saturating batch must be positive, but is {saturating_batch}")
    share = batch_size / saturating_batch
    return 1 + share if form == "smooth" else max(1, share)


def total_time(records: Sequence[Record], saturating_batch: float, form: Saturation = "sharp") -> float:
    """Time of all steps of a run."""
    return sum(step_time(record["batch_size"], saturating_batch, form) for record in records)


def time_to_loss(
    records: Sequence[Record], loss: float, saturating_batch: float, form: Saturation = "sharp"
) -> float | None:
    """Time until the validation loss first falls to ``loss``, linear between measurements; None if it never does.

    >>> records = [{"batch_size": 8, "val_loss": 3.0}, {"batch_size": 8}, {"batch_size": 8, "val_loss": 1.0}]
    >>> time_to_loss(records, 2.0, saturating_batch=8)
    2.0
    """
    times = accumulate(step_time(record["batch_size"], saturating_batch, form) for record in records)
    before: tuple[float, float] | None = None  # time and loss
    for time, record in zip(times, records, strict=True):
        measured: float | None = record.get("val_loss")
        if measured is None:
            continue
        if measured <= loss:
            if before is None:
                return time
            share = (before[1] - loss) / (before[1] - measured)
            return before[0] + share * (time - before[0])
        before = (time, measured)
    return None
