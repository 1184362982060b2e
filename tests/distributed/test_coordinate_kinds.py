"""CoordinateStatistics for parameters and losses of other people's models: right by a twin in fp64, or refused."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.nn.parallel import DistributedDataParallel

from adabatch.moments.coordinate_moments import CoordinateMoments
from adabatch.statistics import CoordinateStatistics, GradientStatistics
from adabatch.statistics.coordinate_shards import Shard
from adabatch.statistics.leaves import Leaf
from tests.distributed.test_coordinate_statistics import SAMPLES, check, explicit
from tests.support.spawning import run_ranks

pytestmark = pytest.mark.distributed

GROUPS = 4


class Experts(nn.Module):
    """Each micro-batch goes to one of two experts; both read from rows of a table."""

    def __init__(self, sparse: bool = False) -> None:
        super().__init__()
        self.table = nn.Embedding(9, 4, sparse=sparse)
        self.experts = nn.ModuleList([nn.Linear(4, 3), nn.Linear(4, 3)])
        self.none = nn.Parameter(torch.zeros(0, 3))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.experts[int(rows[0]) % 2](self.table(rows)) + self.none.sum()


def rows_of(group: int, expert: int | None = None) -> torch.Tensor:
    """Two rows of the table; the first one's parity says which expert works."""
    rows = torch.randint(9, (SAMPLES,), generator=torch.Generator().manual_seed(group))
    rows[0] = 2 * (int(rows[0]) % 4) + (group % 2 if expert is None else expert)
    return rows


def experts(sparse: bool = False) -> Experts:
    torch.manual_seed(0)
    return Experts(sparse).double()


def twin_gradients(model: nn.Module, groups: list[torch.Tensor]) -> np.ndarray:
    """[groups, coordinates]: of each group's mean loss; what got no gradient has the gradient 0."""
    found = []
    for rows in groups:
        parameters = [p for p in model.parameters() if p.numel()]
        gradients = torch.autograd.grad(model(rows).square().mean(), parameters, allow_unused=True)
        dense = [
            torch.zeros_like(p) if g is None else g.to_dense() for p, g in zip(parameters, gradients, strict=True)
        ]
        found.append(torch.cat([g.reshape(-1) for g in dense]))
    return torch.stack(found).numpy()


def step(model: nn.Module, statistics: GradientStatistics, groups: list[torch.Tensor]) -> CoordinateMoments:
    for rows in groups:
        (model(rows).square().mean() / len(groups)).backward()
        statistics.end_microbatch(SAMPLES)
    moments = statistics.finish()
    assert isinstance(moments, CoordinateMoments)
    model.zero_grad()
    return moments


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("conservative", [False, True])
def test_idle_sparse_and_empty_parameters(sparse, conservative):
    model = experts(sparse)
    statistics = CoordinateStatistics(model, conservative=conservative, idle="zero")
    # The second step reuses buffers, the third leaves the second expert out altogether.
    for first, choice in ((0, None), (10, None), (20, 0), (30, None)):
        groups = [rows_of(first + j, choice) for j in range(GROUPS)]
        expected = explicit(twin_gradients(copy.deepcopy(experts(sparse)), groups))
        check(step(model, statistics, groups), expected, conservative, f"from {first}")


def test_a_step_that_is_given_up_leaves_nothing():
    model, groups = experts(), [rows_of(j) for j in range(GROUPS)]
    statistics = CoordinateStatistics(model, conservative=True, idle="zero")
    for rows in groups[1:3]:
        (1e3 * model(rows).square().mean()).backward()
        statistics.end_microbatch(SAMPLES)
    model(groups[0]).sum().backward()
    statistics.reset()
    model.zero_grad()
    check(step(model, statistics, groups), explicit(twin_gradients(experts(), groups)), True, "after reset()")


def on_ranks(rank: int, world_size: int, way: str) -> CoordinateMoments:
    """Two micro-batches of each rank; in the first one, the ranks' experts differ."""
    model, own = experts(), [rows_of(rank + world_size * index) for index in range(2)]
    group, wrapped = dist.group.WORLD, model
    if way == "ddp":
        wrapped = DistributedDataParallel(model, find_unused_parameters=True)
        statistics = CoordinateStatistics(wrapped, conservative=True, idle="zero")
    else:
        statistics = CoordinateStatistics(model, group, conservative=True, idle="zero", reduction=way)
    divisor = 2 * (world_size if way == "sum" else 1)
    for rows in own:
        (wrapped(rows).square().mean() / divisor).backward()
        statistics.end_microbatch(SAMPLES)
    for parameter in model.parameters():
        if way != "ddp" and parameter.numel():
            parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            dist.all_reduce(parameter.grad)
            parameter.grad /= world_size if way == "mean" else 1
    return statistics.finish()


@pytest.mark.parametrize("way", ["ddp", "mean", "sum"])
def test_experts_on_ranks_that_are_averaged_or_summed(way):
    groups = [rows_of(group) for group in range(GROUPS)]
    for moments in run_ranks(on_ranks, 2, way):
        check(moments, explicit(twin_gradients(experts(), groups)), True, way)


def refused_on_ranks(rank: int, world_size: int) -> str:
    sharded = fully_shard(experts(), mesh=init_device_mesh("cpu", (world_size,)))
    with pytest.raises(ValueError, match="is sharded by fully_shard, whose ranks reduce") as caught:
        CoordinateStatistics(sharded, idle="zero")
    CoordinateStatistics(sharded)  # the refused ones left no hooks
    model = nn.Linear(2, 1).double()
    statistics = CoordinateStatistics(model, dist.group.WORLD)
    model(torch.ones(2, 2, dtype=torch.float64)).sum().backward()
    statistics.end_microbatch(2, tokens=5 + rank)
    with pytest.raises(ValueError, match="unequal numbers of tokens"):
        statistics.finish()
    return str(caught.value)


