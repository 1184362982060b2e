"""Slopes: exact on power laws, against slow twins, with intervals that cover."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulate.rates import Slope, is_pre_asymptotic, log_log_slope

STEPS = np.array([256.0, 1024.0, 4096.0, 16384.0])


@settings(max_examples=50, deadline=None)
@given(st.floats(-2, 2), st.floats(1e-3, 1e3))
def test_power_laws_have_their_exponents(exponent, scale):
    values = scale * STEPS[:, None] ** exponent
    slope = log_log_slope(STEPS, values)
    assert slope.value == pytest.approx(exponent, abs=1e-9)
    assert slope.high == slope.low  # one seed: no spread
    several = log_log_slope(STEPS, values * np.ones(3))
    assert several.high - several.low < 1e-9


def noisy_table(seed, seeds=24, exponent=-0.5):
    generator = np.random.default_rng(seed)
    common = 0.2 * generator.standard_normal(seeds)  # a seed's records move together
    return STEPS[:, None] ** exponent * np.exp(common + 0.2 * generator.standard_normal((len(STEPS), seeds)))


def test_slope_matches_polyfit():
    table = noisy_table(0)
    expected = np.polyfit(np.log(STEPS), np.log(table.mean(axis=1)), 1)[0]
    assert log_log_slope(STEPS, table).value == pytest.approx(expected, rel=1e-10)


def test_the_standard_error_is_that_of_the_jackknife():
    """Leaving out a seed at a time, with no expansion; of 400 seeds the two agree closely."""
    table, seeds = noisy_table(1, 400), 400
    left_out = [
        np.polyfit(np.log(STEPS), np.log(np.delete(table, i, axis=1).mean(axis=1)), 1)[0] for i in range(seeds)
    ]
    error = np.sqrt((seeds - 1) ** 2 / seeds) * np.std(left_out, ddof=1)
    interval = log_log_slope(STEPS, table, level=0.6826895)  # one standard error
    assert (interval.high - interval.low) / 2 == pytest.approx(error, rel=0.02)


@pytest.mark.parametrize("seeds", [4, 8, 24])
def test_intervals_cover_at_their_level(seeds):
    """Of 1000 tables, whose own spread is 0.7 and 1.6 points; resampling 4 seeds would cover 80%."""
    for level, slack in ((0.95, 0.03), (0.5, 0.06)):
        intervals = [log_log_slope(STEPS, noisy_table(seed, seeds), level=level) for seed in range(1000)]
        covered = np.mean([interval.low <= -0.5 <= interval.high for interval in intervals])
        assert level - slack < covered < level + slack


def test_a_slope_shows_its_interval():
    assert str(Slope(-0.52, -0.551, -0.489)) == "-0.52 [-0.55, -0.49]"


def test_runs_that_have_hardly_begun_are_recognised():
    assert is_pre_asymptotic(np.array([[1.0, 1.0], [0.8, 0.4]]), initial=1.0)
    assert not is_pre_asymptotic(np.array([[1.0, 1.0], [0.3, 0.4]]), initial=1.0)
    assert is_pre_asymptotic(np.array([[0.3]]), initial=1.0, fraction=0.2)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_values_without_a_logarithm_are_refused(value):
    with pytest.raises(ValueError, match="positive and finite"):
        log_log_slope([1, 2], [[1.0], [value]])


def test_a_single_k_is_refused():
    with pytest.raises(ValueError, match="two different K"):
        log_log_slope([4, 4], [[1.0], [2.0]])
