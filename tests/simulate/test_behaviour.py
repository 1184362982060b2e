"""What the simulations are for: the price of the coordinate-wise test, all seeds at once."""

import numpy as np
import pytest

from simulate.noise import NOISES
from simulate.objectives import OBJECTIVES, GemanMcClure
from simulate.optimizers import Adam
from simulate.trajectory import run


@pytest.fixture(scope="module")
def batch_runs():
    def one(objective, **settings):
        made = OBJECTIVES[objective](sample_count=256)
        return run(made, NOISES["finite-sum"](eta=0.5, **settings), Adam(0.003, 0.9, 0.95), 800, 6)

    return one


def test_the_coordinate_wise_test_ends_at_the_full_batch_on_noisy_labels(batch_runs):
    noisy = batch_runs("noisy-regression")
    assert (noisy.misses == 0).all()
    assert noisy.batch_size[-1].mean() > 0.99 * 256
    realizable = batch_runs("regression", test="norm-wise")
    assert realizable.batch_size[-1].mean() < 0.5 * 256


def test_the_coordinate_wise_test_costs_more_than_the_norm_wise_one(batch_runs):
    for objective in ("regression", "noisy-regression"):
        coordinate_wise = batch_runs(objective).average_batch[-1].mean()
        assert coordinate_wise > 1.1 * batch_runs(objective, test="norm-wise").average_batch[-1].mean()


def test_estimated_batches_miss_the_exact_condition_at_times(batch_runs):
    """And the more often the fewer samples the estimate has: a monotone batch misses less."""
    free = batch_runs("noisy-regression", test="norm-wise", variance="estimated", minimum_batch=8)
    monotone = batch_runs(
        "noisy-regression", test="norm-wise", variance="estimated", minimum_batch=8, monotone=True
    )
    assert 0 < monotone.miss_rate[-1].mean() < free.miss_rate[-1].mean() < 1
    assert (np.diff(monotone.batch_size, axis=0) >= 0).all()
    assert (np.diff(free.batch_size, axis=0) < 0).any()


@pytest.mark.parametrize("seeds", [1, 256])
def test_seeds_are_one_array_and_not_a_loop(seeds):
    """A step evaluates the objective once for all seeds; benchmarks/simulation_speed.py measures the time."""
    calls = []

    class Counted(GemanMcClure):
        def gradient(self, w):
            calls.append(w.shape)
            return super().gradient(w)

    run(Counted(), NOISES["gaussian"](eta=0.2), Adam(0.01), 200, seeds, [200])
    assert calls == [(seeds, 10)] * 200
