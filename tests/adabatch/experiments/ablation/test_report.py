"""The loss of an ablation's points against constant batches of a comparison."""

from __future__ import annotations

import json

import pytest

from adabatch.experiments.ablation.report import PointResult
from adabatch.experiments.comparison.frontier import read_frontiers, shared_setting
from adabatch.settings import load_settings, overlay

SETTINGS = load_settings("comparison", overrides={"samples": 960})
CONSTANTS = {8: (120, 2.0), 16: (60, 2.2), 32: (30, 2.6)}
"""Steps and loss by batch."""


@pytest.fixture
def folder(tmp_path):
    """A comparison's, of which one seed diverged at the largest batch."""
    schedules = {
        f"constant-{size}": {
            "kind": "constant",
            "by_seed": {
                str(seed): {"steps": steps, "loss": None if (seed, size) == (2, 32) else loss + seed}
                for seed in (0, 1, 2)
            },
        }
        for size, (steps, loss) in CONSTANTS.items()
    }
    schedules["other"] = {"kind": "fixed", "by_seed": {"0": {"steps": 1, "loss": 0.0}}}
    content = {"setting": shared_setting(SETTINGS) | {"seeds": 3}, "schedules": schedules}
    (tmp_path / "comparison.json").write_text(json.dumps(content))
    return tmp_path


def run(steps, loss):
    same = {"batch_size": 16, "loss": 2.0, "tokens_per_second": 1.0, "skipped": 0}
    records = [same | {"step": k, "samples": 16 * k, "tokens": 160 * k} for k in range(1, steps + 1)]
    records[-1]["val_loss"] = loss
    return records


def test_the_gap_is_to_constant_batches_of_the_same_seed_at_as_many_steps(folder):
    frontiers = read_frontiers(folder, SETTINGS)
    assert {seed: (frontier.steps, frontier.losses) for seed, frontier in frontiers.items()} == {
        0: ((30, 60, 120), (2.6, 2.2, 2.0)),
        1: ((30, 60, 120), (3.6, 3.2, 3.0)),
        2: ((60, 120), (4.2, 4.0)),
    }
    point = PointResult.of_runs({0: run(60, 2.25), 1: run(120, 3.15), 5: run(60, 1.0)}, 32, frontiers)
    assert point.gap is not None
    assert point.gap.count == 2
    assert point.gap.mean == pytest.approx((0.05 + 0.15) / 2)


def test_no_gap_without_constant_batches_or_outside_of_them(folder):
    frontiers = read_frontiers(folder, SETTINGS)
    assert PointResult.of_runs({0: run(60, 2.25)}, 32).gap is None
    assert PointResult.of_runs({0: run(20, 2.9)}, 32, frontiers).gap is None
    assert PointResult.of_runs({0: run(60, None)}, 32, frontiers).gap is None


def test_another_comparison_is_refused(folder, tmp_path):
    for name, value in {"model": "tiny", "data": "site-packages", "sequence_length": 32}.items():
        with pytest.raises(ValueError, match=rf"cannot be the frontier of these runs \({name} is .* there and "):
            read_frontiers(folder, overlay(SETTINGS, {name: value}))
    with pytest.raises(ValueError, match=r"has no comparison.json: name the folder of a finished comparison"):
        read_frontiers(tmp_path / "nothing", SETTINGS)
