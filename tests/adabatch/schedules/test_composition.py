"""Rules with a floor and a noise limit: what is decided, by whom, and that the path of the rate is kept."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.schedules import (
    Composed,
    Constant,
    Exchange,
    Goodput,
    Late,
    LinearRamp,
    NoiseLimit,
    NormTest,
    Seesaw,
    Stagewise,
)
from adabatch.schedules.composition import schedule_from_settings
from adabatch.schedules.learning_rate import BatchScaling, LearningRate
from adabatch.schedules.paths import Linear
from adabatch.schedules.registry import RunContext
from adabatch.schedules.rounding import MultipleOf, round_down
from adabatch.schedules.step_times import StepTime
from tests.adabatch.schedules.test_properties import can_be_made, layouts, moments, rounded

TIME = StepTime(fixed=0.2, per_sample=0.01)
BUDGET = 20_000


def linear(scaling="none", reference=1):
    return LearningRate(1.0, 0.0, BUDGET // 10, BUDGET, BatchScaling(scaling, reference), Linear())


def of(batch, trace, square=2.0):
    """Moments whose B_noise is trace / square at every batch."""
    norm = square + trace / batch
    return GradientMoments(2, batch / 2, 2 * norm + trace / (batch / 2), norm)


def rules(initial, maximum):
    """Every rule that may be composed."""
    return {
        "stagewise": lambda: Stagewise([initial, maximum, initial], [0.2, 0.4, 0.4], BUDGET),
        "linear-ramp": lambda: LinearRamp(initial, maximum, BUDGET // 3),
        "late": lambda: Late(initial, maximum + 1, 0.3, 10**9),
        "exchange": lambda: Exchange(initial, maximum, linear()),
        "seesaw": lambda: Seesaw(initial, maximum, linear()),
        "goodput": lambda: Goodput(initial, maximum, TIME),
        "fitted goodput": lambda: Goodput(initial, max(maximum, 2 * initial)),
        "norm-test": lambda: NormTest(0.7, initial, maximum, max_growth=2.0),
    }


@st.composite
def compositions(draw):
    """How to build a composed schedule; its layout."""
    initial, layout = draw(layouts(groups=2))
    made = rules(initial, initial + draw(st.integers(1, 3000)))
    rule = draw(st.sampled_from(sorted(made)))
    floors = [None, *(name for name in sorted(made) if name not in (rule, "exchange", "seesaw"))]
    floor = draw(st.sampled_from(floors))
    eta = draw(st.sampled_from([None, 0.5, 1.0, 3.0]))

    def build():
        limit = None if eta is None else NoiseLimit(eta)
        return rounded(Composed(made[rule](), None if floor is None else made[floor](), limit), layout)

    return build, layout


def advance(schedule, drawn, skipped):
    """One step with these moments, or a skipped one; the time of a step is told as a trainer would."""
    schedule.observe_seconds(TIME.seconds(schedule.batch_size), schedule.batch_size)
    return schedule.skip() if skipped else schedule.update(drawn)


@settings(max_examples=50, deadline=None)
@given(built=compositions(), data=st.data())
def test_any_composition_stays_in_its_bounds_and_resumes_bit_for_bit(built, data):
    build, layout = built
    schedule, first = build(), layout.round_up(build().batch_size)
    unit, resumed, cut = layout.plan(schedule.maximum).groups, None, data.draw(st.integers(0, 7))
    for step in range(8):
        if step == cut:
            resumed = build()
            resumed.load_state_dict(json.loads(json.dumps(schedule.state_dict())))
        before, samples = schedule.batch_size, schedule.samples
        drawn, skipped = data.draw(moments(layout, before)), data.draw(st.integers(0, 9)) == 0
        decision = advance(schedule, drawn, skipped)
        if resumed is not None:
            assert repr(advance(resumed, drawn, skipped)) == repr(decision)  # NaN too
            assert resumed.state_dict() == schedule.state_dict()
        assert schedule.samples == samples + before
        assert all(part.samples == schedule.samples for part in schedule.parts)
        assert 1 <= schedule.batch_size < schedule.maximum + unit
        can_be_made(schedule)
        wanted = layout.round_up(max(part.batch_size for part in schedule.parts))
        ceiling = math.inf if schedule.limit is None else schedule.limit.ceiling
        assert schedule.batch_size <= max(ceiling, first)
        assert schedule.batch_size == min(wanted, max(first, round_down(layout, int(min(ceiling, 1e6)))))
        assert (decision.wanted is not None) == (schedule.batch_size < wanted)
        assert (decision.decided_by in ("noise limit", "first batch")) == (decision.wanted is not None)
        if not skipped and schedule.limit is None and all(part.name != "stagewise" for part in schedule.parts):
            falls = any(part.name == "goodput" for part in schedule.parts)
            assert falls or schedule.batch_size >= before


@settings(max_examples=25, deadline=None)
@given(built=compositions(), data=st.data(), scaling=st.sampled_from(["none", "sqrt", "linear"]))
def test_the_path_of_the_rate_is_kept_whatever_holds_the_batch_back(built, data, scaling):
    """With a = lr sqrt(b), or lr for linear: the sum of a over steps is the integral of the path.

    Without a scaling the path belongs to the batch that is wanted, and a is mean rate x b / sqrt(wanted).
    """
    schedule = built[0]()
    if schedule.learning_rate_scaling and scaling != "none":
        scaling = "none"
    rates, own = linear(scaling, 4), schedule.learning_rate_scaling
    total = expected = 0.0
    for _ in range(8):
        batch, start = schedule.batch_size, schedule.samples
        rate, mean = schedule.learning_rate(rates), schedule.rule.rates.mean if own == "sqrt" else rates.mean
        area = mean(start, start + batch) * batch
        if own == "sqrt":
            total, expected = total + rate * math.sqrt(batch), expected + area / math.sqrt(schedule.rule.initial)
        elif scaling == "linear":
            total, expected = total + rate, expected + area / 4
        elif scaling == "sqrt":
            total, expected = total + rate * math.sqrt(batch), expected + area / math.sqrt(4)
        else:
            total, expected = total + rate * math.sqrt(batch), expected + area / math.sqrt(schedule.wanted)
        advance(schedule, data.draw(moments(built[1], batch)), skipped=False)
    assert total == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_who_decides_is_named_in_turn():
    """A ramp to 64 over 400 samples, a norm test below it and a limit above."""
    schedule = Composed(
        LinearRamp(8, 64, 400), NormTest(0.5, 8, 256, estimator="debiased", max_growth=4.0), NoiseLimit(0.25)
    )
    decided, batches = [], []
    for trace in [0.5] * 10 + [3.0] * 30 + [0.1] * 40:
        decision = schedule.update(of(schedule.batch_size, trace))
        decided.append(decision.decided_by)
        batches.append(decision.batch_size)
    assert decided[:2] == ["linear-ramp"] * 2
    assert decided[2] == "first batch"  # B / eta^2 = 4 samples, known from the third step on
    assert batches[2] == 8
    assert "noise limit" in decided[10:40]
    assert decided[-1] == "first batch"
    alone = Composed(LinearRamp(8, 64, 400), NormTest(0.5, 8, 256, estimator="debiased"))
    decided = [alone.update(of(alone.batch_size, 30.0)).decided_by for _ in range(40)]
    assert decided[0] == "batch floor"  # 30 / 2 / .25 = 60
    assert decided[-1] == "linear-ramp"
    assert alone.batch_size == 64


def test_a_floor_is_tested_at_the_batch_that_was_taken():
    """The rule takes 64; the test passes there (T = 60), so that the floor stays at 8; at 32 it fails."""
    for taken, floor in ((64, 8), (32, 60)):
        schedule = Composed(Constant(taken), NormTest(0.5, 8, 256, estimator="debiased"))
        decision = schedule.update(of(taken, 30.0))
        assert schedule.floor.batch_size == floor
        assert (decision.reason, decision.statistic) == (("passed", "grow")[floor > 8], pytest.approx(60.0))


def test_without_a_limit_the_rate_is_the_rules():
    plain, composed = LinearRamp(8, 64, 400), Composed(LinearRamp(8, 64, 400), LinearRamp(8, 16, 400))
    for _ in range(20):
        assert composed.learning_rate(linear()) == plain.learning_rate(linear())
        plain.update()
        composed.update()


def test_a_composition_needs_what_its_parts_need():
    quiet = Composed(LinearRamp(8, 64, 400), Stagewise([8, 16], [0.5, 0.5], 400))
    assert (quiet.needs_moments, quiet.groups_needed, quiet.needs_coordinates) == (False, 1, False)
    limited = Composed(LinearRamp(8, 64, 400), None, NoiseLimit(1.0, "weighted"))
    assert (limited.needs_moments, limited.groups_needed, limited.needs_coordinates) == (True, 8, True)
    assert Composed(Exchange(8, 64, linear()), Goodput(8, 64)).needs_step_times
    with pytest.raises(ValueError, match="pass its moments"):
        limited.update()
    assert limited.samples == limited.rule.samples == 0  # nothing was counted


@given(layout=layouts(), batch=st.integers(1, 10**5))
def test_rounding_down_finds_the_largest_that_can_be_made(layout, batch):
    rounding = layout[1]
    down = round_down(rounding, batch)
    assert rounding.round_up(down) == down
    if down > batch:
        assert down == rounding.round_up(1)
    else:
        assert rounding.round_up(down + 1) > batch
    assert round_down(MultipleOf(8), batch) == max(8, batch // 8 * 8)


def build(**changes):
    usual = {
        "schedule": "linear-ramp", "batch_floor": "none", "noise_limit": 0.0, "noise_limit_scale": "trace",
        "initial_batch": 8, "max_batch": 64, "ramp_samples": 400, "exchange_share": 1.0, "seesaw_factor": 2.0,
        "test": "scalar", "eta": 0.8, "estimator": "unbiased", "test_interval": 1, "ema": 0.0, "max_growth": 8.0,
        "norm_floor": 0.0,
        "step_time": "0.2,0.01", "goodput_kappa": 1.4, "replay_run": "x",
    }  # fmt: skip
    context = RunContext(BUDGET, linear, lambda path: [{"batch_size": 8}, {"batch_size": 9}])
    return schedule_from_settings(SimpleNamespace(**(usual | changes)), context)


def test_a_rule_alone_is_not_wrapped():
    assert type(build()) is LinearRamp
    composed = build(schedule="exchange", noise_limit=1.0, batch_floor="norm-test")
    assert [type(part) for part in composed.parts] == [Exchange, NormTest]
    assert composed.limit.eta == 1.0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule": "norm-test", "batch_floor": "norm-test"}, "is that rule itself: leave out --batch-floor"),
        ({"batch_floor": "constant"}, "is the first batch, below which few rules go: leave out --batch-floor"),
        ({"schedule": "constant", "batch_floor": "norm-test"}, "is that rule alone: take --schedule norm-test"),
        ({"schedule": "constant", "noise_limit": 1.0}, "never goes beyond the first one, 8"),
        ({"max_batch": 8, "noise_limit": 1.0}, "raise --max-batch"),
        ({"schedule": "replay", "noise_limit": 1.0}, "another run's batches as they were"),
        ({"schedule": "replay", "batch_floor": "norm-test"}, "another run's batches as they were"),
        ({"batch_floor": "exchange"}, "exchange prescribes its own learning rate"),
        ({"batch_floor": "seesaw"}, "seesaw prescribes its own learning rate"),
        ({"batch_floor": "replay", "schedule": "norm-test"}, "another run's batches as they were"),
        ({"noise_limit_scale": "l1"}, "of the noise limit, which is off: add --noise-limit 1"),
        ({"noise_limit": 1e7}, "must be from 1e-06 to 1,000,000, but is 10000000.0"),
        ({"schedule": "norm-test", "eta": 1.0, "noise_limit": 1.0}, "take --eta below 1"),
    ],
)
def test_compositions_without_a_meaning_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        build(**changes)
