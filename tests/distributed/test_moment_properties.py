"""What holds for any ranks, micro-batches, sizes, dtypes and scales: hundreds of examples on ranks that stay up.

The reference is every group's own whole gradient, unsharded, on one rank, its moments by their definitions in
fp64. Three bounds are asserted, none of them fitted:

- fp64: 1e-10 relative.
- The sum of squares in any dtype: 1e-10 relative to the same arithmetic unsharded, since a group's gradient is the
  same numbers, sharded or not, and squares are summed in fp64.
- What rests on the mean of the groups, in fp32 and bf16: what the moments themselves say that rounding may have
  done (``rounding``). With bf16 parameters under FSDP2 the mean is still reduced in fp32; parameters kept in bf16
  under DDP have their mean rounded to bf16 (2^-8 a rounding), and the moments say so.

Against fp64 arithmetic throughout, fp32 and bf16 gradients themselves are off, which no statistic can mend: all
stays within FP32 and BF16 of the sum of squares.
"""

from __future__ import annotations

import copy
import functools
import random
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spawning import RankPool
from tiny_model import Dimensions, TinyModel, accumulate, group_gradients, groups_of
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.nn.parallel import DistributedDataParallel

from adabatch.statistics import GradientStatistics
from theory.gradient_moments import GradientMoments
from theory.norm_test import Estimator, norm_test_statistic

pytestmark = pytest.mark.distributed

EXACT = 1e-10

FP32 = 1e-4
"""Of the sum of squares. Tens of roundings of 6e-8 on the way to a coordinate, amplified where terms cancel."""

BF16 = 2**-3
"""Of the sum of squares. Tens of roundings of 2^-9, doubled by squaring; at these sizes few average out."""

DTYPES = {"fp64": torch.float64, "fp32": torch.float32, "bf16": torch.bfloat16}


@dataclass(frozen=True)
class Example:
    mode: str
    dtype: str
    tied: bool
    sync: bool
    micro_batches: int
    samples: int
    dimensions: Dimensions
    scale: float
    seed: int

    def groups(self, ranks: int) -> list[Tensor]:
        return groups_of(ranks * self.micro_batches, self.samples, self.dimensions.vocabulary, self.seed)

    def model(self) -> TinyModel:
        return TinyModel(self.tied, dimensions=self.dimensions, scale=self.scale)


def examples(dtypes: tuple[str, ...] = tuple(DTYPES), accumulating: bool = False) -> st.SearchStrategy[Example]:
    return st.builds(
        Example,
        mode=st.sampled_from(("fsdp", "ddp", "fsdp without reshard", "hybrid")),
        dtype=st.sampled_from(dtypes),
        tied=st.booleans(),
        sync=st.booleans(),
        micro_batches=st.integers(2 if accumulating else 1, 4),
        samples=st.integers(1, 4),
        dimensions=st.builds(
            Dimensions, st.integers(2, 13), st.integers(2, 11), st.integers(1, 13), st.integers(1, 2)
        ),
        scale=st.integers(-12, 12).map(lambda power: 10.0**power),
        seed=st.integers(0, 2**16),
    )


@functools.cache
def hybrid_mesh() -> DeviceMesh:
    """Made once a rank: it makes process groups."""
    return init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicate", "shard"))


def wrapped(model: nn.Module, example: Example, world_size: int) -> nn.Module:
    if example.mode in ("ddp", "single"):
        model.to(DTYPES[example.dtype])
        return DistributedDataParallel(model) if example.mode == "ddp" else model
    mesh = init_device_mesh("cpu", (world_size,))
    if example.mode == "hybrid" and world_size == 4:
        mesh = hybrid_mesh()
    policy = MixedPrecisionPolicy()
    if example.dtype == "bf16":
        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
    model.to(torch.float64 if example.dtype == "fp64" else torch.float32)
    for module in [*model.blocks, model]:
        fully_shard(
            module, mesh=mesh, mp_policy=policy, reshard_after_forward=example.mode != "fsdp without reshard"
        )
    return model


def measured(
    rank: int, world_size: int, example: Example, steps: list[tuple[float, list[Tensor]]]
) -> list[GradientMoments]:
    """The moments of steps with these scales of the loss and groups, on one wrapped model."""
    model = example.model()
    whole = wrapped(model, example, world_size)
    statistics = GradientStatistics(whole)
    moments = []
    for scale, groups in steps:
        model.scale = scale
        whole.zero_grad()
        accumulate(whole, statistics, groups, rank, world_size, example.sync)
        moments.append(statistics.finish())
    return moments


@dataclass(frozen=True)
class Reference:
    """Sums by their definitions."""

    sum_of_squares: float
    squared_norm: float
    deviation: float

    @classmethod
    def of(cls, gradients: Tensor) -> Reference:
        mean = gradients.mean(0)
        squares = (gradients.square(), mean.square(), (gradients - mean).square())
        return cls(*(float(part.sum()) for part in squares))


def references(example: Example, groups: list[Tensor]) -> tuple[Reference, Reference]:
    """In the example's arithmetic, unsharded; and in fp64, from the weights as they are rounded."""
    model = example.model().to(DTYPES[example.dtype])
    same = Reference.of(group_gradients(model, groups, example.micro_batches))
    if example.dtype == "bf16" and example.mode != "ddp":
        model = example.model().float()  # FSDP2 keeps the weights in fp32
    return same, Reference.of(group_gradients(copy.deepcopy(model).double(), groups))


