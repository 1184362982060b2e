"""Groups weighted by their tokens: against each token's own gradient in fp64."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from adabatch.statistics import CoordinateStatistics, GradientStatistics


class Linear(nn.Module):
    """A token's loss is its inner product with the weights, so that its gradient is the token itself."""

    def __init__(self, width=6, dtype=torch.float64):
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(width, dtype=dtype))

    def forward(self, tokens):
        return tokens @ self.weights


def measured(groups, samples=None, kind=GradientStatistics):
    """The moments of groups of tokens, [t_j, width] each, with losses divided by the tokens of all."""
    model = Linear(groups[0].shape[1], groups[0].dtype)
    statistics, total = kind(model), sum(map(len, groups))
    for index, tokens in enumerate(groups):
        (model(tokens).sum() / total).backward()
        statistics.end_microbatch(samples[index] if samples else 1, tokens=len(tokens))
    return statistics.finish()


def drawn(counts, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(count, 6, dtype=torch.float64, generator=generator) for count in counts]


@given(st.lists(st.integers(0, 9), min_size=2, max_size=6).filter(lambda counts: sum(map(bool, counts)) > 1))
@settings(max_examples=40, deadline=None)
def test_the_two_sums_are_those_of_the_definition(counts):
    groups = drawn(counts)
    filled = [tokens for tokens in groups if len(tokens)]
    everything = torch.cat(filled)
    mean = everything.mean(0)
    deviation = sum(len(tokens) * (tokens.mean(0) - mean).square().sum() for tokens in filled)
    moments = measured(groups, samples=[1 + index % 3 for index in range(len(groups))])
    assert moments.groups == len(filled)
    assert moments.batch_size == pytest.approx(sum(counts))
    assert moments.samples == sum(1 + index % 3 for index in range(len(groups)))
    assert moments.squared_norm == pytest.approx(float(mean.square().sum()))
    assert moments.covariance_trace == pytest.approx(float(deviation) / (len(filled) - 1), rel=1e-9, abs=1e-12)


def test_tokens_alike_have_no_variance_at_any_lengths():
    token = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    moments = measured([token.expand(count, 3) for count in (1, 40, 7, 3)])
    assert moments.covariance_trace == pytest.approx(0.0, abs=1e-12)
    assert moments.debiased_squared_norm == pytest.approx(float(token.square().sum()))


def test_equal_tokens_are_the_moments_of_equal_groups_in_another_unit():
    groups = drawn([5, 5, 5])
    told, model = measured(groups), Linear()
    statistics = GradientStatistics(model)
    for tokens in groups:
        (model(tokens).mean() / 3).backward()
        statistics.end_microbatch(5)
    plain = statistics.finish()
    assert told.covariance_trace == pytest.approx(plain.covariance_trace)
    assert told.squared_norm == pytest.approx(plain.squared_norm)
    assert (told.batch_size, told.samples) == (15, 3)
    assert (plain.batch_size, plain.samples) == (15, None)


def test_no_token_at_all_is_refused():
    model = Linear()
    statistics = GradientStatistics(model)
    (model(torch.ones(2, 6, dtype=torch.float64)).sum() * 0).backward()
    statistics.end_microbatch(2, tokens=0)
    with pytest.raises(ValueError, match=r"no token counts in the loss .* reset\(\)"):
        statistics.finish()


def test_inputs_of_different_sizes_are_refused_unless_tokens_are_told():
    model = Linear()
    statistics = GradientStatistics(model)
    first, second = drawn([4, 5])
    (model(first).sum() / 9).backward()
    statistics.end_microbatch(2)
    (model(second).sum() / 9).backward()
    with pytest.raises(ValueError, match="24 elements in one micro-batch of this step and 30 in another"):
        statistics.end_microbatch(2)


def test_a_forward_pass_beside_the_step_is_not_taken_for_its_input():
    model = Linear()
    statistics = GradientStatistics(model)
    groups = drawn([4, 4, 9])
    for tokens in groups[:2]:
        model(groups[2])
        (model(tokens).mean() / 2).backward()
        with torch.no_grad():
            model(groups[2])
        statistics.end_microbatch(4)
    assert statistics.finish().groups == 2


def test_coordinates_cannot_be_weighted_and_say_so():
    assert measured(drawn([5, 5]), kind=CoordinateStatistics).groups == 2
    with pytest.raises(ValueError, match=r"unequal numbers of tokens.*GradientStatistics"):
        measured(drawn([5, 6]), kind=CoordinateStatistics)


@pytest.mark.parametrize("kind", [GradientStatistics, CoordinateStatistics])
def test_the_unweighted_estimate_of_unequal_groups_is_wrong(kind):
    """The negative control: what the same gradients give if each group counts alike."""
    groups, model = [torch.ones(count, 3, dtype=torch.float64) for count in (1, 8)], Linear(3)
    statistics = kind(model)
    for tokens in groups:
        (model(tokens).sum() / 9).backward()
        statistics._hooks.inputs.take()  # as if nothing could be seen
        statistics.end_microbatch(1)
    assert statistics.finish().covariance_trace > 0.5
