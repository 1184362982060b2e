"""Batch-size schedules: what they propose is realisable, monotone, capped, and survives saving."""

import json
import math
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.schedules import (
    Constant,
    CoordinateTest,
    Decision,
    L1NormTest,
    LinearRamp,
    MicroBatching,
    MicroBatchPlan,
    NormTest,
    Replay,
    Seesaw,
    Stagewise,
)
from adabatch.schedules.base import NeverGrowsError
from adabatch.schedules.learning_rate import LearningRate

layouts = st.builds(MicroBatching, st.integers(1, 64), st.integers(1, 16), st.integers(1, 64))


def moments(schedule, noise: float, groups: int = 2) -> GradientMoments:
    """Of the schedule's current batch: squared norm 1, and a deviation of n (n - 1) noise between groups."""
    size = schedule.batch_size / groups
    return GradientMoments(groups, size, groups + groups * (groups - 1) * noise, 1.0)


@given(layout=layouts, batch=st.integers(1, 10**6))
def test_plans_are_realisable_and_waste_less_than_a_unit(layout, batch):
    plan = layout.plan(batch)
    assert plan.batch_size == plan.world_size * plan.accumulation * plan.micro_batch
    assert batch <= plan.batch_size < batch + plan.world_size * plan.accumulation
    assert 1 <= plan.micro_batch <= layout.max_micro_batch
    assert plan.accumulation >= layout.accumulation
    assert layout.round_up(plan.batch_size) == plan.batch_size


@given(layout=layouts, batch=st.integers(1, 10**5))
def test_the_micro_batch_grows_before_accumulation(layout, batch):
    plan = layout.plan(batch)
    if plan.accumulation > layout.accumulation:
        # one accumulation step fewer could not hold the batch
        assert plan.world_size * (plan.accumulation - 1) * layout.max_micro_batch < batch


@given(layout=layouts, batch=st.integers(1, 10**6), limit=st.integers(1, 64), data=st.data())
def test_fewer_ranks_make_the_same_batches_in_the_same_groups(layout, batch, limit, data):
    divisors = [ranks for ranks in range(1, layout.world_size + 1) if layout.world_size % ranks == 0]
    fewer = replace(layout, present=data.draw(st.sampled_from(divisors)))
    plan, expected = fewer.plan(batch), layout.plan(batch)
    assert plan.world_size == fewer.present
    assert (plan.groups, plan.micro_batch) == (expected.groups, expected.micro_batch)
    assert fewer.round_up(batch) == expected.batch_size
    limited = replace(fewer, micro_batch_limit=limit).plan(batch)
    assert (limited.batch_size, limited.world_size) == (expected.batch_size, fewer.present)
    assert limited.micro_batch <= limit


def test_the_papers_own_layout():
    """4 workers, accumulation 16, micro-batch 4, at most 8: a batch of 256 grows to 512, then by accumulation."""
    layout = MicroBatching.starting_at(256, world_size=4, micro_batch=4, max_micro_batch=8)
    assert layout == MicroBatching(4, 16, 8)
    assert layout.plan(512) == MicroBatchPlan(4, 16, 8)
    assert layout.plan(8192) == MicroBatchPlan(4, 256, 8)
    assert layout.plan(513) == MicroBatchPlan(4, 17, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((10, 4, 1, 1), "multiple of 4, such as 8 or 12"),
        ((2, 4, 1, 1), "multiple of 4, such as 4"),
        ((8, 2, 4, 2), "raise --max-micro-batch"),
        ((8, 0, 4, 4), "at least 1"),
    ],
)
def test_batches_that_cannot_be_made(arguments, message):
    with pytest.raises(ValueError, match=message):
        MicroBatching.starting_at(*arguments)


def test_norm_test_asks_for_the_statistic():
    schedule = NormTest(eta=0.5, initial=8, maximum=1000)
    # T = m * n * noise / eta^2 = 8 * 2 / 0.25
    decision = schedule.update(moments(schedule, noise=2.0))
    assert decision == Decision(64, 64, "grow", pytest.approx(64), decided_by="norm-test")
    assert schedule.batch_size == 64
    decision = schedule.update(moments(schedule, noise=0.1))
    assert (decision.batch_size, decision.reason) == (64, "passed")


