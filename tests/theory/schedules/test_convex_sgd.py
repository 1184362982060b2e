"""SGD on a path: the three guarantees on exact second moments and exact trees, and where they end."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from tests.support.learning_rate_paths import DECAYS, path_steps
from theory.schedules.convex_sgd import (
    SmoothProblem,
    average_gap_bound,
    average_squared_gradient_bound,
    best_initial_ratio,
    last_iterate_bound,
    last_iterate_bound_of_steps,
)
from theory.schedules.path import LearningRatePath, PathSteps
from theory.schedules.shapes import Cosine, Power

MODES = st.lists(st.tuples(st.floats(-5, 0), st.floats(-3, 3), st.floats(-4, 4)), max_size=5)


def quadratic(modes, steps: PathSteps, relative_variance: float = 0.0):
    """sum l_i w_i^2 / 2, exactly: the problem, sum a ||grad||^2, sum a f, and f at the end."""
    logs = np.array([*modes, (0.0, 0.0, 0.0)])
    curvature, errors, variances = np.exp(logs).T
    problem = SmoothProblem(
        smoothness=1.0,
        variance=float(variances.sum()),
        relative_variance=relative_variance,
        initial_gap=float(curvature @ errors) / 2,
        distance=float(np.sqrt(errors.sum())),
    )
    squares = gaps = 0.0
    for rate, batch in zip(steps.rates, steps.batches, strict=True):
        gradients = curvature**2 * errors
        squares, gaps = squares + rate * gradients.sum(), gaps + rate * float(curvature @ errors) / 2
        noise = variances + relative_variance * gradients
        errors = errors * (1 - rate * curvature) ** 2 + rate**2 / batch * noise
    return problem, squares, gaps, float(curvature @ errors) / 2


@given(MODES, path_steps(), st.sampled_from([0.0, 0.5, 3.0]))
@settings(deadline=None, max_examples=30)
def test_the_averages_on_quadratics(modes, steps, relative):
    path, move = steps.path, min(float(steps.rates.max()), 1.0)
    problem, squares, gaps, _ = quadratic(modes, steps)
    assert squares / path.time <= average_squared_gradient_bound(problem, path, move).value * (1 + 1e-9)
    assert gaps / path.time <= average_gap_bound(problem, path, move).value * (1 + 1e-9)
    if relative and move + relative / path.initial_ratio < 1.9:
        problem, squares, _, _ = quadratic(modes, steps, relative)
        assert squares / path.time <= average_squared_gradient_bound(problem, path, move).value * (1 + 1e-9)


@given(MODES, path_steps())
@settings(deadline=None, max_examples=30)
def test_the_last_iterate_on_quadratics(modes, steps):
    problem, _, _, end = quadratic(modes, steps)
    of_steps = last_iterate_bound_of_steps(problem, PathSteps(steps.path, steps.ends)).value
    assert end <= of_steps / 2 * (1 + 1e-9) + 1e-12  # on these the guarantee has a factor of 2 to spare
    if steps.path.shape in DECAYS:
        move = min(float(steps.rates.max()), 1.0)
        assert of_steps <= last_iterate_bound(problem, steps.path, move).value * (1 + 1e-6)


@pytest.mark.parametrize("bound", [average_gap_bound, average_squared_gradient_bound])
def test_smaller_averages_are_rejected(bound):
    """One mode at a = 1 that ends near its floor attains the second bound, and the first to its third term."""
    steps = PathSteps.from_proportions(Power(0), [1.0] * 4000, 4e4, 1.0)
    problem, squares, gaps, _ = quadratic([], steps)
    measured = (gaps if bound is average_gap_bound else squares) / steps.path.time
    value = bound(problem, steps.path, 1.0).value
    assert 0.99 * value < measured <= value
    assert measured > bound(replace(problem, variance=problem.variance * 0.95), steps.path, 1.0).value


def test_a_third_of_the_last_iterate_bound_is_rejected():
    """One step at a = 1 from the minimiser: noise alone, at half the bound."""
    steps = PathSteps.from_proportions(Power(1), [1.0], 10.0, 1.0)
    problem = SmoothProblem(smoothness=1.0, variance=1.0, distance=0.0)
    end = float(steps.rates[0] ** 2 / steps.batches[0]) / 2
    bound = last_iterate_bound_of_steps(problem, steps).value
    assert bound / 3 < end == pytest.approx(bound / 2)


def test_the_average_of_f_fails_for_steps_beyond_one():
    steps = PathSteps.from_proportions(Power(0), [1.0] * 40, 400.0, 1.5)
    problem, _, gaps, _ = quadratic([], steps)
    path = steps.path
    stated = (problem.distance**2 + problem.variance * path.noise) / (2 * path.time)
    assert gaps / path.time > 1.79 * stated
    with pytest.raises(HypothesisError, match="max a_k L <= 1"):
        average_gap_bound(problem, path, 1.5)


def test_the_last_iterate_fails_near_two():
    steps = PathSteps.from_proportions(Power(0), [1.0] * 25, 1e-3, 1.95)  # noise alone: batches are small
    problem, _, _, end = quadratic([], steps)
    left = steps.path.time_left(steps.ends[:-1])
    noise = ((1 + steps.rates) * steps.rates**2 / steps.batches / left).sum()
    stated = problem.distance**2 / (2 * steps.path.time) + problem.variance / 2 * noise
    assert end > 1.6 * stated
    with pytest.raises(HypothesisError, match="max a_k L <= 1"):
        last_iterate_bound_of_steps(problem, steps)


FUNCTIONS: dict[str, tuple[Callable[[float], float], Callable[[float], float]]] = {
    "quadratic": (lambda w: w * w / 2, lambda w: w),
    "log cosh": (lambda w: float(np.logaddexp(w, -w) - np.log(2)), np.tanh),
    "Huber": (lambda w: w * w / 2 if abs(w) < 1 else abs(w) - 0.5, lambda w: min(max(w, -1.0), 1.0)),
}
BATCHES = (1.0, 2.0, 4.0)


def worst(weights, name: str, path: LearningRatePath, chance: float, point: float, seen: float = 0.0) -> float:
    """The largest E of a weighted sum over all rules by which batches may depend on the past.

    Of sum a ||grad||^2, sum a f, sum a^2 / b, sum (1 + a) (a^2 / b) / (T - T_k) and f at the end, exactly: the
    noise of b samples has variance 1 / b and two values, the larger with probability ``chance``. L = 1.
    """
    value, gradient = FUNCTIONS[name]
    if path.samples - seen < 1e-9:
        return weights[4] * value(point)
    left, slope, best = path.time_left(seen), gradient(point), -np.inf
    for batch in BATCHES:
        if batch > path.samples - seen:
            break
        rate = left - path.time_left(seen + batch)
        high, low = (1 / chance - 1) ** 0.5 / batch**0.5, -((1 / chance - 1) ** -0.5) / batch**0.5
        expected = sum(
            p * worst(weights, name, path, chance, point - rate * (slope + noise), seen + batch)
            for p, noise in ((chance, high), (1 - chance, low))
        )
        terms = (rate * slope**2, rate * value(point), rate**2 / batch, (1 + rate) * rate**2 / batch / left)
        best = max(best, expected + sum(w * term for w, term in zip(weights, terms, strict=False)))
    return best


def check_worst_rule(name, move, shape, chance, point, samples=6.0):
    """All three guarantees against the rule that is worst for each; theta is the largest rate of any batch."""
    ratio = samples * (shape.remaining(0.0) - shape.remaining(BATCHES[-1] / samples)) / move
    path = LearningRatePath(shape=shape, samples=samples, initial_ratio=ratio)
    start = FUNCTIONS[name][0](point)
    problem = SmoothProblem(smoothness=1.0, variance=1.0, distance=abs(point), initial_gap=start)
    squares = average_squared_gradient_bound(problem, path, move)
    case = name, path, chance, point
    assert worst((1, 0, 0, 0, 0), *case) <= squares.value * path.time * (1 + 1e-9)
    assert worst((1 - move / 2, 0, -0.5, 0, 1), *case) <= start + 1e-9
    assert worst((0, 1, 0, 0, 0), *case) <= average_gap_bound(problem, path, move).value * path.time * (1 + 1e-9)
    assert worst((0, 1, -0.5, 0, 0), *case) <= point**2 / 2 + 1e-9
    last = last_iterate_bound(problem, path, move)
    assert worst((0, 0, 0, 0.5, 0), *case) <= last.terms["noise"] * (1 + 1e-9)
    assert worst((0, 0, 0, -0.5, 1), *case) <= last.terms["distance"] + 1e-9


TREES = {
    "name": st.sampled_from(sorted(FUNCTIONS)),
    "move": st.floats(0.05, 1.0),
    "shape": st.sampled_from([Power(1), Power(2), Cosine()]),
    "chance": st.floats(0.001, 0.999),
    "point": st.floats(-5, 5),
}


@given(**TREES)
@settings(deadline=None, max_examples=5)
def test_no_rule_for_the_batches_breaks_the_guarantees(**drawn):
    check_worst_rule(**drawn)


@pytest.mark.slow
@given(**TREES)
@settings(deadline=None, max_examples=40)
def test_no_rule_for_more_samples_breaks_them(**drawn):
    check_worst_rule(**drawn, samples=7.0)


def test_a_rule_can_be_worse_than_all_batches_fixed_before():
    """What the worst rule is for: it uses the past, and gains by it."""
    path = LearningRatePath(samples=6.0, initial_ratio=3.0)
    choices = [c for n in range(2, 7) for c in itertools.product(BATCHES, repeat=n) if sum(c) == 6]
    fixed = [quadratic([], PathSteps.from_batches(path, batches)) for batches in choices]
    assert {problem.distance for problem, *_ in fixed} == {1.0}
    assert worst((0, 0, 0, 0, 1), "quadratic", path, 0.5, 1.0) > 1.05 * max(end for *_, end in fixed)


def stopping(path: LearningRatePath, chance: float, point: float, seen=0.0, drawn=0, noise=0.0) -> float:
    """As the worst rule's E of sum a f - a^2 / (2 b) on w^2 / 2, but the batch may stop on its own samples."""
    left, best = path.time_left(seen), -np.inf
    if drawn == 0 and path.samples - seen < 0.5:
        return 0.0
    if drawn:
        rate = left - path.time_left(seen + drawn)
        after = stopping(path, chance, point - rate * (point + noise / drawn), seen + drawn)
        best = after + rate * point**2 / 2 - rate**2 / (2 * drawn)
    if drawn < 4 and path.samples - seen - drawn > 0.5:
        odds = (1 / chance - 1) ** 0.5
        outcomes = ((chance, noise + odds), (1 - chance, noise - 1 / odds))
        best = max(best, sum(p * stopping(path, chance, point, seen, drawn + 1, z) for p, z in outcomes))
    return best


