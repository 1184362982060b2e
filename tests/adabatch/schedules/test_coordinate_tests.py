"""The l1 norm test and the coordinate-wise test as schedules, and what they are given."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from adabatch.moments.coordinate_moments import BINS, RESOLUTION, CoordinateMoments, RatioHistogram
from adabatch.moments.gradient_moments import GradientMoments
from adabatch.schedules import Composed, CoordinateTest, L1NormTest, LinearRamp, NoiseLimit
from adabatch.statistics import CoordinateStatistics


def moments(ratios=(1.0, 10.0, 100.0, 1000.0), conservative=None, batch=8) -> CoordinateMoments:
    return CoordinateMoments(
        groups=2,
        group_size=batch // 2,
        sum_of_squares=10.0,
        squared_norm=2.0,
        sum_of_standard_deviations=6.0,
        plug_in_l1_norm=2.0,
        conservative_l1_norm=conservative,
        ratios=RatioHistogram.of(np.array(ratios)),
    )


def test_the_l1_test_asks_for_its_batch():
    schedule = L1NormTest(eta=0.5, initial=8, maximum=64)
    decision = schedule.update(moments())
    assert (decision.batch_size, decision.reason) == (36, "grow")  # 6^2 / (0.5 * 2)^2


def test_the_conservative_denominator_asks_for_more_or_says_that_it_cannot_tell():
    schedule = L1NormTest(eta=0.5, initial=8, maximum=1000, conservative=True)
    assert schedule.update(moments(conservative=1.0)).batch_size == 144
    schedule = L1NormTest(eta=0.5, initial=8, maximum=1000, conservative=True)
    assert schedule.update(moments(conservative=-0.1)).batch_size == 8
    assert schedule.unresolved == 1
    with pytest.raises(ValueError, match="conservative=True"):
        schedule.update(moments())


def test_the_coordinate_test_asks_for_its_quantile():
    schedule = CoordinateTest(eta=0.5, initial=8, maximum=10_000, quantile=0.75)
    assert 400 <= schedule.update(moments()).batch_size <= 405  # 100 / 0.5^2, to 1%
    schedule = CoordinateTest(eta=0.5, initial=8, maximum=10_000, quantile=0.25, ema=0.9)
    assert schedule.update(moments()).batch_size == 8  # 1 / 0.5^2 is met


@pytest.mark.parametrize(
    ("floor", "asked"),
    [(0.0, 36), (1.0, 36), (4.0, 9)],  # 6^2 / (0.5 max(2, floor))^2
)
def test_the_l1_test_counts_a_smaller_norm_as_its_floor(floor, asked):
    for ema in (0.0, 0.5):  # of one test the average is a half, and the floor is not
        test = L1NormTest(eta=0.5, initial=8, maximum=64, ema=ema, norm_floor=floor)
        assert test.update(moments()).batch_size == asked
    unresolved = L1NormTest(eta=0.5, initial=8, maximum=64, conservative=True, norm_floor=4.0)
    assert unresolved.update(moments(conservative=-1.0)).batch_size == 9


def test_the_coordinate_test_has_its_floor_in_every_coordinate():
    weights = torch.tensor([[3.0, 0.1, -0.001]])
    found = {}
    for floor in (0.0, 0.5):
        model = nn.Linear(3, 1, bias=False)
        statistics = CoordinateStatistics(model, norm_floor=floor)
        for side in (-1.0, 1.0):
            (model(weights + side * torch.tensor([[1.0, 0.2, 0.002]])).sum() / 2).backward()
            statistics.end_microbatch(samples=1)
        found[floor] = statistics.finish()
    # sigma^2 = 2 (side)^2: 2, .08, 8e-6; over g^2 = 9, .01, 1e-6, or over at least .25
    for floor, ratios in ((0.0, [2 / 9, 8.0, 8.0]), (0.5, [2 / 9, 0.32, 3.2e-5])):
        exact = RatioHistogram.of(np.array(ratios) * (1 - 1e-6))
        for share in (0.3, 0.6, 1.0):
            assert found[floor].ratios.quantile(share) == pytest.approx(exact.quantile(share), rel=0.01)
    test = CoordinateTest(0.5, 2, 64, quantile=0.9, norm_floor=0.5)
    assert test.update(found[0.5]).batch_size == 2  # .32 / .25
    assert CoordinateTest(0.5, 2, 64, quantile=0.9).update(found[0.0]).batch_size in (32, 33)
    with pytest.raises(ValueError, match=r"floor of 0, but the test's is 0\.5: take CoordinateStatistics"):
        CoordinateTest(0.5, 2, 64, norm_floor=0.5).update(found[0.0])


def test_without_noise_nothing_grows_and_without_gradient_everything_does():
    assert CoordinateTest(0.5, 8, 64).update(moments(ratios=[0.0] * 4)).batch_size == 8
    assert CoordinateTest(0.5, 8, 64).update(moments(ratios=[math.inf] * 4)).batch_size == 64


def test_no_coordinate_is_above_the_last_quantile():
    """Weighted counts, whose running sum may end below their sum."""
    draw = np.random.default_rng(0)
    for _ in range(20):
        assert RatioHistogram(1e5 * draw.random(BINS + 1)).quantile(1.0) == math.inf


def test_an_average_forgets_a_test_without_gradient():
    """One infinite quantile among finite ones asks for the maximum once, and not in all tests after it."""
    schedule = CoordinateTest(1.0, 8, 4096, ema=0.9)
    found = []
    for step in range(70):
        ratios = [math.inf] * 4 if step == 10 else [1.0] * 4
        found.append(schedule.update(moments(ratios, batch=schedule.batch_size)).statistic)
    assert found[10] == pytest.approx(1 + 4095 * 0.1 / (1 - 0.9**11), rel=0.01)
    assert found[9] == pytest.approx(1, rel=0.01)
    assert found[-1] < 2


@pytest.mark.parametrize(
    "schedule",
    [
        L1NormTest(0.5, 8, 64),
        CoordinateTest(0.5, 8, 64),
        *(Composed(LinearRamp(8, 64, 64), limit=NoiseLimit(1.0, scale)) for scale in ("l1", "weighted")),
    ],
)
def test_moments_without_coordinates_are_refused(schedule):
    with pytest.raises(ValueError, match="attach CoordinateStatistics"):
        schedule.update(GradientMoments(2, 4, 10.0, 2.0))
    with pytest.raises(ValueError, match="at least 2 groups"):  # CoordinateStatistics gives these, too
        schedule.update(GradientMoments(1, 8, 10.0, 2.0))


@given(st.lists(st.floats(0, 1e14), min_size=1, max_size=30), st.floats(0.01, 0.99), st.floats(1e-5, 1e14))
@settings(deadline=None, max_examples=200)
def test_shares_and_quantiles_are_right_to_one_percent(ratios, share, limit):
    histogram, exact = RatioHistogram.of(np.array(ratios)), np.quantile(ratios, share, method="inverted_cdf")
    lowest = RatioHistogram.edges()[0]
    slack = 1e-9
    assert exact * (1 - slack) <= histogram.quantile(share) <= max(exact * RESOLUTION, lowest) * (1 + slack)
    low, high = (np.mean(np.array(ratios) <= limit * factor) for factor in (1 / RESOLUTION - slack, 1 + slack))
    assert low <= histogram.share(limit) <= high


@given(
    scale=st.integers(-12, 12).map(lambda k: 10.0**k),
    groups=st.integers(2, 6),
    seed=st.integers(0, 1000),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(deadline=None, max_examples=50)
def test_scaling_the_gradients_scales_the_sums_and_leaves_the_dimensions(scale, groups, seed, dtype):
    generator = torch.Generator().manual_seed(seed)
    data = (torch.randn(groups, 7, generator=generator) + 1).to(dtype)
    results = []
    for factor in (1.0, scale):
        model = nn.Linear(7, 1, bias=False).to(dtype)
        statistics = CoordinateStatistics(model, conservative=True)
        for row in data:
            (factor * model(row).sum() / groups).backward()
            statistics.end_microbatch(1, loss_scale=1.0)
        results.append(statistics.finish())
    one, scaled = results
    close = {"rel": 1e-12 if dtype == torch.float64 else 1e-3}
    assert scaled.sum_of_standard_deviations == pytest.approx(scale * one.sum_of_standard_deviations, **close)
    assert scaled.plug_in_l1_norm == pytest.approx(scale * one.plug_in_l1_norm, **close)
    assert scaled.conservative_l1_norm == pytest.approx(
        scale * one.conservative_l1_norm, rel=close["rel"], abs=1e-5 * scaled.plug_in_l1_norm
    )
    assert scaled.effective_dimensions.noise == pytest.approx(one.effective_dimensions.noise, **close)


def test_fp32_sums_keep_deviations_down_to_what_is_documented():
    """Groups that differ by 1e-2 of the gradient: 0.1% in fp32; by 1e-5: lost, to within 3e-4 of |g|."""
    errors = {}
    for relative in (1e-2, 1e-5):
        generator = torch.Generator().manual_seed(0)
        data = 1 + relative * torch.randn(4, 10_000, generator=generator, dtype=torch.float64)
        sums = []
        for dtype in (torch.float32, torch.float64):
            model = nn.Linear(10_000, 1, bias=False).to(dtype)
            statistics = CoordinateStatistics(model)
            for row in data:
                (model(row.to(dtype)).sum() / 4).backward()
                statistics.end_microbatch(1, loss_scale=1.0)
            sums.append(statistics.finish().sum_of_standard_deviations)
        errors[relative] = abs(sums[0] - sums[1]) / 10_000
    assert errors[1e-2] < 1e-3 * 1e-2
    assert 1e-6 < errors[1e-5] < 4e-4 * 2


def test_one_group_gives_plain_moments():
    model = nn.Linear(3, 1)
    statistics = CoordinateStatistics(model)
    model(torch.ones(1, 3)).sum().backward()
    statistics.end_microbatch(1)
    assert not isinstance(statistics.finish(), CoordinateMoments)
    model.zero_grad()
    for index in range(2):  # nothing is left of that step, and enabling what is enabled changes nothing
        (model(torch.full((1, 3), 1.0 + index)).sum() / 2).backward()
        statistics.end_microbatch(1)
        statistics.enable()
    moments = statistics.finish()
    # Gradients (1, 1, 1) and (2, 2, 2) of the weight, 1 and 1 of the bias.
    assert moments.sum_of_standard_deviations == pytest.approx(3 * (1 / 2) ** 0.5 / (2 / torch.pi) ** 0.5)
    assert moments.plug_in_l1_norm == pytest.approx(5.5)


def test_a_gradient_without_strides():
    """The gradient of a sum is a single 1, expanded."""
    weight = nn.Parameter(torch.zeros(100))
    model = nn.ParameterList([weight])
    statistics = CoordinateStatistics(model)
    for scale in (1.0, 3.0):
        (scale * weight.sum() / 2).backward()
        statistics.end_microbatch(1)
    moments = statistics.finish()
    assert moments.plug_in_l1_norm == pytest.approx(200.0)
    assert moments.sum_of_standard_deviations == pytest.approx(100 * math.sqrt(2) / math.sqrt(2 / math.pi))
