"""CoordinateStatistics on ranks against every group's whole gradient in fp64."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from adabatch.distributed.parallel import set_gradient_sync
from adabatch.moments.coordinate_moments import RESOLUTION, CoordinateMoments
from adabatch.statistics import CoordinateStatistics, coordinate_shards
from adabatch.statistics.coordinate_shards import BLOCK
from tests.support.spawning import run_ranks
from tests.support.tiny_model import (
    TinyModel,
    accumulate,
    group_gradients,
    groups_of,
    sharded,
    tensor_parallel,
    wrapped,
)

pytestmark = pytest.mark.distributed

ETA, MICRO_BATCHES, SAMPLES = 0.7, 3, 2


def explicit(gradients: np.ndarray) -> dict[str, object]:
    """Every quantity by its definition, from the groups' gradients; halves are even and odd groups."""
    n, mean = len(gradients), gradients.mean(0)
    variance = SAMPLES * ((gradients - mean) ** 2).sum(0) / (n - 1)
    # c4 by its recursion c4(n+1) = sqrt(n-1)/sqrt(n) / c4(n) with c4(2) = sqrt(2/pi).
    correction = np.sqrt(2 / np.pi)
    for count in range(2, n):
        correction = np.sqrt((count - 1) / count) / correction
    even, odd = gradients[0::2].mean(0), gradients[1::2].mean(0)
    variance[np.all(gradients == 0, axis=0)] = 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(variance > 0, variance / mean**2, 0.0)
    return {
        "weighted": weighted_by_hand(variance, mean, n) if n >= 5 else None,
        "deviations": np.sqrt(variance).sum() / correction,
        "trace": variance.sum(),
        "l1": np.abs(mean).sum(),
        "conservative": ((np.sign(odd) * even).sum() + (np.sign(even) * odd).sum()) / 2,
        "ratio": ratio,
    }


def weighted_by_hand(variance: np.ndarray, mean: np.ndarray, n: int) -> tuple[float, float]:
    """Both sums of the weighted noise scale, one coordinate after the other; b = n m."""
    half, b = (n - 1) / 2, n * SAMPLES
    # E[v^p] / V^p of a chi-squared variance with n - 1 degrees of freedom
    minus_half, minus_three_halves, plus_half = (
        math.gamma(half + p) / math.gamma(half) / half**p for p in (-0.5, -1.5, 0.5)
    )
    descent = lost = 0.0
    for v, g in zip(variance, mean, strict=True):
        if v > 0:
            one = g**2 / math.sqrt(v) / minus_half
            descent += one - math.sqrt(v) / plus_half / b
            lost += g**4 / v**1.5 / minus_three_halves - 6 * one / b + 3 * math.sqrt(v) / plus_half / b**2
    return descent, lost


def compare(rank: int, world_size: int) -> list[str]:
    """Every mode against the reference; the cases that were compared."""
    modes = {1: ("single", "ddp", "fsdp"), 2: ("ddp", "fsdp"), 4: ("ddp", "fsdp", "hybrid")}[world_size]
    done = []
    for mode, tied, sync, conservative in itertools.product(modes, (False, True), (False, True), (False, True)):
        case = f"{mode}, tied {tied}, sync {sync}, conservative {conservative}"
        groups = groups_of(world_size * MICRO_BATCHES, SAMPLES)
        expected = explicit(group_gradients(TinyModel(tied), groups).numpy())
        model = wrapped(TinyModel(tied), mode, world_size)
        weighted = expected["weighted"] is not None
        statistics = CoordinateStatistics(model, conservative=conservative, weighted=weighted)
        for step in range(2):
            model.zero_grad()
            statistics.enable(step == 1)
            accumulate(model, statistics, groups, rank, world_size, sync)
        moments = statistics.finish()
        assert isinstance(moments, CoordinateMoments)
        assert (moments.weighted_sums is not None) == weighted
        check(moments, expected, conservative, case)
        done.append(case)
    return done


