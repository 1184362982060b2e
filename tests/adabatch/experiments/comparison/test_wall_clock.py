"""Simulated wall-clock by hand and at its limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adabatch.experiments.comparison.wall_clock import time_to_loss

RUN = [
    {"batch_size": 16, "val_loss": None},
    {"batch_size": 16, "val_loss": 3.0},
    {"batch_size": 64},
    {"batch_size": 64, "val_loss": 2.0},
]


def test_by_hand():
    """Steps of 1, 1, 2 and 2."""
    assert time_to_loss(RUN, 2.0, 32) == 6
    assert time_to_loss(RUN, 2.5, 32) == 4  # half way between 2 and 6
    assert time_to_loss(RUN, 3.5, 32) == 2  # the first measurement is below it
    assert time_to_loss(RUN, 1.9, 32) is None


@given(st.lists(st.integers(1, 512), min_size=1, max_size=20))
def test_limits(batches):
    """Hardware that never saturates counts steps; hardware that always does counts samples."""
    records = [{"batch_size": batch} for batch in batches]
    records[-1]["val_loss"] = 1.0
    assert time_to_loss(records, 1.0, 1e9) == len(batches)
    assert time_to_loss(records, 1.0, 1) == sum(batches)
