"""t intervals and paired differences against hand-computed values and an independent implementation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from adabatch.experiments.intervals import holm, mean_interval, paired_difference, ratio_interval, seeds_needed

losses = st.floats(-1e3, 1e3)


def test_three_seeds_by_hand():
    interval = mean_interval([1.9, 2.0, 2.1])
    assert interval.mean == pytest.approx(2.0)
    assert interval.half_width == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)


def test_one_seed_does_not_show_the_spread():
    interval = mean_interval([2.0])
    assert (interval.low, interval.high) == (-math.inf, math.inf)


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


def test_a_run_that_diverged_shows_no_spread():
    for values in ([math.inf, 1.0], [math.inf, math.inf], [math.inf, -math.inf], [math.nan, 1.0]):
        interval = mean_interval(values)
        assert not math.isfinite(interval.mean)
        assert interval.half_width == math.inf
        assert interval.p_value is seeds_needed(interval) is None
    assert math.isnan(paired_difference({0: math.inf}, {0: math.inf}).mean)


@given(st.lists(losses, min_size=2, max_size=8, unique=True))
def test_the_p_value_is_that_of_the_one_sample_t_test(values):
    assume(stats.sem(values) > 1e-6)  # below, rounding is all that is left
    interval = mean_interval(values)
    assert interval.p_value == pytest.approx(stats.ttest_1samp(values, 0.0).pvalue, rel=1e-6)
    assert (interval.low > 0 or interval.high < 0) == (interval.p_value < 0.05)


def test_the_p_value_at_the_limits():
    assert mean_interval([0.3]).p_value is None
    assert mean_interval([0.5, 0.5]).p_value == 0
    assert mean_interval([0.0, 0.0]).p_value == 1


def slow_holm(p_values):
    """From the definition: at level alpha the ordered p values are rejected up to the first above alpha / (m - k).

    The adjusted p value is the smallest level at which a comparison is rejected; it is one of (m - k) p_k, or 1.
    """

    def rejected(alpha):
        names = sorted(p_values, key=p_values.get)
        found = set()
        for before, name in enumerate(names):
            if (len(names) - before) * p_values[name] > alpha:
                break
            found.add(name)
        return found

    levels = sorted({k * p for p in p_values.values() for k in range(1, len(p_values) + 1)})
    return {name: min([alpha for alpha in levels if name in rejected(alpha)] + [1.0]) for name in p_values}


families = st.dictionaries(st.text("abcdef", max_size=3), st.floats(0, 1), max_size=7)


@given(families)
def test_holm_is_its_definition(p_values):
    assert holm(p_values) == pytest.approx(slow_holm(p_values), rel=1e-12)


@given(families)
def test_holm_keeps_the_order_and_never_lowers(p_values):
    adjusted = holm(p_values)
    assert list(adjusted) == list(p_values)
    assert all(p_values[name] <= adjusted[name] <= 1 for name in p_values)
    ordered = [adjusted[name] for name in sorted(p_values, key=p_values.get)]
    assert ordered == sorted(ordered)


def test_holm_without_a_family_changes_nothing():
    assert holm({}) == {}
    assert holm({"alone": 0.04}) == {"alone": 0.04}
    assert holm({"a": 0.04, "b": 0.04})["a"] == 0.08  # twice as many: no longer below 5%


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=6, unique=True), st.floats(0.5, 3))
def test_seeds_needed_is_the_first_number_that_suffices(values, wanted):
    deviation = np.std(values, ddof=1)

    def half_width(count):
        return stats.t.ppf(0.975, count - 1) * deviation / math.sqrt(count)

    count = 2
    while half_width(count) > wanted * (1 + 1e-12):
        count += 1
    assert seeds_needed(mean_interval(values), wanted) == count


def test_as_many_seeds_as_there_are_suffice_for_the_width_that_they_have():
    interval = mean_interval([1.9, 2.0, 2.15, 2.2])
    assert seeds_needed(interval, interval.half_width * 1.001) == 4
    assert seeds_needed(interval, interval.half_width * 0.999) == 5


def test_seeds_needed_where_nothing_can_be_said():
    assert seeds_needed(mean_interval([2.0])) is None
    assert seeds_needed(mean_interval([2.0, 2.0])) == 2
    assert seeds_needed(mean_interval([-1e9, 1e9])) is None
    with pytest.raises(ValueError, match="half_width must be above 0, but is 0"):
        seeds_needed(mean_interval([2.0, 2.1]), 0)


def test_a_ratio_by_hand():
    """R = 9 / 6; the residuals over the mean size of 2 are 0.25, 0, -0.25: s = 0.25."""
    interval = ratio_interval([2.0, 3.0, 4.0], [1.0, 2.0, 3.0])
    assert interval.mean == 1.5
    assert interval.half_width == pytest.approx(4.302653 * 0.25 / math.sqrt(3), rel=1e-6)


@pytest.mark.parametrize("spread", [0, 3])
def test_coverage_of_losses_per_sequence(spread):
    """Skewed losses of sequences of equal and of unequal size; 0.8 of the width covers too rarely."""
    draw, units, times, ratio = np.random.default_rng(5), 48, 500, 1.7
    sizes = 7.0 + draw.integers(-spread, spread + 1, (times, units))
    totals = sizes * draw.gamma(4.0, ratio / 4.0, (times, units))
    found = [ratio_interval(*each) for each in zip(totals, sizes, strict=True)]
    for width, low, high in ((1.0, 0.93, 0.97), (0.8, 0.80, 0.91)):
        covered = np.mean([abs(each.mean - ratio) <= width * each.half_width for each in found])
        assert low <= covered <= high
