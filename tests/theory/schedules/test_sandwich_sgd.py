"""SGD's schedules on one path: between the two solutions, mode by mode, and not between perturbed ones."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from tests.support.learning_rate_paths import path_steps, regressions
from theory.schedules.path import LearningRatePath, PathSteps
from theory.schedules.sandwich_sgd import largest_move, lower_errors, path_solution, risk_bound, run, upper_errors
from theory.schedules.second_moments import Regression, gradient_variance, sgd_step
from theory.schedules.shapes import OneMinusSqrt, Power, StableThenDecay

MODES = st.tuples(st.floats(0.01, 2), st.floats(0, 5), st.floats(0.1, 5), st.floats(0.01, 1), st.floats(0.5, 50))
SLACK = 1e-8
"""Of the solver, which is asked for ten digits."""


def of_path_and_batch(lam, c, level, rate, batch):
    """The step in the form in which only the last term has the batch at a given ratio r = b / a."""
    ratio = batch / rate
    variance = gradient_variance(lam, c, level)
    return c + batch * (-2 * lam * c / ratio + variance / ratio**2) + batch**2 * lam**2 * c / ratio**2


def test_the_batch_enters_only_through_the_last_term_in_symbols():
    values = sympy.symbols("lambda c N a b", positive=True)
    lam, c, _, rate, _ = values
    assert sympy.expand(sgd_step(*values) - of_path_and_batch(*values)) == 0
    assert sympy.expand(sgd_step(*values) - of_path_and_batch(*values) + (rate * lam) ** 2 * c / 2) != 0


@given(MODES)
def test_the_batch_enters_only_through_the_last_term(values):
    assert sgd_step(*values) == pytest.approx(of_path_and_batch(*values), rel=1e-10, abs=1e-12)


def within_the_sandwich(steps, drawn):
    problem, errors = drawn
    end, move = run(problem, steps, errors), largest_move(problem, steps)
    assert np.all(end <= upper_errors(problem, steps.path, errors, move) * (1 + SLACK) + SLACK * 1e-6)
    if move < 0.97:
        assert np.all(lower_errors(problem, steps, errors) <= end * (1 + SLACK) + SLACK * 1e-6)


@given(path_steps(most=10), regressions())
@settings(deadline=None, max_examples=15)
def test_every_schedule_is_within_the_sandwich(steps, drawn):
    within_the_sandwich(steps, drawn)


def test_a_step_across_a_kink_is_solved_to_its_digits():
    """One mode without noise has the solution exp(-2 theta T + 2 nu int dS / r^2), here over a root's kink."""
    shape, problem = StableThenDecay(0.6, OneMinusSqrt()), Regression(np.array([1.0]), 0.0, 1.0)
    path = LearningRatePath(shape=shape, samples=4045.0, initial_ratio=106_657.0)
    steps = PathSteps(path, np.array([0.0, 1356.0, 2422.0, 4045.0]))
    solved = path_solution(problem, path, np.array([1.0]), contraction=1.1, noise=0.9)
    exact = np.exp(-2.2 * steps.rates.sum() + 1.8 * steps.noises.sum())
    assert solved[0] == pytest.approx(exact, rel=1e-10)


@pytest.mark.slow
@given(path_steps(most=30), regressions())
@settings(deadline=None, max_examples=60)
def test_more_schedules_are_within_the_sandwich(steps, drawn):
    within_the_sandwich(steps, drawn)


def test_two_schedules_end_alike_where_the_steps_are_small():
    """Half the steps, nearly the same risk: the sandwich narrows with q."""
    problem, errors = Regression(np.array([1.0, 0.3, 0.05]), noise=1.0), np.array([1.0, 2.0, 3.0])
    for ratio in (40.0, 160.0):
        path = LearningRatePath(samples=16 * ratio, initial_ratio=ratio)
        decays = PathSteps.from_law(path, lambda _: 16.0)
        grows = PathSteps.from_law(path, lambda seen, ratio=ratio: 16 / (1 - seen / (16 * ratio)))
        risks = [float(problem.risk(run(problem, steps, errors))) for steps in (decays, grows)]
        assert len(grows.batches) == pytest.approx(len(decays.batches) / 2, rel=0.1)
        move = 16 / ratio
        assert largest_move(problem, grows) <= move
        upper = risk_bound(problem, path, errors, move).value
        lower = min(float(problem.risk(lower_errors(problem, steps, errors))) for steps in (decays, grows))
        assert lower <= min(risks) <= max(risks) <= upper
        assert upper / lower < 1 + 1.1 * move
        assert risks[1] == pytest.approx(risks[0], rel=0.005)


def test_a_smaller_noise_factor_is_rejected():
    """At equilibrium the error is 1 / (1 - q / 2) of the path's, more than e^{q/2}."""
    problem, errors = Regression(np.array([1.0]), noise=1.0), np.array([0.1])
    steps = PathSteps.from_proportions(Power(0), [1.0] * 200, 4e4, 0.5)
    q = largest_move(problem, steps)
    end = run(problem, steps, errors)
    assert end <= path_solution(problem, steps.path, errors, noise=np.exp(2 * q))
    assert end > path_solution(problem, steps.path, errors, noise=np.exp(q / 2))


