"""What the statistics refuse: each mistake in a loop, and the message that says how to fix it."""

from __future__ import annotations

import math

import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard

from adabatch.schedules import NormTest
from adabatch.statistics import CoordinateStatistics, GradientStatistics
from adabatch.statistics.loss_scale import require_no_scaler

MICRO_BATCHES = 4


@pytest.fixture(params=[GradientStatistics, CoordinateStatistics])
def attached(request):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    return model, request.param(model)


def data():
    return torch.randn(8 * MICRO_BATCHES, 5, generator=torch.Generator().manual_seed(1)).split(8)


def loss_of(model, batch):
    return (model(batch) - 1).square().mean() / MICRO_BATCHES


def plain_moments():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3))
    statistics = CoordinateStatistics(model)
    for batch in data():
        loss_of(model, batch).backward()
        statistics.end_microbatch(8)
    return statistics.finish()


def scaled_step(model, statistics, pass_scale: bool | None, unscale: bool):
    """A step with a GradScaler (enabled on the CPU), as a loop with fp16 has it; None says nothing of it."""
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for batch in data():
        scaler.scale(loss_of(model, batch)).backward()
        told = {None: {}, False: {"loss_scale": 1.0}, True: {"loss_scale": scaler.get_scale()}}[pass_scale]
        statistics.end_microbatch(8, **told)
    if unscale:
        scaler.unscale_(optimizer)
    return statistics.finish()


def test_a_grad_scaler_used_well_changes_nothing(attached):
    moments, plain = scaled_step(*attached, pass_scale=True, unscale=True), plain_moments()
    assert moments.sum_of_squares == pytest.approx(plain.sum_of_squares, rel=1e-6)
    assert moments.squared_norm == pytest.approx(plain.squared_norm, rel=1e-6)
    if isinstance(attached[1], CoordinateStatistics):
        assert moments.sum_of_standard_deviations == pytest.approx(plain.sum_of_standard_deviations, rel=1e-5)
        assert moments.plug_in_l1_norm == pytest.approx(plain.plug_in_l1_norm, rel=1e-6)


@pytest.mark.parametrize(("pass_scale", "unscale", "factor"), [(True, False, "1024"), (False, True, "0.0009766")])
def test_a_grad_scaler_taken_out_of_one_side_only_is_noticed(attached, pass_scale, unscale, factor):
    with pytest.raises(ValueError, match=r"loss_scale=scaler\.get_scale\(\).*scaler\.unscale_") as caught:
        scaled_step(*attached, pass_scale, unscale)
    assert f"(about {factor} times;" in str(caught.value)


@pytest.mark.parametrize("unscale", [False, True])
def test_a_grad_scaler_that_was_not_told_is_found(attached, unscale):
    with pytest.raises(
        ValueError, match=r"GradScaler multiplies losses by 1024.*loss_scale=scaler\.get_scale\(\)"
    ):
        scaled_step(*attached, pass_scale=None, unscale=unscale)


class ScalerOfOthers(torch.amp.GradScaler):
    """As torch's own ShardedGradScaler is."""


def test_only_scalers_that_are_in_use_count(attached):
    model, statistics = attached
    unused = torch.amp.GradScaler("cpu", init_scale=1024.0)
    off = torch.amp.GradScaler("cpu", enabled=False)
    one = torch.amp.GradScaler("cpu", init_scale=1.0)
    gone = torch.amp.GradScaler("cpu", init_scale=64.0)
    gone.itself = gone  # only the garbage collector ends it
    for scaler in (off, one, gone):
        scaler.scale(torch.ones(1))
    del scaler, gone
    require_no_scaler()
    derived = ScalerOfOthers("cpu", init_scale=8.0)
    derived.scale(torch.ones(1))
    with pytest.raises(ValueError, match="GradScaler multiplies losses by 8,"):
        require_no_scaler()
    for batch in data():
        loss_of(model, batch).backward()
        statistics.end_microbatch(8, loss_scale=1.0)  # the scaler is another model's
    statistics.finish()
    assert unused.get_scale() == 1024


