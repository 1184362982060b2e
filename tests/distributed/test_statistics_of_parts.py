"""The moments of a model's parts, under every sharding, against each part's own coordinates; and unequal ranks."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from adabatch.distributed.communication import CommunicationCounter
from adabatch.model.parts import model_part
from adabatch.statistics import GradientStatistics
from tests.support.spawning import run_ranks
from tests.support.tiny_model import TinyModel, accumulate, groups_of, wrapped

pytestmark = pytest.mark.distributed

SAMPLES, MICRO_BATCHES = 2, 3


def by_part(model: TinyModel, groups: list[Tensor]) -> dict[str, tuple[float, float]]:
    """Both sums of each part, from every group's whole gradient."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    gradients = [torch.autograd.grad(model(tokens), parameters) for tokens in groups]
    sums: dict[str, tuple[float, float]] = {}
    for name, *own in zip(names, *gradients, strict=True):
        stacked = torch.stack(own)
        squares, norm = sums.get(model_part(name), (0.0, 0.0))
        squares, norm = squares + float(stacked.square().sum()), norm + float(stacked.mean(0).square().sum())
        sums[model_part(name)] = squares, norm
    return sums


def compare(rank: int, world_size: int) -> int:
    """Every mode against the reference; the number of cases."""
    done = 0
    for mode in ("ddp", "fsdp", "hybrid", "tensor parallel"):
        for tied in (False, True):
            ranks, own = (world_size // 2, rank // 2) if mode == "tensor parallel" else (world_size, rank)
            groups = groups_of(ranks * MICRO_BATCHES, SAMPLES)
            expected = by_part(TinyModel(tied), groups)
            model = wrapped(TinyModel(tied), mode, world_size)
            statistics = GradientStatistics(model, part_of=model_part)
            accumulate(model, statistics, groups, own, ranks, sync=tied)
            moments = statistics.finish()
            parts = {
                "0.norm", "0.up", "0.down", "1.norm", "1.up", "1.down", "embedding", "head"
            } - ({"head"} if tied else set())  # fmt: skip
            assert set(moments.parts) == parts
            for name, part in moments.parts.items():
                assert (part.sum_of_squares, part.squared_norm) == pytest.approx(expected[name], rel=1e-10)
                assert (part.groups, part.group_size) == (ranks * MICRO_BATCHES, SAMPLES)
            for value in ("sum_of_squares", "squared_norm", "covariance_trace", "debiased_squared_norm"):
                total = sum(getattr(part, value) for part in moments.parts.values())
                assert getattr(moments, value) == pytest.approx(total, rel=1e-12), value
            done += 1
    return done


def test_parts_equal_the_explicit_reference_and_add_up():
    assert run_ranks(compare, 4) == [8] * 4


def refused(rank: int, world_size: int) -> dict[str, str]:
    """What ranks that disagree are told, all of them."""
    messages = {}

    def step(name: str, micro_batches: int, samples: int, average: bool = True) -> None:
        model = TinyModel(False)
        statistics = GradientStatistics(model, process_group=torch.distributed.group.WORLD)
        for batch in groups_of(micro_batches, samples):
            (model((batch + rank) % 11) / micro_batches).backward()
            statistics.end_microbatch(samples)
        for parameter in model.parameters():
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= world_size if average else 1
        try:
            statistics.finish()
        except ValueError as error:
            messages[name] = str(error)

    step("equal", 2, 2)
    step("micro-batches", 1 + rank, 2)
    step("samples", 2, 2 + rank)
    step("sum", 2, 2, average=False)
    return messages


def test_ranks_that_disagree_are_all_told_so():
    for messages in run_ranks(refused, 2):
        assert (
            "unequal numbers of micro-batches per step (mean 1.5, standard deviation 0.5)"
            in messages["micro-batches"]
        )
        assert "unequal numbers of samples per group (mean 2.5, standard deviation 0.5)" in messages["samples"]
        assert "not the mean of the groups' gradients (about 2 times;" in messages["sum"]
        assert "equal" not in messages


def traffic(rank: int, world_size: int) -> dict[str, tuple[int, int]]:
    """Collectives and bytes of a step's finish()."""
    counted = {}
    for name, part_of in (("scalar", None), ("parts", model_part)):
        model = DistributedDataParallel(TinyModel(False))
        statistics = GradientStatistics(model, part_of=part_of)
        accumulate(model, statistics, groups_of(world_size, 2), rank, world_size, sync=True)
        with CommunicationCounter() as counter:
            statistics.finish()
        assert set(counter.traffic) == {"all-reduce"}
        counted[name] = counter.traffic["all-reduce"].calls, counter.traffic["all-reduce"].payload
    return counted


def test_parts_make_the_one_all_reduce_longer():
    for counted in run_ranks(traffic, 2):
        checks = 14 + 3 * 4 * 64  # sizes, and coordinates of 4 of the 12 leaves: their mean, magnitude and value
        assert counted == {"scalar": (1, 8 * (2 + checks)), "parts": (1, 8 * (2 * 8 + checks))}
