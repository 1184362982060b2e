"""Points of the lattice, and the settings that they make."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adabatch.experiments.comparison.schedules import Schedule, constant_schedule
from adabatch.experiments.comparison.tuning.points import PATHS, WARMUPS, Axes, Point, distinct, settings_at
from adabatch.settings import load_settings, overlay
from adabatch.training.building import build_coupling

BASE = load_settings("comparison", overrides={"min_lr": 8e-4})
POINTS = st.builds(Point, st.integers(-6, 6), st.integers(0, len(PATHS) - 1), st.integers(0, len(WARMUPS) - 1))


@settings(max_examples=40)
@given(POINTS, st.integers(0, 9), st.sampled_from([0.5, 1.0, 2.0]))
def test_every_point_is_its_rate_path_and_warmup(point, seed, budget):
    made = settings_at(BASE, constant_schedule(BASE, 32), point, seed, budget)
    rates, samples = made.optimizer, made.run.samples
    assert rates.lr == pytest.approx(BASE.optimizer.lr * 2 ** (point.rate / 2))
    assert rates.min_lr / rates.lr == pytest.approx(0.1)
    assert samples == budget * BASE.run.samples
    assert rates.warmup_samples / samples == pytest.approx(WARMUPS[point.warmup], abs=1 / samples)
    path = list(PATHS.values())[point.path]
    assert overlay(made, path) == made
    assert (made.data.seed, made.schedule.initial_batch) == (seed, 32)


@settings(max_examples=40)
@given(POINTS, st.sets(st.sampled_from(["lr", "lr_path", "decay_fraction", "warmup_samples"])))
def test_what_a_schedule_sets_itself_is_not_tuned(point, names):
    own = {"lr": 0.5, "lr_path": "inverse-sqrt", "decay_fraction": 0.33, "warmup_samples": 7}
    schedule = Schedule("own", "own", "fixed", {name: own[name] for name in names})
    made = settings_at(BASE, schedule, point, 0)
    assert all(getattr(made.optimizer, name) == own[name] for name in names)
    axes = Axes.of(schedule)
    assert axes == Axes(
        "lr" not in names, not names & {"lr_path", "decay_fraction"}, "warmup_samples" not in names
    )
    assert made.optimizer.min_lr / made.optimizer.lr == pytest.approx(0.1)
    start = Point()
    moved = [getattr(axes, axis) for axis in Point._fields if getattr(point, axis) != getattr(start, axis)]
    assert axes.holds(point) == all(moved)


def test_the_final_rate_is_the_same_share_of_a_schedules_own_peak_unless_it_sets_that_too():
    def made(**overrides):
        return settings_at(BASE, Schedule("own", "own", "fixed", overrides), Point(2), 0).optimizer

    assert made(lr="0.5").min_lr == pytest.approx(0.05)  # as text, from the command line
    assert made(lr=0.5, min_lr=0.01).min_lr == 0.01
    assert made(min_lr=0.01).min_lr == 0.01
    assert made().min_lr == pytest.approx(2 * BASE.optimizer.min_lr)


def test_replayed_learning_rates_leave_nothing_to_tune():
    assert Axes.of(Schedule("own", "own", "fixed", {"lr_replay": "other"})) == Axes(False, False, False)
    assert Axes.of(Schedule("own", "own", "fixed", {"eta": 0.5})) == Axes()


@pytest.mark.parametrize("samples", [9600, 34560, 254976])
def test_points_are_distinct_if_their_learning_rates_are(samples):
    """The twin draws the paths: the same curves are one point, and no others."""
    base = overlay(BASE, {"samples": samples})

    def curve(point):
        rates = build_coupling(settings_at(base, constant_schedule(base, 32), point, 0), 32).learning_rate
        return np.array([rates.mean(at, at + 32) / base.optimizer.lr for at in range(0, samples, samples // 40)])

    lattice = [Point(0, path, warmup) for path in range(len(PATHS)) for warmup in range(len(WARMUPS))]
    curves = {point: curve(point) for point in lattice}
    for one, other in combinations(lattice, 2):
        same = bool(np.all(abs(curves[one] - curves[other]) < 1e-4))
        assert (distinct(one) == distinct(other)) == same, (one, other)
    assert {distinct(point) for point in lattice} == set(lattice) - {
        Point(0, 3, 6),
        Point(0, 2, 7),
        Point(0, 3, 7),
    }


@pytest.mark.parametrize("point", [Point(path=-1), Point(path=6), Point(warmup=-1), Point(warmup=8)])
def test_the_lattice_has_ends(point):
    assert not Axes().holds(point)
    assert Axes().holds(Point(rate=40))
