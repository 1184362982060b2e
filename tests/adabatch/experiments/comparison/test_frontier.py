"""The constants' frontier: interpolation in log steps by hand, and what holds for all of them."""

from __future__ import annotations

import math

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


def test_by_hand():
    between = math.sqrt(256 * 384)  # half way in the logarithm
    assert FRONTIER.loss_at(between) == pytest.approx((1.91 + 1.75) / 2)
    assert 1.80 - FRONTIER.loss_at(between) == pytest.approx(-0.03)
    assert FRONTIER.steps_for(1.83) == (pytest.approx(between), "exact")


def test_nothing_is_claimed_outside():
    assert FRONTIER.loss_at(191) is FRONTIER.loss_at(769) is None
    assert FRONTIER.loss_at(1000) is None
    assert FRONTIER.steps_for(2.03) == (192, "at most")
    assert FRONTIER.steps_for(1.63) == (768, "at least")
    assert FRONTIER.steps_for(2.02) == (192, "exact")


@given(frontiers)
def test_constant_schedules_lie_on_it(frontier):
    for steps, loss in zip(frontier.steps, frontier.losses, strict=True):
        assert frontier.loss_at(steps) == pytest.approx(loss, abs=1e-12)


@given(frontiers, st.floats(0, 1))
def test_between_neighbours_and_inverted(frontier, share):
    logs = [math.log(steps) for steps in (frontier.steps[0], frontier.steps[-1])]
    steps = min(max(math.exp(logs[0] + share * (logs[1] - logs[0])), frontier.steps[0]), frontier.steps[-1])
    loss = frontier.loss_at(steps)
    assert min(frontier.losses) - 1e-12 <= loss <= max(frontier.losses) + 1e-12
    inverted = min(frontier.steps_for(loss)[0], frontier.steps[-1])
    assert frontier.loss_at(inverted) == pytest.approx(loss, abs=1e-9)


def test_equal_steps_count_once():
    assert Frontier.of_points([(10, 3.0), (20, 1.0), (10, 2.0)]) == Frontier((10, 20), (2.0, 1.0))