@pytest.mark.parametrize("estimator", ["unbiased", "debiased", "paper"])
@pytest.mark.parametrize("ema", [0.0, 0.9])
def test_moments_in_tokens_ask_for_the_same_samples(estimator, ema):
    """Equal groups, with and without their 50 tokens per sample: the same decisions, in samples."""
    plain, told = (NormTest(0.3, 8, 10**6, estimator=estimator, ema=ema) for _ in range(2))
    for noise in (0.3, 0.05, 0.2):
        of_samples = moments(plain, noise)
        size = 50 * of_samples.group_size
        of_tokens = GradientMoments(2, size, of_samples.sum_of_squares, 1.0, samples=told.batch_size)
        assert told.statistic(of_tokens) == pytest.approx(plain.statistic(of_samples), rel=1e-12)
        first, second = plain.update(of_samples), told.update(of_tokens)
        assert (first.batch_size, first.reason) == (second.batch_size, second.reason)


def test_moments_in_tokens_are_of_the_samples_that_were_asked_for():
    schedule = NormTest(eta=0.5, initial=8, maximum=1000)
    with pytest.raises(ValueError, match="batch of 6 samples, but the schedule asked for 8"):
        schedule.update(GradientMoments(2, 4, 4.0, 1.0, samples=6))
    # 2 groups, 40 tokens of 8 samples: trace 20 (4 - 2) / 1 = 40, T = 40 / 0.25 = 160 tokens, which are 32 samples
    assert schedule.update(GradientMoments(2, 20, 4.0, 1.0, samples=8)).statistic == pytest.approx(32)


def test_a_sudden_proposal_is_limited_and_recorded():
    schedule = NormTest(eta=0.5, initial=8, maximum=1000, max_growth=4.0)
    decision = schedule.update(moments(schedule, noise=2.0))
    assert (decision.batch_size, decision.proposal, decision.limited) == (32, 64, True)
    assert not schedule.update(moments(schedule, noise=0.1)).limited


def test_the_cap_is_not_a_growth_limit():
    schedule = NormTest(eta=0.5, initial=8, maximum=16, max_growth=4.0)
    decision = schedule.update(moments(schedule, noise=100.0))
    assert (decision.batch_size, decision.limited) == (16, False)


def test_no_test_at_the_maximum():
    schedule = NormTest(eta=0.1, initial=8, maximum=16)
    schedule.update(moments(schedule, noise=100.0))
    assert schedule.batch_size == 16
    assert not schedule.needs_moments
    assert schedule.update(None) == Decision(16, 16, "not tested", decided_by="maximum")


def test_test_interval():
    schedule = NormTest(eta=0.9, initial=8, maximum=64, test_interval=3)
    needed = []
    for _ in range(6):
        needed.append(schedule.needs_moments)
        schedule.update(moments(schedule, noise=0.01) if schedule.needs_moments else None)
    assert needed == [False, False, True, False, False, True]


def test_an_unresolved_gradient_keeps_the_batch_and_is_counted():
    schedule = NormTest(eta=0.5, initial=8, maximum=64, estimator="debiased")
    decision = schedule.update(moments(schedule, noise=2.0))  # debiased squared norm 1 - 2 < 0
    assert (decision.batch_size, decision.reason, schedule.unresolved) == (8, "unresolved", 1)
    assert math.isnan(decision.statistic)


def test_averages_are_taken_before_the_division_and_unclamped():
    schedule = NormTest(eta=1.0, initial=8, maximum=10**6, estimator="debiased", ema=0.5)
    schedule.update(moments(schedule, noise=2.0))  # variance 16, squared norm -1
    assert schedule.unresolved == 1
    decision = schedule.update(moments(schedule, noise=0.25))  # variance 2, squared norm 0.75
    # (0.25 * 16 + 0.5 * 2) / (0.25 * -1 + 0.5 * 0.75)
    assert decision.statistic == pytest.approx(5 / 0.125)


@pytest.mark.parametrize(("floor", "counted"), [(0.5, 1.0), (2.0, 4.0)])
def test_a_floor_is_of_averages_of_full_size(floor, counted):
    """Of the first test the average is a tenth: a floor below the gradient must not bind there."""
    schedule = NormTest(eta=0.5, initial=8, maximum=10**6, ema=0.9, norm_floor=floor)
    for _ in range(3):
        noise = 64 / schedule.batch_size  # tr Sigma = 64, ||g||^2 = 1
        assert schedule.update(moments(schedule, noise)).statistic == pytest.approx(256 / counted)


