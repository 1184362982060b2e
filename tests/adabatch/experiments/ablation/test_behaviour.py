"""What counts as jumping, never growing and adapting; the grid and its report."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adabatch.experiments.ablation.ablate import runs_by_point
from adabatch.experiments.ablation.behaviour import Behaviour, behaviour, reached_at
from adabatch.experiments.ablation.grid import point_name, point_settings, standard_blocks
from adabatch.experiments.ablation.report import Ablation, PointResult, heat_maps, write_ablation
from adabatch.schedules.base import NeverGrowsError
from adabatch.settings import load_settings

BASE = load_settings("ablation")


def name_of(eta: float, overrides: dict) -> str:
    return point_name(point_settings(BASE, eta, overrides))


def records(*batches: int, loss: float | None = 2.0) -> list[dict]:
    samples, result = 0, []
    for step, batch in enumerate(batches, start=1):
        samples += batch
        result.append(
            {
                "step": step,
                "samples": samples,
                "tokens": 8 * samples,
                "loss": 3.0,
                "batch_size": batch,
                "tokens_per_second": 100.0,
                "skipped": 0,
            }
        )
    if loss is not None:
        result[-1]["val_loss"] = loss
    return result


@pytest.mark.parametrize(
    ("batches", "expected"),
    [
        ([16] * 9, Behaviour.CONSTANT),
        ([16, 128, 128], Behaviour.JUMPS),  # by one increase
        ([16] * 20 + [64, 128], Behaviour.JUMPS),  # by two, though late
        ([16, 20, 24, 128] + [128] * 20, Behaviour.JUMPS),  # by three, within 5% of the samples
        ([16] * 9 + [20, 40, 128, 128], Behaviour.ADAPTS),  # by three, later
        ([16, 20, 24, 24], Behaviour.ADAPTS),  # never at the largest
        ([16] * 30 + [20], Behaviour.ADAPTS),  # one step
    ],
    ids=str,
)
def test_definition(batches, expected):
    assert behaviour(records(*batches), 128) is expected


def test_the_largest_batch_counts_from_the_samples_before_its_first_step():
    assert reached_at(records(16, 16, 128), 128) == 32 / 160
    assert reached_at(records(16, 130), 128) == 16 / 146  # rounding may go beyond the largest
    assert reached_at(records(16, 64), 128) is None


@given(st.lists(st.integers(1, 128), min_size=1, max_size=30).map(sorted))
def test_every_growing_run_has_one_behaviour(batches):
    found = behaviour(records(*batches), 128)
    assert (found is Behaviour.CONSTANT) == (len(set(batches)) == 1)
    if found is Behaviour.JUMPS:
        assert max(batches) == 128


def test_the_grid_varies_one_setting_at_a_time_around_the_base():
    blocks = standard_blocks(BASE)
    assert list(blocks) == ["estimator", "test interval", "largest batch", "groups"]
    names = [name_of(0.8, overrides) for levels in blocks.values() for overrides in levels.values()]
    assert names.count("unbiased-eta-0.8-interval-1-max-128-micro-4") == len(blocks)
    assert len(set(names)) == len(names) - len(blocks) + 1
    for levels in blocks.values():
        for overrides in levels.values():
            assert point_settings(BASE, 0.3, overrides).schedule.eta == 0.3


def test_groups_are_made_by_the_micro_batch():
    groups = standard_blocks(BASE)["groups"]
    assert {level: overrides["micro_batch"] for level, overrides in groups.items()} == {
        "2": 8,
        "4": 4,
        "8": 2,
        "16": 1,
    }


def test_a_point_of_several_blocks_is_run_once_per_seed(tmp_path):
    runs = runs_by_point(BASE, standard_blocks(BASE), (0.8,), (3, 5), tmp_path)
    both = runs["unbiased-eta-0.8-interval-1-max-128-micro-4"]
    assert [run.resolved().data.seed for run in both] == [3, 5]
    assert [run.name.partition("-seed-")[2] for run in both] == ["3", "5"]
    assert len(runs) == 1 + 2 + 2 + 2 + 3  # without the published estimator, which saturates at 4.7


def test_a_point_that_never_grows_is_left_out(tmp_path):
    blocks = {"estimator": standard_blocks(BASE)["estimator"]}
    runs = runs_by_point(BASE, blocks, (1.0,), (0,), tmp_path)
    assert [name.split("-")[0] for name in runs] == ["debiased", "l1"]
    with pytest.raises(NeverGrowsError, match="take --eta below 1"):
        runs_by_point(BASE, {"test interval": {"1": {}}}, (1.0, 2.0), (0,), tmp_path)


def test_result_of_two_seeds():
    result = PointResult.of_runs({0: records(16, 128), 1: records(16, 16, loss=3.0)}, 128)
    assert result.word == "jumps / never grows"
    assert result.mean_batch == (72 + 16) / 2
    assert result.loss == 2.5
    assert math.isnan(result.reached)


def test_report_of_a_part_of_the_points(tmp_path):
    blocks = {"test interval": standard_blocks(BASE)["test interval"]}
    etas = (0.2, 0.8)
    results = {
        name_of(0.2, {}): PointResult.of_runs({0: records(16, 128)}, 128),
        name_of(0.8, {}): PointResult.of_runs({0: records(16, 20, 24)}, 128),
    }
    ablation = Ablation(BASE, blocks, etas, results)
    text = write_ablation(ablation, tmp_path, "adabatch ablate")
    row = next(line for line in text.splitlines() if line.startswith("| 1 "))
    assert [cell.strip() for cell in row.split("|")[1:-1]] == ["1", "jumps, 72", "adapts, 20"]
    assert (tmp_path / "ablation.md").read_text() == text
    assert (tmp_path / "ablation.csv").read_text().count("\n") == 3
    assert (tmp_path / "ablation.png").stat().st_size > 5000
    (panel, _bar) = heat_maps(ablation).axes
    assert [label.get_text() for label in panel.texts] == ["J\n2.00", "A\n2.00"]
