"""An idealised Adam's descent: equal to its bound on regression, kept by a ceiling, lost without one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.moments.hypotheses import HypothesisError
from tests.support.learning_rate_paths import path_steps, regressions
from theory.schedules.adam_descent import (
    CoordinateProblem,
    NoiseScale,
    criterion_bound,
    descent_sum_bound,
    drift,
    expected_change,
)
from theory.schedules.path import LearningRatePath
from theory.schedules.second_moments import Regression
from theory.schedules.shapes import Power

COORDINATES = st.lists(st.tuples(st.floats(-9, 9), st.floats(-9, 9)), min_size=1, max_size=8)
SCALES = list(NoiseScale)


def drawn(coordinates) -> tuple[np.ndarray, np.ndarray]:
    logs = np.array(coordinates)
    return np.exp(logs[:, 0]), np.exp(logs[:, 1])


@given(COORDINATES, st.floats(-9, 9), st.sampled_from(SCALES))
@settings(max_examples=60)
def test_the_drift_is_at_least_the_criterion_times_what_is_kept(coordinates, log_batch, scale):
    squares, variances = drawn(coordinates)
    batch = np.exp(log_batch)
    kept = scale.kept(batch / scale.of(squares, variances))
    criterion = scale.criterion(squares, variances)
    assert drift(squares, variances, batch) >= criterion * kept * (1 - 1e-12)
    if len(squares) == 1 and scale is not NoiseScale.L1:
        assert drift(squares, variances, batch) < criterion * kept * (1 + 1e-9)  # so that nothing larger will do


@given(COORDINATES)
@settings(max_examples=60)
def test_how_scales_and_criteria_are_ordered(coordinates):
    squares, variances = drawn(coordinates)
    weighted, l1, trace = (NoiseScale(name) for name in ("weighted", "l1", "trace"))
    assert weighted.of(squares, variances) <= l1.of(squares, variances) * (1 + 1e-12)
    assert np.min(variances / squares) <= weighted.of(squares, variances) * (1 + 1e-12)
    for other in (l1, trace):
        assert other.criterion(squares, variances) <= weighted.criterion(squares, variances) * (1 + 1e-12)


def test_a_single_coordinate_may_lose_its_descent_below_the_weighted_scale():
    squares, variances = np.array([1e18, 1e-6]), np.array([1e18, 1e-12])
    batch = NoiseScale.WEIGHTED.of(squares, variances)
    assert drift(squares[1:], variances[1:], batch) < 0.0011 * drift(squares[1:], variances[1:], 0)


def test_trace_and_weighted_have_no_order():
    trace, weighted = (NoiseScale(name).of for name in ("trace", "weighted"))
    junk = np.array([1.0, 0.0]), np.array([10.0, 1e4])
    assert trace(*junk) > 900 * weighted(*junk)
    quiet = np.array([4.0, 1.0]), np.array([1.0, 1.0])  # 2 / 5; (4 + 1) / (16 + 1)
    assert trace(*quiet) > weighted(*quiet)
    other = np.array([4.0, 1.0]), np.array([8.0, 1.0])  # 9 / 5; (4 / 8^.5 + 1) / (16 / 8^1.5 + 1)
    assert weighted(*other) == pytest.approx((2**0.5 + 1) / (0.5**0.5 + 1))
    assert trace(*other) > weighted(*other)
    below = np.array([100.0, 1.0]), np.array([100.0, 2.0])  # 102 / 101; (10 + .7071) / (10 + .35355)
    assert trace(*below) < weighted(*below)


@pytest.mark.parametrize("junk", [1e2, 1e4, 1e6])
def test_only_the_weighted_scale_protects_from_a_coordinate_of_noise(junk):
    squares, variances = np.array([1.0, 1e-18]), np.array([10.0, 10 * junk])
    whole = drift(squares, variances, 0.0)
    kept = {s: drift(squares, variances, s.of(squares, variances)) / whole for s in SCALES}
    assert kept[NoiseScale.WEIGHTED] == pytest.approx(0.5**0.5)
    for scale in (NoiseScale.TRACE, NoiseScale.L1):
        assert kept[scale] < 1.1 / np.sqrt(junk)
        with_criterion_of_weighted = scale.kept(1.0) * whole
        assert kept[scale] * whole < with_criterion_of_weighted  # the criteria may not be exchanged


def descent(steps, problem: Regression, errors: np.ndarray):
    """Exact (R, a_k, G_i^2, V_i, b_k) along the recursion, and R at the end."""
    records = []
    for rate, batch in zip(steps.rates, steps.batches, strict=True):
        squares, variances = problem.squared_gradients(errors), problem.variances(errors)
        records.append((float(problem.risk(errors)), float(rate), squares, variances, float(batch)))
        errors = problem.adam_like(errors, rate / np.sqrt(batch), batch)
    return records, float(problem.risk(errors))


@given(path_steps(), regressions(0.01))
@settings(deadline=None, max_examples=25)
def test_the_descent_is_an_equality_on_regression(steps, drawn_problem):
    problem, errors = drawn_problem
    records, end = descent(steps, problem, errors)
    smoothness = float(problem.eigenvalues.sum())
    risks = [risk for risk, *_ in records] + [end]
    for k, (risk, rate, squares, variances, batch) in enumerate(records):
        change = expected_change(drift(squares, variances, batch), rate, batch, smoothness)
        assert (risks[k + 1] - risk) / 2 == pytest.approx(change, rel=1e-10, abs=1e-10 * (1 + risk + rate**2))
        assert change < expected_change(drift(squares, variances, batch), rate, batch, 2 * smoothness)
    total = sum(rate * drift(squares, variances, batch) for _, rate, squares, variances, batch in records)
    gap = CoordinateProblem(initial_gap=risks[0] / 2, coordinate_smoothness=smoothness)
    assert total <= descent_sum_bound(gap, steps.path).value * (1 + 1e-9) - end / 2 + 1e-9


def capped_run(problem, errors, path, eta, scale):
    """The average of the criterion for batches of exactly B / eta^2, and R at both ends."""
    start, seen, sums = float(problem.risk(errors)), 0.0, 0.0
    while seen < path.samples:
        squares, variances = problem.squared_gradients(errors), problem.variances(errors)
        batch = min(float(scale.of(squares, variances)) / eta**2, path.samples - seen)
        rate = path.time_left(seen) - path.time_left(seen + batch)
        sums += rate * scale.criterion(squares, variances)
        errors, seen = problem.adam_like(errors, rate / np.sqrt(batch), batch), seen + batch
    return sums / path.time, start


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("eta", [0.5, 1.0, 2.0])
def test_a_ceiling_keeps_the_average_of_its_criterion(scale, eta):
    problem, errors = Regression(np.array([1.0, 0.3, 0.1]), noise=0.5), np.array([1.0, 4.0, 9.0])
    path = LearningRatePath(samples=20_000.0, initial_ratio=200.0)
    average, start = capped_run(problem, errors, path, eta, scale)
    given = CoordinateProblem(initial_gap=start / 2, coordinate_smoothness=1.4)
    assert average <= criterion_bound(given, path, eta=eta, scale=scale).value


@pytest.mark.parametrize("scale", [NoiseScale.WEIGHTED, NoiseScale.TRACE])
def test_a_ceiling_without_its_price_is_rejected(scale):
    """One mode whose error is used up: the criterion's average is phi times what the descent allows."""
    problem, errors = Regression(np.array([1.0]), noise=0.01), np.array([100.0])
    path = LearningRatePath(samples=400.0, initial_ratio=3.0)
    average, start = capped_run(problem, errors, path, 0.5, scale)
    given = CoordinateProblem(initial_gap=start / 2, coordinate_smoothness=1.0)
    bound = criterion_bound(given, path, eta=0.5, scale=scale)
    assert bound.constants["phi"] == pytest.approx(5**0.5)
    assert bound.value / bound.constants["phi"] < average <= bound.value


