"""Counts of steps: closed forms, what rounding adds, and the fewest steps of a path."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sympy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from adabatch.moments.hypotheses import HypothesisError
from tests.support.learning_rate_paths import DECAYS, path_steps
from theory.schedules.convex_sgd import SmoothProblem, last_iterate_bound
from theory.schedules.path import LearningRatePath, PathSteps
from theory.schedules.shapes import Cosine, OneMinusSqrt, Power, StableThenDecay
from theory.schedules.step_counts import fewest_steps, step_count_bound, step_share


@pytest.mark.parametrize(
    ("shape", "once", "twice"),
    [
        (Power(1), 1 / 2, 1 / 3),
        (Power(2), 1 / 3, 1 / 5),
        (Cosine(2), 1 / 2, 3 / 8),
        (Cosine(1), 2 / math.pi, 1 / 2),
        (OneMinusSqrt(), 1 / 3, 1 / 6),
        (StableThenDecay(0.2, Power(1)), 0.9, 1 - 0.4 / 3),
    ],
)
def test_shares_at_one_and_two(shape, once, twice):
    assert step_share(shape, 1) == pytest.approx(once, rel=1e-12)
    assert step_share(shape, 2) == pytest.approx(twice, rel=1e-12)


@given(st.sampled_from(DECAYS), st.floats(0.3, 3), st.floats(1.01, 1e3))
@settings(deadline=None, max_examples=50)
def test_a_ceiling(shape, exponent, ceiling):
    """Against quadrature in the value of p: int max(p^e, g) = g + int_g^1 (x at which p^e = y) dy."""
    least = 1 / ceiling
    area = quad(lambda y: shape.reach(y ** (1 / exponent)), least, 1, epsabs=1e-12, epsrel=1e-10, limit=400)[0]
    share = step_share(shape, exponent, ceiling)
    assert share == pytest.approx(least + area, rel=1e-7)
    assert step_share(shape, exponent) <= share


def test_the_ceiling_on_linear_decay_in_symbols():
    e, g = sympy.symbols("e g", positive=True)
    share = step_share(Power(sympy.Integer(1)), e, 1 / g)
    assert sympy.simplify(share - 1 / (1 + e) - g ** ((1 + e) / e) * e / (1 + e)) == 0


def law_of(shape, exponent, first, samples, unit, ceiling):
    """b(S) = b_0 p^-e with a ceiling, rounded down to a multiple of the unit (None: not rounded)."""

    def law(seen: float) -> float:
        grown = min(first * max(shape(seen / samples), 1e-12) ** -exponent, first * ceiling)
        return grown if unit is None else max(unit * math.floor(grown / unit), unit)

    return law


def integral_of(shape, exponent, first, samples, unit, ceiling):
    """int_0^D dS / b(S): in closed form, or as a sum over the values that the rounded law takes."""
    if unit is None:
        return samples / first * step_share(shape, exponent, ceiling)
    most = unit * math.floor(first * ceiling / unit)
    values = np.arange(unit * math.floor(first / unit), most + unit / 2, unit)
    starts = np.array([0.0] + [shape.reach((first / value) ** (1 / exponent)) for value in values[1:]])
    lengths = np.diff(np.append(starts, 1.0))
    return samples * float((lengths / values).sum())


COUNTS = {
    "shape": st.sampled_from(DECAYS),
    "exponent": st.sampled_from([0.5, 1.0, 2.0]),
    "first": st.integers(8, 40),
    "samples": st.floats(500, 2e4),
    "unit": st.sampled_from([None, 4, 8]),
    "ceiling": st.floats(1.5, 64),
}


@given(**COUNTS)
@settings(deadline=None, max_examples=60)
def test_the_count_of_a_law_that_never_falls(shape, exponent, first, samples, unit, ceiling):
    law = law_of(shape, exponent, first, samples, unit, ceiling)
    path = LearningRatePath(shape=shape, samples=samples, initial_ratio=1.0)
    steps = PathSteps.from_law(path, law)
    integral = integral_of(shape, exponent, first, samples, unit, ceiling)
    bound = step_count_bound(integral, law(0.0), law(float(steps.ends[-2])))
    assert integral - 1e-6 <= len(steps.batches) <= bound.value + 1e-6


def test_the_integral_before_rounding_is_rejected():
    """Batches of 15 rounded down to 8 need nearly twice the steps."""
    arguments = (Power(1), 1.0, 15, 1e4, 8, 2.0)
    law = law_of(*arguments)
    path = LearningRatePath(samples=1e4, initial_ratio=1.0)
    steps = PathSteps.from_law(path, law)
    last = law(float(steps.ends[-2]))
    assert len(steps.batches) <= step_count_bound(integral_of(*arguments), law(0.0), last).value
    unrounded = integral_of(*arguments[:4], None, 2.0)
    assert len(steps.batches) > step_count_bound(unrounded, 15, 30).value


def test_growth_that_is_left_out_is_rejected():
    """Batches that grow by a factor 4 at each step, on 1 / b in the middle: one step is not enough of a margin."""
    ends = [0.0]
    while ends[-1] < 340:
        ends.append(ends[-1] + (1 if ends[-1] < 1 else 3 * ends[-1] + 1))
    first_at = [max(end - 1e-9, 0.0) for end in ends]  # the law rises just before each step's end
    n = len(ends) - 1
    batches = np.diff(ends)
    integral = sum((batches[k] - 1e-9) / batches[min(k + 1, n - 1)] for k in range(n))
    assert first_at[0] == 0
    bound = step_count_bound(integral, batches[0], batches[-1])
    assert bound.value - bound.terms["growth"] < n <= bound.value


@given(path_steps())
@settings(deadline=None, max_examples=60)
def test_no_schedule_has_fewer_steps(steps):
    move = float(steps.rates.max())
    fewest = fewest_steps(steps.path, 1.0, move)
    assert len(steps.batches) >= fewest * (1 - 1e-9)
    if np.ptp(steps.rates) > 1e-6 * move:
        assert len(steps.batches) > fewest * (1 + 1e-9)


def test_a_constant_rate_has_the_fewest_steps():
    path = LearningRatePath(samples=1200.0, initial_ratio=20.0)  # T = 30
    n = fewest_steps(path, smoothness=2.0, largest_move=0.5)
    assert n == 120
    steps = PathSteps(path, path.samples * (1 - np.sqrt(1 - np.linspace(0, 1, 121))))
    assert steps.rates == pytest.approx(np.full(120, 0.25), rel=1e-10)
    between = -np.diff(np.log(1 - steps.ends[:-1] / 1200))  # b / a lies between r at both ends of the step
    assert np.all(steps.batches[:-1] / 0.25 >= 1 / path.density(steps.ends[:-2]))
    assert np.all(steps.batches[:-1] / 0.25 <= np.exp(between) / path.density(steps.ends[:-2]))
    decays = PathSteps.from_law(path, lambda _: float(steps.batches[0]))
    assert len(decays.batches) == pytest.approx(240, rel=0.02)


def test_what_half_the_steps_cost():
    problem = SmoothProblem(smoothness=1.0, variance=1.0, distance=1.0)
    path = LearningRatePath(samples=1000.0, initial_ratio=10.0)
    half, one = (last_iterate_bound(problem, path, move) for move in (0.5, 1.0))
    assert one.terms["noise"] == pytest.approx(4 / 3 * half.terms["noise"], rel=1e-12)
    assert one.terms["distance"] == half.terms["distance"]


def test_hypotheses():
    with pytest.raises(HypothesisError, match="never fall"):
        step_count_bound(10.0, first_batch=8.0, last_batch=4.0)
    with pytest.raises(HypothesisError, match="positive batches"):
        step_count_bound(10.0, first_batch=0.0, last_batch=4.0)
    with pytest.raises(HypothesisError, match="ceiling > 1"):
        step_share(Power(1), 1, 1.0)
    with pytest.raises(HypothesisError, match="theta > 0"):
        fewest_steps(PathSteps.from_proportions(Power(1), [1.0], 10.0, 1.0).path, 1.0, 0.0)