def test_a_batch_decided_on_its_own_samples_is_not_covered():
    path = LearningRatePath(shape=Power(0), samples=6.0, initial_ratio=4.0)  # a = b / 4 <= 1
    assert worst((0, 1, -0.5, 0, 0), "quadratic", path, 0.97, 3.0) <= 4.5
    assert stopping(path, 0.97, 3.0) > 1.003 * 4.5


@pytest.mark.parametrize(("steps", "ratio"), [(10, 1.70), (20, 2.76), (40, 4.62)])
def test_rates_that_depend_on_the_past_have_no_such_guarantee(steps, ratio):
    """w^2 / 2 from 0, a = b = 1; the rate falls to 0 after the first spike, which has probability .001.

    A step at a = 1 puts w at minus the noise. A spike stays: (1 - p) / (2 p). Without one, p / (2 (1 - p)). With
    the spike at step j the sum of the third bound is that of j steps: the ratio is to its expectation, and little
    less to the bound of the steps that were planned.
    """
    spike = 0.001
    none = (1 - spike) ** steps
    end = (1 - none) * (1 - spike) / (2 * spike) + none * spike / (2 * (1 - spike))
    problem = SmoothProblem(smoothness=1.0, variance=1.0, distance=0.0)
    bounds = [
        last_iterate_bound_of_steps(problem, PathSteps.from_proportions(Power(0), [1.0] * n, float(n), 1.0)).value
        for n in range(1, steps + 1)
    ]
    realised = none * bounds[-1] + sum(spike * (1 - spike) ** j * bound for j, bound in enumerate(bounds))
    assert end / realised == pytest.approx(ratio, abs=0.005)
    assert end / bounds[-1] > 0.98 * ratio


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 6])
def test_what_the_proof_of_the_last_iterate_sums_to(n):
    """sum_k v_k a_k (f(w_{k+1}) - f(z_k)), with f(z_k) by convexity, is f(w_n) - f* alone."""
    rates = sympy.symbols(f"a:{n}", positive=True)
    values = sympy.symbols(f"f:{n + 1}")  # f(w_s) - f*
    weights = [1 / sum(rates[k:]) for k in range(n)]
    total = sum(
        weights[k] * rates[k] * values[k + 1]
        - rates[k] * sum((weights[s] - weights[s - 1]) * values[s] for s in range(1, k + 1))
        for k in range(n)
    )
    coefficients = [sympy.cancel(total.diff(value)) for value in values]
    assert coefficients == [0] * n + [1]


