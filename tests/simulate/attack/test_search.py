"""The search: what it breaks, what it leaves alone, and what it refuses."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from simulate.attack.comparison import compare, hypotheses, measured_exactly, ratios
from simulate.attack.drawing import drawn
from simulate.attack.instance import Instance, near_tight_instances, read_instance
from simulate.attack.search import attack
from simulate.attack.space import VARIABLES, Space, space_of
from simulate.laboratory import BOUNDS

BETAS = {"betas": (0.0, 0.9), "eta": 0.2}
SETTINGS = {
    "theorem-3-l1": {"betas": (0.0, 0.95), "eta": 0.1},
    "theorem-3-variance": {"betas": (0.0, 0.95), "eta": 0.5},
    "l1-test": {"betas": (0.0, 1e-4), "eta": 0.3},
    "scalar-test": {"betas": (0.0, 1e-4), "eta": 0.3},
    "weight-decay": {"betas": (0.0, 0.01), "eta": 0.3},
}


@pytest.mark.parametrize("name", BOUNDS)
def test_every_theorem_can_be_attacked_and_holds(name: str) -> None:
    """Any candidate of the space is an instance that meets the hypotheses, also far from the middle."""
    bound = "clipping,floor=0.5" if name == "clipping" else name
    space = space_of(bound, steps=3, **(SETTINGS.get(name, BETAS)))
    points = np.random.default_rng(0).normal(size=(20, space.size)) * np.array([[0.5], [3.0]]).repeat(10, axis=0)
    found = ratios(space.population(points))
    assert (found >= 1).all()
    assert (found < np.inf).any()
    best = space.population(points).candidate(int(np.argmin(found)))
    measured, value, run = compare(best)
    assert value / measured == pytest.approx(found.min(), rel=1e-12)
    assert all(assertion.holds for assertion in hypotheses(run))
    assert float(measured_exactly(best)) == pytest.approx(measured, rel=1e-12)


def test_a_bound_made_too_small_is_broken_and_the_instance_replays(tmp_path) -> None:
    """0.9 times SGD's bound is none, nor half of Theorem 1's."""
    for space, enough in (
        (space_of("sgd", eta=0.5, steps=4), 1 / 0.9),
        (space_of("theorem-1", betas=(0.0, 1e-6), eta=0.3, steps=4), 2.0),
    ):
        found = attack(space, 120, enough=enough, known=())
        assert 1 <= found.ratio < enough
        assert 0 < found.after(enough) <= found.history[-1][0]
        file = tmp_path / "instance.json"
        file.write_text(json.dumps(found.instance.to_dict()))
        measured, value, run = compare(read_instance(file))
        assert value / measured == pytest.approx(found.instance.ratio, rel=1e-12)
        assert all(assertion.holds for assertion in hypotheses(run))


def space_at(row: Instance) -> Space:
    """The space that a row is in."""
    names = ("bound", "optimizer", "averaged", "dimension", "smoothness", "step_size", "beta1", "beta2", "eta")
    free = [name for name in ("v0", "epsilon", "floor", "start", "weight_decay") if getattr(row, name)]
    free += ["multipliers"] if row.multipliers is not None else []
    free += ["factors"] if row.low_factors is not None else []
    free += ["violated"] if row.bound == "violated-steps" and row.eta else []
    free += ["noise"] if row.averaged else []
    return Space(len(row.below), {name: getattr(row, name) for name in names}, tuple(free), quiet=row.quiet)


ROWS = [row for row in near_tight_instances() if not row.goal]  # which no search varies


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.bound} at {row.eta:g}" for row in ROWS])
def test_a_search_is_at_least_as_good_as_the_row(row: Instance) -> None:
    """In no time at all: rows are measured first. Of another function it finds another ratio."""
    space = space_at(row)
    assert attack(space, 0.0, known=[row]).ratio <= row.ratio * (1 + 1e-6)
    other = replace(row, first=row.first * 0.9, slopes=-row.slopes)
    assert abs(attack(space, 0.0, known=[other]).ratio / row.ratio - 1) > 1e-6


def test_rows_of_other_bounds_and_settings_are_starts_too() -> None:
    space = space_of("theorem-1", betas=(0.0, 1e-6), eta=0.3)
    assert attack(space, 0.0).ratio < 1.089  # from a row of theorem-1-plain
    with pytest.raises(ValueError, match="among 0: on none"):
        attack(space, 0.0, known=[])
    elsewhere = space_of("theorem-2", betas=(0.0, 1e-5), eta=0.35, steps=4)
    assert attack(elsewhere, 0.0).ratio < 0.9 * attack(elsewhere, 0.01, known=[]).ratio


@pytest.mark.slow
def test_processes_search_together() -> None:
    seen = []
    space = space_of("sgd", eta=0.5, steps=3)
    note = lambda seconds, ratio: seen.append(seconds)  # noqa: E731
    found = attack(space, 60, processes=2, enough=1.5, known=(), advance=note)
    assert found.ratio < 1.5
    assert seen == sorted(seen)


@pytest.mark.parametrize(
    ("bound", "more", "message"),
    [
        ("theorem-9", {}, "unknown bound 'theorem-9'; known: adagrad, "),
        ("theorem-1", {"eta": 2.0}, "bound 'theorem-1' applies to no instance of adam at eta 2: requires eta"),
        ("theorem-1", {"optimizer": "sgd"}, "applies to no instance of sgd .*: requires Adam or RMSProp, but sgd"),
        ("theorem-1", {"optimizer": "muon"}, "optimizer 'muon' mixes coordinates"),
        ("theorem-1", {"free": ("v1",)}, "unknown 'v1' to vary; known: v0, "),
        ("theorem-1", {"free": ("factors",)}, "bound 'theorem-1' does not cover 'factors'"),
    ],
)
def test_what_cannot_be_attacked_is_refused(bound: str, more: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        space_of(bound, **more)


def test_without_an_admissible_instance_the_search_says_so() -> None:
    space = space_of("sgd", eta=0.5, steps=2)
    with pytest.raises(ValueError, match=r"no admissible instance .* for sgd at eta 3 among \d+: on none"):
        attack(replace(space, fixed=space.fixed | {"eta": 3.0}), 0.01)


def test_all_that_can_vary_varies() -> None:
    space = space_of("theorem-1", steps=2, free=())
    for name in VARIABLES:
        one = replace(space, free=(name,))
        low, high = (one.population(np.full((1, one.size), x)).to_dict() for x in (0.4, 0.8))
        base_low, base_high = (space.population(np.full((1, space.size), x)).to_dict() for x in (0.4, 0.8))
        changed = {key for key in high if low.get(key) != high[key]}
        assert name in ("noise", "violated", "factors", "falling", "multipliers") or name in changed
        assert changed >= {key for key in base_high if base_low.get(key) != base_high[key]}


INSTANCE = near_tight_instances()[0].to_dict()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[1]", "it holds no object of names and values"),
        ("{", "is not an instance, as adabatch attack writes it: Expecting"),
        (json.dumps({**INSTANCE, "colour": 1}), "it has an unknown 'colour'"),
        (json.dumps({k: v for k, v in INSTANCE.items() if k != "below"}), "it lacks 'below'"),
        (json.dumps({**INSTANCE, "eta": "x"}), "its eta is 'x'"),
        (json.dumps({**INSTANCE, "v0": "x"}), "its numbers cannot be read: could not convert"),
        (json.dumps({**INSTANCE, "v0": [1, 2]}), "its v0 must have the shape"),
        (
            json.dumps({**INSTANCE, "below": [[1, 2]] * 13, "above": [[1, 2]] * 13}),
            "of which 12 have noise at most, but has 13 and 0 without",
        ),
        (json.dumps({**INSTANCE, "first": float("nan")}), "its numbers are not all finite"),
    ],
)
def test_what_is_not_an_instance_is_refused(content: str, message: str, tmp_path) -> None:
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_instance(tmp_path / "x.json")


def test_what_is_drawn_are_all_steps_with_their_probabilities() -> None:
    instance = Instance.of_dict(INSTANCE)
    steps = drawn(compare(instance)[2]).where(part="step")
    for k in range(1, instance.steps + 1):
        part = steps.where(step=k)
        assert part["probability"].sum() == pytest.approx(1)
        following = set(steps.where(step=k + 1)["w"]) if k < instance.steps else set()
        assert following <= set(part["to"])
