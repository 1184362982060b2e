"""GradientStatistics in one process: against explicit group gradients, and its guards."""

import pytest
import torch
from torch import nn

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.statistics import GradientStatistics


def small_model(dtype=torch.float64, tied=False):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 7), nn.Tanh(), nn.Linear(7, 3)).to(dtype)
    if tied:
        model[2].weight = nn.Parameter(torch.randn(7, 7, dtype=dtype))
        model.add_module("again", nn.Identity())
        model[2].register_parameter("alias", model[2].weight)
    return model


def loss_of(model, batch):
    return model(batch).square().mean()


def explicit_moments(model, micro_batches):
    """The slow way: each group's own gradient, in fp64."""
    groups = []
    for batch in micro_batches:
        gradients = torch.autograd.grad(loss_of(model, batch), [p for p in model.parameters() if p.requires_grad])
        groups.append(torch.cat([g.double().reshape(-1) for g in gradients]))
    stacked = torch.stack(groups)
    mean = stacked.mean(0)
    return GradientMoments(
        len(groups), len(micro_batches[0]), float(stacked.square().sum()), float(mean.square().sum())
    )


def accumulate(model, statistics, micro_batches):
    for batch in micro_batches:
        (loss_of(model, batch) / len(micro_batches)).backward()
        statistics.end_microbatch(len(batch))


def data(count=6, size=4, dtype=torch.float64):
    return list(torch.randn(count * size, 5, dtype=dtype, generator=torch.Generator().manual_seed(1)).split(size))


@pytest.mark.parametrize("tied", [False, True])
def test_moments_of_a_plain_module(tied):
    model, micro_batches = small_model(tied=tied), data()
    expected = explicit_moments(model, micro_batches)
    statistics = GradientStatistics(model)
    accumulate(model, statistics, micro_batches)
    moments = statistics.finish()
    assert (moments.groups, moments.group_size) == (6, 4)
    assert moments.sum_of_squares == pytest.approx(expected.sum_of_squares, rel=1e-12)
    assert moments.squared_norm == pytest.approx(expected.squared_norm, rel=1e-12)
    assert moments.covariance_trace == pytest.approx(expected.covariance_trace, rel=1e-10)


def test_steps_do_not_leak_into_each_other():
    model, micro_batches = small_model(), data()
    statistics = GradientStatistics(model)
    results = []
    for _ in range(2):
        accumulate(model, statistics, micro_batches)
        results.append(statistics.finish())
        model.zero_grad()
    assert results[0] == results[1]


def test_frozen_parameters_are_left_out():
    model, micro_batches = small_model(), data()
    model[0].requires_grad_(False)
    expected = explicit_moments(model, micro_batches)
    statistics = GradientStatistics(model)
    accumulate(model, statistics, micro_batches)
    assert statistics.finish().sum_of_squares == pytest.approx(expected.sum_of_squares, rel=1e-12)


def test_switched_off_it_leaves_no_hook_and_on_again_it_sees_everything():
    model, micro_batches = small_model(), data()
    statistics = GradientStatistics(model)
    statistics.enable(False)
    assert all(not p._backward_hooks for p in model.parameters())
    accumulate(model, statistics, micro_batches)
    expected = explicit_moments(model, micro_batches)
    assert statistics.reduce_step().squared_norm == pytest.approx(expected.squared_norm, rel=1e-12)
    with pytest.raises(RuntimeError, match="no micro-batch was seen"):
        statistics.finish()
    model.zero_grad()
    statistics.enable()
    accumulate(model, statistics, micro_batches)
    assert statistics.finish().covariance_trace == pytest.approx(expected.covariance_trace, rel=1e-10)


def test_nonreentrant_checkpointing_and_two_uses_of_a_parameter_count_once():
    from torch.utils.checkpoint import checkpoint

    model = nn.Linear(5, 5).double()
    statistics = GradientStatistics(model)
    batch = data(1)[0]
    (model(model(batch))).square().mean().backward()
    statistics.end_microbatch(4)
    plain = statistics.finish()
    model.zero_grad()
    checkpoint(lambda x: model(model(x)), batch, use_reentrant=False).square().mean().backward()
    statistics.end_microbatch(4)
    assert statistics.finish().sum_of_squares == pytest.approx(plain.sum_of_squares, rel=1e-12)


def test_two_backward_calls_in_one_micro_batch_are_refused():
    model, batch = small_model(), data(1)[0]
    statistics = GradientStatistics(model)
    loss_of(model, batch).backward()
    assert statistics.enabled
    with pytest.raises(RuntimeError, match="received its gradient twice in one micro-batch: call end_microbatch"):
        loss_of(model, batch).backward()


def test_a_parameter_without_gradient_is_refused():
    model, batch = small_model(), data(1)[0]
    model.add_module("unused", nn.Linear(2, 2).double())
    statistics = GradientStatistics(model)
    model[:5](batch).square().mean().backward()
    with pytest.raises(RuntimeError, match=r"2 of 8 trainable parameters received no gradient.*unused\.weight"):
        statistics.end_microbatch(4)


def test_replaced_parameters_are_noticed():
    model, batch = small_model(), data(1)[0]
    statistics = GradientStatistics(model)
    model[0].weight = nn.Parameter(model[0].weight.detach().clone())
    loss_of(model, batch).backward()
    with pytest.raises(RuntimeError, match="moved or replaced after the statistics were attached; attach again"):
        statistics.end_microbatch(4)


def test_unequal_groups_are_refused():
    model, micro_batches = small_model(), data(2)
    statistics = GradientStatistics(model)
    accumulate(model, statistics, micro_batches[:1])
    loss_of(model, micro_batches[1]).backward()
    with pytest.raises(ValueError, match="groups of 4 and of 3 samples"):
        statistics.end_microbatch(3)


def test_switching_in_the_middle_of_a_step_is_refused():
    model, micro_batches = small_model(), data(2)
    statistics = GradientStatistics(model)
    accumulate(model, statistics, micro_batches[:1])
    with pytest.raises(RuntimeError, match="switched between two micro-batches"):
        statistics.enable(False)


def test_nothing_to_train_is_refused():
    model = small_model().requires_grad_(False)
    with pytest.raises(ValueError, match="no trainable parameter"):
        GradientStatistics(model)


def test_finish_after_zero_grad_is_refused():
    model, micro_batches = small_model(), data(2)
    statistics = GradientStatistics(model)
    accumulate(model, statistics, micro_batches)
    model.zero_grad()
    with pytest.raises(RuntimeError, match=r"6 of 6 parameters have no reduced gradient.*before zero_grad"):
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
