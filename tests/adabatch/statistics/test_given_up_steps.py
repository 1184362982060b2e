"""Steps that are given up, in every way a loop can: nothing of them is left in the next one, or it is refused."""

import pytest
import torch
from torch import nn

from adabatch.statistics import CoordinateStatistics, GradientStatistics
from tests.adabatch.statistics.test_hooks import agrees, batches, network, square, truth

KINDS = [GradientStatistics, CoordinateStatistics]


class Failing(torch.autograd.Function):
    """An identity whose backward pass fails."""

    @staticmethod
    def forward(ctx, x):
        return x.clone()

    @staticmethod
    def backward(ctx, gradient):
        raise RuntimeError("out of memory")


def fails_in_backward(model, statistics):
    """In the first micro-batch: some parameters have their gradient, some have not."""
    handle = model[1].register_forward_hook(lambda module, inputs, output: Failing.apply(output))
    with pytest.raises(RuntimeError, match="out of memory"):
        square(model, batches()[0]).backward()
    handle.remove()


def fails_in_forward(model, statistics):
    """After a whole micro-batch."""
    square(model, batches()[1]).backward()
    statistics.end_microbatch(6)


def skipped(model, statistics):
    """All micro-batches, and no finish()."""
    for batch in batches():
        (square(model, batch) / 4).backward()
        statistics.end_microbatch(6)


def unclosed(model, statistics):
    """A backward() without end_microbatch()."""
    square(model, batches()[2]).backward()


WAYS = [fails_in_backward, fails_in_forward, skipped, unclosed]


def whole_step(model, statistics):
    for batch in batches():
        (square(model, batch) / 4).backward()
        statistics.end_microbatch(6)
    return statistics.finish()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("give_up", WAYS)
def test_after_reset_the_next_step_is_right(kind, give_up):
    model = network()
    statistics = kind(model)
    give_up(model, statistics)
    statistics.reset()
    model.zero_grad()
    agrees(whole_step(model, statistics), truth(network()))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("give_up", WAYS)
@pytest.mark.parametrize("to_none", [True, False])
def test_without_reset_the_next_step_is_refused_and_the_one_after_it_is_right(kind, give_up, to_none):
    model = network()
    statistics = kind(model)
    give_up(model, statistics)
    model.zero_grad(set_to_none=to_none)
    with pytest.raises((RuntimeError, ValueError), match=r"reset\(\)|not the mean of the groups' gradients"):
        whole_step(model, statistics)
    statistics.reset()
    model.zero_grad()
    agrees(whole_step(model, statistics), truth(network()))


def test_switching_in_the_middle_says_what_to_do():
    model = network()
    statistics = GradientStatistics(model)
    fails_in_forward(model, statistics)
    with pytest.raises(RuntimeError, match=r"switched between two micro-batches .* reset\(\)"):
        statistics.enable(False)
    statistics.reset()
    statistics.enable(False)


def test_a_gradient_after_the_last_micro_batch_is_refused():
    model = network()
    statistics = GradientStatistics(model)
    fails_in_forward(model, statistics)
    unclosed(model, statistics)
    with pytest.raises(RuntimeError, match=r"a gradient came after the last end_microbatch\(\)"):
        statistics.finish()


class Experts(nn.Module):
    """Each micro-batch goes to one of two experts; the third is never asked."""

    def __init__(self):
        super().__init__()
        self.experts = nn.ModuleList([nn.Linear(5, 3) for _ in range(3)])
        self.head = nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.experts[int(x.sum() > 0)](x))


def experts():
    torch.manual_seed(0)
    return Experts().double()


def explicit(model):
    groups = []
    for batch in batches():
        found = torch.autograd.grad(square(model, batch), list(model.parameters()), allow_unused=True)
        pairs = zip(model.parameters(), found, strict=True)
        groups.append(torch.cat([(torch.zeros_like(p) if g is None else g).reshape(-1) for p, g in pairs]))
    stacked = torch.stack(groups)
    return float(stacked.square().sum()), float(stacked.mean(0).square().sum())


def test_the_experts_see_different_micro_batches():
    assert {bool(batch.sum() > 0) for batch in batches()} == {True, False}


@pytest.mark.parametrize("kind", KINDS)
def test_idle_experts_are_refused_or_counted_as_zero(kind):
    model = experts()
    statistics = kind(model)
    square(model, batches()[0]).backward()
    with pytest.raises(RuntimeError, match=r"received no gradient .* experts\.\d\.weight.*idle='zero'"):
        statistics.end_microbatch(6)
    statistics.enable(False)
    model.zero_grad()
    for _ in range(2):
        agrees(whole_step(model, kept := kind(model, idle="zero")), explicit(model))
        kept.enable(False)
        model.zero_grad()


def test_a_micro_batch_without_any_gradient_is_refused_even_so():
    with pytest.raises(RuntimeError, match="8 of 8 trainable parameters received no gradient"):
        GradientStatistics(experts(), idle="zero").end_microbatch(6)


def test_an_unknown_idle_is_refused():
    with pytest.raises(ValueError, match="idle is 'refuse' or 'zero', but was given 'skip'"):
        GradientStatistics(experts(), idle="skip")
