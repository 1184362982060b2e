"""t intervals and paired differences against hand-computed values and an independent implementation."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from adabatch.experiments.intervals import mean_interval, paired_difference

losses = st.floats(-1e3, 1e3)


def test_three_seeds_by_hand():
    interval = mean_interval([1.9, 2.0, 2.1])
    assert interval.mean == pytest.approx(2.0)
    assert interval.half_width == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)
    assert not mean_interval([-1.0, 0.0, 1.0]).excludes_zero
    assert interval.excludes_zero


def test_one_seed_does_not_show_the_spread():
    interval = mean_interval([2.0])
    assert (interval.low, interval.high) == (-math.inf, math.inf)
    assert not interval.excludes_zero


@given(st.lists(losses, min_size=2, max_size=8, unique=True))
def test_the_interval_is_that_of_the_one_sample_t_test(values):
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    interval = mean_interval(values)
    assert interval.low == pytest.approx(expected.low, rel=1e-6, abs=1e-9)
    assert interval.high == pytest.approx(expected.high, rel=1e-6, abs=1e-9)


@given(st.dictionaries(st.integers(0, 9), st.tuples(losses, losses), min_size=2), losses)
def test_a_paired_difference_cancels_what_seeds_share(pairs, shift):
    first = {seed: a for seed, (a, _) in pairs.items()}
    second = {seed: b for seed, (_, b) in pairs.items()}
    shifted = {seed: value + shift * seed for seed, value in first.items()}
    moved = {seed: value + shift * seed for seed, value in second.items()}
    plain, cancelled = paired_difference(first, second), paired_difference(shifted, moved)
    assert cancelled.mean == pytest.approx(plain.mean, abs=1e-7)
    assert cancelled.half_width == pytest.approx(plain.half_width, abs=1e-6)
    assert paired_difference(second, first).mean == pytest.approx(-plain.mean, abs=1e-9)


def test_only_seeds_that_both_have_are_paired():
    assert paired_difference({0: 1.0, 1: 5.0}, {0: 0.5, 2: 0.0}).mean == 0.5
    assert paired_difference({0: 1.0}, {1: 1.0}) is None
