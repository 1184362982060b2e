"""CoordinateStatistics on ranks against every group's whole gradient in fp64."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from spawning import run_ranks
from tiny_model import TinyModel, accumulate, group_gradients, groups_of
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from adabatch.coordinate_moments import RESOLUTION, CoordinateMoments
from adabatch.coordinate_statistics import CoordinateStatistics

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
        "deviations": np.sqrt(variance).sum() / correction,
        "trace": variance.sum(),
        "l1": np.abs(mean).sum(),
        "conservative": ((np.sign(odd) * even).sum() + (np.sign(even) * odd).sum()) / 2,
        "ratio": ratio,
    }


def wrapped(model: TinyModel, mode: str, world_size: int) -> nn.Module:
    if mode == "single":
        return model
    if mode == "ddp":
        return DistributedDataParallel(model)
    if mode == "hybrid":
        mesh = init_device_mesh("cpu", (2, world_size // 2), mesh_dim_names=("replicate", "shard"))
    else:
        mesh = init_device_mesh("cpu", (world_size,))
    for module in [*model.blocks, model]:
        fully_shard(module, mesh=mesh)
    return model


def compare(rank: int, world_size: int) -> list[str]:
    """Every mode against the reference; the cases that were compared."""
    modes = {1: ("single", "ddp", "fsdp"), 2: ("ddp", "fsdp"), 4: ("ddp", "fsdp", "hybrid")}[world_size]
    done = []
    for mode, tied, sync, conservative in itertools.product(modes, (False, True), (False, True), (False, True)):
        case = f"{mode}, tied {tied}, sync {sync}, conservative {conservative}"
        groups = groups_of(world_size * MICRO_BATCHES, SAMPLES)
        expected = explicit(group_gradients(TinyModel(tied), groups).numpy())
        model = wrapped(TinyModel(tied), mode, world_size)
        statistics = CoordinateStatistics(model, conservative=conservative)
        for step in range(2):
            model.zero_grad()
            statistics.enable(step == 1)
            accumulate(model, statistics, groups, rank, world_size, sync)
        moments = statistics.finish()
        assert isinstance(moments, CoordinateMoments)
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


def kept(rank: int, world_size: int) -> tuple[int, int, int]:
    """Coordinates kept in the middle of a step, this rank's own, and those kept after it."""
    model = wrapped(TinyModel(False), "fsdp", world_size)
    own = sum(p.to_local().numel() for p in model.parameters())
    statistics = CoordinateStatistics(model)
    accumulate(model, statistics, groups_of(world_size * 2, 2), rank, world_size, sync=True)
    during = sum(sums.size for sums in statistics._sums)
    statistics.finish()
    return during, own, sum(sums.size for sums in statistics._sums)


def test_under_fsdp_one_padded_shard_is_kept_and_only_within_a_step():
    results = run_ranks(kept, 2)
    padding = max(own for _, own, _ in results)
    assert all(during == padding and after == 0 for during, _, after in results)
