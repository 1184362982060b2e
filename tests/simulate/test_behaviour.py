"""What the simulations are for: divergence under the scalar test, the price of the coordinate-wise one, speed."""

import numpy as np
import pytest

from simulate.noise import NOISES
from simulate.noise.rare_coordinates import RareCoordinates
from simulate.objectives import OBJECTIVES, DirectionalHuber, GemanMcClure
from simulate.optimizers import Adam
from simulate.trajectory import run
from theory.training.scalar_divergence import ScalarTestDivergence
from theory.training.scalar_divergence import simulate as simulate_path


@pytest.fixture(scope="module")
def instance():
    return ScalarTestDivergence(beta1=0.0, beta2=0.5, eta=0.5, dimension=2000, delta=0.1, rare=0.03)


def final_projection(instance, test):
    objective = DirectionalHuber(instance.dimension, instance.g)
    noise = RareCoordinates(instance.eta, instance.delta, instance.rare, test=test)
    trajectory = run(objective, noise, Adam(0.01, instance.beta1, instance.beta2), 400, 4, [400])
    assert (trajectory.misses == 0).all()
    return objective.projection(trajectory.final_w), trajectory


def test_adam_diverges_under_the_scalar_test_as_the_theory_says(instance):
    """From a.w = 1 uphill, as fast as the theory's own simulation of that instance climbs."""
    projection, trajectory = final_projection(instance, "norm-wise")
    assert (trajectory.batch_size == 1).all()
    assert (projection > 4).all()
    path = simulate_path(instance, alpha=0.01, steps=400)
    np.testing.assert_allclose(projection, path[-1], rtol=0.05)


@pytest.mark.parametrize("test", ["l1", "coordinate-wise"])
def test_adam_converges_there_once_the_batch_is_what_the_other_tests_ask_for(instance, test):
    projection, trajectory = final_projection(instance, test)
    assert (trajectory.batch_size > 10).all()
    assert (np.abs(projection) < 0.1).all()


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