def test_a_larger_share_of_the_noise_is_rejected():
    """One step over the whole linear path takes 3/4 of its noise, and not all of it."""

    class AllNoise(PathSteps):
        noise_shares = np.ones(1)

    problem, errors = Regression(np.array([1.0]), noise=1.0), np.array([0.0])
    steps = PathSteps.from_proportions(Power(1), [1.0], 1e4, 0.01)
    end = run(problem, steps, errors)
    assert lower_errors(problem, steps, errors) <= end
    assert lower_errors(problem, AllNoise(steps.path, steps.ends), errors) > end


def test_time_that_is_not_stretched_is_rejected():
    """Without noise a step contracts by (1 - z)^2, more than e^{-2 z}."""
    problem, errors = Regression(np.array([1.0]), noise=0.0), np.array([1.0])
    steps = PathSteps.from_proportions(Power(0), [1.0] * 10, 1e6, 0.5)
    end = run(problem, steps, errors)
    assert lower_errors(problem, steps, errors) <= end
    assert path_solution(problem, steps.path, errors, noise=0.0) > end


def test_noise_that_may_grow_within_a_step_is_rejected():
    """Fifty equal modes in one step at a = .1, b = 1: 1.32 c, and e^.3 c by the equation with all its noise."""
    problem, errors = Regression(np.array([1.0]), noise=0.0, multiplicities=50.0), np.array([1.0])
    steps = PathSteps.from_proportions(Power(0), [1.0], 1.0, 0.1)
    end = run(problem, steps, errors)
    assert end == pytest.approx(0.81 + 0.01 * 51)
    assert lower_errors(problem, steps, errors) <= end
    assert path_solution(problem, steps.path, errors, contraction=-np.log(0.9) / 0.1) > 1.02 * end


def test_beyond_q_of_one_large_batches_lose():
    """One mode at a0 lambda = 1.8: at a constant rate the error is far above that of decay on the same path."""
    problem, errors = Regression(np.array([1.0]), noise=1.0), np.array([1.0])
    path = LearningRatePath(samples=4e4, initial_ratio=20 / 1.8)
    decays = PathSteps.from_law(path, lambda _: 20.0)
    equal = path.samples * (1 - np.sqrt(np.linspace(1, 0, len(decays.batches) // 2 + 1)))
    grows = PathSteps(path, equal)
    assert run(problem, grows, errors) > 20 * run(problem, decays, errors)
    with pytest.raises(HypothesisError, match="q = max a_k lambda_max <= 1"):
        upper_errors(problem, path, errors, largest_move(problem, decays))
    with pytest.raises(HypothesisError, match="q = max a_k lambda_max < 1"):
        lower_errors(problem, decays, errors)


def worst_square(problem, path, error, batches=(1, 2), seen=0.0):
    """The largest E(w_n - w*)^2 of one mode over all rules by which batches may depend on the past, exactly.

    x takes three values, with a Gaussian's moments up to the fourth: all that a step's second moments need.
    """
    if path.samples - seen < 0.5:
        return error**2
    lam, noise, largest = float(problem.eigenvalues[0]), float(problem.noise), -np.inf
    one = 3 * lam * error + np.sqrt(3 * lam * noise) * np.array([-1, 1])
    for batch in batches:
        if batch > path.samples - seen:
            break
        rate = path.time_left(seen) - path.time_left(seen + batch)
        outcomes = {0.0: 1.0}
        for _ in range(batch):
            mixed: dict[float, float] = {}
            for total, chance in outcomes.items():
                for gradient, p in ((0.0, 2 / 3), (one[0], 1 / 6), (one[1], 1 / 6)):
                    mixed[total + gradient] = mixed.get(total + gradient, 0.0) + chance * p
            outcomes = mixed
        expected = sum(
            chance * worst_square(problem, path, error - rate * total / batch, batches, seen + batch)
            for total, chance in outcomes.items()
        )
        largest = max(largest, expected)
    return largest


@given(st.floats(0.05, 1.0), st.floats(0.0, 4.0), st.floats(-3, 3))
@settings(deadline=None, max_examples=10)
def test_the_upper_half_holds_for_batches_that_depend_on_the_past(move, noise, error):
    problem, path = (
        Regression(np.array([1.0]), noise=noise),
        LearningRatePath(samples=4.0, initial_ratio=1.75 / move),
    )
    upper = float(upper_errors(problem, path, np.array([error**2]), largest_move=move)[0])
    assert worst_square(problem, path, error) <= upper * (1 + SLACK) + 1e-14


def test_the_tree_of_samples_is_the_exact_recursion():
    problem, path = Regression(np.array([0.7]), noise=1.3), LearningRatePath(samples=4.0, initial_ratio=4.0)
    for batch in (1, 2):
        steps = PathSteps.from_batches(path, [batch] * (4 // batch))
        end = float(run(problem, steps, np.array([1.5**2]))[0])
        assert worst_square(problem, path, 1.5, (batch,)) == pytest.approx(end, rel=1e-12)
