"""An idealised Adam's schedules on one path: between the two solutions, and what a ceiling on the batch keeps."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from tests.support.learning_rate_paths import path_steps, regressions
from theory.schedules.path import LearningRatePath, PathSteps
from theory.schedules.sandwich_adam import (
    largest_move,
    lower_errors,
    path_solution,
    risk_bound,
    run,
    upper_errors,
)
from theory.schedules.second_moments import Regression, adam_like_step, gradient_variance, squared_gradient
from theory.schedules.shapes import Power

MODES = st.tuples(
    st.floats(0.01, 2), st.floats(0.01, 5), st.floats(0.1, 5), st.floats(0.01, 1), st.floats(0.5, 50)
)
SLACK = 1e-8


def with_slow_down(lam, c, level, rate, batch, power=2):
    """The step in the form in which the batch only slows down: rate is a = lr sqrt(b)."""
    scale = gradient_variance(lam, c, level) / squared_gradient(lam, c)
    return c - 2 * rate * (c / scale) ** (1 / power) / (1 + batch / scale) ** (1 / power) + rate**2 / batch


@given(MODES)
def test_the_batch_only_slows_down(values):
    lam, c, level, rate, batch = values
    stepped = adam_like_step(lam, c, level, rate / batch**0.5, batch)
    assert with_slow_down(*values) == pytest.approx(stepped, rel=1e-10, abs=1e-10)


def test_the_batch_only_slows_down_in_symbols():
    lam, c, level, rate, batch = values = sympy.symbols("lambda c N a b", positive=True)
    half = sympy.Integer(2)
    stepped = adam_like_step(lam, c, level, rate / sympy.sqrt(batch), batch)
    noise = c + rate**2 / batch  # the same on both sides; the rest is negative, so compare squares
    ratio = (stepped - noise) ** 2 / (with_slow_down(*values, power=half) - noise) ** 2
    assert sympy.simplify(ratio) == 1
    other = with_slow_down(lam, c, 2 * level, rate, batch, power=half)
    assert sympy.simplify((stepped - noise) ** 2 / (other - noise) ** 2) != 1


def small_steps(steps: PathSteps, problem: Regression, share: float) -> PathSteps:
    """The same batches at rates with q = ``share``."""
    now = largest_move(problem, steps)
    path = LearningRatePath(
        shape=steps.path.shape,
        samples=steps.path.samples,
        initial_ratio=steps.path.initial_ratio * now / share,
    )
    return PathSteps(path, steps.ends)


def within_the_sandwich(steps, drawn, share):
    problem, errors = drawn
    steps = small_steps(steps, problem, share)
    end, kept = run(problem, steps, errors)
    assert np.all(end <= upper_errors(problem, steps.path, errors, share, kept) * (1 + SLACK))
    assert np.all(lower_errors(problem, steps, errors) <= end * (1 + SLACK))


@given(path_steps(most=10), regressions(0.01), st.floats(0.01, 0.97))
@settings(deadline=None, max_examples=15)
def test_every_schedule_is_within_the_sandwich(steps, drawn, share):
    within_the_sandwich(steps, drawn, share)


@pytest.mark.slow
@given(path_steps(most=30), regressions(0.01), st.floats(0.01, 0.97))
@settings(deadline=None, max_examples=60)
def test_more_schedules_are_within_the_sandwich(steps, drawn, share):
    within_the_sandwich(steps, drawn, share)


@pytest.mark.parametrize("eta", [0.5, 1.0, 2.0])
def test_a_ceiling_at_the_noise_scale_keeps_its_share(eta):
    """Batches of at most min_i B_i / eta^2, with B_i of the exact errors: kappa >= (1 + 1 / eta^2)^(-1/2)."""
    problem, start = Regression(np.array([1.0, 0.3, 0.1]), noise=1.0), np.array([1.0, 4.0, 9.0])
    path = LearningRatePath(samples=4000.0, initial_ratio=40.0)
    errors, ends = start, [0.0]
    while ends[-1] < path.samples:
        ceiling = float(np.min(problem.variances(errors) / problem.squared_gradients(errors))) / eta**2
        wanted = 8 / (1 - ends[-1] / path.samples)
        ends.append(min(ends[-1] + min(wanted, ceiling), path.samples))
        batch, rate = ends[-1] - ends[-2], path.time_left(ends[-2]) - path.time_left(ends[-1])
        errors = problem.adam_like(errors, rate / np.sqrt(batch), batch)
    steps = PathSteps(path, np.array(ends))
    end, kept = run(problem, steps, start)
    promised = (1 + 1 / eta**2) ** -0.5
    assert kept >= promised * (1 - 1e-12)
    move = largest_move(problem, steps)
    assert problem.risk(end) <= risk_bound(problem, path, start, move, promised).value


def test_a_slow_down_that_is_left_out_is_rejected():
    """b = 25 B: far from its floor the mode keeps a fifth of its drift."""
    problem, errors = Regression(np.array([1.0]), noise=1.0), np.array([100.0])
    steps = small_steps(PathSteps.from_proportions(Power(0), [1.0] * 200, 5000.0, 1.0), problem, 0.05)
    end, kept = run(problem, steps, errors)
    move = largest_move(problem, steps)
    assert end <= upper_errors(problem, steps.path, errors, move, kept)
    assert end > upper_errors(problem, steps.path, errors, move, 1.0)


def test_noise_that_is_not_raised_is_rejected():
    """At the floor a step of size q leaves more than the path's equation does."""
    problem, errors = Regression(np.array([1.0]), noise=1.0), np.array([1e-3])
    steps = small_steps(PathSteps.from_proportions(Power(0), [1.0] * 200, 1e6, 1.0), problem, 0.5)
    end, _ = run(problem, steps, errors)
    assert end <= path_solution(problem, steps.path, errors, noise=np.exp(0.5), contraction=np.exp(-0.25))
    assert end > path_solution(problem, steps.path, errors)


