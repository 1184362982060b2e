"""What schedules are worth in time: budgets at equal risk, runs along their steps, tasks alone or together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulate.exact import survey as module
from simulate.exact.dynamics import Dynamics
from simulate.exact.knots import KnotSchedules
from simulate.exact.optimum import DECAY
from simulate.exact.survey import BUDGETS, FURTHEST, along, budget_for, survey
from simulate.exact.tasks import sobol_tasks


@given(power=st.floats(0.05, 3), wanted=st.floats(0.01, 100), level=st.floats(1e-3, 1e3))
def test_a_power_law_is_continued_beyond_its_budgets(power, wanted, level):
    risks = level * np.array([BUDGETS, BUDGETS]) ** -power
    found = budget_for(BUDGETS, risks, level * np.array([wanted, 1.0]) ** -power)
    assert found == pytest.approx([wanted, 1.0], rel=1e-5)


@given(
    logs=st.lists(st.floats(-20, 20), min_size=5, max_size=5),
    wanted=st.tuples(st.floats(-20, 20), st.floats(-20, 20)),
)
def test_budgets_stay_in_sight_and_less_risk_takes_more(logs, wanted):
    curve = np.exp([logs, logs])
    more, less = budget_for(BUDGETS, curve, np.exp(sorted(wanted)))
    assert BUDGETS[0] / FURTHEST * (1 - 1e-9) <= less <= more * (1 + 1e-9)
    assert more <= BUDGETS[-1] * FURTHEST * (1 + 1e-9)


def test_a_family_that_stands_still_never_arrives():
    flat = np.full((2, len(BUDGETS)), 0.5)
    assert budget_for(BUDGETS, flat, np.array([0.1, 0.9])) == pytest.approx([200.0, 0.005])


@pytest.mark.parametrize("method", list(Dynamics))
def test_tasks_are_surveyed_as_if_alone(method, monkeypatch):
    """In any order of their durations, two at a time or one by one; L-BFGS enlarges what rounding leaves."""
    tasks = sobol_tasks(3)
    tasks = tasks.at(range(3), np.array([20.0, 10.0, 15.0]) / tasks.duration)
    monkeypatch.setattr(module, "TOGETHER", 2)
    fractions: list[float] = []
    found = survey(method, tasks, 3, fractions.append)
    assert fractions == pytest.approx([2 / 3, 1 / 3])
    for row in range(3):
        alone = survey(method, tasks.at([row]), 3)
        for name, times in alone.relative.items():
            assert found.relative[name][row] == pytest.approx(times[0], rel=1e-3), name
        assert found.saving[row] == pytest.approx(1 - alone.over_rates[0], abs=1e-3)
        assert (found.rho[row], found.s[row]) == pytest.approx((alone.rho[0], alone.s[0]), rel=1e-3)
        assert found.risks[DECAY.name][row] == pytest.approx(alone.risks[DECAY.name][0], rel=1e-3)
    assert np.all((found.s > 0) & (found.s <= 1))
    assert np.all((found.predicted >= 0) & (found.predicted <= (1 - found.s) / 2))


def test_noise_scales_along_a_run_are_those_before_its_steps():
    """Of SGD with a constant batch and rate, step by step from the recursion; rows end at different steps."""
    tasks, batch, rate = sobol_tasks(2).at(range(2), 0.01), np.array([2.0, 40.0]), np.array([0.1, 0.2])
    runs = along(Dynamics.SGD, KnotSchedules.constant(tasks, batch, rate))
    for row, run in enumerate(runs):
        eigenvalues, sizes = tasks.problem.eigenvalues[row], tasks.problem.multiplicities
        errors, cost = tasks.errors[row].copy(), 1 + batch[row] / tasks.saturation[row]
        assert len(run.at) == len(run.batch) == len(run.scale) == np.ceil(tasks.duration[row] / cost)
        for k, scale in enumerate(run.scale):
            level = tasks.problem.noise[row] + sizes @ (eigenvalues * errors)
            squared = sizes @ (eigenvalues**2 * errors)
            assert scale == pytest.approx((sizes @ eigenvalues * level + squared) / squared, rel=1e-9)
            assert run.at[k] == pytest.approx(k * cost / tasks.duration[row])
            z = rate[row] * eigenvalues
            errors = errors * (1 - 2 * z + z**2 * (1 + 1 / batch[row])) + (
                rate[row] ** 2 / batch[row] * eigenvalues * level
            )
        assert run.batch == pytest.approx(batch[row])
