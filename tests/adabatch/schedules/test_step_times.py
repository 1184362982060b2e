"""The fit of t0 and t1 to step times with jitter, outliers and first steps that compile."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.schedules.step_times import CELLS, StepTime, StepTimes, parse_step_time


def filled(clock, batches, micro_batch=8, length=0) -> StepTimes:
    times = StepTimes()
    for batch in batches:
        times.add(clock(batch), batch, micro_batch, length)
    return times


def simulated_clock(fixed, per_sample, seed):
    """Log-normal jitter of .1; one step in twenty takes 10 to 100 times as long; the first one 500 times."""
    random = np.random.default_rng(seed)
    steps = iter(range(10**9))

    def seconds(batch):
        outlier = 10 ** random.uniform(1, 2) if random.random() < 0.05 else 1
        first = 500 if next(steps) == 0 else 1
        return (fixed + per_sample * batch) * np.exp(0.1 * random.standard_normal()) * outlier * first

    return seconds


@pytest.mark.parametrize("saturation", [16, 32, 64])
@pytest.mark.parametrize("seed", range(5))
def test_noisy_clocks_within_a_tenth(saturation, seed):
    batches = [16 + 48 * k // 999 for k in range(1000)]
    fit = filled(simulated_clock(0.001 * saturation, 0.001, seed), batches).fit(8)
    assert fit.resolved
    assert fit.fixed == pytest.approx(0.001 * saturation, rel=0.1)
    assert fit.per_sample == pytest.approx(0.001, rel=0.1)


def test_least_squares_would_not_do():
    """The same times without robustness: the check above can fail."""
    clock = simulated_clock(0.032, 0.001, seed=0)
    batches = np.array([16 + 48 * k // 999 for k in range(1000)])
    slope, fixed = np.polyfit(batches, [clock(batch) for batch in batches], 1)
    assert max(abs(fixed / 0.032 - 1), abs(slope / 0.001 - 1)) > 0.5


@given(st.floats(-6.9, 6.9), st.floats(1e-6, 1e3), st.lists(st.integers(1, 4096), min_size=1, max_size=8))
def test_exact_clocks_exactly(log_share, per_sample, drawn):
    batches = [*drawn, 2 * min(drawn)]
    fixed = math.exp(log_share) * per_sample * max(batches)
    fit = filled(lambda b: fixed + per_sample * b, [batches[0], *batches, *batches, *batches]).fit(8)
    assert fit.fixed == pytest.approx(fixed, rel=1e-5)
    assert fit.per_sample == pytest.approx(per_sample, rel=1e-5)


def test_batches_that_differ_too_little_give_none():
    exact = StepTime(0.2, 0.01).seconds
    assert StepTimes().fit() is None
    assert filled(exact, [16] * 1000).fit() is None
    assert filled(exact, [16, 20, 23] * 100).fit() is None
    assert filled(exact, [16] * 100 + [64] * 2).fit() is None  # two steps could both be outliers
    assert filled(exact, [16] * 100 + [64] * 3).fit() is not None


def test_what_the_times_do_not_resolve_is_reported():
    """A tiny t0 under jitter; one of the same jitter that is not tiny is the control."""
    small = filled(simulated_clock(0.0004, 0.001, seed=1), [16, 64] * 100).fit()
    assert not small.resolved
    assert small.fixed >= 0
    assert small.per_sample == pytest.approx(0.001, rel=0.1)
    assert filled(simulated_clock(0.04, 0.001, seed=1), [16, 64] * 100).fit().resolved


def test_times_that_fall_with_the_batch_give_none():
    assert filled(lambda b: 1 / b, [16, 64] * 100).fit() is None
    assert filled(lambda b: 1.0, [16, 64] * 100).fit() is None


def test_a_present_micro_batch_is_fitted_on_its_own():
    times = StepTimes()
    for _ in range(50):
        for batch in (16, 32, 64):
            times.add(0.2 + 0.01 * batch, batch, 16)
            times.add(0.2 + 0.05 * batch, batch, 4)
        times.add(0.2 + 0.03 * 32, 32, 8)  # one batch only: nothing to fit
    assert times.fit(16).per_sample == pytest.approx(0.01)
    assert times.fit(4).per_sample == pytest.approx(0.05)
    assert times.fit(8) == times.fit()
    assert 0.01 < times.fit().per_sample < 0.05


def test_sequence_lengths_are_not_mixed():
    times = StepTimes()
    for _ in range(20):
        times.add(0.2 + 0.01 * 16, 16, 8, length=64)
        times.add(0.2 + 0.02 * 64, 64, 8, length=128)
    assert times.fit(8, length=64) is None
    assert times.fit(8, length=128) is None


def test_first_steps_of_a_shape_and_what_is_not_a_time_are_left_out():
    times = StepTimes()
    for micro_batch, batch in ((4, 16), (8, 32), (16, 64)):
        times.add(1000.0, batch, micro_batch)
        for _ in range(3):
            times.add(0.2 + 0.01 * batch, batch, micro_batch)
            for nothing in (0.0, -1.0, float("nan"), float("inf")):
                times.add(nothing, batch, micro_batch)
    fit = times.fit()
    assert (fit.fixed, fit.per_sample) == (pytest.approx(0.2), pytest.approx(0.01))


def test_times_that_no_line_fits_do_not_end_the_run():
    roofline = filled(lambda b: max(1.0, b / 32), [8] * 500 + [16, 24, 32, 64, 128] * 10).fit()
    assert roofline is None or roofline.per_sample > 0


def test_a_saved_state_continues_exactly():
    clock, batches = simulated_clock(0.03, 0.001, seed=3), [16, 64, 32] * 200
    seconds = [clock(batch) for batch in batches]
    whole, halves = StepTimes(), StepTimes()
    for index, (second, batch) in enumerate(zip(seconds, batches, strict=True)):
        whole.add(second, batch, 8)
        halves.add(second, batch, 8)
        if index == 300:
            state = json.loads(json.dumps(halves.state_dict()))
            halves = StepTimes()
            halves.load_state_dict(state)
    assert halves.fit(8) == whole.fit(8)
    assert halves.state_dict() == whole.state_dict()


def test_memory_is_bounded():
    times = StepTimes()
    for batch in range(1, 3 * CELLS):
        for _ in range(1 + (batch <= 2)):
            times.add(0.2 + 0.01 * batch, batch)
    cells = times.state_dict()["cells"]
    assert len(cells) == CELLS
    assert cells[0][0][0] == 2  # the first step of all was left out; of what had one time only, some had to go
    many = filled(simulated_clock(0.03, 0.001, seed=4), [16] * 5000).state_dict()["cells"][0][1]
    assert len(many) < 350


def test_standard_errors_are_those_of_many_runs():
    fits = [filled(simulated_clock(0.032, 0.001, seed), [16, 32, 64] * 100).fit() for seed in range(60)]
    spread = np.std([[fit.fixed, fit.per_sample, np.log(fit.saturation)] for fit in fits], axis=0)
    claimed = np.mean([[fit.fixed_error, fit.per_sample_error, fit.saturation_error] for fit in fits], axis=0)
    assert spread == pytest.approx(claimed, rel=0.35)  # of 60 seeds: three standard errors of a deviation
    assert StepTime(0.0, 1.0).saturation_error == np.inf


def test_step_time_option():
    assert parse_step_time("0,1e-3") == StepTime(0.0, 0.001)
    for text in ("", "1", "1,2,3", "a,b", "-1,1", "1,0", "nan,1", "1,inf", "1;2"):
        with pytest.raises(ValueError, match=r"--step-time takes T0,T1, .* such as 0\.2,0\.01, not "):
            parse_step_time(text)