def test_a_larger_share_of_the_noise_is_rejected():
    class AllNoise(PathSteps):
        noise_shares = np.ones(1)

    problem, errors = Regression(np.array([1.0]), noise=1.0), np.array([1e-12])
    steps = small_steps(PathSteps.from_proportions(Power(1), [1.0], 1e6, 1.0), problem, 0.01)
    end, _ = run(problem, steps, errors)
    assert lower_errors(problem, steps, errors) <= end
    assert lower_errors(problem, AllNoise(steps.path, steps.ends), errors) > end


def test_time_that_is_not_stretched_is_rejected():
    """A step takes 1 - y of the error, less than e^{-y}."""
    problem, errors = Regression(np.array([1.0]), noise=1.0), np.array([1e-3])
    steps = small_steps(PathSteps.from_proportions(Power(0), [1.0] * 4, 1e12, 1.0), problem, 0.9)
    batch_free = np.array([1e-3])
    for rate in steps.rates:  # the limit of small batches at these rates, where nothing slows down
        batch_free = batch_free * (1 - 2 * rate / np.sqrt(problem.variances(batch_free)))
    assert lower_errors(problem, steps, errors) <= batch_free
    assert path_solution(problem, steps.path, errors, noise=0.0) > batch_free


def test_a_mode_of_multiplicity_two_is_two_modes():
    once = Regression(np.array([1.0, 0.5]), noise=1.0, multiplicities=np.array([2.0, 1.0]))
    twice = Regression(np.array([1.0, 1.0, 0.5]), noise=1.0)
    steps = small_steps(PathSteps.from_proportions(Power(0), [1.0] * 4, 1e3, 1.0), twice, 0.5)
    found = lower_errors(once, steps, np.array([0.5, 1.0]))
    assert lower_errors(twice, steps, np.array([0.5, 0.5, 1.0])) == pytest.approx(found[[0, 0, 1]], rel=1e-12)


def test_hypotheses():
    problem, errors = Regression(np.array([1.0]), noise=1.0), np.array([1.0])
    steps = small_steps(PathSteps.from_proportions(Power(0), [1.0], 10.0, 1.0), problem, 1.2)
    with pytest.raises(HypothesisError, match="<= 1"):
        upper_errors(problem, steps.path, errors, 1.2, 0.5)
    with pytest.raises(HypothesisError, match="kappa = 0"):
        upper_errors(problem, steps.path, errors, 0.5, 0.0)
    with pytest.raises(HypothesisError, match="q < 1"):
        lower_errors(problem, steps, errors)
    with pytest.raises(HypothesisError, match=r"sigma\^2 > 0"):
        largest_move(Regression(np.array([1.0]), noise=0.0), steps)