def test_the_best_ratio_and_linear_decay():
    """The guarantee at the best r_0 is d sigma sqrt((1 + theta) J A^-1 / D): 2 ... for linear, more for others."""
    problem = SmoothProblem(smoothness=1.0, variance=4.0, distance=6.0)
    values = {}
    for shape in DECAYS:
        ratio = best_initial_ratio(problem, shape, 16384.0, 0.5)
        at = [
            last_iterate_bound(
                problem, LearningRatePath(shape=shape, samples=16384.0, initial_ratio=factor * ratio), 0.5
            ).value
            for factor in (0.99, 1.0, 1.01)
        ]
        assert at[1] < min(at[0], at[2])
        values[shape] = at[1]
    assert min(values, key=lambda shape: values[shape]) == Power(1)
    assert values[Power(1)] == pytest.approx(2 * 6 * 2 * np.sqrt(1.5 / 16384))
    assert values[Power(2.5)] == pytest.approx(values[Power(1)] * 3.5 / np.sqrt(2.5) / 2)


def test_symbols():
    smoothness, variance, distance, samples, ratio, move = sympy.symbols("L v d D r theta", positive=True)
    problem = SmoothProblem(smoothness=smoothness, variance=variance, distance=distance, initial_gap=distance)
    path = LearningRatePath(shape=Power(sympy.Integer(1)), samples=samples, initial_ratio=ratio)
    last = last_iterate_bound(problem, path, move).value
    assert sympy.simplify(last - distance**2 * ratio / samples - (1 + move) * variance / ratio) == 0
    average = average_gap_bound(problem, path, move).value
    assert sympy.simplify(average - distance**2 * ratio / samples - variance / (3 * ratio)) == 0
    squares = average_squared_gradient_bound(problem, path, move).value
    stated = (2 * distance * ratio / samples + smoothness * variance / (3 * ratio)) / (1 - move / 2)
    assert sympy.simplify(squares - stated) == 0
    best = best_initial_ratio(problem, path.shape, samples, move)
    assert sympy.simplify(sympy.diff(last, ratio).subs(ratio, best)) == 0


@pytest.mark.parametrize(
    ("changed", "bound", "message"),
    [
        ({"distance": None}, last_iterate_bound, "the problem's distance"),
        ({"initial_gap": None}, average_squared_gradient_bound, "the problem's initial_gap"),
        ({"relative_variance": 1.0}, average_gap_bound, "relative_variance = 0"),
        ({"relative_variance": 100.0}, average_squared_gradient_bound, "larger initial_ratio"),
    ],
)
def test_hypotheses(changed, bound, message):
    problem = SmoothProblem(smoothness=1.0, variance=1.0, distance=1.0, initial_gap=1.0)
    path = LearningRatePath(samples=100.0, initial_ratio=10.0)
    with pytest.raises(HypothesisError, match=message):
        bound(replace(problem, **changed), path, 0.5)
    with pytest.raises(HypothesisError, match="smoothness > 0"):
        replace(problem, smoothness=0.0)
    with pytest.raises(HypothesisError, match="positive rates"):
        bound(problem, path, 0.0)
