"""No batches save more of the time than the limit, and the best ones save all of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from adabatch.moments.worth import best_batch, mean_noise_scale, time_of_progress
from theory.schedules.limit import saving_bound


@given(st.lists(st.floats(-4, 8), min_size=1, max_size=30), st.floats(-4, 8), st.integers(0, 2**32 - 1))
def test_no_schedule_saves_more(logs, log_saturation, seed):
    draws = np.random.default_rng(seed)
    scales, saturation = np.exp(logs), float(np.exp(log_saturation))
    progress = draws.uniform(0.1, 1, len(scales))

    def time(batches):
        return float(progress @ time_of_progress(batches, scales, saturation, 1.0))

    bound = saving_bound(scales, progress, saturation)
    constant = time(best_batch(mean_noise_scale(scales, progress), saturation))
    best = best_batch(scales, saturation)
    assert 1 - time(best) / constant == pytest.approx(bound.value, abs=1e-12)
    for spread in (0.1, 1.0):
        assert 1 - time(best * np.exp(draws.normal(0, spread, len(scales)))) / constant <= bound.value + 1e-12
    assert bound.value <= bound.constants["at any B_sat"] + 1e-12


def test_half_the_limit_is_rejected():
    scales, progress = np.array([4.0, 64.0]), np.array([1.0, 1.0])
    bound = saving_bound(scales, progress, 16.0)
    best = progress @ time_of_progress(best_batch(scales, 16.0), scales, 16.0, 1.0)
    constant = min(progress @ time_of_progress(b, scales, 16.0, 1.0) for b in np.geomspace(1, 100, 500))
    assert bound.value / 2 < 1 - best / constant == pytest.approx(bound.value, abs=1e-5)


def test_a_scale_that_is_not_known():
    with pytest.raises(HypothesisError, match="leave out where B is not known"):
        saving_bound(np.array([0.0, 1.0]), np.ones(2), 4.0)
    with pytest.raises(HypothesisError, match="B_sat > 0"):
        saving_bound(np.ones(2), np.ones(2), 0.0)