def test_a_scaler_that_was_found_may_be_deleted(attached):
    """The error must not keep it alive."""
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    scaler.scale(torch.ones(1))
    with pytest.raises(ValueError, match="GradScaler multiplies losses by 8,") as caught:
        require_no_scaler()
    del scaler
    require_no_scaler()
    assert caught.value.__traceback__ is not None  # is still held


def test_a_scale_that_is_said_to_be_another_models_scales_the_moments_and_leaves_the_ratio(attached):
    """A loop that says 1 is believed; the norm test does not depend on it."""
    moments, plain = scaled_step(*attached, pass_scale=False, unscale=False), plain_moments()
    assert moments.covariance_trace == pytest.approx(1024**2 * plain.covariance_trace, rel=1e-5)
    ratio = moments.covariance_trace / moments.squared_norm
    assert ratio == pytest.approx(plain.covariance_trace / plain.squared_norm, rel=1e-5)


@pytest.mark.parametrize("kind", [GradientStatistics, CoordinateStatistics])
def test_a_model_on_several_devices_is_refused(kind):
    with pytest.raises(ValueError, match=r"lie on cpu, meta, but the statistics need one device: .*1\.bias"):
        kind(nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2, device="meta")))


def test_a_loss_scale_that_changes_within_a_step_is_refused(attached):
    model, statistics = attached
    first, second, *_ = data()
    loss_of(model, first).backward()
    statistics.end_microbatch(8, loss_scale=2.0)
    loss_of(model, second).backward()
    with pytest.raises(ValueError, match=r"loss scales of 2 and 1 .* scaler\.update\(\) between steps"):
        statistics.end_microbatch(8)


@pytest.mark.parametrize("mistake", ["clipped before", "left from the step before", "scaled by hand"])
def test_a_reduced_gradient_that_is_not_the_mean_is_noticed(attached, mistake):
    model, statistics = attached
    for step in range(2):
        for batch in data():
            loss_of(model, batch).backward()
            statistics.end_microbatch(8)
        if mistake == "clipped before":
            nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        elif mistake == "scaled by hand":
            for parameter in model.parameters():
                parameter.grad *= 2
        elif step == 0:
            statistics.finish()
            continue  # without zero_grad()
        with pytest.raises(ValueError, match="not the mean of the groups' gradients"):
            statistics.finish()
        return


@pytest.mark.parametrize("mistake", ["clipped before", "zeroed before"])
def test_a_step_that_was_refused_is_not_mixed_into_the_next_one(attached, mistake):
    model, statistics = attached
    for step in range(2):
        model.zero_grad()
        for batch in data():
            loss_of(model, batch).backward()
            statistics.end_microbatch(8)
        if step == 0 and mistake == "clipped before":
            nn.utils.clip_grad_norm_(model.parameters(), 1e-3)
        elif step == 0:
            model.zero_grad()
        if step == 0:
            with pytest.raises((ValueError, RuntimeError), match="zero_grad"):
                statistics.finish()
    moments, plain = statistics.finish(), plain_moments()
    assert moments.groups == MICRO_BATCHES
    assert moments.covariance_trace == pytest.approx(plain.covariance_trace, rel=1e-12)
    if isinstance(statistics, CoordinateStatistics):
        assert moments.sum_of_standard_deviations == pytest.approx(plain.sum_of_standard_deviations, rel=1e-6)


def test_tokens_that_are_told_once_only_are_refused(attached):
    model, statistics = attached
    first, second, *_ = data()
    loss_of(model, first).backward()
    statistics.end_microbatch(8, tokens=40)
    loss_of(model, second).backward()
    with pytest.raises(ValueError, match="tokens= was told for some groups of this step and not for others"):
        statistics.end_microbatch(8)


@pytest.mark.parametrize(
    ("samples", "tokens"), [(0, None), (-1, None), (4.5, None), (8, -1), (8, 1.5), ("8", None)]
)
def test_sizes_that_are_no_counts_are_refused(attached, samples, tokens):
    model, statistics = attached
    loss_of(model, data()[0]).backward()
    wrong = "samples" if tokens is None else "tokens"
    with pytest.raises(ValueError, match=rf"was told .* {wrong}: give the group's own number, at least [01]"):
        statistics.end_microbatch(samples, tokens=tokens)


