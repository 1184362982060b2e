"""Slopes and ratios: exact on power laws, against slow twins, with intervals that cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulate.rates import bound_ratio, is_pre_asymptotic, local_slopes, log_log_slope, mean_interval

STEPS = np.array([256.0, 1024.0, 4096.0, 16384.0])


@settings(max_examples=50, deadline=None)
@given(st.floats(-2, 2), st.floats(1e-3, 1e3))
def test_power_laws_have_their_exponents(exponent, scale):
    values = scale * STEPS**exponent
    slope = log_log_slope(STEPS, values)
    assert slope.value == pytest.approx(exponent, abs=1e-9)
    assert slope.high - slope.low < 1e-9  # one seed: nothing to resample
    np.testing.assert_allclose(local_slopes(STEPS, values), exponent, atol=1e-9)


def noisy_table(seed, seeds=24, exponent=-0.5):
    generator = np.random.default_rng(seed)
    common = 0.2 * generator.standard_normal(seeds)  # a seed's records move together
    return STEPS[:, None] ** exponent * np.exp(common + 0.2 * generator.standard_normal((len(STEPS), seeds)))


def test_slope_matches_polyfit():
    table = noisy_table(0)
    expected = np.polyfit(np.log(STEPS), np.log(table.mean(axis=1)), 1)[0]
    assert log_log_slope(STEPS, table).value == pytest.approx(expected, rel=1e-10)


def test_bootstrap_matches_a_slow_resampling():
    table, generator = noisy_table(1), np.random.default_rng(5)
    slopes = []
    for _ in range(3000):
        chosen = generator.integers(0, table.shape[1], table.shape[1])
        slopes.append(np.polyfit(np.log(STEPS), np.log(table[:, chosen].mean(axis=1)), 1)[0])
    low, high = np.quantile(slopes, [0.025, 0.975])
    interval = log_log_slope(STEPS, table)
    width = high - low
    assert interval.low == pytest.approx(low, abs=0.1 * width)
    assert interval.high == pytest.approx(high, abs=0.1 * width)


def test_intervals_cover_at_about_their_level():
    """300 tables: the nominal 95% (a little less for percentile intervals of 24 seeds), and 50% at level .5."""
    for level, low, high in ((0.95, 0.87, 0.99), (0.5, 0.4, 0.6)):
        covered = 0
        for seed in range(300):
            interval = log_log_slope(STEPS, noisy_table(seed), level=level, resamples=400, seed=seed)
            covered += interval.low <= -0.5 <= interval.high
        assert low < covered / 300 < high


def test_bound_ratio_is_bound_over_the_mean():
    table = noisy_table(2)
    bounds = 3 * STEPS**-0.5
    for record, interval in enumerate(bound_ratio(bounds, table)):
        assert interval.value == pytest.approx(bounds[record] / table[record].mean(), rel=1e-12)
        assert interval.low < interval.value < interval.high
    assert len(bound_ratio(1.0, table)) == len(STEPS)


def test_ratio_below_one_is_seen():
    """Negative control: a bound divided by 20 lies below the measured values with its whole interval."""
    table = noisy_table(3)
    bound = 4 * STEPS**-0.5
    assert all(interval.low > 1 for interval in bound_ratio(bound, table))
    assert all(interval.high < 1 for interval in bound_ratio(bound / 20, table))


def test_mean_interval_covers_zero_where_means_vanish():
    table = np.random.default_rng(0).standard_normal((3, 200))
    for interval, row in zip(mean_interval(table), table, strict=True):
        assert interval.value == pytest.approx(row.mean())
        assert interval.high - interval.low == pytest.approx(2 * 1.96 * row.std() / np.sqrt(200), rel=0.1)


def test_runs_that_have_hardly_begun_are_recognised():
    assert is_pre_asymptotic([[1.0, 1.0], [0.8, 0.4]], initial=1.0)
    assert not is_pre_asymptotic([[1.0, 1.0], [0.3, 0.4]], initial=1.0)
    assert is_pre_asymptotic([0.3], initial=1.0, fraction=0.2)


@pytest.mark.parametrize("values", [[1.0, 0.0], [1.0, -1.0], [1.0, np.nan], [1.0, np.inf]])
def test_values_without_a_logarithm_are_refused(values):
    with pytest.raises(ValueError, match="positive and finite"):
        log_log_slope([1, 2], values)
    with pytest.raises(ValueError, match="positive and finite"):
        bound_ratio(1.0, values)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="two different K"):
        log_log_slope([4, 4], [1.0, 2.0])
    with pytest.raises(ValueError, match="3 values of K, but 2 records"):
        log_log_slope([1, 2, 3], [1.0, 2.0])
    with pytest.raises(ValueError, match="level"):
        log_log_slope([1, 2], [1.0, 2.0], level=1.0)
