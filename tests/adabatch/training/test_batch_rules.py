"""Composed rules, goodput and the late switch in the trainer: records, resumption, step times."""

from __future__ import annotations

import itertools
import math

import pytest

from adabatch.checkpoints.errors import AgreedError
from adabatch.distributed.parallel import DistributedContext
from adabatch.reporting.metrics import TIMED
from adabatch.schedules import Goodput, MicroBatchPlan
from adabatch.schedules.learning_rate import LearningRate
from adabatch.schedules.paths import Linear
from adabatch.settings import load_settings
from adabatch.training.checks import check_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from adabatch.training.step_clock import WARM_UP, StepClock

TINY = {
    "model": "tiny",
    "samples": 200,
    "initial_batch": 4,
    "micro_batch": 1,
    "max_micro_batch": 8,
    "max_batch": 24,
    "warmup_samples": 16,
    "validation_interval": 0,
    "sequence_length": 16,
    "min_lr": 0.0,
    "lr_path": "linear",
}

FLOOR = {"batch_floor": "norm-test", "estimator": "unbiased", "eta": 0.9, "ema": 0.0}
COMPOSED = {"schedule": "exchange", "noise_limit": 1.0} | FLOOR
GOODPUT = {"schedule": "goodput", "step_time": "0.5,0.01", "initial_batch": 2, "samples": 320}


def open_tiny(folder, **changes):
    return open_run(load_settings(overrides=TINY | changes | {"output": str(folder)}), DistributedContext())


def timeless(records):
    """Without what the clock says; NaN (a denominator that is not positive) as None, which equals itself."""
    equal = [{name: None if value != value else value for name, value in record.items()} for record in records]
    return [{name: value for name, value in record.items() if name not in TIMED} for record in equal]


def test_records_say_what_decided_and_keep_the_path(tmp_path):
    run = open_tiny(tmp_path, **COMPOSED)
    records = list(train(run))
    decided = {record["decided_by"] for record in records}
    assert decided <= {"exchange", "batch floor", "noise limit", "first batch", "maximum", "growth limit"}
    assert decided & {"noise limit", "first batch"}
    path = LearningRate(3e-3, 0.0, 16, 200, path=Linear())
    for record, after in itertools.pairwise(records):
        assert ("wanted" in record) == (record["decided_by"] in ("noise limit", "first batch"))
        assert after["batch_size"] < record.get("wanted", after["batch_size"] + 1)
        assert record["test_statistic"] == pytest.approx(record["noise_trace"] / (0.81 * record["grad_sq_norm"]))
        mean = path.mean(after["samples"] - after["batch_size"], after["samples"])
        assert after["lr"] == pytest.approx(mean * math.sqrt(after["batch_size"] / 4))


@pytest.mark.parametrize("test", ["scalar", "l1", "coordinate"])
def test_a_floor_bounds_what_the_tests_ask_for(tmp_path, test):
    """All three: never more than without a floor, nor than the noise over the floor."""
    floor = {"scalar": 1e2, "l1": 1e5, "coordinate": 1e3}[test]
    changes = {"test": test, "eta": 0.6, "norm_floor": floor, "monitor_interval": 1, "samples": 48, "ema": 0.0}
    records = list(train(open_tiny(tmp_path, **changes)))
    for record in records:
        if test == "scalar":
            asked = record["noise_trace"] / (0.36 * max(record["grad_sq_norm"], floor**2))
        elif test == "l1":
            asked = (record["sum_of_deviations"] / (0.6 * max(record["grad_l1_norm"], floor))) ** 2
        else:
            asked = 0.0  # to the resolution of the histogram: far below a sample
        assert record["test_statistic"] == pytest.approx(asked, rel=1e-6, abs=1e-3)
        assert record["batch_size"] == 4


def test_a_limit_multiplies_a_rate_that_does_not_follow_the_batch(tmp_path):
    changes = {"schedule": "linear-ramp", "ramp_samples": 100, "noise_limit": 2.0}
    records = list(train(open_tiny(tmp_path, **changes)))
    path, held = LearningRate(3e-3, 0.0, 16, 200, path=Linear()), 0
    for record, after in itertools.pairwise(records):
        mean = path.mean(after["samples"] - after["batch_size"], after["samples"])
        held += "wanted" in record
        wanted = record.get("wanted", after["batch_size"])
        assert after["lr"] == pytest.approx(mean * math.sqrt(after["batch_size"] / wanted))
    assert held > 5


WEIGHTED = {"schedule": "linear-ramp", "ramp_samples": 60, "noise_limit": 1.0, "noise_limit_scale": "weighted"}


