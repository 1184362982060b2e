"""Sampled twins: the law of a batch's gradient, and the dynamics as the mean of sampled runs."""

from __future__ import annotations

import numpy as np
import pytest

from simulate.exact.dynamics import Dynamics, Steps, final_risk
from simulate.exact.sampled import Adam, group_moments, sampled_gradients, sampled_risks
from simulate.exact.tasks import Tasks, power_law_tasks

LAM, E, NOISE = np.array([1.0, 0.5, 0.1]), np.array([0.7, -1.0, 2.0]), 0.3


def direct_gradients(rng: np.random.Generator, batch: int, replicas: int) -> np.ndarray:
    """Sample by sample."""
    x = rng.standard_normal((replicas, batch, 3)) * np.sqrt(LAM)
    residual = x @ E - np.sqrt(NOISE) * rng.standard_normal((replicas, batch))
    return (residual[..., None] * x).mean(axis=1)


@pytest.mark.parametrize("batch", [1, 3])
def test_gradients_have_the_law_of_a_batch(batch: int) -> None:
    """First to fourth moments, within 4 standard errors of samples drawn one by one."""
    rng, replicas = np.random.default_rng(batch), 40_000
    direct = direct_gradients(rng, batch, replicas)
    drawn = sampled_gradients(
        rng, LAM, np.tile(E, (replicas, 1)), np.full(replicas, NOISE), np.full(replicas, batch)
    )[:, 0]
    for name, function in (
        ("mean", lambda g: g),
        ("second", lambda g: g[:, :, None] * g[:, None, :]),
        ("third", lambda g: g**3),
        ("fourth", lambda g: (g @ np.array([1.0, 2.0, -1.0])) ** 4),
    ):
        a, b = function(direct), function(drawn)
        error = np.sqrt((a.var(axis=0) + b.var(axis=0)) / replicas)
        assert (np.abs(a.mean(axis=0) - b.mean(axis=0)) < 4 * error).all(), name
    wrong = drawn + 0.03 * LAM * E  # a negative control: off by 3% of the gradient
    error = np.sqrt(2 * direct.var(axis=0) / replicas)
    assert (np.abs(direct.mean(axis=0) - wrong.mean(axis=0)) > 4 * error).any() or batch == 1


@pytest.fixture(scope="module")
def small() -> tuple[Tasks, Steps]:
    ones = np.ones(2)
    tasks = power_law_tasks(
        np.array([1.3, 2.0]), np.array([1.5, 1.2]), np.array([1.0, 0.01]), 30 * ones, 8 * ones, dimension=24
    )
    batch = np.linspace(2, 20, 25)[:, None] * ones
    rate = 0.1 * np.linspace(1, 0.2, 25)[:, None] * ones
    return tasks, Steps(batch, rate, np.ones_like(batch))


@pytest.mark.parametrize("method", list(Dynamics))
def test_the_dynamics_are_the_mean_of_sampled_runs(method: Dynamics, small: tuple[Tasks, Steps]) -> None:
    tasks, steps = small
    sampled = sampled_risks(method, tasks, steps, 1500, np.random.default_rng(5))
    exact = final_risk(method, tasks, steps)
    error = sampled.std(axis=1) / np.sqrt(sampled.shape[1])
    assert (np.abs(sampled.mean(axis=1) - exact) < 3 * error).all()
    slower = Steps(steps.batch, 0.8 * steps.rate, steps.fraction)  # a negative control
    assert (np.abs(sampled.mean(axis=1) - final_risk(method, tasks, slower)) > 3 * error).any()


def test_moments_of_groups_by_hand() -> None:
    moments = group_moments(np.array([[1.0], [3.0]]), batch=6.0)
    assert (moments.covariance_trace, moments.debiased_squared_norm) == (6.0, 3.0)


def test_adams_first_step_is_the_sign() -> None:
    assert np.allclose(Adam((1, 3)).direction(np.array([[2.0, -5.0, 1e-3]])), [[1, -1, 1]])
