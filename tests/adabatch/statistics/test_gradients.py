"""GradientStatistics in one process: against explicit group gradients, and its guards."""

import pytest
import torch
from torch import nn

from adabatch.statistics import GradientStatistics
from tests.support.tiny_model import TinyModel, accumulate, groups_of, reference


def step(model, statistics, groups):
    accumulate(model, statistics, groups, rank=0, world_size=1, sync=True)


@pytest.fixture
def model():
    return TinyModel(tied=False)


@pytest.fixture
def groups():
    return groups_of(6, 4)


@pytest.mark.parametrize("tied", [False, True])
def test_moments_of_a_plain_module(tied, groups):
    model = TinyModel(tied)
    expected = reference(model, groups)
    statistics = GradientStatistics(model)
    step(model, statistics, groups)
    moments = statistics.finish()
    assert (moments.groups, moments.group_size) == (6, 4)
    assert moments.sum_of_squares == pytest.approx(expected.sum_of_squares, rel=1e-12)
    assert moments.squared_norm == pytest.approx(expected.squared_norm, rel=1e-12)
    assert moments.covariance_trace == pytest.approx(expected.covariance_trace, rel=1e-10)


def test_steps_do_not_leak_into_each_other(model, groups):
    statistics = GradientStatistics(model)
    results = []
    for _ in range(2):
        step(model, statistics, groups)
        results.append(statistics.finish())
        model.zero_grad()
    assert results[0] == results[1]


def test_frozen_parameters_are_left_out(model, groups):
    model.blocks[0].requires_grad_(False)
    expected = reference(model, groups)
    statistics = GradientStatistics(model)
    step(model, statistics, groups)
    assert statistics.finish().sum_of_squares == pytest.approx(expected.sum_of_squares, rel=1e-12)


def test_switched_off_it_leaves_no_hook_and_on_again_it_sees_everything(model, groups):
    statistics = GradientStatistics(model)
    statistics.enable(False)
    assert all(not p._backward_hooks for p in model.parameters())
    step(model, statistics, groups)
    expected = reference(model, groups)
    assert statistics.reduce_step().squared_norm == pytest.approx(expected.squared_norm, rel=1e-12)
    with pytest.raises(RuntimeError, match="no micro-batch was seen"):
        statistics.finish()
    model.zero_grad()
    statistics.enable()
    step(model, statistics, groups)
    assert statistics.finish().covariance_trace == pytest.approx(expected.covariance_trace, rel=1e-10)


def test_nonreentrant_checkpointing_and_two_uses_of_a_parameter_count_once():
    from torch.utils.checkpoint import checkpoint

    model = nn.Linear(5, 5).double()
    statistics = GradientStatistics(model)
    batch = torch.randn(4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    (model(model(batch))).square().mean().backward()
    statistics.end_microbatch(4)
    plain = statistics.finish()
    model.zero_grad()
    checkpoint(lambda x: model(model(x)), batch, use_reentrant=False).square().mean().backward()
    statistics.end_microbatch(4)
    assert statistics.finish().sum_of_squares == pytest.approx(plain.sum_of_squares, rel=1e-12)


def test_two_backward_calls_in_one_micro_batch_are_refused(model, groups):
    statistics = GradientStatistics(model)
    model(groups[0]).backward()
    assert statistics.enabled
    with pytest.raises(RuntimeError, match="received its gradient twice in one micro-batch: call end_microbatch"):
        model(groups[0]).backward()


def test_a_parameter_without_gradient_is_refused(model, groups):
    model.add_module("unused", nn.Linear(2, 2).double())
    statistics = GradientStatistics(model)
    model(groups[0]).backward()
    with pytest.raises(RuntimeError, match=r"2 of 14 trainable parameters received no gradient.*unused\.weight"):
        statistics.end_microbatch(4)


def test_replaced_parameters_are_noticed(model, groups):
    statistics = GradientStatistics(model)
    model.output.weight = nn.Parameter(model.output.weight.detach().clone())
    model(groups[0]).backward()
    with pytest.raises(RuntimeError, match="moved or replaced after the statistics were attached; attach again"):
        statistics.end_microbatch(4)


def test_unequal_groups_are_refused(model, groups):
    statistics = GradientStatistics(model)
    step(model, statistics, groups[:1])
    model(groups[1]).backward()
    with pytest.raises(ValueError, match="groups of 4 and of 3 samples"):
        statistics.end_microbatch(3)


def test_switching_in_the_middle_of_a_step_is_refused(model, groups):
    statistics = GradientStatistics(model)
    step(model, statistics, groups[:1])
    with pytest.raises(RuntimeError, match="switched between two micro-batches"):
        statistics.enable(False)


def test_nothing_to_train_is_refused(model):
    with pytest.raises(ValueError, match="no trainable parameter"):
        GradientStatistics(model.requires_grad_(False))


def test_finish_after_zero_grad_is_refused(model, groups):
    statistics = GradientStatistics(model)
    step(model, statistics, groups)
    model.zero_grad()
    with pytest.raises(RuntimeError, match=r"12 of 12 parameters have no reduced gradient.*before zero_grad"):
        statistics.finish()


def test_nothing_that_is_kept_grows_with_the_parameters():
    """Tensors that the statistics hold in the middle of a step, at widths 10 and 1000."""

    def kept(width):
        model = nn.Sequential(nn.Linear(5, width), nn.Tanh(), nn.Linear(width, 3))
        statistics = GradientStatistics(model, part_of=lambda name: name)
        (model(torch.ones(2, 5)).square().mean() / 2).backward()
        tensors = [value for value in vars(statistics).values() if isinstance(value, torch.Tensor)]
        tensors += [norms._norms for norms in (statistics._norms, statistics._share_norms)]
        return sum(tensor.numel() for tensor in tensors)

    assert kept(10) == kept(1000)
