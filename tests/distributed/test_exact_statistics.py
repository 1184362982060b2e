"""GradientStatistics on ranks against an explicit fp64 reference of every group's own gradient.

The model has no cast to fp32 anywhere, so that the comparison is exact to 1e-10.
"""

from __future__ import annotations

import itertools

import pytest
import torch

from adabatch.statistics import GradientStatistics
from tests.support.spawning import run_ranks
from tests.support.tiny_model import TinyModel, accumulate, groups_of, reference, relative_errors, wrapped

pytestmark = pytest.mark.distributed


def errors(rank: int, world_size: int) -> dict[str, tuple[float, ...]]:
    """Relative errors, for every mode at this world size."""
    results = {}
    variants = ("plain", "frozen", "recompute") if world_size < 4 else ("plain",)
    modes = ("ddp", "fsdp", "fsdp without reshard")
    for mode, tied, sync, variant in itertools.product(modes, (False, True), (False, True), variants):
        m, micro_batches = 3, 3
        groups = groups_of(world_size * micro_batches, m)
        model = TinyModel(tied, recompute=variant == "recompute")
        if variant == "frozen":
            model.blocks[0].requires_grad_(False)
        expected = reference(model, groups)
        model = wrapped(model, mode, world_size)
        statistics = GradientStatistics(model)
        for step in range(2):
            model.zero_grad()
            statistics.enable(step == 1)  # off and on again, also under sharding
            accumulate(model, statistics, groups, rank, world_size, sync)
        reduced = statistics.reduce_step(torch.tensor(float(rank)))
        moments = reduced.moments
        assert moments.groups == world_size * micro_batches
        statistics.enable(False)
        plain = statistics.reduce_step(torch.tensor(float(rank)))
        assert plain.squared_norm == reduced.squared_norm == moments.squared_norm
        assert plain.sums == reduced.sums == [sum(range(world_size))]
        results[f"{mode}, tied {tied}, sync {sync}, {variant}"] = relative_errors(moments, expected)
    return results


@pytest.mark.parametrize("world_size", [1, 2, 4])
def test_moments_equal_the_explicit_reference(world_size):
    for result in run_ranks(errors, world_size):
        for mode, error in result.items():
            assert max(error) < 1e-10, (mode, error)


def refusals(rank: int, world_size: int) -> dict[str, str]:
    """The messages of what is refused."""
    messages = {}
    try:
        GradientStatistics(TinyModel(False))
    except ValueError as error:
        messages["before wrapping"] = str(error)
    model = TinyModel(False)
    statistics = GradientStatistics(model, process_group=torch.distributed.group.WORLD)
    groups = groups_of(2 * world_size, 2)
    for index in range(2):
        (model(groups[index * world_size + rank]) / 2).backward()
        statistics.end_microbatch(2)
    for parameter in model.parameters():  # a loop that averages by hand
        torch.distributed.all_reduce(parameter.grad)
        parameter.grad /= world_size
    expected = reference(TinyModel(False), groups)
    messages["averaged by hand"] = str(abs(statistics.finish().covariance_trace / expected.covariance_trace - 1))
    return messages


def test_statistics_attached_before_wrapping_are_refused_unless_gradients_are_averaged_by_hand():
    for messages in run_ranks(refusals, 2):
        assert "attach the statistics after DistributedDataParallel or fully_shard" in messages["before wrapping"]
        assert float(messages["averaged by hand"]) < 1e-10
