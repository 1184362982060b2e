"""The constants' frontier: its knots, what lies between them, and a convex curve whose values are known."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.experiments.comparison.frontier import Frontier

FRONTIER = Frontier((192, 256, 384, 768), (2.02, 1.91, 1.75, 1.64))

frontiers = st.lists(st.integers(1, 5000), min_size=2, max_size=6, unique=True).flatmap(
    lambda steps: st.lists(st.floats(0.1, 9), min_size=len(steps), max_size=len(steps), unique=True).map(
        lambda values: Frontier(tuple(sorted(steps)), tuple(sorted(values, reverse=True)))
    )
)
shares = st.floats(0.01, 0.99)


def chord(frontier: Frontier, steps: float) -> float:
    return float(np.interp(math.log(steps), np.log(frontier.steps), frontier.losses))


def test_nothing_is_claimed_outside():
    assert FRONTIER.loss_at(191) is FRONTIER.loss_at(769) is None
    assert Frontier((), ()).loss_at(10) is None
    assert Frontier((10,), (2.0,)).loss_at(11) is None
    assert Frontier((10,), (2.0,)).loss_at(10) == 2.0


@given(frontiers)
def test_constant_schedules_lie_on_it(frontier):
    assert [frontier.loss_at(steps) for steps in frontier.steps] == list(frontier.losses)


@given(frontiers, shares)
def test_between_two_constants_the_loss_lies_between_theirs(frontier, share):
    for (before, above), (after, below) in pairwise(zip(frontier.steps, frontier.losses, strict=True)):
        steps = before ** (1 - share) * after**share
        assert below - 1e-9 <= frontier.loss_at(steps) <= above + 1e-9


@given(st.floats(0.2, 2.0), st.floats(0.0, 3.0), shares)
def test_nearer_to_a_convex_curve_than_its_chords(exponent, least, share):
    """A power law in the steps, at those of the default constant batches."""

    def true(steps):
        return least + (steps / 256) ** -exponent

    steps = [2048 / times for times in (8, 6, 4, 3, 2, 1)]
    frontier = Frontier(tuple(steps), tuple(true(each) for each in steps))
    for before, after in pairwise(steps):
        at = before ** (1 - share) * after**share
        assert chord(frontier, at) > true(at)
        assert abs(frontier.loss_at(at) - true(at)) < chord(frontier, at) - true(at)


def test_a_chord_finds_gains_that_are_none():
    """Half way between constants 16 and 32 on a frontier 1 + 64 / steps."""
    frontier = Frontier((64, 128, 256), (2.0, 1.5, 1.25))
    at = math.sqrt(64 * 128)
    true = 1 + 64 / at
    assert true - chord(frontier, at) < -0.04
    assert true - frontier.loss_at(at) == pytest.approx(0, abs=0.02)


def test_equal_steps_count_once_and_runs_that_diverged_do_not():
    assert Frontier.of_points([(10, 3.0), (20, 1.0), (10, 2.0)]) == Frontier((10, 20), (2.0, 1.0))
    assert Frontier.of_points([(10, 3.0), (20, math.inf), (40, 1.0)]) == Frontier((10, 40), (3.0, 1.0))
    assert Frontier.of_points([(10, math.inf)]).loss_at(10) is None