def test_stagewise():
    schedule = Stagewise([2, 4, 8], [0.25, 0.25, 0.5], total_samples=32)
    sizes = []
    while schedule.samples < 32:
        sizes.append(schedule.batch_size)
        schedule.update()
    assert sizes == [2, 2, 2, 2, 4, 4, 8, 8]


@given(cuts=st.sets(st.integers(1, 99), min_size=1, max_size=4), total=st.integers(1, 10**12))
def test_stages_end_with_their_shares_of_the_budget_exactly(cuts, total):
    """Against rationals: 100 samples by 0.1, 0.2, 0.7 change at 10 and 30, though 0.1 + 0.2 is above 0.3."""
    bounds = [0, *sorted(cuts), 100]
    fractions = [(end - begin) / 100 for begin, end in pairwise(bounds)]
    stages = Stagewise(range(1, len(bounds)), fractions, total)
    assert stages.ends == [math.ceil(Fraction(end, 100) * total) for end in bounds[1:]]


def test_replay_follows_the_samples_seen():
    recorded = [4, 4, 8, 16]
    assert played(Replay(recorded), 4) == [*recorded, 16]
    # having seen 8 to 15 samples the other run took 8, from 16 on 16, here in twelves
    assert played(Replay(recorded, multiple_of=12), 3) == [12, 12, 24, 24]


def played(schedule, steps):
    return [schedule.batch_size, *(schedule.update().batch_size for _ in range(steps))]


def test_linear_ramp():
    schedule = LinearRamp(4, 16, ramp_samples=24)
    sizes = []
    while schedule.samples < 60:
        sizes.append(schedule.batch_size)
        schedule.update()
    assert sizes[:4] == [4, 6, 9, 14]
    assert sizes[-1] == 16
    assert sizes == sorted(sizes)


SCHEDULES = {
    "constant": lambda: Constant(12, multiple_of=4),
    "stagewise": lambda: Stagewise([2, 8], [0.5, 0.5], 64),
    "ramp": lambda: LinearRamp(4, 32, 100),
    "seesaw": lambda: Seesaw(4, 32, LearningRate(1.0, 0.0, 10, 120), multiple_of=4),
    "replay": lambda: Replay([4, 4, 6, 12, 12, 40]),
    "norm test": lambda: NormTest(0.7, 4, 512, estimator="debiased", ema=0.9, test_interval=2, norm_floor=0.1),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_state_survives_json_exactly(name):
    def play(schedule, steps, start=0):
        history = []
        for step in range(start, start + steps):
            noise = 0.1 + (step * 7 % 5) / 3
            history.append(schedule.update(moments(schedule, noise) if schedule.needs_moments else None))
        return history

    whole, first, second = (SCHEDULES[name]() for _ in range(3))
    expected = play(whole, 20)
    begun = play(first, 9)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert begun + play(second, 11, start=9) == expected
    assert second.state_dict() == whole.state_dict()


def test_a_skipped_step_counts_its_samples_and_keeps_the_batch():
    schedule = NormTest(eta=0.5, initial=8, maximum=64)
    assert schedule.skip() == Decision(8, 8, "skipped", decided_by="norm-test")
    assert (schedule.samples, schedule.steps) == (8, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NormTest(0.0, 4, 8), "eta must be from 1e-06 to 1,000,000, but is"),
        (lambda: NormTest(math.nan, 4, 8), "eta must be from 1e-06 to 1,000,000, but is"),
        (lambda: NormTest(1e-200, 4, 8), "from 1e-06 to 1,000,000, but is 1e-200"),
        (lambda: NormTest(1e200, 4, 8, estimator="debiased"), "from 1e-06 to 1,000,000, but is 1e[+]200"),
        (
            lambda: NormTest(1.0, 4, 8),
            "unbiased test at eta 1 passes at any batch.*take --eta below 1",
        ),
        (lambda: NormTest(2.0, 4, 8), "or --estimator debiased"),
        (lambda: NormTest(0.5, 4, 8, max_growth=math.nan), "above 1, or 0 for none, but is nan"),
        (lambda: NormTest(0.5, 4, 8, ema=math.nan), r"in \[0, 1\)"),
        (lambda: L1NormTest(1e-7, 4, 8), "from 1e-06 to 1,000,000"),
        (lambda: CoordinateTest(0.5, 4, 8, quantile=0.0), "between 0 and 1, but is 0.0"),
        (lambda: Stagewise([1, 2], [0.5, math.nan], 10), "add up to 1"),
        (lambda: NormTest(0.5, 4, 8, estimator="best"), "take one of paper, unbiased, debiased"),
        (lambda: NormTest(0.5, 4, 8, test_interval=0), "at least 1 step"),
        (lambda: NormTest(0.5, 4, 8, ema=1.0), r"in \[0, 1\)"),
        (lambda: NormTest(0.5, 8, 4), "maximum batch 4 is below the initial batch 8"),
        (lambda: NormTest(0.5, 4, 8, max_growth=1.0), "above 1, or 0 for none, but is 1.0"),
        (lambda: NormTest(0.5, 4, 8, max_growth=-2.0), "above 1, or 0 for none, but is -2.0"),
        (lambda: Replay([]), "at least one step"),
        (lambda: Replay.of_records([{"batch_size": 4}, {"step": 2}]), "complete metrics"),
        (lambda: Constant(0), "at least 1 sample"),
        (lambda: Constant(4, multiple_of=0), "unit of at least 1 sample"),
        (lambda: Stagewise([1, 2], [1.0], 10), "one batch size per fraction"),
        (lambda: Stagewise([1, 2], [0.5, 0.6], 10), "add up to 1"),
        (lambda: Stagewise([0, 2], [0.5, 0.5], 10), "at least 1 sample"),
        (lambda: LinearRamp(1, 2, 0), "more than 0 samples"),
    ],
)
def test_bad_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_estimators_that_grow_at_eta_above_1():
    """B_noise / eta^2 is positive for any eta; the other tests have no such level."""
    for schedule in (NormTest(2.0, 4, 8, estimator="debiased"), L1NormTest(1.2, 4, 8), CoordinateTest(1.5, 4, 8)):
        assert schedule.needs_moments


