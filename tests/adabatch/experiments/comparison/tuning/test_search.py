"""The search on loss surfaces that are known: what it finds, how much it tries, and that nothing interrupts it."""

from __future__ import annotations

import math
from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from adabatch.experiments.comparison.tuning.points import PATHS, WARMUPS, Axes, Point, distinct
from adabatch.experiments.comparison.tuning.search import FEWEST_POINTS, Effort, Search, Try

Loss = Callable[[Try], float]

ALL_AXES, EFFORT = Axes(), Effort()
AXES = st.builds(Axes, st.booleans(), st.booleans(), st.booleans())
EFFORTS = st.builds(Effort, st.integers(1, 25), st.integers(1, 4), st.integers(1, 3))
SURFACES = st.integers(0, 2**32).map(lambda seed: lambda one: hash((seed, *one.point, one.seed)) % 997 / 997)
"""Losses without any order."""


def bowl(rate: int, path: int, warmup: int, steep: tuple[float, float, float] = (1.0, 1.0, 1.0)) -> Loss:
    """A separable quadratic with its minimum there; points that are the same run have the same loss."""
    lowest = Point(rate, path, warmup)
    return lambda one: sum(
        each * (value - best) ** 2 for each, value, best in zip(steep, distinct(one.point), lowest, strict=True)
    )


def searched(loss: Loss, axes: Axes = ALL_AXES, effort: Effort = EFFORT) -> tuple[Search, list[list[Try]]]:
    """The search to its end, and what it asked for."""
    search, asked = Search(axes, effort, {}), []
    while wanted := search.wanted():
        asked.append(wanted)
        search = Search(axes, effort, {**search.losses, **{one: loss(one) for one in wanted}})
    return search, asked


@settings(max_examples=60)
@given(st.integers(-3, 3), st.integers(0, 5), st.integers(2, 6), st.tuples(*3 * [st.floats(0.1, 10)]))
def test_near_minima_are_found_within_18_points(rate, path, warmup, steep):
    assume(distinct(Point(0, path, warmup)).path == path)
    search, _ = searched(bowl(rate, path, warmup, steep), effort=Effort(points=18))
    assert distinct(search.best()) == Point(rate, path, warmup)


@settings(max_examples=40)
@given(st.integers(-12, 12), st.integers(0, 5), st.integers(0, 7), st.tuples(*3 * [st.floats(0.1, 10)]))
def test_any_minimum_of_the_lattice_is_found_if_the_effort_allows(rate, path, warmup, steep):
    assume(distinct(Point(0, path, warmup)).path == path)
    loss = bowl(rate, path, warmup, steep)
    search, _ = searched(loss, effort=Effort(points=200))
    lattice = product(range(-13, 14), range(len(PATHS)), range(len(WARMUPS)))
    lowest = min((Point(*point) for point in lattice), key=lambda point: loss(Try(point, 0)))
    assert distinct(search.best()) == distinct(lowest)
    assert ("rate" in search.edges()) is False
    assert ("warmup" in search.edges()) == (warmup == len(WARMUPS) - 1)


def test_a_far_minimum_is_not_found_within_few_points_and_is_said_to_be_beyond():
    search, _ = searched(bowl(9, 1, 4))
    assert search.best().rate < 9
    assert search.edges() == ["rate"]
    assert searched(bowl(0, 1, 4))[0].edges() == []


@settings(max_examples=40)
@given(SURFACES, AXES, EFFORTS)
def test_nothing_is_asked_twice_nor_beyond_the_effort_nor_off_the_axes(loss, axes, effort):
    search, asked = searched(loss, axes, effort)
    tries = [one for stage in asked for one in stage]
    assert len(set(tries)) == len(tries) <= effort.runs
    assert len({one.point for one in tries}) <= effort.points + effort.closing
    assert all(axes.holds(one.point) for one in tries)
    assert {one.seed for one in tries} <= set(range(effort.seeds))
    assert len({distinct(one.point) for one in tries}) == len({one.point for one in tries})  # no run twice
    assert search.over
    assert search.best() in {one.point for one in tries}


@settings(max_examples=40)
@given(SURFACES, AXES, EFFORTS, st.randoms(use_true_random=False))
def test_wherever_it_is_interrupted_it_asks_for_the_same_tries(loss, axes, effort, random):
    """Here some of a stage's runs finish, in any order, and the others have to be asked for again."""
    whole, _ = searched(loss, axes, effort)
    losses: dict[Try, float] = {}
    while wanted := Search(axes, effort, losses).wanted():
        some = random.sample(wanted, random.randint(1, len(wanted)))
        losses |= {one: loss(one) for one in some}
    assert losses == whole.losses
    assert Search(axes, effort, losses).best() == whole.best()


