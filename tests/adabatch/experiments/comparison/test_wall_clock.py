"""Simulated wall-clock by hand and at its limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.experiments.comparison.wall_clock import step_time, time_to_loss, total_time

RUN = [
    {"batch_size": 16, "val_loss": None},
    {"batch_size": 16, "val_loss": 3.0},
    {"batch_size": 64},
    {"batch_size": 64, "val_loss": 2.0},
]


def test_by_hand():
    assert total_time(RUN, 32) == 1 + 1 + 2 + 2
    assert time_to_loss(RUN, 2.5, 32) == 4  # half way between 2 and 6
    assert time_to_loss(RUN, 3.5, 32) == 2  # the first measurement is below it
    assert time_to_loss(RUN, 1.9, 32) is None
    assert total_time(RUN, 64, "smooth") == pytest.approx(4 + 160 / 64)


@given(st.lists(st.integers(1, 512), min_size=1, max_size=20))
def test_limits(batches):
    """Hardware that never saturates counts steps; hardware that always does counts samples."""
    records = [{"batch_size": batch} for batch in batches]
    assert total_time(records, 1e9) == len(batches)
    assert total_time(records, 1) == sum(batches)


@given(st.floats(0.1, 1e4), st.floats(0.1, 1e4))
def test_the_smooth_form_lies_above_the_sharp_one_by_at_most_twice(batch, saturating):
    sharp = step_time(batch, saturating)
    assert sharp <= step_time(batch, saturating, "smooth") <= 2 * sharp


def test_a_saturating_batch_of_zero():
    with pytest.raises(ValueError, match="must be positive"):
        step_time(1, 0)