@pytest.fixture(scope="module", params=[1, 2, 3, 4], ids=lambda ranks: f"{ranks} ranks")
def pool(request):
    with RankPool(request.param) as ranks:
        yield ranks


def cases(count: int):
    return settings(
        max_examples=count, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
    )


def check(moments: GradientMoments, example: Example, same: Reference, exact: Reference) -> None:
    """The moments against the same arithmetic unsharded, and against fp64."""
    n, m = moments.groups, moments.group_size
    rounded = moments.rounding * same.sum_of_squares
    assert moments.sum_of_squares == pytest.approx(same.sum_of_squares, rel=EXACT)
    assert n * abs(moments.squared_norm - same.squared_norm) <= rounded
    if example.dtype == "fp64":
        assert moments.squared_norm == pytest.approx(same.squared_norm, rel=EXACT)
    slack = {"fp64": EXACT, "fp32": FP32, "bf16": BF16}[example.dtype] * exact.sum_of_squares + rounded
    assert abs(moments.sum_of_squares - exact.sum_of_squares) <= slack
    assert n * abs(moments.squared_norm - exact.squared_norm) <= slack
    if n < 2:
        return
    trace = moments.covariance_trace
    error = abs(trace - m * same.deviation / (n - 1))
    assert error <= m * rounded / (n - 1)
    assert error <= moments.trace_precision * trace or trace == 0
    if example.dtype == "fp64" and moments.trace_precision < EXACT:
        assert trace == pytest.approx(m * same.deviation / (n - 1), rel=EXACT)
    assert abs(trace * (n - 1) / m - exact.deviation) <= slack


@cases(40)
@given(example=examples())
def test_sharded_moments_equal_the_unsharded_reference(pool, example):
    groups = example.groups(pool.world_size)
    results = pool.run(measured, example, [(example.scale, groups)])
    assert all(result == results[0] for result in results), "ranks disagree"
    (moments,) = results[0]
    assert (moments.groups, moments.group_size) == (len(groups), example.samples)
    check(moments, example, *references(example, groups))


EXAMPLE = Example("fsdp", "fp64", True, False, 3, 2, Dimensions(), 1e3, 0)


@pytest.mark.parametrize("name", ["sum_of_squares", "squared_norm"])
@pytest.mark.parametrize(("dtype", "factor"), [("fp64", 1 + 1e-9), ("fp32", 1 + 1e-4), ("bf16", 1.2)])
def test_the_comparison_rejects_what_is_slightly_off(name, dtype, factor):
    example = replace(EXAMPLE, dtype=dtype)
    groups = example.groups(1)
    (moments,) = measured(0, 1, replace(example, mode="single"), [(example.scale, groups)])
    same, exact = references(example, groups)
    check(moments, example, same, exact)
    with pytest.raises(AssertionError):
        check(replace(moments, **{name: factor * getattr(moments, name)}), example, same, exact)


def close(first: GradientMoments, second: GradientMoments, scale: float = 1.0) -> None:
    """Both sums and what is made of them, up to fp64 rounding."""
    assert scale * first.sum_of_squares == pytest.approx(second.sum_of_squares, rel=EXACT)
    assert scale * first.squared_norm == pytest.approx(second.squared_norm, rel=EXACT)
    if first.groups > 1:
        slack = max(EXACT, 2 * first.trace_precision)
        assert scale * first.covariance_trace == pytest.approx(second.covariance_trace, rel=slack)


@cases(15)
@given(example=examples(("fp64",)), data=st.randoms(use_true_random=False))
def test_permuting_groups_or_ranks_leaves_the_value(pool, example, data: random.Random):
    groups = example.groups(pool.world_size)
    permuted = data.sample(groups, len(groups))
    plain, other = pool.run(measured, example, [(example.scale, groups), (example.scale, permuted)])[0]
    close(plain, other)


@cases(15)
@given(example=examples(("fp64",), accumulating=True), power=st.integers(-12, 12))
def test_scaling_gradients_scales_the_moments_and_leaves_the_statistic(pool, example, power):
    groups, factor = example.groups(pool.world_size), 10.0**power
    plain, scaled = pool.run(measured, example, [(1.0, groups), (factor, groups)])[0]
    close(plain, scaled, factor**2)
    if plain.trace_precision < EXACT:
        for estimator in (Estimator.PAPER, Estimator.UNBIASED):
            statistics = [norm_test_statistic(moments, 0.3, estimator) for moments in (plain, scaled)]
            assert statistics[0] == pytest.approx(statistics[1], rel=2 * EXACT)


@cases(15)
@given(example=examples(("fp64",)), pieces=st.integers(2, 3))
def test_splitting_groups_over_micro_batches_leaves_the_mean(pool, example, pieces):
    ranks = pool.world_size
    example = replace(example, samples=pieces * example.samples)
    groups = example.groups(ranks)
    # A rank takes every ranks-th group: its own groups' pieces, one after another, keep their rank.
    split = [
        group.chunk(pieces)[piece]
        for start in range(0, len(groups), ranks)
        for piece in range(pieces)
        for group in groups[start : start + ranks]
    ]
    plain, other = pool.run(measured, example, [(example.scale, groups), (example.scale, split)])[0]
    assert (other.groups, other.group_size) == (pieces * plain.groups, plain.group_size // pieces)
    assert other.batch_size == plain.batch_size
    assert other.squared_norm == pytest.approx(plain.squared_norm, rel=EXACT)
    # Smaller groups are noisier, or as noisy if all samples are alike.
    assert other.sum_of_squares / other.groups >= plain.sum_of_squares / plain.groups * (1 - EXACT)