def test_neighbours_of_two_finalists_that_are_one_run_are_tried_once():
    """Beyond linear after 20% and wsd 70% after 20% lie linear and wsd 70% after 40%, which are one run."""
    finalists = {Point(0, 4, 5): 0.0, Point(0, 3, 5): 0.1}
    beyond = Search(ALL_AXES, EFFORT, {})._beyond(finalists)
    assert len({distinct(point) for point in beyond}) == len(beyond)
    assert Point(0, 4, 6) in beyond
    assert Point(0, 3, 6) not in beyond


@pytest.mark.parametrize(
    ("best", "tried", "new"),
    [
        (
            Point(0, 4, 6),
            [],
            {Point(0, 2, 6), Point(0, 5, 6)},
        ),  # from linear past wsd 70%, which is linear after 40%
        (Point(0, 2, 7), [], {Point(0, 1, 7), Point(0, 5, 7)}),  # from wsd 40%, which is linear after 60%
        (Point(0, 2, 6), [], {Point(0, 1, 6), Point(0, 3, 6)}),  # to wsd 70%, as long as linear is not tried
        (Point(0, 2, 6), [Point(0, 4, 6)], {Point(0, 1, 6)}),
    ],
)
def test_neighbours_are_other_runs(best, tried, new):
    lattice = product(range(-2, 3), range(len(PATHS)), range(len(WARMUPS)))
    others = [Point(*coordinates) for coordinates in lattice]
    far = {point: 1.0 for point in others if (point.rate, point.warmup) != (0, best.warmup)}
    known = {**far, **dict.fromkeys(tried, 1.0), best: 0.0}
    found = Search(Axes(), Effort(points=1000), {})._next_points(known)
    assert set(found) == new


@settings(max_examples=20)
@given(st.integers(-3, 3), st.integers(0, 5), st.integers(0, 4), st.tuples(*3 * [st.floats(0.1, 10)]))
def test_other_points_are_asked_for_as_by_a_search_that_knows_no_same_runs(rate, path, warmup, steep):
    """Until the first point that is the same run as one before."""
    loss = bowl(rate, path, warmup, steep)
    tries = [one for stage in searched(loss)[1] for one in stage]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("adabatch.experiments.comparison.tuning.search.distinct", lambda point: point)
        before = [one for stage in searched(loss)[1] for one in stage]
    runs = [distinct(one.point) for one in before if one.seed == 0]
    same = next((at for at, run in enumerate(runs) if run in runs[:at]), len(before))
    assert tries[:same] == before[:same]


@settings(max_examples=40)
@given(SURFACES, EFFORTS, st.floats(0, 1))
def test_losses_that_are_infinite_are_survived(loss, effort, share):
    search, _ = searched(lambda one: math.inf if loss(one) < share else loss(one), effort=effort)
    finite = [value for one, value in search.losses.items() if one.seed == 0 and value < math.inf]
    first = search.losses[Try(search.ranking()[0], 0)]
    assert first == min(finite, default=math.inf)


def test_the_finalist_of_the_lowest_mean_is_taken():
    """The best on the first seed is the worst of two on the others."""
    effort = Effort(points=6, finalists=2, seeds=3)
    ranked = searched(lambda one: bowl(1, 1, 3)(one), effort=effort)[0].ranking()
    search, asked = searched(lambda one: ranked.index(one.point) * (1 if one.seed == 0 else -2), effort=effort)
    assert [one.point for one in asked[-1]] == [ranked[0]] * 2 + [ranked[1]] * 2
    assert search.best() == ranked[1]


@pytest.mark.parametrize("missing", [0, 1, 2, 3])
def test_the_fewest_points_have_rates_on_both_sides_of_the_start(missing):
    """The last two are those above it."""
    _, asked = searched(bowl(0, 1, 4), effort=Effort(FEWEST_POINTS - missing, finalists=1, seeds=1, closing=0))
    rates = [one.point.rate for stage in asked for one in stage]
    assert rates == [0, 0, -2, -2, 2, 2][: FEWEST_POINTS - missing]


@pytest.mark.parametrize("minimum", [(0, 1, 6), (0, 1, 1), (5, 1, 3)])
def test_a_search_at_an_edge_goes_on_for_a_few_points(minimum):
    """Without them it ends where nothing lies beyond its best rate or warm-up."""
    loss = bowl(*minimum)
    short, _ = searched(loss, effort=Effort(points=8, closing=0))
    longer, _ = searched(loss, effort=Effort(points=8, closing=4))
    assert short.edges()
    assert len(longer.edges()) < len(short.edges()) or longer.mean_loss(longer.best()) < short.mean_loss(
        short.best()
    )


def test_a_point_found_elsewhere_has_no_edges():
    assert Search(Axes(), Effort(), {}).edges() == []


@pytest.mark.parametrize("axis", Point._fields)
def test_a_fixed_axis_stays_at_the_start(axis):
    _, asked = searched(bowl(4, 4, 5), Axes(**{axis: False}))
    tried = {getattr(one.point, axis) for stage in asked for one in stage}
    assert tried == {getattr(Point(), axis)}
