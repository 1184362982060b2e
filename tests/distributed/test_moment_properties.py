"""What holds for any ranks, micro-batches, sizes, dtypes and scales: hundreds of examples on ranks that stay up.

The reference is every group's own whole gradient, unsharded, on one rank and in the same arithmetic, its moments
by their definitions in fp64. Three bounds are asserted, none of them fitted:

- fp64: 1e-10 relative.
- The sum of squares in any dtype: 1e-10 relative, since a group's gradient is the same numbers, sharded or not,
  and squares are summed in fp64.
- What rests on the mean of the groups, in fp32 and bf16: what the moments themselves say that rounding may have
  done (``rounding``). With bf16 parameters under FSDP2 the mean is still reduced in fp32; parameters kept in bf16
  under DDP have their mean rounded to bf16 (2^-8 a rounding), and the moments say so.

Tensor parallelism adds up a layer's parts in another order, so that a group's gradient is the same in fp64 only.
How far fp32 and bf16 gradients themselves lie from fp64 ones is the model's conditioning, not the statistics' (a
LayerNorm over two channels can lose all digits of bf16): test_exact_statistics_on_meshes.py measures it on a model
of fixed sizes.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.moments.statistic import Estimator, norm_test_statistic
from tests.support.drawn_steps import Example, cases, examples, measured, on_even_ranks
from tests.support.tiny_model import Dimensions

pytestmark = pytest.mark.distributed

EXACT = 1e-10


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


def check(moments: GradientMoments, example: Example, same: Reference) -> None:
    n, m = moments.groups, moments.group_size
    rounded = moments.rounding * same.sum_of_squares
    if example.mode.startswith(
        "tensor"
    ):  # where a group's gradient itself has other roundings than the reference's
        rounded += EXACT * same.sum_of_squares
    assert moments.sum_of_squares == pytest.approx(same.sum_of_squares, rel=EXACT)
    assert n * abs(moments.squared_norm - same.squared_norm) <= rounded
    if example.dtype == "fp64":
        assert moments.squared_norm == pytest.approx(same.squared_norm, rel=EXACT)
    if n < 2:
        return
    trace = moments.covariance_trace
    error = abs(trace - m * same.deviation / (n - 1))
    assert error <= m * rounded / (n - 1)
    assert error <= moments.trace_precision * trace or trace == 0 or example.mode.startswith("tensor")
    if example.dtype == "fp64" and moments.trace_precision < EXACT:
        assert trace == pytest.approx(m * same.deviation / (n - 1), rel=EXACT)


@cases(15)
@given(example=examples())
@hypothesis.example(Example("tensor", "fp64", False, False, 1, 1, Dimensions(6, 2, 2, 2), 10.0, 5))
def test_sharded_moments_equal_the_unsharded_reference(pool, example):
    example = example.comparable(pool.world_size)
    groups = example.groups(pool.world_size)
    results = pool.run(measured, example, [(example.scale, groups)])
    assert all(result == results[0] for result in results), "ranks disagree"
    (moments,) = results[0]
    assert (moments.groups, moments.group_size) == (len(groups), example.samples)
    check(moments, example, Reference.of(example.same_gradients(groups)))


EXAMPLE = Example("fsdp", "fp64", True, False, 3, 2, Dimensions(), 1e3, 0)


@pytest.mark.parametrize("name", ["sum_of_squares", "squared_norm"])
@pytest.mark.parametrize(("dtype", "factor"), [("fp64", 1 + 1e-9), ("fp32", 1 + 1e-5), ("bf16", 1.2)])
def test_the_comparison_rejects_what_is_slightly_off(name, dtype, factor):
    example = replace(EXAMPLE, dtype=dtype)
    groups = example.groups(1)
    (moments,) = measured(0, 1, replace(example, mode="single"), [(example.scale, groups)])
    same = Reference.of(example.same_gradients(groups))
    check(moments, example, same)
    with pytest.raises(AssertionError):
        check(replace(moments, **{name: factor * getattr(moments, name)}), example, same)


def assert_close(first: GradientMoments, second: GradientMoments, scale: float = 1.0) -> None:
    """Both sums and what is made of them, up to fp64 rounding."""
    assert scale * first.sum_of_squares == pytest.approx(second.sum_of_squares, rel=EXACT)
    assert scale * first.squared_norm == pytest.approx(second.squared_norm, rel=EXACT)
    if first.groups > 1:
        slack = max(EXACT, 2 * first.trace_precision)
        assert scale * first.covariance_trace == pytest.approx(second.covariance_trace, rel=slack)


@on_even_ranks
@cases(5)
@given(example=examples(("fp64",)), data=st.randoms(use_true_random=False))
def test_permuting_groups_or_ranks_leaves_the_value(pool, example, data: random.Random):
    groups = example.groups(pool.world_size)
    permuted = data.sample(groups, len(groups))
    plain, other = pool.run(measured, example, [(example.scale, groups), (example.scale, permuted)])[0]
    assert_close(plain, other)


@on_even_ranks
@cases(5)
@given(example=examples(("fp64",), accumulating=True), power=st.integers(-12, 12))
def test_scaling_gradients_scales_the_moments_and_leaves_the_statistic(pool, example, power):
    groups, factor = example.groups(pool.world_size), 10.0**power
    plain, scaled = pool.run(measured, example, [(1.0, groups), (factor, groups)])[0]
    assert_close(plain, scaled, factor**2)
    if plain.trace_precision < EXACT:
        for estimator in (Estimator.PAPER, Estimator.UNBIASED):
            statistics = [norm_test_statistic(moments, 0.3, estimator) for moments in (plain, scaled)]
            assert statistics[0] == pytest.approx(statistics[1], rel=2 * EXACT)


@on_even_ranks
@cases(5)
@given(example=examples(("fp64",)), pieces=st.integers(2, 3))
def test_splitting_groups_over_micro_batches_leaves_the_mean(pool, example, pieces):
    ranks = example.data_parallel(pool.world_size)
    example = replace(example, samples=pieces * example.samples)
    groups = example.groups(pool.world_size)
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