def test_more_samples_than_the_inputs_have_elements_are_refused(attached):
    model, statistics = attached
    batch = data()[0]
    loss_of(model, batch).backward()
    with pytest.raises(ValueError, match=r"told \d+ samples, but .* have \d+ elements"):
        statistics.end_microbatch(batch.numel() + 1)


def test_second_statistics_on_a_model_are_refused_until_the_first_are_switched_off(attached):
    model, statistics = attached
    with pytest.raises(ValueError, match=r"attached to this model already: keep one object .* enable\(False\)"):
        GradientStatistics(model)
    statistics.enable(False)
    second = GradientStatistics(model)
    with pytest.raises(ValueError, match="attached to this model already"):
        statistics.enable()
    second.enable(False)
    statistics.enable()


def test_parameters_that_come_after_attaching_are_noticed(attached):
    model, statistics = attached
    model.add_module("late", nn.Linear(3, 3))
    for batch in data():
        loss_of(model, batch).backward()
        statistics.end_microbatch(8)
    with pytest.raises(RuntimeError, match=r"6 trainable parameters, but had 4 .* attach again"):
        statistics.finish()


def test_sharding_after_attaching_is_noticed(attached, tmp_path):
    model, statistics = attached
    dist.init_process_group("gloo", store=dist.FileStore(str(tmp_path / "store"), 1), rank=0, world_size=1)
    try:
        fully_shard(model, mesh=init_device_mesh("cpu", (1,)))
        loss_of(model, data()[0]).backward()
        with pytest.raises(RuntimeError, match=r"4 of 4 trainable .* attach again"):
            statistics.end_microbatch(8)
    finally:
        dist.destroy_process_group()


def test_ranks_that_are_started_after_attaching_are_noticed(attached, monkeypatch):
    model, statistics = attached
    for batch in data():
        loss_of(model, batch).backward()
        statistics.end_microbatch(8)
    monkeypatch.setattr(dist, "is_initialized", lambda: True)
    monkeypatch.setattr(dist, "get_world_size", lambda: 2)
    with pytest.raises(RuntimeError, match=r"2 ranks run, but 1 did .* after init_process_group and after Distr"):
        statistics.finish()


def test_replaced_parameters_are_noticed(attached):
    model, statistics = attached
    model.load_state_dict({name: value.clone() for name, value in model.state_dict().items()}, assign=True)
    loss_of(model, data()[0]).backward()
    with pytest.raises(RuntimeError, match=r"4 of 4 trainable .* attach again"):
        statistics.end_microbatch(8)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_gradients_that_are_not_finite_show_in_the_moments_and_are_refused_by_the_schedule(attached, bad):
    model, statistics = attached
    for batch in data():
        (bad * loss_of(model, batch)).backward()
        statistics.end_microbatch(8)
    moments = statistics.finish()
    assert not math.isfinite(moments.squared_norm)
    with pytest.raises(ValueError, match="gradient moments are not finite"):
        NormTest(eta=0.5, initial=32, maximum=64).update(moments)


def test_rounding_is_not_taken_for_a_mistake():
    """bf16 accumulation of many groups, and gradients that cancel almost entirely."""
    torch.manual_seed(0)
    model = nn.Linear(64, 8).bfloat16()
    statistics = GradientStatistics(model)
    for _ in range(64):
        x = torch.randn(4, 64, dtype=torch.bfloat16)
        (model(x).square().mean() / 64).backward()
        statistics.end_microbatch(4)
    statistics.finish()
    for parameter in model.parameters():
        parameter.grad = None
    for sign in (1, -1):
        (sign * model(torch.ones(1, 64, dtype=torch.bfloat16)).sum() / 2).backward()
        statistics.end_microbatch(1)
    assert statistics.finish().squared_norm == pytest.approx(0.0, abs=1e-12)
