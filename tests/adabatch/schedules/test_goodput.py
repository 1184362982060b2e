"""Goodput: where it settles, how it moves, and how it comes to know the times of steps."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.schedules import Goodput, MicroBatching
from adabatch.schedules.registry import RunContext
from adabatch.schedules.step_times import StepTime

TIME = StepTime(fixed=0.2, per_sample=0.01)  # B_sat = 20


def moments(batch: int, trace: float = 80.0, square: float = 2.0) -> GradientMoments:
    """B_noise = 40 unless said."""
    norm = square + trace / batch
    return GradientMoments(2, batch / 2, 2 * norm + trace / (batch / 2), norm)


def run(schedule: Goodput, steps: int, **noise: float) -> list[int]:
    """The batches of these steps; noise and gradient are what they are at every batch."""
    batches = []
    for _ in range(steps):
        batches.append(schedule.batch_size)
        schedule.update(moments(schedule.batch_size, **noise))
    return batches


@pytest.mark.parametrize("initial", [4, 28, 150])
@pytest.mark.parametrize("kappa", [0.7, 1.4])
def test_settles_at_kappa_times_the_batch_of_most_progress_from_below_and_above(initial, kappa):
    schedule = Goodput(initial, 400, TIME, kappa)
    unrounded = [schedule.unrounded]
    for _ in range(60):
        run(schedule, 1)
        unrounded.append(schedule.unrounded)
    assert schedule.batch_size == round(kappa * math.sqrt(40 * 20))
    assert np.abs(np.diff(np.log(unrounded))).max() <= math.log(1.1) + 1e-12


def test_moves_a_coarse_batch_although_ten_percent_are_less_than_a_unit():
    schedule = Goodput(64, 640, TIME, kappa=10.0, multiple_of=64)
    assert run(schedule, 40)[-1] == 320  # 283 rounded up


def test_grows_where_the_gradient_is_not_resolved():
    """B_noise counts as 16 b: b = kappa^2 16 B_sat is where that ends."""
    schedule = Goodput(4, 2000, TIME, kappa=1.0)
    batches = run(schedule, 100, square=-1e-3)
    assert batches[-1] == pytest.approx(16 * 20, abs=1)


def test_decisions_say_what_held_the_batch_back():
    schedule = Goodput(4, 20, TIME, kappa=1.4)
    decided = [schedule.update(moments(schedule.batch_size)).decided_by for _ in range(40)]
    assert decided[:2] == ["goodput"] * 2  # nothing is known yet
    assert decided[3] == "limit of 10% per step"
    assert decided[-1] == "maximum"
    settled = Goodput(28, 100, TIME, kappa=1.0)
    assert [settled.update(moments(settled.batch_size)).decided_by for _ in range(9)][-1] == "goodput"


def test_at_the_smallest_batch_nothing_holds_it_and_it_grows_again_at_once():
    schedule = Goodput(64, 640, StepTime(fixed=0.0, per_sample=0.1), multiple_of=16)
    decided = [schedule.update(moments(schedule.batch_size)) for _ in range(40)]
    assert (decided[-1].batch_size, decided[-1].proposal, decided[-1].decided_by) == (16, 1, "goodput")
    schedule.step_time = TIME
    assert run(schedule, 2) == [16, 32]


def clocked(schedule: Goodput, steps: int, seconds, seed: int = 0) -> list[int]:
    """Batches of a run whose steps take this long, with jitter and outliers, told one step late."""
    draw, batches, last = np.random.default_rng(seed), [], None
    for _ in range(steps):
        batch = schedule.batch_size
        batches.append(batch)
        if last is not None:
            schedule.observe_seconds(*last)
        schedule.update(moments(batch))
        slow = 30 if draw.random() < 0.05 else 1
        last = seconds(batch) * draw.lognormal(0, 0.05) * slow, batch
    return batches


def test_finds_the_times_of_its_own_steps():
    schedule = Goodput(4, 400, kappa=1.0)
    batches = clocked(schedule, 300, TIME.seconds)
    assert batches[:9] == [4] * 9  # eight are timed first
    assert batches[9] >= 4
    assert schedule.step_time.saturation == pytest.approx(20, rel=0.25)
    assert batches[-1] == pytest.approx(math.sqrt(40 * 20), rel=0.15)


def test_grows_as_long_as_larger_batches_take_no_longer():
    schedule = Goodput(4, 64, kappa=1.0)
    draw = np.random.default_rng(1)
    batches = clocked(schedule, 80, lambda batch: 0.3 * (1 - 1e-3 * batch) + 1e-6 * draw.random())
    assert batches[-1] == 64


def test_a_loop_that_never_tells_the_time_hears_of_it():
    schedule = Goodput(4, 400)
    for _ in range(3):
        run(schedule, 20)
        schedule.observe_seconds(1.0, 4)
    with pytest.raises(ValueError, match=r"observe_seconds\(seconds, batch_size\) before each update"):
        run(schedule, 21)
    run(Goodput(4, 400, TIME), 50)


def test_given_times_are_not_fitted():
    schedule = Goodput(4, 400, TIME, kappa=1.0)
    assert not schedule.needs_step_times
    clocked(schedule, 100, lambda batch: 7.0 * batch)
    assert schedule.step_time == TIME


def test_other_ranks_are_explored_again():
    schedule = Goodput(4, 400, kappa=1.0)
    clocked(schedule, 120, TIME.seconds)
    schedule.forget_seconds()
    assert schedule.step_time is None
    batches = clocked(schedule, 400, lambda batch: 0.2 + 0.04 * batch)  # B_sat = 5
    assert batches[-1] == pytest.approx(math.sqrt(40 * 5), rel=0.15)


def test_a_state_through_json_continues_bit_for_bit_while_times_are_fitted():
    layout = MicroBatching(2, 2, 16)

    def fresh():
        schedule = Goodput(4, 400, kappa=1.0)
        schedule.round_by(layout)
        return schedule

    whole = fresh()
    clocked(whole, 60, TIME.seconds)
    resumed = fresh()
    resumed.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    assert clocked(resumed, 200, TIME.seconds, seed=5) == clocked(whole, 200, TIME.seconds, seed=5)
    assert resumed.state_dict() == whole.state_dict()


def test_times_that_were_given_no_longer_are_explored():
    given = Goodput(4, 400, TIME, kappa=1.0)
    run(given, 20)
    resumed = Goodput(4, 400, kappa=1.0)
    resumed.load_state_dict(given.state_dict())
    resumed.observe_seconds(1.0, resumed.batch_size)
    assert resumed.update(moments(resumed.batch_size)).decided_by == "exploration of step times"


def settings(**changes):
    usual = {"initial_batch": 8, "max_batch": 128, "step_time": None, "goodput_kappa": 1.4}
    return SimpleNamespace(**(usual | changes))


def context(samples):
    return RunContext(samples, None, None)


def test_a_batch_takes_a_hundredth_of_the_budget():
    assert Goodput.from_settings(settings(), context(3000)).maximum == 30
    assert Goodput.from_settings(settings(), context(10**6)).maximum == 128
    with pytest.raises(ValueError, match="of 700 samples in a step, 7, but the first batch is 8"):
        Goodput.from_settings(settings(), context(700))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"goodput_kappa": 0.0}, "kappa must be from 0.01 to 100"),
        ({"step_time": "1"}, "--step-time takes T0,T1"),
        ({"max_batch": 4}, "maximum batch 4 is below the initial batch 8"),
        ({"max_batch": 11}, "batches from 8 to 11, which hardly differ: give --step-time"),
    ],
)
def test_settings_that_cannot_be(changes, message):
    with pytest.raises(ValueError, match=message):
        Goodput.from_settings(settings(**changes), context(10**6))
    assert Goodput.from_settings(settings(max_batch=11, step_time="0.2,0.01"), context(10**6)).maximum == 11


def test_moments_are_needed_at_every_step():
    schedule = Goodput(8, 8, TIME)
    assert schedule.needs_moments
    with pytest.raises(ValueError, match="pass its moments"):
        schedule.update()
