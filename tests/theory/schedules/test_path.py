"""Rule (R): what a step takes of its path, and what any batches add up to."""

from __future__ import annotations

import numpy as np
import pytest
import sympy
from hypothesis import given, settings

from adabatch.moments.hypotheses import HypothesisError
from tests.support.learning_rate_paths import SHAPES, path_steps
from theory.schedules.path import LearningRatePath, PathSteps, kantorovich_share
from theory.schedules.shapes import Cosine, Power


def shares_within_kantorovich(steps: PathSteps, factor: float = 1.0) -> bool:
    """Whether chi_k >= 4 (1 + q) / (2 + q)^2, q what r varies by in the step times ``factor``."""
    density = steps.path.density(steps.ends)
    with np.errstate(divide="ignore", invalid="ignore"):
        variation = density[:-1] / density[1:] - 1
        least = np.where(np.isfinite(variation), kantorovich_share(factor * variation), 0)
    return bool(np.all(steps.noise_shares >= least * (1 - 1e-7)))


@given(path_steps())
@settings(deadline=None, max_examples=50)
def test_any_batches_take_the_whole_path_and_at_most_its_noise(steps):
    assert steps.rates.sum() == pytest.approx(steps.path.time, rel=1e-10)
    assert steps.noises.sum() == pytest.approx(steps.path.noise, rel=1e-10)
    assert np.all(steps.noise_shares <= 1 + 1e-7)
    assert shares_within_kantorovich(steps)


def test_perturbed_shares_are_rejected():
    """Half the variation of r gives too large a floor; rates of the left end take more noise than there is."""
    steps = PathSteps.from_proportions(Power(1), [1.0] * 4, 100.0, 0.5)
    assert shares_within_kantorovich(steps)
    assert not shares_within_kantorovich(steps, factor=0.5)
    left = steps.batches * steps.path.density(steps.ends[:-1])
    assert np.all(left**2 / steps.batches > steps.noises)


@pytest.mark.parametrize("exponent", [0, 1, 2, 3])
def test_the_last_step_of_a_power(exponent):
    steps = PathSteps.from_proportions(Power(exponent), [3.0, 1.0, 2.0], 60.0, 0.3)
    assert steps.noise_shares[-1] == pytest.approx((2 * exponent + 1) / (exponent + 1) ** 2, rel=1e-10)


def test_the_share_on_the_linear_path_is_exact():
    """1 - (h^2/12) / (y^2 - y h + h^2/3), and 3/4 at the last step, in symbols."""
    samples, ratio, y, h = sympy.symbols("D r y h", positive=True)
    path = LearningRatePath(shape=Power(1), samples=samples, initial_ratio=ratio)
    ends = np.array([samples * (1 - y), samples * (1 - y + h), samples], dtype=object)
    first, last = PathSteps(path, ends).noise_shares
    assert sympy.simplify(first - 1 + (h**2 / 12) / (y**2 - y * h + h**2 / 3)) == 0
    assert sympy.simplify(last) == sympy.Rational(3, 4)
    assert sympy.simplify(path.last_iterate_noise - 2 / ratio) == 0


def test_tiny_steps_at_the_end_keep_their_digits():
    for shape in SHAPES:
        steps = PathSteps.from_proportions(shape, [1.0] * 5_000, 5_000.0, 0.1)
        assert np.all(steps.noise_shares <= 1 + 1e-6)
        assert np.all(steps.noise_shares[:-1] >= 0.7)


def test_steps_of_a_law():
    path = LearningRatePath(shape=Cosine(), samples=100.0, initial_ratio=10.0)
    steps = PathSteps.from_law(path, lambda seen: 30.0 + seen)
    assert steps.batches.tolist() == [30.0, 60.0, 10.0]
    assert np.array_equal(PathSteps.from_batches(path, [30, 60, 10]).ends, steps.ends)
    with pytest.raises(HypothesisError, match="the batch at 60 samples is 0"):
        PathSteps.from_law(path, lambda seen: max(60.0 - seen, 0.0))


@pytest.mark.parametrize(
    ("batches", "message"), [([30, 60], "add up to the 100 samples"), ([110, -10], "batches > 0")]
)
def test_batches_that_do_not_fill_the_path(batches, message):
    path = LearningRatePath(samples=100.0, initial_ratio=10.0)
    with pytest.raises(HypothesisError, match=message):
        PathSteps.from_batches(path, batches)


@pytest.mark.parametrize(
    "given", [{"samples": 0.0, "initial_ratio": 1.0}, {"samples": 1.0, "initial_ratio": -1.0}]
)
def test_a_path_that_cannot_be(given):
    with pytest.raises(HypothesisError, match="give a positive number"):
        LearningRatePath(**given)
