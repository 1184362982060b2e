"""The ramp of equal steps: against every other length, and over random schedules."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.experiments.comparison.ramp import matching_ramp, ramp_steps
from adabatch.settings import load_settings

SMALL = load_settings(overrides={"initial_batch": 4, "max_batch": 12, "micro_batch": 1, "samples": 120})


def test_no_other_length_comes_nearer():
    lengths = range(1, 2200)
    steps = {length: ramp_steps(SMALL, length) for length in lengths}
    for wanted in range(5, 35):
        nearest = min(lengths, key=lambda length: (abs(steps[length] - wanted), length))
        assert matching_ramp(SMALL, wanted) == nearest


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 8), st.integers(0, 60), st.integers(200, 2000), st.floats(0, 1))
def test_any_number_of_steps_between_the_constants_is_met_to_one(initial, growth, samples, share):
    base = load_settings(
        overrides={
            "initial_batch": initial,
            "max_batch": initial + growth,
            "max_micro_batch": 64,
            "samples": samples,
        }
    )
    fewest = ramp_steps(base, 1)
    most = -(-samples // initial)
    wanted = round(fewest + share * (most - fewest))
    found = ramp_steps(base, matching_ramp(base, wanted))
    # A batch is a multiple of the first one's micro-batches, so that some numbers of steps cannot be had.
    assert abs(found - wanted) <= 1 + 0.05 * most


def test_longer_ramps_make_more_steps():
    steps = [ramp_steps(SMALL, length) for length in range(1, 1000)]
    assert steps == sorted(steps)