def check(moments: CoordinateMoments, expected, conservative: bool, case: str) -> None:
    def same(value, name):
        np.testing.assert_allclose(value, expected[name], rtol=1e-10, err_msg=f"{case}: {name}")

    same(moments.sum_of_standard_deviations, "deviations")
    same(moments.covariance_trace, "trace")
    same(moments.plug_in_l1_norm, "l1")
    if conservative:
        same(moments.conservative_l1_norm, "conservative")
    else:
        assert moments.conservative_l1_norm is None
    if moments.weighted_sums is not None:
        same(moments.weighted_sums, "weighted")
    dimensions = moments.effective_dimensions
    np.testing.assert_allclose(dimensions.noise, expected["deviations"] ** 2 / expected["trace"], rtol=1e-10)
    ratio = expected["ratio"]
    assert moments.ratios.counts.sum() == pytest.approx(len(ratio), rel=1e-12)  # every coordinate once
    limit, slack = ETA**2 * moments.batch_size, 1e-7
    assert np.mean(ratio <= limit / RESOLUTION) - slack <= moments.coordinate_share(ETA) <= np.mean(ratio <= limit)
    for share in (0.1, 0.5, 0.9):
        exact = np.quantile(ratio, share, method="inverted_cdf")
        assert exact * (1 - slack) <= moments.ratios.quantile(share) <= max(exact * RESOLUTION, 1e-6) * (1 + slack)


@pytest.mark.parametrize(("world_size", "cases"), [(1, 24), (2, 16), (4, 24)])
def test_coordinate_moments_equal_the_explicit_reference(world_size, cases):
    for done in run_ranks(compare, world_size):
        assert len(done) == cases


def compare_tensor_parallel(rank: int, world_size: int) -> int:
    """FSDP2 x tensor parallel, and tensor parallel alone, against the reference; the number of cases."""
    ranks, done = world_size // 2, 0
    mesh = init_device_mesh("cpu", (ranks, 2), mesh_dim_names=("data", "tensor"))
    for tied, sequence, alone in itertools.product((False, True), repeat=3):
        conservative = tied != sequence
        own, count = (0, 1) if alone else (rank // 2, ranks)
        groups = groups_of(count * MICRO_BATCHES, SAMPLES)
        expected = explicit(group_gradients(TinyModel(tied), groups).numpy())
        model = tensor_parallel(TinyModel(tied), mesh["tensor"], sequence)
        model = model if alone else sharded(model, mesh["data"])
        statistics = CoordinateStatistics(model, conservative=conservative)
        accumulate(model, statistics, groups, own, count, sync=tied)
        case = f"tied {tied}, sequence parallel {sequence}, conservative {conservative}, alone {alone}"
        check(statistics.finish(), expected, conservative, case)
        done += 1
    return done


def test_tensor_parallel_models():
    assert run_ranks(compare_tensor_parallel, 4) == [8] * 4


def strided(rank: int, world_size: int, mode: str) -> list[float]:
    """Sums over every 7th coordinate, relative to those over all; and the share of numbers kept."""
    torch.manual_seed(0)
    results = []
    for stride in (1, 7):
        model = nn.Sequential(nn.Linear(400, 200), nn.Tanh(), nn.Linear(200, 1))
        for parameter in model.parameters():
            nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1), std=0.05)
        if mode == "ddp":
            model = DistributedDataParallel(model)
        elif mode == "fsdp":
            model = fully_shard(model, mesh=init_device_mesh("cpu", (world_size,)))
        statistics = CoordinateStatistics(model, conservative=True, stride=stride)
        for index in range(4):
            generator = torch.Generator().manual_seed(4 * rank + index)
            (model(torch.randn(8, 400, generator=generator)).square().mean() / 4).backward()
            statistics.end_microbatch(8)
        size = sum(bucket.size for bucket in statistics._buckets)
        moments = statistics.finish()
        shares = [moments.coordinate_share(eta) for eta in (0.3, 1.0, 3.0)]
        results.append([
            moments.sum_of_squares, moments.sum_of_standard_deviations, moments.plug_in_l1_norm,
            moments.conservative_l1_norm, moments.ratios.counts.sum(), size, *shares,
        ])  # fmt: skip
    whole, part = results
    return [*(one / all_ for one, all_ in zip(part[:6], whole[:6], strict=True)), *whole[6:], *part[6:]]


