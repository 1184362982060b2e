"""accelerate: every window's gradient and moments by hand, with means and with unequal numbers of tokens."""

import os

import pytest
import torch
import torch.distributed as dist
from accelerate import Accelerator
from accelerate.utils import GradientAccumulationPlugin

from adabatch.integrations.accelerate import over_tokens, set_accumulation
from adabatch.statistics import GradientStatistics
from tests.support.moments_by_hand import flat, moments_by_hand
from tests.support.spawning import run_fresh_ranks
from tests.support.token_texts import TokenModel, counted, token_loss, token_texts

WINDOWS, MICRO_BATCH = (2, 3, 5, 2), 2


def windows(rank=0, world_size=1):
    """Relative errors of each window's gradient and of its two sums against those by hand, all ranks' groups."""
    if world_size > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
        os.environ |= {"LOCAL_WORLD_SIZE": str(world_size), "MASTER_ADDR": "127.0.0.1"}
    plugin = GradientAccumulationPlugin(num_steps=WINDOWS[0], sync_with_dataloader=False)
    accelerator = Accelerator(cpu=True, gradient_accumulation_plugin=plugin)
    return [error for in_tokens in (False, True) for error in errors(accelerator, in_tokens, rank, world_size)]


def errors(accelerator, in_tokens, rank, world_size):
    model, twin = accelerator.prepare(TokenModel()), TokenModel()
    optimizer = accelerator.prepare(torch.optim.SGD(model.parameters(), lr=0.1))
    statistics, texts = GradientStatistics(model), token_texts(100 * world_size)
    batches = list(zip(*(each[rank::world_size].split(MICRO_BATCH) for each in texts), strict=True))
    for micro_batches in WINDOWS:
        set_accumulation(accelerator, micro_batches)
        window, batches = batches[:micro_batches], batches[micro_batches:]
        twin.load_state_dict(accelerator.unwrap_model(model).state_dict())
        expected, by_hand = moments_of_all_ranks(twin, window, in_tokens)
        tokens = accelerator.reduce(torch.tensor(sum(counted(labels) for _, labels in window)))
        for inputs, labels in window:
            with accelerator.accumulate(model):
                loss = token_loss(model(inputs), labels, "sum" if in_tokens else "mean")
                accelerator.backward(over_tokens(accelerator, loss, tokens) if in_tokens else loss)
                told = counted(labels) if in_tokens else None
                statistics.end_microbatch(MICRO_BATCH, told)
                if accelerator.sync_gradients:
                    found = flat([parameter.grad for parameter in model.parameters()])
                    moments = statistics.finish()
                optimizer.step()
                optimizer.zero_grad()
        assert (moments.groups, float(moments.batch_size)) == (by_hand.groups, pytest.approx(by_hand.batch_size))
        yield float((found - expected).norm() / expected.norm())
        yield moments.sum_of_squares / by_hand.sum_of_squares - 1
        yield moments.squared_norm / by_hand.squared_norm - 1


def moments_of_all_ranks(model, window, in_tokens):
    if dist.is_initialized():
        parts = [None] * dist.get_world_size()
        dist.all_gather_object(parts, window)
        window = [batch for part in parts for batch in part]
    losses = [token_loss(model(inputs), labels) for inputs, labels in window]
    gradients = [flat(torch.autograd.grad(loss, list(model.parameters()))) for loss in losses]
    sizes = [counted(labels) if in_tokens else MICRO_BATCH for _, labels in window]
    return moments_by_hand(gradients, sizes)


def test_every_window_as_by_hand(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    assert max(map(abs, windows())) < 1e-12


@pytest.mark.slow
@pytest.mark.distributed
def test_two_ranks_as_by_hand(monkeypatch):
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "false")
    for found in run_fresh_ranks(windows, 2):
        assert max(map(abs, found)) < 1e-12


def test_a_sum_divided_by_the_micro_batches_alone_is_another_gradient():
    """The negative control: without over_tokens the moments are not those by hand."""
    model = TokenModel()
    inputs, labels = token_texts(8)
    window = list(zip(inputs.split(2), labels.split(2), strict=True))
    (_, means), (_, tokens) = (moments_of_all_ranks(model, window, in_tokens) for in_tokens in (False, True))
    assert abs(means.sum_of_squares / tokens.sum_of_squares - 1) > 1e-3
