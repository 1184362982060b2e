"""The critical batch from synthetic losses: known where they are known, unresolved where nothing can be known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adabatch.experiments.branching.critical import (
    WINDOWS,
    critical_batch,
    first_crossing,
    rank_correlation,
    tracking,
    window_loss,
)

FACTORS = (0.5, 1.0, 2.0, 4.0, 8.0)
TOLERANCE = 0.01


def losses(critical: float, noise: float = 0.0, seeds: int = 3, slope: float = 0.05, seed: int = 0) -> np.ndarray:
    """The difference is the tolerance at the critical k and rises in log k from there, on any loss of a seed."""
    random = np.random.default_rng(seed)
    excess = np.maximum(0.0, TOLERANCE + slope * np.log(np.array(FACTORS) / critical))
    own = random.normal(3.0, 0.5, (len(WINDOWS), 1, seeds))
    return own + excess[:, None] + noise * random.standard_normal((len(WINDOWS), len(FACTORS), seeds))


def found(values: np.ndarray):
    return critical_batch(values, FACTORS, 16, TOLERANCE)


@given(st.floats(1.0, 7.9))
@settings(max_examples=25)
def test_a_known_critical_batch_is_found_between_the_factors_around_it(critical):
    assume(all(abs(critical / k - 1) > 1e-6 for k in FACTORS))  # where rounding decides
    result = found(losses(critical))
    assert result.kind == "resolved"
    below, above = max(k for k in FACTORS if k <= critical), min(k for k in FACTORS if k > critical)
    assert below * 0.999 <= result.factor <= above
    assert result.largest_within == below
    assert (result.low, result.high) == (pytest.approx(result.factor), pytest.approx(result.factor))
    assert result.value == 16 * result.factor


def test_between_factors_a_line_in_log_k_decides():
    slope = 0.05
    result = found(losses(2.0 * math.sqrt(2.0), slope=slope))
    at_two = TOLERANCE - slope * math.log(math.sqrt(2.0))
    assert at_two < 0  # the excess is 0 at k = 2, and a line leads from there
    at_four = TOLERANCE + slope * math.log(math.sqrt(2.0))
    assert result.factor == pytest.approx(2.0 * 2.0 ** (TOLERANCE / at_four))


def test_noise_that_is_small_against_the_tolerance_leaves_an_interval_around_the_truth():
    results = [found(losses(3.0, noise=0.002, seed=seed)) for seed in range(20)]
    assert all(result.kind == "resolved" for result in results)
    assert all(result.low <= result.factor <= result.high for result in results)
    truth = found(losses(3.0)).factor
    assert sum(result.low <= truth <= result.high for result in results) >= 18
    assert np.median([result.factor for result in results]) == pytest.approx(found(losses(3.0)).factor, rel=0.1)


@pytest.mark.parametrize("kind", ["resolved", "at least"])
def test_of_several_factors_one_in_twenty_is_wrong_and_no_more(kind):
    """All differences next to the tolerance, where a verdict of this kind is wrong, under as much noise.

    With four comparisons that count for themselves, 13% are resolved.
    """
    random, wrong = np.random.default_rng(1), 0
    excess = TOLERANCE * np.where(np.array(FACTORS) > 0.5, 0.9 if kind == "resolved" else 1.1, 0.0)
    for _ in range(400):
        noise = random.standard_normal((1, len(FACTORS), 2))
        result = found(np.repeat(excess[:, None] + TOLERANCE * noise + random.normal(3.0, 0.5, 2), 3, axis=0))
        wrong += result.kind == kind
        assert math.isnan(result.factor) == (result.kind == "unresolved")
    assert wrong <= 400 * 0.05 + 2 * math.sqrt(400 * 0.05 * 0.95)


def test_one_factor_alone_beyond_the_tolerance_resolves_nothing():
    values = losses(100.0, noise=1e-4)
    values[:, 2] += 0.02
    result = found(values)
    assert [result.verdict(number) for number in range(5)] == [
        "within",
        "within",
        "unresolved",
        "within",
        "within",
    ]
    assert (result.kind, result.high) == ("unresolved", math.inf)


def test_equal_losses_show_that_the_critical_batch_is_at_least_the_largest():
    result = found(np.broadcast_to(np.array([3.0, 2.0, 2.5]), (len(WINDOWS), len(FACTORS), 3)))
    assert (result.kind, result.factor, result.largest_within) == ("at least", math.inf, 8.0)
    assert [result.verdict(number) for number in range(5)] == ["within"] * 5


def test_a_single_seed_shows_no_spread():
    assert found(losses(3.0, seeds=1)).kind == "unresolved"


def test_a_branch_that_diverged_is_beyond_and_a_reference_that_did_says_nothing():
    values = losses(100.0, noise=1e-4)
    values[:, 4, 1] = math.inf
    result = found(values)
    assert (result.kind, result.factor, result.verdict(4)) == ("resolved", 4.0, "beyond")
    values[:, 0, 0] = math.inf
    assert found(values).kind == "unresolved"


def test_a_batch_of_the_run_beyond_the_critical_one_is_noticed():
    """The smallest factor is the reference, so that k = 1 has no say of its own."""
    assert found(losses(0.6)).factor < 1


@given(
    st.lists(st.integers(1, 9), min_size=3, max_size=12),
    st.integers(0, 2**32 - 1),
    st.floats(0.1, 0.9),
    st.floats(0.05, 1.0),
)
@settings(max_examples=30)
def test_a_window_is_a_mean_over_samples(batches, seed, start, share):
    """Against every sample on its own."""
    ends = np.cumsum(batches)
    values = np.random.default_rng(seed).standard_normal(len(batches))
    first = round(start * int(ends[-1]))
    stop = min(int(ends[-1]), first + max(1, round(share * int(ends[-1]))))
    each = np.repeat(values, batches)
    if first < stop:
        assert window_loss(ends, values, first, stop) == pytest.approx(each[first:stop].mean())


@given(st.lists(st.floats(-1, 1), min_size=5, max_size=5), st.floats(0.001, 0.5), st.floats(0.001, 0.5))
@settings(max_examples=50)
def test_a_larger_tolerance_never_lowers_the_critical_factor(differences, tolerance, more):
    differences = [0.0, *differences[1:]]
    assert first_crossing(FACTORS, differences, tolerance) <= first_crossing(
        FACTORS, differences, tolerance + more
    )


def test_ranks_and_ratio_of_a_statistic_that_is_half_the_truth():
    truth = [1.2, 2.5, 3.7, 6.0]
    points = [found(losses(critical, noise=1e-5, seed=number)) for number, critical in enumerate(truth)]
    result = tracking([point.value / 2 for point in points], points)
    assert (result.points, result.correlation) == (4, 1.0)
    assert result.ratio == pytest.approx(2.0)
    assert result.spread == pytest.approx(1.0)
    assert result.low == result.high == 1.0
    backwards = tracking([1 / point.value for point in points], points)
    assert backwards.correlation == -1.0
    assert math.isnan(tracking([5.0] * 4, points).correlation)  # a constant follows nothing


def test_what_is_not_resolved_has_no_part_in_ranks():
    points = [found(losses(critical, noise=1e-5)) for critical in (1.5, 3.0, 5.0)]
    unresolved = found(losses(3.0, seeds=1))
    at_least = found(losses(50.0, noise=1e-5))
    result = tracking([1.0, 2.0, 3.0, 0.0, 4.0], [*points, unresolved, at_least])
    assert (result.points, result.correlation) == (4, 1.0)
    assert tracking([1.0, 2.0], [points[0], at_least]).points == 2
    assert math.isnan(tracking([1.0, 2.0], [points[0], at_least]).correlation)


def test_equal_values_share_a_rank():
    assert rank_correlation(np.array([1.0, 1.0, 2.0]), np.array([1.0, 2.0, 3.0])) == pytest.approx(
        math.sqrt(3) / 2
    )