@pytest.mark.parametrize(
    "changes",
    [
        COMPOSED | {"samples": 120},
        {"norm_floor": 0.5, "eta": 0.7, "samples": 120},
        pytest.param(GOODPUT, marks=pytest.mark.slow),  # batches of 2 and 4
        pytest.param(WEIGHTED | {"initial_batch": 8, "samples": 120}, marks=pytest.mark.slow),
    ],
    ids=["composed", "floor", "goodput", "weighted"],
)
def test_a_resumed_run_continues_bit_for_bit(tmp_path, changes):
    changes = changes | {"checkpoint_interval": 40}
    whole = list(train(open_tiny(tmp_path / "whole", **changes)))
    assert len({record["batch_size"] for record in whole}) > 1 or changes.get("noise_limit_scale") == "weighted"
    begun = list(itertools.islice(train(open_tiny(tmp_path / "cut", **changes)), len(whole) * 2 // 3))
    resumed = open_tiny(tmp_path / "cut", resume="auto", **changes)
    assert 0 < resumed.schedule.steps < len(whole)
    assert timeless(begun[: resumed.schedule.steps] + list(train(resumed))) == timeless(whole)


def test_a_run_that_resumes_by_another_rule(tmp_path):
    changes = COMPOSED | {"samples": 60, "checkpoint_interval": 40}
    list(train(open_tiny(tmp_path, **changes)))
    for other, words in (
        ({"batch_floor": "none"}, "--schedule exchange with a noise limit"),
        ({"batch_floor": "none", "noise_limit": 0.0, "schedule": "norm-test"}, "--schedule norm-test"),
    ):
        allowed = {"resume": "auto", "allow": tuple(other)}
        with pytest.raises(AgreedError, match=f"norm-test with a noise limit, from which {words} cannot"):
            open_tiny(tmp_path, **changes | other | allowed)
    scale = {"noise_limit_scale": "l1", "resume": "auto", "allow": ("noise_limit_scale",)}
    limit = open_tiny(tmp_path, **changes | scale).schedule.limit
    assert limit.estimate.count == 0  # averages of the trace are not those of the l1 norm


@pytest.mark.parametrize("option", ["lr_replay", "replay_run"])
@pytest.mark.parametrize("name", ["", "metrics.jsonl"])
def test_a_run_does_not_replay_itself(tmp_path, option, name):
    schedule = "replay" if option == "replay_run" else "constant"
    settings = load_settings(
        overrides=TINY | {"output": str(tmp_path), option: str(tmp_path / name), "schedule": schedule}
    )
    with pytest.raises(ValueError, match=rf"--{option.replace('_', '-')} .* is this run's own folder"):
        check_settings(settings, 1)


def test_late_switches_in_a_run(tmp_path):
    records = list(train(open_tiny(tmp_path, schedule="late", switch_at=0.5, switch_batch=20)))
    assert [record["batch_size"] for record in records] == [4] * 25 + [20] * 5
    assert {record["decided_by"] for record in records} == {"late"}


class Told(Goodput):
    """Keeps what it is told."""

    def observe_seconds(self, *given):
        self.given = [*getattr(self, "given", []), given]


def test_a_clock_tells_each_steps_time_one_step_late_but_not_the_first_nor_skipped_ones():
    clock, schedule = StepClock(DistributedContext()), Told(4, 8)
    seconds = [9.0] * WARM_UP + [1.0, 2.0, 3.0, 4.0]
    for step, duration in enumerate(seconds):
        clock.deliver(schedule, float(clock.share()))
        clock.stop(duration, MicroBatchPlan(1, 2, step + 1), length=16, taken=duration != 2.0)
    assert schedule.given == [(1.0, 2 * (WARM_UP + 1), WARM_UP + 1, 16), (3.0, 2 * (WARM_UP + 3), WARM_UP + 3, 16)]


def test_other_ranks_than_the_main_one_add_nothing_to_the_time():
    clock = StepClock(DistributedContext(rank=1, world_size=2))
    for _ in range(WARM_UP + 1):
        clock.stop(5.0, MicroBatchPlan(2, 1, 1), length=16, taken=True)
    assert float(clock.share()) == 0.0


@pytest.mark.slow
def test_step_times_of_a_run_reach_its_schedule(tmp_path):
    run = open_tiny(tmp_path, **GOODPUT | {"step_time": None})
    records = list(train(run))
    timed = run.schedule.times.count
    assert timed == len(records) - WARM_UP - 1  # the last one's is never told