def test_what_ranks_refuse():
    assert all("idle='zero'" in message for message in run_ranks(refused_on_ranks, 2))


def test_equal_tokens_are_the_unit_and_unequal_ones_are_refused():
    torch.manual_seed(0)
    model, data = nn.Linear(3, 1).double(), torch.randn(GROUPS, 5, 3, dtype=torch.float64)
    statistics = CoordinateStatistics(model, conservative=True)

    def measured(tokens: list[int]) -> CoordinateMoments:
        for rows, count in zip(data, tokens, strict=True):
            # Token-normalised: the group's sum over its tokens, divided by all tokens.
            (model(rows[:count]).square().sum() / sum(tokens)).backward()
            statistics.end_microbatch(2, tokens=count)
        moments = statistics.finish()
        model.zero_grad()
        return moments

    equal = measured([5] * GROUPS)
    rows = []
    for part in data:
        gradients = torch.autograd.grad(model(part).square().mean(), list(model.parameters()))
        rows.append(torch.cat([gradient.reshape(-1) for gradient in gradients]))
    values = explicit(torch.stack(rows).numpy())
    assert equal.group_size == 5
    assert equal.plug_in_l1_norm == pytest.approx(values["l1"], rel=1e-12)
    # The reference counts in groups of 2.
    assert equal.sum_of_standard_deviations == pytest.approx(values["deviations"] * math.sqrt(5 / 2), rel=1e-12)
    with pytest.raises(ValueError, match="unequal numbers of tokens, and coordinate-wise statistics cannot weigh"):
        measured([5, 3, 5, 4])
    model.zero_grad()
    assert measured([5] * GROUPS).sum_of_standard_deviations == equal.sum_of_standard_deviations


def test_complex_parameters_are_refused_and_nothing_is_attached():
    model = nn.Linear(3, 2)
    model.scale = nn.Parameter(torch.ones(2, dtype=torch.complex64))
    with pytest.raises(
        ValueError, match="scale is complex, and coordinate-wise statistics are of real coordinates"
    ):
        CoordinateStatistics(model)
    model.scale.requires_grad_(False)
    CoordinateStatistics(model)


def scaled_step(scale: float, dtype: torch.dtype, loss_scale: float = 1.0) -> tuple[CoordinateMoments, np.ndarray]:
    """Gradients of about this size, and the groups' gradients in fp64."""
    model = nn.Linear(6, 40, bias=False).to(dtype)
    data = torch.randn(GROUPS, SAMPLES, 6, generator=torch.Generator().manual_seed(0)).to(dtype)
    statistics = CoordinateStatistics(model)
    for rows in data:
        (scale * loss_scale / GROUPS * (model(rows).sum(1)).mean()).backward()
        statistics.end_microbatch(SAMPLES, loss_scale=loss_scale)
    model.weight.grad /= loss_scale
    gradients = scale * data.double().mean(1).unsqueeze(1).expand(-1, 40, -1).reshape(GROUPS, -1)
    return statistics.finish(), gradients.numpy()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("scale", [1e-16, 1e-12, 1.0, 1e12, 1e16])
def test_small_and_large_gradients(dtype, scale):
    moments, gradients = scaled_step(scale, dtype)
    expected, tolerance = explicit(gradients), 1e-5 if dtype == torch.float32 else 1e-12
    assert moments.sum_of_standard_deviations == pytest.approx(expected["deviations"], rel=tolerance)
    assert moments.plug_in_l1_norm == pytest.approx(expected["l1"], rel=tolerance)


@pytest.mark.parametrize("scale", [1e-30, 1e-24, 1e-19, 1e21, 1e25])
def test_gradients_whose_squares_leave_fp32_are_refused_unless_the_loss_is_scaled(scale):
    with pytest.raises(ValueError, match=f"too {'small' if scale < 1 else 'large'} for the sums of squares"):
        scaled_step(scale, torch.float32)
    for dtype, loss_scale in ((torch.float32, 2.0 ** -round(math.log2(scale))), (torch.float64, 1.0)):
        moments, gradients = scaled_step(scale, dtype, loss_scale)
        expected, tolerance = explicit(gradients), 1e-5 if dtype == torch.float32 else 1e-12
        assert moments.sum_of_squares == pytest.approx((gradients**2).sum(), rel=tolerance)
        assert moments.sum_of_standard_deviations == pytest.approx(expected["deviations"], rel=tolerance)
        assert moments.plug_in_l1_norm == pytest.approx(expected["l1"], rel=tolerance)


def test_equal_groups_have_no_deviation_and_are_not_refused():
    model = nn.Linear(3, 2, bias=False).double()
    statistics = CoordinateStatistics(model)
    for _ in range(GROUPS):
        (model(torch.ones(SAMPLES, 3, dtype=torch.float64)).mean() / GROUPS).backward()
        statistics.end_microbatch(SAMPLES)
    assert statistics.finish().sum_of_standard_deviations == pytest.approx(0, abs=1e-7)


def test_a_rank_without_a_part_of_a_parameter():
    """Tensor parallelism leaves some ranks no row of a small parameter."""
    nothing = torch.zeros(0, 4)
    shard = Shard(Leaf("weight", nothing, nothing), 1, 0, torch.float32, 1)
    assert shard.samples == []
    assert shard.kept == 0