@pytest.mark.parametrize(("mode", "ranks"), [("single", 1), ("ddp", 2), ("ddp", 3), ("fsdp", 2), ("fsdp", 3)])
def test_a_stride_keeps_a_part_and_estimates_the_same_sums(mode, ranks):
    for result in run_ranks(strided, ranks, mode):
        squares, deviations, plug_in, conservative, count, size, *shares = result
        assert squares == pytest.approx(1.0, rel=1e-12)  # scalar moments see everything
        # 11,600 of 80,000 coordinates, whose values vary by about as much as they are.
        assert [deviations, plug_in] == pytest.approx([1.0] * 2, rel=0.05)
        assert conservative == pytest.approx(1.0, rel=0.2)  # terms of both signs
        assert count == pytest.approx(1.0, rel=1e-3)
        assert size < 1.1 / 7
        assert shares[:3] == pytest.approx(shares[3:], abs=0.02)


def sums_with_loud_features(stride: int) -> tuple[float, float]:
    """Deviations and l1 norm where every other block of 16 input features is ten times as large."""
    torch.manual_seed(0)
    model = nn.Linear(512, 512, bias=False)
    statistics = CoordinateStatistics(model, stride=stride)
    loud = torch.where(torch.arange(512) // BLOCK % 2 == 0, 10.0, 1.0)
    for _ in range(4):
        (model(loud * torch.randn(4, 512)).square().mean() / 4).backward()
        statistics.end_microbatch(4)
    moments = statistics.finish()
    return moments.sum_of_standard_deviations, moments.plug_in_l1_norm


def test_a_stride_sees_all_input_features_alike(monkeypatch):
    exact, sampled = sums_with_loud_features(1), sums_with_loud_features(16)
    assert sampled == pytest.approx(exact, rel=0.03)
    monkeypatch.setattr(coordinate_shards, "coprime_stride", lambda stride, size: stride)
    aliased = sums_with_loud_features(16)  # what a stride of 16 itself would see
    assert aliased[0] > 1.5 * exact[0]


def kept(rank: int, world_size: int, mode: str, sync: bool) -> dict[str, int]:
    """Numbers kept before a step's last micro-batch, after it, after finish() and switched off; and one shard."""
    model = wrapped(TinyModel(False), mode, world_size)
    statistics = CoordinateStatistics(model)

    def size() -> int:
        return sum(bucket.size for bucket in statistics._buckets)

    groups, sizes = groups_of(world_size * 2, 2), {}
    for index in range(2):
        set_gradient_sync(model, sync or index == 1)
        (model(groups[index * world_size + rank]) / 2).backward()
        statistics.end_microbatch(2)
        sizes[f"micro-batch {index}"] = size()
    statistics.finish()
    sizes["finished"] = size()
    statistics.enable(False)
    sizes["off"] = size()
    sizes["shard"] = sum(shard.size for bucket in statistics._buckets for shard in bucket.shards)
    return sizes


@pytest.mark.parametrize("sync", [True, False])
def test_under_fsdp_a_padded_shard_is_kept_or_what_fsdp_keeps_whole(sync):
    for sizes in run_ranks(kept, 2, "fsdp", sync):
        whole = 0 if sync else 2 * sizes["shard"]
        assert sizes["micro-batch 0"] == (whole or sizes["shard"])
        assert sizes["micro-batch 1"] == whole + sizes["shard"]
        assert sizes["finished"] == whole
        assert sizes["off"] == 0


def test_under_ddp_all_is_kept_until_it_is_switched_off():
    for sizes in run_ranks(kept, 2, "ddp", False):
        assert sizes["micro-batch 0"] == sizes["micro-batch 1"] == sizes["finished"] == 2 * sizes["shard"]
        assert sizes["off"] == 0
