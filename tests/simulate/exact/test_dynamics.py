"""Exact dynamics: the adjoint against differences, rows against runs alone, tasks against their power laws."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulate.exact.dynamics import Dynamics, Steps, final_risk, risk_and_gradients
from simulate.exact.tasks import Resource, Tasks, blocks, power_law_tasks, sobol_tasks

METHODS = list(Dynamics)


def random_steps(rows: int, longest: int, seed: int, largest_rate: float = 0.1) -> Steps:
    """Runs of different lengths whose last step counts in part."""
    rng = np.random.default_rng(seed)
    fraction = np.zeros((longest, rows))
    for row, count in enumerate(rng.integers(2, longest + 1, rows)):
        fraction[:count, row] = 1.0
        fraction[count - 1, row] = rng.uniform(0.05, 1.0)
    batch = np.exp(rng.uniform(0, 5, (longest, rows)))
    return Steps(batch, largest_rate * rng.uniform(0.1, 1, (longest, rows)), fraction)


@pytest.mark.parametrize("method", METHODS)
def test_the_adjoint_is_the_derivative_in_every_batch_rate_and_fraction(method: Dynamics) -> None:
    tasks, steps = sobol_tasks(4, seed=3), random_steps(4, 12, seed=1)
    found = risk_and_gradients(method, tasks, steps)
    assert found.risk == pytest.approx(final_risk(method, tasks, steps), rel=1e-14)
    for name in ("batch", "rate", "fraction"):
        values, derivative = getattr(steps, name), getattr(found, name)
        for k, row in np.argwhere(steps.fraction > 0):
            width = 1e-4 * values[k, row]
            risks = []
            for moved in (-2, -1, 1, 2):
                changed = values.copy()
                changed[k, row] += moved * width
                risks.append(final_risk(method, tasks, Steps(**(vars(steps) | {name: changed})))[row])
            difference = (risks[0] - 8 * risks[1] + 8 * risks[2] - risks[3]) / (12 * width)
            scale = np.abs(derivative[:, row]).max()
            assert abs(derivative[k, row] - difference) < 1e-6 * scale, (name, k, row)
        assert (derivative[steps.fraction == 0] == 0).all()


@pytest.mark.parametrize("method", METHODS)
def test_rows_are_runs_of_their_own(method: Dynamics) -> None:
    tasks, steps = sobol_tasks(5, seed=2), random_steps(5, 30, seed=4)
    together = final_risk(method, tasks, steps)
    for row in range(5):
        errors, problem = tasks.errors[row], tasks.at([row]).problem
        for k in range(int(steps.counts[row])):
            after = getattr(problem, "sgd" if method is Dynamics.SGD else "adam_like")(
                errors[None], steps.rate[k, [row]], steps.batch[k, [row]]
            )[0]
            errors = errors + steps.fraction[k, row] * (after - errors)
        assert together[row] == pytest.approx(float(problem.risk(errors)[0]), rel=1e-12)


def test_a_run_that_diverges_has_a_large_risk_and_no_warning() -> None:
    tasks = sobol_tasks(2)
    steps = Steps(np.ones((400, 2)), np.full((400, 2), 50.0), np.ones((400, 2)))
    assert (risk_and_gradients(Dynamics.SGD, tasks, steps).risk > 1e20).all()


@given(st.integers(1, 3000), st.integers(1, 20), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_blocks_cover_every_mode_once(dimension: int, singles: int, per_octave: int) -> None:
    first, sizes = blocks(dimension, singles, per_octave)
    assert first[0] == 0
    assert (sizes > 0).all()
    assert np.array_equal(np.cumsum(sizes)[:-1], first[1:])
    assert sizes.sum() == dimension


def test_blocks_keep_the_power_laws_trace_and_energy() -> None:
    spectrum, energy = np.array([1.3, 2.0]), np.array([1.2, 1.9])
    ones = np.ones(2)
    tasks = power_law_tasks(spectrum, energy, ones, 100 * ones, 8 * ones, dimension=500)
    index = np.arange(1.0, 501)
    sizes = tasks.problem.multiplicities
    for row in range(2):
        assert tasks.problem.eigenvalues[row] @ sizes == pytest.approx((index ** -spectrum[row]).sum())
        energies = index ** -energy[row]
        first = tasks.problem.eigenvalues[row, 0] * tasks.errors[row, 0]
        assert first == pytest.approx(energies[0] / energies.sum())


@pytest.mark.parametrize("resource", list(Resource))
def test_marginal_costs_are_derivatives_of_costs(resource: Resource) -> None:
    tasks = sobol_tasks(3, resource=resource)
    batch = np.array([3.0, 700.0, 40.0])
    width = 1e-3
    difference = (tasks.cost(batch + width) - tasks.cost(batch - width)) / (2 * width)
    assert np.allclose(tasks.marginal_cost(batch), difference, atol=1e-9)


def test_costs_by_hand() -> None:
    one = np.ones(1)
    for resource, cost, budget in (
        (Resource.TIME, 1.5, 100.0),
        (Resource.ROOFLINE, 1.0, 100.0),
        (Resource.SAMPLES, 4.0, 400.0),
        (Resource.STEPS, 1.0, 100.0),
    ):
        tasks: Tasks = power_law_tasks(one * 1.5, one * 1.5, one, 100 * one, 8 * one, 20, resource)
        assert tasks.cost(np.array([4.0])) == [cost]
        assert tasks.budget == [budget]