def worst_descent(path, point, seen=0.0):
    """The largest E of sum a drift plus f at the end, on 1 - cos w, over all rules for the batches."""
    if path.samples - seen < 0.5:
        return 1 - np.cos(point)
    largest, gradient = -np.inf, np.sin(point)
    for batch in (1.0, 2.0, 4.0):
        if batch > path.samples - seen:
            break
        rate = path.time_left(seen) - path.time_left(seen + batch)
        scale = rate / np.sqrt(batch) / np.sqrt(gradient**2 + 1 / batch)
        ends = [point - scale * (gradient + sign / np.sqrt(batch)) for sign in (-1, 1)]
        rest = sum(worst_descent(path, end, seen + batch) for end in ends) / 2
        largest = max(largest, rest + rate * drift(np.array([gradient**2]), np.array([1.0]), batch))
    return largest


@given(st.floats(0.3, 20), st.floats(-3, 3))
@settings(deadline=None, max_examples=8)
def test_without_convexity_and_with_the_worst_rule_for_the_batches(ratio, point):
    path = LearningRatePath(samples=5.0, initial_ratio=ratio)
    problem = CoordinateProblem(initial_gap=1 - np.cos(point), coordinate_smoothness=1.0)
    assert worst_descent(path, point) <= descent_sum_bound(problem, path).value * (1 + 1e-9)


def test_hypotheses():
    path = LearningRatePath(shape=Power(1), samples=10.0, initial_ratio=1.0)
    given = CoordinateProblem(initial_gap=1.0, coordinate_smoothness=1.0)
    with pytest.raises(HypothesisError, match="eta > 0"):
        criterion_bound(given, path, eta=0.0, scale="trace")
    with pytest.raises(HypothesisError, match="initial_gap >= 0"):
        CoordinateProblem(initial_gap=-1.0, coordinate_smoothness=1.0)
    with pytest.raises(ValueError, match="median"):
        criterion_bound(given, path, eta=1.0, scale="median")
