"""The late switch: two stages, and what it refuses."""

from __future__ import annotations

import pytest

from adabatch.schedules import Late


def test_switches_once_when_the_samples_are_seen() -> None:
    schedule, batches = Late(4, 16, 0.75, total_samples=160), []
    while schedule.samples < 160:
        batches.append(schedule.batch_size)
        schedule.update()
    assert batches == [4] * 30 + [16] * 3
    assert schedule.name == "late"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((8, 0, 0.75, 1000), "above the first one, 8, but it was not given: give --switch-batch"),
        ((8, 8, 0.75, 1000), "above the first one, 8, but it is 8"),
        ((8, 4, 0.75, 1000), "above the first one, 8, but it is 4"),
        ((8, 16, 1.0, 1000), "must be above 0 and below 1, but is 1.0: it is a fraction of the budget"),
        ((8, 16, 1.5, 1000), "must be above 0 and below 1, but is 1.5"),
        ((8, 16, 0.0, 1000), "must be above 0 and below 1"),
        ((64, 128, 0.75, 100), "no step begins between the switch at 75 samples and the end of the budget of 100"),
    ],
)
def test_a_switch_that_cannot_be(arguments: tuple[int, int, float, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Late(*arguments)
