"""The comparison of the reduced gradient with the groups' mean: what it must find, and what it must not."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from adabatch.moments.gradient_moments import accumulated_rounding
from adabatch.statistics import GradientStatistics
from adabatch.statistics.probe import require_mean, require_no_larger_norm


def classifier(dtype=torch.float32):
    """With a bias before the softmax, whose gradients add up to 0 in every batch."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 16), nn.Tanh(), nn.Linear(16, 4)).to(dtype)


def step(model, statistics, change=lambda model: None, groups=4, seed=0, clear=True):
    generator = torch.Generator().manual_seed(seed)
    dtype = model[0].weight.dtype
    for _ in range(groups):
        x, y = torch.randn(8, 6, generator=generator).to(dtype), torch.randint(4, (8,), generator=generator)
        (nn.functional.cross_entropy(model(x), y) / groups).backward()
        statistics.end_microbatch(8)
    change(model)
    try:
        return statistics.finish()
    finally:
        if clear:
            model.zero_grad()


def scaled(factor):
    def change(model):
        for parameter in model.parameters():
            parameter.grad.mul_(factor)

    return change


@pytest.mark.parametrize("factor", [0.01, 0.5, 0.9, 0.99, 0.9999, 1.0001, 1.5, 2.0, -1.0, 0.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_gradient_that_was_scaled_is_refused(factor, dtype):
    model = classifier(dtype)
    with pytest.raises(ValueError, match="not the mean of the groups' gradients"):
        step(model, GradientStatistics(model), scaled(factor))


@pytest.mark.parametrize("norm", [0.5, 0.9, 0.99])
def test_a_clipped_gradient_is_refused(norm):
    def clip(model):
        own = torch.cat([p.grad.flatten() for p in model.parameters()]).norm()
        nn.utils.clip_grad_norm_(model.parameters(), norm * own)

    model = classifier()
    with pytest.raises(ValueError, match=rf"\(about {norm}\d* times; .*before anything that changes \.grad"):
        step(model, GradientStatistics(model), clip)


def test_a_gradient_of_the_step_before_is_refused():
    model = classifier()
    statistics = GradientStatistics(model)
    step(model, statistics, clear=False)
    with pytest.raises(ValueError, match=r"call zero_grad\(\) before a step's first backward\(\)"):
        step(model, statistics, seed=1)


@pytest.mark.parametrize("place", [0, 2])
@pytest.mark.parametrize("name", ["weight", "bias"])
def test_one_parameter_that_was_changed_is_named(place, name):
    def change(model):
        getattr(model[place], name).grad.mul_(0.9)

    model = classifier()
    with pytest.raises(ValueError, match=rf"most clearly in {place}\.{name}\)"):
        step(model, GradientStatistics(model), change)


def test_bf16_hides_what_its_rounding_hides_and_no_more():
    model = classifier(torch.bfloat16)
    step(model, GradientStatistics(model), scaled(1.0))
    for factor in (0.5, 1.5, 0.01):
        with pytest.raises(ValueError, match="not the mean"):
            step(model, kept := GradientStatistics(model), scaled(factor))
        kept.enable(False)


@given(
    st.integers(1, 40),
    st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
    st.floats(-12, 12),
    st.sampled_from([1.0, 1024.0, 1000.0]),
    st.integers(0, 2**31),
)
@settings(max_examples=60, deadline=None)
def test_a_right_step_is_never_refused(groups, dtype, scale, loss_scale, seed):
    """Means of groups of any number, size and type, also where they cancel almost entirely."""
    model = nn.Linear(4, 3, bias=False).to(dtype)
    statistics = GradientStatistics(model)
    generator = torch.Generator().manual_seed(seed)
    gradients = 10.0**scale * torch.randn(groups, 3, 4, generator=generator)
    gradients[1::2] = -gradients[: groups // 2] * (1 + 1e-6)
    for gradient in gradients.to(dtype):
        (loss_scale * (model.weight * gradient).sum()).backward()
        statistics.end_microbatch(1, loss_scale=loss_scale)
    if loss_scale == 1:
        model.weight.grad /= groups
        model.weight.grad *= groups  # two roundings more than a loop has
    else:
        model.weight.grad *= torch.tensor(1 / loss_scale)  # as a GradScaler does
    statistics.finish()


def test_gradients_of_another_type_than_their_parameters():
    """bf16 parameters whose gradients add up in fp32: those are the groups, to fp32's rounding."""
    model = nn.Linear(6, 4, bias=False).bfloat16()
    model.weight.grad_dtype = torch.float32
    statistics, generator = GradientStatistics(model), torch.Generator().manual_seed(0)
    gradients = torch.randn(5, 4, 6, generator=generator)
    for factor in (1.0, 1.001):
        for gradient in gradients:
            (model.weight.float() * gradient / 5).sum().backward()
            statistics.end_microbatch(1)
        model.weight.grad *= factor
        if factor > 1:
            with pytest.raises(ValueError, match="not the mean"):
                statistics.finish()
        else:
            moments = statistics.finish()
        model.zero_grad()
    assert moments.sum_of_squares == pytest.approx(float(gradients.bfloat16().double().square().sum()), rel=1e-2)
    assert moments.squared_norm == pytest.approx(float(gradients.mean(0).double().square().sum()), rel=2e-2)


@given(st.integers(2, 50), st.floats(0, 40), st.integers(0, 2**31))
@settings(max_examples=100, deadline=None)
def test_the_bound_holds_for_sums_in_any_order(groups, spread, seed):
    """numpy's fp32 sums, against the comparison by itself."""
    generator = np.random.default_rng(seed)
    terms = (generator.normal(size=(groups, 64)) * 10.0 ** (-spread * generator.random((groups, 64)))).astype("f4")
    total = np.zeros(64, "f4")
    for row in generator.permutation(groups):
        total = total + terms[row]
    exact, absolute = terms.astype(float).sum(0), np.abs(terms.astype(float)).sum(0)
    rounding = accumulated_rounding(groups - 1, 2.0**-24)
    require_mean(["w"] * 64, exact, absolute, total.astype(float), rounding, underflow=1e-37)


def test_the_comparison_by_itself():
    names, one, two = ["a", "b"], np.array([1.0, 1.0]), np.array([2.0, 2.0])
    require_mean(names, one, two, one + 2e-6, rounding=1.1e-6)
    with pytest.raises(ValueError, match=r"most clearly in b\)"):
        require_mean(names, one, two, one + np.array([0, 2e-6]), rounding=0.9e-6)
    require_mean(names, one, two, one + 1e-3, rounding=0.0, underflow=1e-2)
    require_mean(names, one * math.nan, two, one, rounding=1e-6)  # the step is not finite: others say so
    require_mean(names, one, two * math.inf, one * math.inf, rounding=1e-6)
    require_mean(names, one, two, one * 1.4, rounding=math.inf)  # nothing is known of the arithmetic
    with pytest.raises(ValueError, match=r"about 1\.6 times"):
        require_mean(names, one, two, one * 1.6, rounding=math.inf)


def test_no_mean_has_a_larger_norm():
    require_no_larger_norm(4, 40.0, 10.0, 1e-12)
    with pytest.raises(ValueError, match=r"its norm is 1\.414 times the largest possible"):
        require_no_larger_norm(4, 20.0, 10.0, 1e-6)
    require_no_larger_norm(4, math.nan, 10.0, 1e-6)
    require_no_larger_norm(4, 40.0, math.inf, 1e-6)  # groups that are finite may add up to what is not
    require_no_larger_norm(4, 0.0, 0.0, 1e-6)
    with pytest.raises(ValueError, match="inf times"):
        require_no_larger_norm(4, 0.0, 10.0, 1e-6)
