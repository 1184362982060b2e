"""Simulated wall-clock: what a run would take on hardware that saturates at a given batch.

Up to the saturating batch B_sat a step takes the same time for every batch; beyond, time is proportional to it:

    time of a step = max(1, b / B_sat)

in units of a step's time on an idle machine. Small B_sat: samples cost, and a growing batch saves nothing. Large
B_sat: steps cost. Fixed costs of a step (test, communication) are not in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import numpy as np

from adabatch.reporting.metrics import Record

__all__ = ["time_to_loss"]


def time_to_loss(records: Sequence[Record], loss: float, saturating_batch: float) -> float | None:
    """Time until the validation loss first falls to ``loss``, linear between measurements; None if it never does.

    >>> records = [{"batch_size": 8, "val_loss": 3.0}, {"batch_size": 8}, {"batch_size": 16, "val_loss": 1.0}]
    >>> time_to_loss(records, 2.0, saturating_batch=8)
    2.5
    """
    times = accumulate(max(1.0, record["batch_size"] / saturating_batch) for record in records)
    pairs = ((time, record.get("val_loss")) for time, record in zip(times, records, strict=True))
    measured = [(time, found) for time, found in pairs if found is not None]
    for number, (time, found) in enumerate(measured):
        if found <= loss:
            before, above = measured[max(number - 1, 0)]
            return float(np.interp(loss, (found, above), (time, before)))
    return None
