"""Coordinate-wise statistics for any wrapping, sizes, dtypes and scales, against every group's whole gradient.

What rounding may do is bounded coordinate by coordinate, from the reference's own numbers, and nothing is fitted.
With u the roundoff in which the mean of the groups is taken (2^-24 for fp32, 2^-8 for a mean kept in bf16), v that
in which squares are summed, k and n + 3 roundings on the way, and S = sum_j g_j^2:

- |n g^2 - (its exact value)| <= (2 k u + k^2 u^2) S and |S - (its exact value)| <= (n + 3) v S, so that a squared
  deviation is off by at most e = (2 k u + k^2 u^2 + 2 (n + 3) v) S, and its root by at most min(sqrt(e), e/root).
- |g| is off by at most k u mean_j |g_j|.

In fp64 these bounds are met, and, where they are small enough to allow it, 1e-10 relative.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from adabatch.moments.coordinate_moments import RESOLUTION, CoordinateMoments
from adabatch.statistics import CoordinateStatistics
from tests.support.drawn_steps import Example, cases, examples, measured, on_even_ranks
from tests.support.tiny_model import Dimensions

pytestmark = pytest.mark.distributed

EXACT = 1e-10

SUMS = {"fp64": 2**-53, "fp32": 2**-24, "bf16": 2**-24}
"""v: squares of bf16 gradients are summed in fp32."""

LEAST = {"fp64": 2.0**-1074, "fp32": 2.0**-149, "bf16": 2.0**-149}
"""Of the numbers that sums are taken in: what falls below is lost."""

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Reference:
    """By their definitions, with the bounds of the module's docstring.

    Attributes:
        deviations: sum_i sigma_i of one sample's gradient.
        plug_in: ||g||_1.
        conservative: from even and odd groups.
        variance: [coordinates], of one sample's gradient.
        mean: [coordinates].
        variance_error: [coordinates].
        mean_error: [coordinates].
        deviations_error: of their sum.
        conservative_error: of coordinates of which one half may be nothing but rounding, whose sign counts.
    """

    deviations: float
    plug_in: float
    conservative: float
    variance: Values
    mean: Values
    variance_error: Values
    mean_error: Values
    deviations_error: float
    conservative_error: float


def correction(n: int) -> float:
    """c4 by its recursion c4(n+1) = sqrt((n-1)/n) / c4(n) with c4(2) = sqrt(2/pi)."""
    value = float(np.sqrt(2 / np.pi))
    for count in range(2, n):
        value = float(np.sqrt((count - 1) / count)) / value
    return value


def reference(gradients: Values, samples: int, dtype: str, mean_roundoff: float, additions: int) -> Reference:
    n, mean = len(gradients), gradients.mean(0)
    scale = samples / (n - 1)
    squares, size = (gradients**2).sum(0), np.abs(gradients).mean(0)
    variance = scale * ((gradients - mean) ** 2).sum(0)
    drift = additions * mean_roundoff
    error = scale * ((2 * drift + drift**2 + 2 * (n + 3) * SUMS[dtype]) * squares + 4 * n**3 * LEAST[dtype])
    root = np.sqrt(variance)
    with np.errstate(over="ignore"):
        root_error = np.minimum(np.sqrt(error), error / np.maximum(root, np.finfo(float).tiny))
    even, odd = gradients[0::2].mean(0), gradients[1::2].mean(0)
    unclear = np.minimum(np.abs(even), np.abs(odd)) <= 4 * n * drift * size
    return Reference(
        deviations=root.sum() / correction(n),
        plug_in=np.abs(mean).sum(),
        conservative=((np.sign(odd) * even).sum() + (np.sign(even) * odd).sum()) / 2,
        variance=variance,
        mean=mean,
        variance_error=error,
        mean_error=drift * size,
        deviations_error=root_error.sum() / correction(n),
        conservative_error=float((np.abs(even) + np.abs(odd))[unclear].sum()),
    )


def check(moments: CoordinateMoments, expected: Reference, dtype: str, conservative: bool) -> None:
    sums = {"fp64": 1e-12, "fp32": 1e-5, "bf16": 1e-5}[dtype]  # of many coordinates, in their own type
    error = abs(moments.sum_of_standard_deviations - expected.deviations)
    assert error <= expected.deviations_error + sums * expected.deviations
    error = abs(moments.plug_in_l1_norm - expected.plug_in)
    assert error <= expected.mean_error.sum() + sums * expected.plug_in
    if dtype == "fp64":
        assert moments.plug_in_l1_norm == pytest.approx(expected.plug_in, rel=EXACT)
    if dtype == "fp64" and expected.deviations_error < EXACT / 2 * expected.deviations:
        assert moments.sum_of_standard_deviations == pytest.approx(expected.deviations, rel=EXACT)
    if not conservative:
        assert moments.conservative_l1_norm is None
    elif dtype == "fp64":
        assert moments.conservative_l1_norm is not None
        error = abs(moments.conservative_l1_norm - expected.conservative)
        assert error <= expected.conservative_error + EXACT * expected.plug_in
    check_ratios(moments, expected, 2 * LEAST[dtype])


def check_ratios(moments: CoordinateMoments, expected: Reference, lost: float) -> None:
    """Shares of coordinates lie between those that the least and the largest possible ratios give."""
    counts = moments.ratios.counts
    assert counts.sum() == pytest.approx(len(expected.mean), rel=1e-12)
    size = np.abs(expected.mean)
    with np.errstate(divide="ignore", invalid="ignore"):
        smallest_square = np.maximum(np.maximum(size - expected.mean_error, 0) ** 2 - lost, 0)
        largest = (expected.variance + expected.variance_error) / smallest_square
        least = np.maximum(expected.variance - expected.variance_error, 0) / (
            (size + expected.mean_error) ** 2 + lost
        )
    largest[np.isnan(largest)] = np.inf
    least[np.isnan(least)] = 0.0
    for limit in (0.1, 1.0, 10.0, 1000.0):
        share = moments.ratios.share(limit)
        assert np.mean(largest <= limit / RESOLUTION / (1 + 1e-6)) - 1e-9 <= share
        assert share <= np.mean(least <= limit * (1 + 1e-6)) + 1e-9


def expected_of(example: Example, ranks: int) -> Reference:
    groups = example.groups(ranks)
    gradients = example.same_gradients(groups).numpy()
    kept_in_bf16 = example.dtype == "bf16" and example.mode in ("ddp", "single")
    roundoff = {"fp64": 2**-53, "fp32": 2**-24, "bf16": 2**-8 if kept_in_bf16 else 2**-24}[example.dtype]
    # As many as the statistics themselves count, and two that the reference and scaling by M make.
    additions = example.micro_batches * ranks + 3
    return reference(gradients, example.samples, example.dtype, roundoff, additions)


@cases(15)
@given(example=examples(), conservative=st.booleans())
def test_sharded_coordinates_equal_the_unsharded_reference(pool, example, conservative):
    example = example.comparable(pool.world_size)
    groups = example.groups(pool.world_size)
    steps = [(example.scale, groups)] * 2  # the second on buffers that are used over
    results = pool.run(measured, example, steps, CoordinateStatistics, conservative)
    for number in range(2):
        moments = [rank[number] for rank in results]
        if len(groups) < 2:
            assert not any(isinstance(own, CoordinateMoments) for own in moments)
            continue
        expected = expected_of(example, pool.world_size)
        for own in moments:
            assert own.sum_of_standard_deviations == moments[0].sum_of_standard_deviations, "ranks disagree"
            np.testing.assert_array_equal(own.ratios.counts, moments[0].ratios.counts)
        check(moments[0], expected, example.dtype, conservative)


@on_even_ranks
@cases(5)
@given(example=examples(("fp64",), accumulating=True), power=st.integers(-12, 12))
def test_scaling_gradients_scales_both_sums_and_leaves_the_ratios(pool, example, power):
    groups, factor = example.groups(pool.world_size), 10.0**power
    steps = [(1.0, groups), (factor, groups)]
    plain, scaled = pool.run(measured, example, steps, CoordinateStatistics)[0]
    slack = expected_of(replace(example, scale=1.0), pool.world_size).deviations_error
    error = abs(scaled.sum_of_standard_deviations / factor - plain.sum_of_standard_deviations)
    assert error <= 2 * slack + EXACT * plain.sum_of_standard_deviations
    assert scaled.plug_in_l1_norm / factor == pytest.approx(plain.plug_in_l1_norm, rel=EXACT)


EXAMPLE = Example("single", "fp64", True, False, 4, 2, Dimensions(), 1e3, 0)


@pytest.mark.parametrize(
    ("name", "dtype", "factor"),
    [
        ("sum_of_standard_deviations", "fp64", 1 + 1e-9),
        ("sum_of_standard_deviations", "fp32", 1 + 1e-2),
        ("plug_in_l1_norm", "fp64", 1 + 1e-9),
        ("plug_in_l1_norm", "fp32", 1 + 1e-2),
        ("conservative_l1_norm", "fp64", 1 + 1e-9),  # its signs are compared in fp64 only
    ],
)
def test_the_comparison_rejects_what_is_slightly_off(name, dtype, factor):
    example = replace(EXAMPLE, dtype=dtype)
    steps = [(example.scale, example.groups(1))]
    (moments,) = measured(0, 1, example, steps, CoordinateStatistics, conservative=True)
    expected = expected_of(example, 1)
    check(moments, expected, dtype, conservative=True)
    with pytest.raises(AssertionError):
        check(replace(moments, **{name: factor * getattr(moments, name)}), expected, dtype, conservative=True)
    half = replace(moments.ratios, counts=moments.ratios.counts / 2)
    with pytest.raises(AssertionError):
        check(replace(moments, ratios=half), expected, dtype, conservative=True)
