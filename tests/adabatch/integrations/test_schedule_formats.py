"""Exported schedules, read by what the other trainers document: they take the same steps at the same rates."""

from __future__ import annotations

import ast
import json
import math
import re
import shlex
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.integrations.schedule_formats import (
    ExportedSchedule,
    TakenStep,
    Target,
    as_json,
    megatron,
    olmo_core,
)
from adabatch.planning.exported import planned_schedule
from adabatch.schedules.learning_rate import BatchScaling, LearningRate
from adabatch.schedules.paths import (
    Constant,
    Cosine,
    Cyclic,
    InverseSquareRoot,
    Linear,
    Stairs,
    WarmupStableDecay,
)
from adabatch.settings import overlay
from adabatch.settings.loading import load_settings

LENGTH = 16
PATHS = (Constant(), Cosine(), Linear(), WarmupStableDecay(0.25), InverseSquareRoot(4.0))


def rates_on(path, minimum=0.0, samples=1000, scaling=None):
    return LearningRate(0.5, minimum, samples // 5, samples, scaling or BatchScaling(), path)


def schedule_of(batches, rates, length=LENGTH) -> ExportedSchedule:
    steps, start = [], 0
    for batch in batches:
        rate = rates.mean(start, start + batch) * rates.scaling.factor(batch)
        steps.append(TakenStep(start, batch, batch * length, rate))
        start += batch
    return ExportedSchedule(steps, rates)


def steps_of(schedule):
    return [(step.start, step.batch_size) for step in schedule.steps]


# ----------------------------------------------------------------------------------------------------
# The two trainers' rules, written from their documentation.


@dataclass
class MegatronTwin:
    """Thresholds are tokens, divided by the length; the last one that was reached counts."""

    options: dict[str, str]

    @classmethod
    def reading(cls, text):
        words = shlex.split(text.replace("\n", " "))
        return cls({name.removeprefix("--"): value for name, value in zip(words[::2], words[1::2], strict=True)})

    def number(self, name):
        return float(self.options[name])

    def steps(self):
        length = int(self.options["seq-length"])
        unit = int(self.options["micro-batch-size"])
        pairs = [entry.split(":") for entry in self.options["step-batch-size-schedule"].split()]
        thresholds = [(int(float(tokens)) // length, int(batch)) for tokens, batch in pairs]
        assert thresholds[0][0] == 0
        assert all(a < b for (a, _), (b, _) in pairwise(thresholds))
        consumed, taken = 0, []
        while consumed < int(self.options["train-samples"]):
            batch = [b for threshold, b in thresholds if threshold <= consumed][-1]
            assert batch > 0
            assert batch % unit == 0
            taken.append((consumed, batch))
            consumed += batch
        return taken

    def rate(self, samples):
        most, least, warmup = self.number("lr"), self.number("min-lr"), self.number("lr-warmup-samples")
        end, style = self.number("lr-decay-samples"), self.options["lr-decay-style"]
        if samples <= warmup > 0:
            return most * samples / warmup
        if style == "constant":
            return most
        if samples > end:
            return least
        if style == "inverse-square-root":
            return max(least, most * math.sqrt(warmup / samples))
        share = (samples - warmup) / (end - warmup)
        if style == "WSD":
            assert self.options["lr-wsd-decay-style"] == "linear"
            falling = self.number("lr-wsd-decay-samples")
            level = 1 - max(0.0, samples - (end - falling)) / falling
        else:
            level = {"linear": 1 - share, "cosine": (1 + math.cos(math.pi * share)) / 2}[style]
        return least + level * (most - least)


class OlmoTwin:
    """Batches are tokens; whole factors; a larger one waits for a multiple; its root multiplies the rate."""

    def __init__(self, text):
        callback, _, rest = text.partition("\n)")
        tree = ast.parse(callback + ")", mode="eval").body
        arguments = {word.arg: word.value for word in tree.keywords}
        self.batches = ast.literal_eval(arguments["batch_sizes"])
        assert all(ast.unparse(item.func) == "Duration.tokens" for item in arguments["schedule"].elts)
        self.starts = [ast.literal_eval(item.args[0]) for item in arguments["schedule"].elts]
        assert self.starts[0] == 0
        assert all(a < b for a, b in pairwise(self.starts))
        assert all(max(a, b) % min(a, b) == 0 and a != b for a, b in pairwise(self.batches))
        self.lr = float(found[1]) if (found := re.search(r"^lr=(.*)$", rest, re.MULTILINE)) else None
        if self.lr is not None:
            made = ast.parse(re.search(r"^scheduler=(.*)$", rest, re.MULTILINE)[1], mode="eval").body
            self.scheduler = made.func.id
            self.given = {word.arg: ast.literal_eval(word.value) for word in made.keywords}
            self.total = int(re.search(r"max_duration=Duration.tokens\((\d+)\)", rest)[1])

    def steps(self, tokens):
        seen, batch, taken = 0, self.batches[0], []
        while seen < tokens:
            target = [b for start, b in zip(self.starts, self.batches, strict=True) if start <= seen][-1]
            if target < batch or (seen // batch) % (target // batch) == 0:
                batch = target
            taken.append((seen, batch))
            seen += batch
        return taken

    def rate(self, tokens, batch):
        peak = self.lr * math.sqrt(batch / self.batches[0])
        given = self.given
        assert given["units"] == "tokens"
        warmup, end = given["warmup"], given.get("t_max", self.total)
        if tokens < warmup:
            return peak * tokens / warmup
        least = peak * given.get("alpha_f", 0.0)
        share = min(1.0, (tokens - warmup) / (end - warmup))
        match self.scheduler:
            case "ConstantWithWarmup":
                return peak
            case "CosWithWarmup":
                return least + (peak - least) * (1 + math.cos(math.pi * share)) / 2
            case "LinearWithWarmup":
                return peak - (peak - least) * share
            case "InvSqrtWithWarmup":
                return least + (peak - least) * math.sqrt(warmup / tokens)
            case "WSD":
                assert given["decay_fraction"] is None
                floor, falling = given["decay_min_lr"], given["decay"]
                return floor + (peak - floor) * min(1.0, (self.total - tokens) / falling)
        raise AssertionError(self.scheduler)


# ----------------------------------------------------------------------------------------------------
# The same steps.

batches = st.lists(st.tuples(st.integers(1, 12), st.integers(1, 6)), min_size=1, max_size=8).map(
    lambda stages: [8 * batch for batch, times in stages for _ in range(times)]
)


@given(batches, st.integers(1, 64))
def test_megatron_takes_the_same_steps(sizes, length):
    schedule = schedule_of(sizes, rates_on(Cosine()), length)
    twin = MegatronTwin.reading(megatron(schedule, Target(micro_batch=4, ranks=2, rates=False)))
    assert twin.steps() == steps_of(schedule)


@given(batches, st.integers(1, 64))
def test_olmo_core_takes_the_same_steps_once_they_are_doublings(sizes, length):
    schedule = schedule_of(sizes, rates_on(Cosine(), scaling=BatchScaling("sqrt", 8)), length).doubled()
    twin = OlmoTwin(olmo_core(schedule, Target(rates=False)))
    expected = [(start * length, batch * length) for start, batch in steps_of(schedule)]
    assert twin.steps(schedule.samples * length) == expected


@given(batches, st.integers(1, 64))
def test_olmo_core_takes_the_same_steps_where_it_can(sizes, length):
    schedule = schedule_of(sizes, rates_on(Cosine()), length)
    changes = list(pairwise(schedule.stages))
    whole = all(max(a, b) % min(a, b) == 0 for (_, a), (_, b) in changes)
    if not (whole and all(start % b == 0 for (_, a), (start, b) in changes if b > a)):
        with pytest.raises(ValueError, match=r"whole factors|would wait"):
            olmo_core(schedule, Target(rates=False))
        return
    twin = OlmoTwin(olmo_core(schedule, Target(rates=False)))
    expected = [(start * length, batch * length) for start, batch in steps_of(schedule)]
    assert twin.steps(schedule.samples * length) == expected


@given(batches)
def test_doublings_are_powers_of_two_at_most_the_batch_and_begin_at_multiples(sizes):
    schedule = schedule_of(sizes, rates_on(Linear(), scaling=BatchScaling("linear", 8)))
    doubled = schedule.doubled()
    assert doubled.samples >= schedule.samples
    for step in doubled.steps:
        factor, rest = divmod(step.batch_size, sizes[0])
        assert rest == 0
        assert factor & (factor - 1) == 0
        assert step.start % step.batch_size == 0
        own = [s.batch_size for s in schedule.steps if s.start <= step.start][-1]
        assert step.batch_size <= max(own, sizes[0])
        rates = doubled.rates
        mean = sum(rates.at(step.start + (k + 0.5) / 4) for k in range(4 * step.batch_size)) / (
            4 * step.batch_size
        )
        assert step.learning_rate == pytest.approx(mean * step.batch_size / 8, rel=1e-3, abs=1e-4)


def test_what_is_doubled_already_stays():
    schedule = schedule_of(
        [8] * 4 + [16] * 2 + [32] * 2 + [8], rates_on(Linear(), scaling=BatchScaling("sqrt", 8))
    )
    assert schedule.doubled() == schedule


# ----------------------------------------------------------------------------------------------------
# The same learning rates: read where a step begins there, so that steps of one sample come close.


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
@pytest.mark.parametrize("minimum", [0.0, 0.05])
def test_megatron_reads_the_same_path(path, minimum):
    rates = rates_on(path, minimum)
    schedule = schedule_of([1] * 600 + [2] * 200, rates)
    if minimum and isinstance(path, InverseSquareRoot):
        with pytest.raises(ValueError, match="no learning-rate path like this one"):
            megatron(schedule, Target())
        return
    twin = MegatronTwin.reading(megatron(schedule, Target()))
    for step in schedule.steps:
        assert twin.rate(step.start) == pytest.approx(rates.at(step.start), rel=1e-9, abs=1e-12)
        assert twin.rate(step.start + step.batch_size / 2) == pytest.approx(step.learning_rate, rel=0.02, abs=1e-3)


@pytest.mark.parametrize("path", PATHS, ids=lambda path: type(path).__name__)
@pytest.mark.parametrize("minimum", [0.0, 0.05])
def test_olmo_core_reads_the_same_path_times_the_root_of_the_batch(path, minimum):
    rates = rates_on(path, minimum, scaling=BatchScaling("sqrt", 4))
    schedule = schedule_of([1] * 600 + [2] * 200, rates)
    if minimum and isinstance(path, WarmupStableDecay):
        with pytest.raises(ValueError, match="no learning-rate path like this one"):
            olmo_core(schedule, Target())
        return
    twin = OlmoTwin(olmo_core(schedule, Target()))
    for step in schedule.steps:
        there = twin.rate(step.start * LENGTH, step.batch_size * LENGTH)
        here = rates.at(step.start) * math.sqrt(step.batch_size / 4)
        assert there == pytest.approx(here, rel=1e-9, abs=1e-12)


def test_json_has_every_step():
    schedule = schedule_of([4, 4, 6, 4], rates_on(Cosine()))
    read = json.loads(as_json(schedule, Target()))
    assert read["stages"] == [
        {"samples": start, "tokens": start * LENGTH, "batch_size": batch}
        for start, batch in [(0, 4), (8, 6), (14, 4)]
    ]
    assert read["learning_rates"] == [[step.start, step.learning_rate] for step in schedule.steps]
    assert (read["samples"], read["tokens"]) == (18, 18 * LENGTH)
    assert "learning_rates" not in json.loads(as_json(schedule, Target(rates=False)))


@pytest.mark.parametrize(
    ("name", "exponent", "path"),
    [("exchange", 0.5, WarmupStableDecay), ("seesaw", 0.5, Stairs), ("linear-ramp", 0.0, WarmupStableDecay)],
)
def test_a_plan_has_the_rates_of_its_schedule(name, exponent, path):
    settings = overlay(load_settings("demo", None), {"schedule": name})
    schedule = planned_schedule(settings)
    assert len(schedule.stages) > 1
    assert (schedule.growth, type(schedule.rates.path)) == (exponent, path)
    for step in schedule.steps:
        mean = schedule.rates.mean(step.start, step.start + step.batch_size)
        assert step.learning_rate == pytest.approx(mean * schedule.rates.scaling.factor(step.batch_size))


# ----------------------------------------------------------------------------------------------------
# What a format cannot express.


@pytest.mark.parametrize(
    ("write", "sizes", "rates", "target", "message"),
    [
        (
            megatron,
            [12, 12],
            rates_on(Linear()),
            Target(4, 2),
            "4 x 2 .* the schedule has 12: .* --data-parallel$",
        ),
        (megatron, [8, 12], rates_on(Linear()), Target(4, 2), "the schedule has 12: .*, or --doublings$"),
        (megatron, [8, 16], rates_on(Linear(), scaling=BatchScaling("sqrt", 8)), Target(), "follow the root"),
        (megatron, [8, 8], rates_on(Cyclic(2)), Target(), r"no learning-rate path like this one \(Cyclic"),
        (olmo_core, [8, 12], rates_on(Linear()), Target(), "from 8 to 12: take --doublings"),
        (
            olmo_core,
            [8, 16],
            rates_on(Linear()),
            Target(rates=False),
            "a multiple of it, but the schedule has it after 8",
        ),
        (olmo_core, [8, 8, 16], rates_on(Linear()), Target(), "here they do not follow the batch"),
        (olmo_core, [8, 8], rates_on(Stairs((0.5,), (1.0, 0.5))), Target(), "Stairs"),
    ],
)
def test_what_a_format_cannot_express_is_refused(write, sizes, rates, target, message):
    with pytest.raises(ValueError, match=message) as refused:
        write(schedule_of(sizes, rates), target)
    assert "\n" not in str(refused.value)


def test_lengths_that_change_are_for_json_only():
    schedule = schedule_of([8, 8], rates_on(Linear()))
    uneven = replace(schedule, steps=[schedule.steps[0], schedule.steps[1]._replace(tokens=8 * 32)])
    assert json.loads(as_json(uneven, Target()))["tokens"] == 8 * (LENGTH + 32)
    for write in (megatron, olmo_core):
        with pytest.raises(ValueError, match="16 to 32 tokens"):
            write(uneven, Target())


def test_rates_that_a_noise_limit_has_changed_are_for_json_only():
    schedule = replace(schedule_of([8, 8, 16], rates_on(Linear())), limited=True)
    assert json.loads(as_json(schedule, Target()))["samples"] == 32
    for refused in (lambda: megatron(schedule, Target()), schedule.doubled):
        with pytest.raises(ValueError, match="noise limit"):
            refused()


def test_missing_records_are_refused():
    schedule = schedule_of([8, 8, 8], rates_on(Linear()))
    with pytest.raises(ValueError, match="step 2 begins after 16 samples, the steps before it end at 8"):
        replace(schedule, steps=[schedule.steps[0], schedule.steps[2]])
    with pytest.raises(ValueError, match="no step"):
        replace(schedule, steps=[])


@pytest.mark.parametrize("name", ["norm-test", "goodput"])
def test_what_depends_on_measurements_is_exported_from_a_run(name):
    with pytest.raises(ValueError, match=f"what {name} does depends on what it measures"):
        planned_schedule(overlay(load_settings("demo", None), {"schedule": name}))
