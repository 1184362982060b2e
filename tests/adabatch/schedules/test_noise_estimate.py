"""Averages of noise and gradient, against a slow twin that keeps every step."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.coordinate_moments import CoordinateMoments, RatioHistogram
from adabatch.moments.gradient_moments import GradientMoments
from adabatch.schedules.noise_estimate import NoiseEstimate


def moments(trace: float, square: float, batch: int = 8) -> GradientMoments:
    """Of a step on this batch whose estimates of tr Sigma and ||G||^2 are these; the second may be negative."""
    norm = square + trace / batch
    return GradientMoments(2, batch / 2, 2 * norm + trace / (batch / 2), norm)


def twin(values: list[float]) -> tuple[float, float]:
    """The average and whether most steps agree on its sign, from all values: weights 0.1 x 0.9^age."""
    kept: list[float] = []
    for step, value in enumerate(values):
        weights = [0.9 ** (step - 1 - index) for index in range(step)]
        if step >= 5:
            largest = 3 * sum(w * abs(k) for w, k in zip(weights, kept, strict=True)) / sum(weights)
            value = min(max(value, -largest), largest) if largest else value
        kept.append(value)
    weights = [0.9 ** (len(kept) - 1 - index) for index in range(len(kept))]
    mean = sum(w * k for w, k in zip(weights, kept, strict=True))
    return mean, mean > sum(w * abs(k) for w, k in zip(weights, kept, strict=True)) / 2


steps = st.lists(st.tuples(st.floats(0.1, 100), st.floats(-5, 5)), min_size=1, max_size=30)


@given(steps)
@settings(max_examples=60, deadline=None)
def test_the_average_is_the_slow_twins(drawn: list[tuple[float, float]]) -> None:
    estimate = NoiseEstimate()
    for pair in drawn:
        estimate.add(moments(*pair))
    (noise, _), (gradient, resolved) = (twin([pair[index] for pair in drawn]) for index in (0, 1))
    if abs(gradient) > 1e-3:  # beyond rounding
        assert estimate.value == pytest.approx(noise / gradient if gradient > 0 else math.inf, rel=1e-6)
        assert estimate.resolved == (resolved and len(drawn) >= 3)


@given(steps, st.integers(0, 30))
@settings(max_examples=30, deadline=None)
def test_a_state_through_json_continues_bit_for_bit(drawn: list[tuple[float, float]], cut: int) -> None:
    whole, begun, resumed = NoiseEstimate(), NoiseEstimate(), NoiseEstimate()
    for pair in drawn[:cut]:
        begun.add(moments(*pair))
    resumed.load_state_dict(json.loads(json.dumps(begun.state_dict())))
    for pair in drawn:
        whole.add(moments(*pair))
    for pair in drawn[cut:]:
        resumed.add(moments(*pair))
    assert resumed.state_dict() == whole.state_dict()


def test_a_step_that_goes_wild_counts_as_three() -> None:
    calm, wild, limit = NoiseEstimate(), NoiseEstimate(), NoiseEstimate()
    for _ in range(20):
        for estimate in (calm, wild, limit):
            estimate.add(moments(40.0, 2.0))
    calm.add(moments(40.0, 2.0))
    wild.add(moments(4e6, 2.0))
    limit.add(moments(120.0, 2.0))
    assert wild.value == pytest.approx(limit.value, rel=1e-9)
    assert calm.value == pytest.approx(20.0)
    assert wild.value < 1.3 * calm.value


def test_noise_alone_is_not_resolved() -> None:
    """Without a gradient its debiased square has any sign: hardly any of 400 averages is taken for resolved."""
    draw, found = np.random.default_rng(0), 0
    for _ in range(400):
        estimate = NoiseEstimate()
        for square in draw.normal(size=40):
            estimate.add(moments(40.0, square))
        found += estimate.resolved
    assert found < 0.05 * 400
    for square in draw.normal(1.0, 1.0, size=40):  # as much gradient as its own noise
        estimate.add(moments(40.0, square))
    assert estimate.resolved


def test_steps_without_gradient_do_not_hide_those_after_them() -> None:
    estimate = NoiseEstimate()
    for square in [0.0] * 6 + [2.0] * 30:
        estimate.add(moments(40.0, square))
    assert estimate.resolved
    assert estimate.value == pytest.approx(20.0, rel=0.1)


def test_two_steps_are_too_few() -> None:
    estimate = NoiseEstimate()
    for expected in (False, False, True):
        estimate.add(moments(40.0, 2.0))
        assert estimate.resolved == expected


def of_coordinates(**changes: object) -> CoordinateMoments:
    plain = {
        "sum_of_standard_deviations": 12.0,
        "plug_in_l1_norm": 100.0,
        "conservative_l1_norm": 3.0,
        "ratios": RatioHistogram.of(np.ones(1)),
        "weighted_sums": (10.0, 0.5),
    }
    return CoordinateMoments(8, 2, 10.0, 1.0, **(plain | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(("scale", "expected"), [("l1", (12 / 3) ** 2), ("weighted", 10 / 0.5)])
def test_scales_of_coordinates_in_samples_also_where_the_unit_is_the_token(scale: str, expected: float) -> None:
    """The moments are of 16 tokens; with 4 samples behind them a sample is 4 tokens, and B a quarter as many."""
    for samples, factor in ((None, 1.0), (4, 0.25)):
        estimate = NoiseEstimate(scale)
        for _ in range(3):
            estimate.add(replace(of_coordinates(), samples=samples))
        assert estimate.value == pytest.approx(expected * factor)
        assert estimate.resolved


def test_the_trace_scale_in_samples_where_the_unit_is_the_token() -> None:
    for samples, expected in ((None, 20.0), (2, 5.0)):
        estimate = NoiseEstimate()
        for _ in range(3):
            estimate.add(replace(moments(40.0, 2.0), samples=samples))
        assert estimate.value == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scale", "missing", "message"),
    [("l1", "conservative_l1_norm", "conservative=True"), ("weighted", "weighted_sums", "weighted=True")],
)
def test_what_was_not_measured_is_named(scale: str, missing: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NoiseEstimate(scale).add(of_coordinates(**{missing: None}))
