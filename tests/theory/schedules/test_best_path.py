"""The best path against a solver that knows nothing of it, and against random paths."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from adabatch.moments.hypotheses import HypothesisError
from theory.schedules.best_path import best_ratios, least_noise_cost, noise_cost
from theory.schedules.path import LearningRatePath
from theory.schedules.shapes import Power

CELLS = st.lists(st.tuples(st.floats(-4, 4), st.floats(0.1, 2)), min_size=1, max_size=12)


def cells(drawn):
    logs, lengths = np.array(drawn).T
    return np.exp(logs), lengths


@given(CELLS, st.floats(0.01, 1.0), st.floats(0.1, 50), st.integers(0, 2**32 - 1))
@settings(deadline=None, max_examples=50)
def test_no_random_path_costs_less(drawn, tightness, samples, seed):
    weights, lengths = cells(drawn)
    smallest = tightness * samples / lengths.sum()
    draws = np.random.default_rng(seed)
    for least in (0.0, smallest):
        best = best_ratios(weights, lengths, samples, least)
        assert best @ lengths == pytest.approx(samples, rel=1e-10)
        assert np.all(best >= least)
        cost = noise_cost(weights, best, lengths)
        if least == 0:
            assert cost == pytest.approx(least_noise_cost(weights, lengths, samples), rel=1e-10)
        for spread in (0.05, 1.0):
            spare = (best - least + 0.01) * np.exp(draws.normal(0, spread, len(best)))
            other = least + spare * (samples - least * lengths.sum()) / (spare @ lengths)
            assert noise_cost(weights, other, lengths) >= cost * (1 - 1e-10)


@pytest.mark.parametrize(("kernel", "smallest"), [(1.0, 0.0), (4 / 3, 0.0), (1.0, 0.7), (1.5, 0.7)])
def test_a_solver_finds_the_same(kernel, smallest):
    count, time, samples = 40, 40.0, 40.0
    lengths = np.full(count, time / count)
    weights = (1 + time - (np.arange(count) + 0.5) * time / count) ** -kernel
    best = best_ratios(weights, lengths, samples, smallest)
    found = minimize(
        lambda r: noise_cost(weights, r, lengths),
        np.ones(count),
        jac=lambda r: -weights / r**2 * lengths,
        bounds=[(max(smallest, 1e-3), None)] * count,
        constraints={"type": "eq", "fun": lambda r: r @ lengths - samples, "jac": lambda r: lengths},
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-13},
    )
    assert noise_cost(weights, best, lengths) == pytest.approx(found.fun, rel=1e-6)
    assert (best[0] == smallest) == (smallest > 0)  # flat first, then decay of the rate


def test_weights_in_place_of_their_roots_are_rejected():
    weights, lengths = np.array([1.0, 4.0, 16.0]), np.ones(3)
    proportional = weights * 14 / weights.sum()
    assert noise_cost(weights, proportional, lengths) > 1.2 * least_noise_cost(weights, lengths, 14.0)


def test_linear_decay_is_best_for_the_last_iterate():
    """w = 1 / (T - u): r = r_0 / (1 - x) with x(u) = 1 - sqrt(1 - u / T), and the cost is 4 T / D."""
    u, time, samples = sympy.symbols("u T D", positive=True)
    root = sympy.integrate(1 / sympy.sqrt(u), (u, 0, time))  # of sqrt(w), from the end
    assert sympy.simplify(root**2 / samples - 4 * time / samples) == 0
    ratio = samples / root / sympy.sqrt(u)  # r* at u before the end
    seen = sympy.integrate(ratio, (u, 0, u))  # samples that are left there
    initial = ratio.subs(u, time)
    assert sympy.simplify(ratio - initial * samples / seen) == 0
    path = LearningRatePath(shape=Power(sympy.Integer(1)), samples=samples, initial_ratio=initial)
    assert sympy.simplify(path.time - time) == 0
    assert sympy.simplify(path.last_iterate_noise - 4 * time / samples) == 0


@pytest.mark.parametrize("kernel", [0.5, 1.0, 1.5])
def test_the_path_of_a_power_kernel(kernel):
    """w = (1 + T - u)^-k: x(u) gives p close to (1 - x)^(k / (2 - k)), away from the end."""
    time = 1e6 if kernel < 1.2 else 1e12
    left = np.geomspace(1e-3, 1, 200) * time  # T - u
    power = 1 - kernel / 2
    remaining = ((1 + left) ** power - 1) / ((1 + time) ** power - 1)  # 1 - x
    shape = ((1 + left) / (1 + time)) ** (kernel / 2)  # r_0 / r
    assert shape == pytest.approx(remaining ** (kernel / (2 - kernel)), rel=0.05)
    assert shape != pytest.approx(remaining ** (kernel / 2), rel=0.05)


def test_a_path_without_freedom():
    assert best_ratios([1.0, 7.0], [1.1, 2.2], 3.3, smallest=1.0).tolist() == pytest.approx([1.0, 1.0])


def test_hypotheses():
    with pytest.raises(HypothesisError, match="not all 0"):
        best_ratios([0.0, 0.0], [1.0, 1.0], 1.0)
    with pytest.raises(HypothesisError, match="D >= r_lo T"):
        best_ratios([1.0, 1.0], [1.0, 1.0], 1.0, smallest=0.6)
