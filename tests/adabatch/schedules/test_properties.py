"""For any gradients: the proposed batch never falls, stays within a unit of the maximum, can be made."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.coordinate_moments import CoordinateMoments, RatioHistogram
from adabatch.schedules import (
    Constant,
    CoordinateTest,
    L1NormTest,
    LinearRamp,
    MicroBatching,
    NormTest,
    Replay,
    Seesaw,
    Stagewise,
)
from adabatch.schedules.learning_rate import LearningRate

magnitudes = st.one_of(st.just(0.0), st.integers(-24, 24).map(lambda power: 10.0**power), st.floats(0.1, 10))
"""Of squared norms: gradients from 1e-12 to 1e12, and nothing at all."""


@st.composite
def layouts(draw, groups=1):
    """The first batch and its layout: any ranks, accumulation and micro-batch, at least that many groups."""
    ranks, accumulation = draw(st.integers(1, 9)), draw(st.integers(1, 5))
    accumulation = max(accumulation, -(-groups // ranks))
    micro_batch, extra = draw(st.integers(1, 9)), draw(st.integers(0, 9))
    initial = ranks * accumulation * micro_batch
    return initial, MicroBatching.starting_at(initial, ranks, micro_batch, micro_batch + extra)


@st.composite
def moments(draw, layout, batch):
    """A step's, with the groups that the layout makes of this batch."""
    groups = layout.plan(batch).groups
    squared_norm = draw(magnitudes)
    return CoordinateMoments(
        groups=groups,
        group_size=batch / groups,
        sum_of_squares=groups * squared_norm + draw(magnitudes),
        squared_norm=squared_norm,
        sum_of_standard_deviations=draw(magnitudes),
        plug_in_l1_norm=draw(magnitudes),
        conservative_l1_norm=draw(magnitudes) - draw(magnitudes),
        ratios=RatioHistogram.of(np.array(draw(st.lists(magnitudes, min_size=1, max_size=4)))),
    )


@st.composite
def norm_tests(draw):
    initial, layout = draw(layouts(groups=2))
    maximum = initial + draw(st.integers(0, 5000))
    common = {
        "test_interval": draw(st.integers(1, 3)),
        "ema": draw(st.sampled_from((0.0, 0.9))),
        "max_growth": draw(st.sampled_from((0.0, 1.5, 8.0))),
    }
    kind, own = draw(
        st.sampled_from(
            [
                *[
                    (NormTest, {"estimator": name, "norm_floor": floor})
                    for name in ("paper", "unbiased", "debiased")
                    for floor in (0.0, 1.0)
                ],
                *[(L1NormTest, {"conservative": True, "norm_floor": floor}) for floor in (0.0, 1.0)],
                (L1NormTest, {"conservative": False}),
                (CoordinateTest, {"quantile": 0.5}),
            ]
        )
    )
    grows = {"unbiased": 1.0, "paper": math.sqrt((layout.plan(initial).groups - 1) / initial)}
    largest = grows.get(str(own.get("estimator")), math.inf)
    eta = draw(st.sampled_from([eta for eta in (1e-3, 0.2, 0.8, 3.0) if eta < largest]))
    return rounded(kind(eta, initial, maximum, **common, **own), layout)


def rounded(schedule, layout):
    schedule.round_by(layout)
    return schedule


def can_be_made(schedule):
    """Ranks x accumulation x micro-batch is the batch, and the micro-batch fits."""
    plan = schedule.rounding.plan(schedule.batch_size)
    assert plan.world_size * plan.accumulation * plan.micro_batch == schedule.batch_size
    assert 1 <= plan.micro_batch <= schedule.rounding.max_micro_batch
    assert plan.accumulation >= schedule.rounding.accumulation


@settings(max_examples=300, deadline=None)
@given(schedule=norm_tests(), data=st.data())
def test_a_norm_test_grows_by_what_it_measures_and_never_falls(schedule, data):
    layout = schedule.rounding
    unit = layout.plan(schedule.maximum).groups
    for _ in range(data.draw(st.integers(1, 8))):
        before, samples = schedule.batch_size, schedule.samples
        if data.draw(st.integers(0, 9)) == 0:
            decision = schedule.skip()
        else:
            needed = schedule.needs_moments
            assert not needed or before < schedule.maximum
            decision = schedule.update(data.draw(moments(layout, before)) if needed else None)
        assert schedule.samples == samples + before
        assert before <= schedule.batch_size < schedule.maximum + unit
        can_be_made(schedule)
        assert decision.batch_size == schedule.batch_size
        wanted(schedule, before, decision)


def wanted(schedule, before, decision):
    """No less than the test asked for (up to cap and limit), and no more than rounding makes of it."""
    if decision.statistic is None:
        assert decision.reason in ("not tested", "skipped")
        assert schedule.batch_size == before
        return
    statistic = decision.statistic
    asked = before if math.isnan(statistic) else max(before, math.ceil(min(statistic, 1e15)))
    asked = min(asked, schedule.maximum)
    if schedule.max_growth:
        asked = min(asked, math.ceil(schedule.max_growth * before))
    assert asked <= schedule.batch_size < asked + schedule.rounding.plan(asked).groups
    assert decision.limited == (asked < min(max(before, decision.proposal), schedule.maximum))
    assert (decision.reason == "passed") == (statistic <= before)
    assert (decision.reason == "unresolved") == math.isnan(statistic)


@st.composite
def fixed_schedules(draw):
    initial, layout = draw(layouts())
    maximum = initial + draw(st.integers(0, 2000))
    samples = draw(st.integers(1, 20_000))
    sizes = sorted(draw(st.lists(st.integers(initial, maximum), min_size=1, max_size=4)))
    fractions = [1 / len(sizes)] * len(sizes)
    return draw(
        st.sampled_from(
            [
                rounded(Constant(initial), layout),
                rounded(LinearRamp(initial, maximum, samples), layout),
                rounded(Stagewise(sizes, fractions, samples), layout),
                rounded(Replay(sizes), layout),
                rounded(Seesaw(initial, maximum, LearningRate(1.0, 0.0, 0, 3 * samples + 30)), layout),
            ]
        )
    )


@settings(max_examples=200, deadline=None)
@given(schedule=fixed_schedules())
def test_schedules_that_do_not_measure(schedule):
    unit = schedule.rounding.plan(schedule.maximum).groups
    for _ in range(30):
        before = schedule.batch_size
        assert not schedule.needs_moments
        schedule.update()
        assert before <= schedule.batch_size < schedule.maximum + unit
        can_be_made(schedule)


@given(layout=layouts(), first=st.integers(1, 10**5), more=st.integers(0, 10**4))
def test_rounding_up_keeps_the_order_whatever_the_accumulation(layout, first, more):
    rounding = layout[1]
    assert first <= rounding.round_up(first) <= rounding.round_up(first + more)
