"""Learning rate and clipping."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from adabatch.schedules import Constant
from adabatch.schedules.learning_rate import BatchScaling, LearningRate
from adabatch.statistics.clipping import clip_gradients


@given(samples=st.integers(0, 2000), following=st.integers(0, 2000))
def test_learning_rate_stays_in_range_and_falls_after_the_warm_up(samples, following):
    rate = LearningRate(peak=4e-4, minimum=4e-5, warmup_samples=100, total_samples=1000)
    assert 0 <= rate.at(samples) <= 4e-4
    if samples >= 1000:
        assert rate.at(samples) == pytest.approx(4e-5)
    if 100 <= samples <= following:
        assert rate.at(following) <= rate.at(samples)


def test_the_papers_schedule():
    rate = LearningRate(4e-4, 4e-5, 20_000, 2_000_000)
    assert rate.at(10_000) == pytest.approx(2e-4)
    assert rate.at(20_000) == pytest.approx(4e-4)
    assert rate.at(1_010_000) == pytest.approx((4e-4 + 4e-5) / 2)


@pytest.mark.parametrize(("rule", "factor"), [("none", 1.0), ("sqrt", 1.5), ("linear", 2.25)])
def test_scaling_by_the_batch(rule, factor):
    rates = LearningRate(1.0, 0.0, 0, 1000, BatchScaling(rule, reference=16))
    assert rates.scaling.factor(36) == factor
    assert rates.scaling.factor(16) == 1.0
    assert Constant(36).learning_rate(rates) == rates.mean(0, 36) * factor


def test_bad_scalings():
    with pytest.raises(ValueError, match="take one of none, sqrt, linear"):
        BatchScaling("cubic")
    with pytest.raises(ValueError, match="at least 1"):
        BatchScaling("sqrt", 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.0, 0.0, 0, 10), "peak > 0"),
        ((1e-3, 1e-2, 0, 10), "minimum <= peak"),
        ((math.nan, 0.0, 0, 10), "peak > 0"),
        ((1e-3, 0.0, 11, 10), "does not fit into a budget"),
        ((1e-3, 0.0, -1, 10), "does not fit into a budget"),
    ],
)
def test_bad_learning_rates(arguments, message):
    with pytest.raises(ValueError, match=message):
        LearningRate(*arguments)


@pytest.mark.parametrize("maximum", [0.0, 0.5, 100.0])
def test_clipping_as_torch_does_it(maximum):
    models = [nn.Linear(6, 4).double() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    for model in models:
        model(torch.ones(3, 6, dtype=torch.float64)).square().sum().backward()
    norm = math.sqrt(sum(float(p.grad.square().sum()) for p in models[0].parameters()))
    if maximum:
        nn.utils.clip_grad_norm_(models[1].parameters(), maximum)
    factor = clip_gradients(models[0], norm, maximum)
    assert (factor < 1) == (0 < maximum < norm)
    for ours, theirs in zip(models[0].parameters(), models[1].parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-12, atol=0)