@given(groups=st.integers(2, 50), size=st.integers(1, 50), share=st.floats(0.2, 5.0))
def test_the_published_test_is_refused_where_it_saturates_below_the_batch(groups, size, share):
    batch = groups * size
    eta = share * math.sqrt((groups - 1) / batch)  # at share 1 the level (n - 1) / eta^2 is the batch
    schedule = NormTest(eta, batch, batch + 1, estimator="paper")
    if abs(share - 1) < 1e-9:
        return
    # Noise without gradient: S - n ||g||^2 = (n - 1) tr / m and ||g||^2 = tr / b, at tr = b.
    expected = GradientMoments(groups, size, groups + groups * (groups - 1), 1.0)
    assert (schedule.statistic(expected) > batch) == (share < 1)
    if share < 1:
        schedule.require_growth(groups)
        assert schedule.update(expected).reason == "grow"
        return
    for refused in (lambda: schedule.require_growth(groups), lambda: schedule.update(expected)):
        with pytest.raises(NeverGrowsError, match=rf"n = {groups} groups, and the batch is {batch} already"):
            refused()
    NormTest(eta, batch, batch, estimator="paper").require_growth(groups)  # asked not to grow
    NormTest(0.5, batch, batch + 1).require_growth(groups)


def test_a_growth_limit_beyond_all_numbers_is_none():
    schedule = NormTest(eta=0.5, initial=8, maximum=1000, max_growth=1e308)
    assert schedule.update(moments(schedule, noise=2.0)) == Decision(
        64, 64, "grow", pytest.approx(64), decided_by="norm-test"
    )


def test_moments_of_another_batch_and_missing_or_broken_moments():
    schedule = NormTest(eta=0.5, initial=8, maximum=64)
    with pytest.raises(ValueError, match="batch of 6 samples, but the schedule asked for 8"):
        schedule.update(GradientMoments(2, 3, 4.0, 1.0))
    with pytest.raises(ValueError, match="is a test step"):
        schedule.update(None)
    with pytest.raises(ValueError, match="not finite"):
        schedule.update(GradientMoments(2, 4, math.inf, 1.0))
