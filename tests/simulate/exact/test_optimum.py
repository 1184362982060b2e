"""Schedules at knots: gradients through time, minimisers of many rows, optima that no simpler schedule beats."""

from __future__ import annotations

import numpy as np
import pytest

from simulate.exact.dynamics import Dynamics
from simulate.exact.knots import KNOTS, KnotSchedules, Progress, fitted, log_of_remainder
from simulate.exact.optimum import BOTH, CONSTANT, DECAY, RATE_SCHEDULE, minimize_rows, optimize, start
from simulate.exact.tasks import Resource, Tasks, sobol_tasks


def short_tasks(count: int, resource: Resource = Resource.TIME, seed: int = 0, duration: float = 60.0) -> Tasks:
    tasks = sobol_tasks(count, seed)
    return Tasks(tasks.problem, tasks.errors, np.full(count, duration), tasks.saturation, resource)


@pytest.mark.parametrize("method", list(Dynamics))
@pytest.mark.parametrize("resource", list(Resource))
def test_gradients_at_knots_are_derivatives(method: Dynamics, resource: Resource) -> None:
    rng = np.random.default_rng(1)
    tasks = short_tasks(3, resource)
    level = np.log(tasks.saturation / 3)[:, None]
    schedules = KnotSchedules(
        tasks, level + 0.3 * rng.normal(size=(3, KNOTS)), -4 + 0.3 * rng.normal(size=(3, KNOTS))
    )
    _, by_batch, by_rate = schedules.risk_and_gradients(method)
    along = rng.normal(size=(2, 3, KNOTS))
    exact = (by_batch * along[0] + by_rate * along[1]).sum(axis=1)

    def risk(move: float) -> np.ndarray:
        moved = KnotSchedules(tasks, schedules.log_batch + move * along[0], schedules.log_rate + move * along[1])
        return moved.risk(method)

    width = 1e-4
    difference = (risk(-2 * width) - 8 * risk(-width) + 8 * risk(width) - risk(2 * width)) / (12 * width)
    assert np.allclose(difference, exact, rtol=1e-6)
    if resource is Resource.TIME:
        assert not np.allclose(difference, (by_rate * along[1]).sum(axis=1), rtol=1e-2)  # the batch matters


def test_splines_sum_to_one_and_fit_what_they_can_say() -> None:
    at = np.linspace(0, 0.999, 50)
    places = Progress.of(at)
    assert np.allclose(places.weights.sum(axis=0), 1)
    assert np.allclose(places.slopes().sum(axis=0), 0)
    nearby = Progress.of(at + 1e-7)
    same = places.first == nearby.first
    slopes = ((nearby.weights - places.weights) / 1e-7)[:, same]
    assert np.allclose(slopes, places.slopes()[:, same], rtol=1e-3, atol=1e-2)
    coefficients = np.linspace(1, 3, KNOTS)
    line = coefficients[1] + (coefficients[-2] - coefficients[1]) * (1 - np.sqrt(1 - at))
    assert np.allclose(fitted(at, np.exp(line))[:-3], coefficients[:-3], atol=0.02)  # the end is not covered
    logs = np.repeat(log_of_remainder()[None], 40, axis=0)
    middle = Progress.of(at[:40])
    assert np.allclose(middle.of_rows(logs, middle.weights), np.log(1 - at[:40]), atol=0.02)


def test_rows_are_minimised_as_if_alone() -> None:
    def rosenbrock(rows, points):
        x, y = points.T
        scale = 1 + np.asarray(rows)
        values = (1 - x) ** 2 + 10 * scale * (y - x**2) ** 2
        gradients = np.stack([-2 * (1 - x) - 40 * scale * x * (y - x**2), 20 * scale * (y - x**2)], axis=1)
        return values, gradients

    starts = np.array([[-1.0, 1.0], [2.0, 0.0], [0.0, 0.0]])
    together = minimize_rows(rosenbrock, starts, 200)
    assert np.allclose(together, 1, atol=1e-3)
    alone = minimize_rows(lambda rows, points: rosenbrock([2], points), starts[2:], 200)
    assert np.array_equal(together[2], alone[0])


def test_an_error_in_the_objective_reaches_the_caller() -> None:
    def broken(rows, points):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        minimize_rows(broken, np.zeros((2, 2)), 5)


@pytest.mark.parametrize("method", list(Dynamics))
def test_a_larger_family_is_never_worse_and_both_schedules_gain(method: Dynamics) -> None:
    tasks = short_tasks(3, seed=7, duration=40.0)
    first = start(method, tasks)
    decay = optimize(method, tasks, DECAY, first, iterations=15)
    constant = optimize(method, tasks, CONSTANT, decay.schedules, iterations=15)
    rates = optimize(method, tasks, RATE_SCHEDULE, decay.schedules, iterations=15)
    both = optimize(method, tasks, BOTH, rates.schedules, iterations=15)
    assert (rates.risk <= decay.risk * (1 + 1e-9)).all()
    assert (both.risk <= rates.risk * (1 + 1e-9)).all()
    assert (both.risk < 0.93 * constant.risk).all()
    assert np.ptp(rates.schedules.log_batch, axis=1) == pytest.approx(0, abs=1e-9)
    assert both.schedules.risk(method) == pytest.approx(both.risk)


def test_at_equal_samples_a_batch_schedule_gains_next_to_nothing() -> None:
    tasks = short_tasks(2, Resource.SAMPLES, seed=3, duration=20.0)
    tasks = Tasks(tasks.problem, tasks.errors, tasks.duration, np.full(2, 8.0), tasks.resource)
    begin = KnotSchedules.constant(tasks, np.ones(2), np.full(2, 0.02))
    rates = optimize(Dynamics.ADAM_LIKE, tasks, RATE_SCHEDULE, begin, iterations=20)
    both = optimize(Dynamics.ADAM_LIKE, tasks, BOTH, rates.schedules, iterations=15)
    assert (both.risk > 0.98 * rates.risk).all()
