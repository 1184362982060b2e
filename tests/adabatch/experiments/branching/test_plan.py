"""What is trained for a run that looks finished: places, checkpoints made again, settings; refusals."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from adabatch.checkpoints.folders import write_marker
from adabatch.experiments.branching.plan import Branching, find_points, plan_branches
from adabatch.files import checksum
from adabatch.schedules.learning_rate import BatchScaling
from adabatch.settings import load_settings, overlay, to_saved, write_config
from adabatch.training.building import build_coupling

BATCH, SAMPLES = 8, 1200
ASKED = Branching(("20%", "40%", "80%"), (0.5, 1.0, 2.0), 160, 0.01, "sqrt")


def settings_in(folder, **changes):
    values = {"samples": SAMPLES, "schedule": "constant", "initial_batch": BATCH, "micro_batch": 2, "lr": 1e-2}
    values |= {"min_lr": 1e-3, "warmup_samples": 100, "output": str(folder), "lr_path": "cosine"}
    return load_settings(overrides=values | changes)


def records_of(settings, batches):
    """The records of steps with these batches, with learning rates by the settings."""
    rates = build_coupling(settings, settings.schedule.initial_batch).learning_rate
    records, samples = [], 0
    for step, batch in enumerate(batches, start=1):
        rate = rates.mean(samples, samples + batch) * rates.scaling.factor(batch)
        samples += batch
        each = {"step": step, "samples": samples, "batch_size": batch, "micro_batch": batch // 4, "lr": rate}
        records.append(each | {"loss": 1.0})
    return records


def save(folder, settings, samples):
    """A checkpoint without tensors."""
    path = folder / "checkpoints" / f"step-{samples:08d}"
    path.mkdir(parents=True)
    progress = {"step": samples, "samples": samples, "schedule": {}, "settings": to_saved(settings)}
    progress |= {"corpus": {"train": {"tokenizer": {"fingerprint": ""}}, "vocabulary_size": 9}, "world_size": 1}
    (path / "progress.json").write_text(json.dumps(progress))
    write_marker(path, {"progress.json": checksum(path / "progress.json")})
    return path


def plan_of(settings, records, to, asked=ASKED, seeds=(0, 1)):
    return plan_branches(settings, find_points(settings, records, asked), asked, seeds, to)


@pytest.fixture
def run(tmp_path):
    """Settings, records and the folder of a finished run with checkpoints after 400 and 1200 samples."""
    settings = settings_in(tmp_path / "run")
    for samples in (400, SAMPLES):
        save(tmp_path / "run", settings, samples)
    write_config(settings, tmp_path / "run")
    return settings, records_of(settings, [BATCH] * (SAMPLES // BATCH))


def test_branches_of_a_seed_share_all_but_batch_and_rate(run, tmp_path):
    settings, records = run
    plan = plan_of(settings, records, tmp_path / "out")
    assert [(p.samples, p.batch, p.groups, p.rate) for p in plan.points] == [
        (240, 8, 4, 1.0),
        (480, 8, 4, 1.0),
        (960, 8, 4, 1.0),
    ]
    assert len(plan.branches) == 3 * 3 * 2
    own = build_coupling(settings, BATCH).learning_rate
    for branch in plan.branches:
        found = branch.run.settings()
        schedule, start = found.schedule, branch.point.samples
        assert (schedule.schedule, schedule.initial_batch) == ("constant", branch.factor * BATCH)
        assert schedule.initial_batch // schedule.micro_batch == 4
        assert (found.run.end, found.run.samples, branch.run.samples()) == (start + 160, SAMPLES, 160)
        rates = build_coupling(found, schedule.initial_batch).learning_rate
        for position in (start, start + 77, start + 150):
            expected = own.mean(position, position + 8) * math.sqrt(branch.factor)
            assert rates.mean(position, position + 8) == pytest.approx(expected)
    assert len({branch.run.folder for branch in plan.branches}) == len(plan.branches)
    seeds = [{b.run.settings().data.seed for b in plan.branches if b.factor == factor} for factor in (0.5, 2.0)]
    assert seeds == [{0, 1}, {0, 1}]


def test_missing_checkpoints_are_made_from_the_nearest_earlier_one(run, tmp_path):
    settings, records = run
    plan = plan_of(settings, records, tmp_path / "out")
    first, second, third = plan.made_again
    assert [(each.begins_at, each.settings().run.end) for each in plan.made_again] == [
        (0, 240),
        (400, 480),
        (480, 960),
    ]
    assert first.source is None
    assert second.source().name == "step-00000400"
    assert third.needs == (second,)
    assert first.resolved().run.resume == "auto"
    assert second.resolved().run.resume.endswith("run/checkpoints/step-00000400")
    assert all(str(each.folder).startswith(str(tmp_path / "out")) for each in plan.runs)
    there = plan_of(settings, records, tmp_path / "out", replace(ASKED, at=("400",)))
    assert there.made_again == []
    assert all(branch.run.resolved().run.resume.endswith("step-00000400") for branch in there.branches)


def test_a_run_that_scales_its_rate_with_a_growing_batch_is_followed_from_its_rate_there(tmp_path):
    settings = settings_in(tmp_path / "run", schedule="linear-ramp", max_batch=32, lr_scaling="linear")
    save(tmp_path / "run", settings, SAMPLES)
    records = records_of(settings, [8] * 60 + [16] * 20 + [32] * 13)
    plan = plan_of(settings, records, tmp_path / "out", replace(ASKED, at=("50%",)))
    (point,) = plan.points
    assert (point.samples, point.batch) == (608, 16)
    assert point.rate == pytest.approx(2.0)
    by_factor = {branch.factor: branch.run.settings() for branch in plan.branches}
    assert by_factor[1.0].optimizer.lr == pytest.approx(2 * settings.optimizer.lr)
    assert by_factor[0.5].optimizer.lr == pytest.approx(math.sqrt(2) * settings.optimizer.lr)
    assert {found.optimizer.lr_scaling for found in by_factor.values()} == {"none"}


@pytest.mark.parametrize("scaling", ["none", "sqrt", "linear"])
def test_the_rate_follows_the_factor_as_asked(run, tmp_path, scaling):
    settings, records = run
    for branch in plan_of(settings, records, tmp_path / "out", replace(ASKED, lr_scaling=scaling)).branches:
        factor = BatchScaling(scaling, BATCH).factor(branch.batch)
        assert branch.run.settings().optimizer.lr == pytest.approx(factor * settings.optimizer.lr)


def test_factors_too_large_for_a_branch_are_left_out(run, tmp_path):
    settings, records = run
    plan = plan_of(settings, records, tmp_path / "out", replace(ASKED, factors=(1.0, 2.0, 4.0, 8.0)))
    assert {branch.factor for branch in plan.branches} == {1.0, 2.0}  # eight steps of 32 are more than 160


REFUSED = {
    "not finished": ({}, {}, 100, "has seen 800 of its 1200 samples: finish it first"),
    "rates of a rule": ({"schedule": "exchange"}, {}, 150, "come from --schedule exchange and follow no path"),
    "half a sample": ({}, {"factors": (0.3, 1.0)}, 150, "factor 0.3 makes no batch at 20%: 0.3 x 8 is 2.4"),
    "ranks": ({"ranks": 2, "parallel": "ddp"}, {"factors": (0.375, 1.0)}, 150, "2 ranks make multiples of 2"),
    "teams": (
        {"parallel": "fsdp", "tensor_parallel": 2},
        {},
        150,
        "1 ranks cannot make teams of 2",
    ),
    "one sample": (
        {},
        {"factors": (0.125, 1.0)},
        150,
        "is 1, and a batch is a whole number of 2 samples",
    ),
    "no room": ({}, {"factors": (2.0, 4.0), "samples": 100}, 150, "--samples 100 leaves fewer than two factors"),
    "too late": ({}, {"at": ("90%",)}, 150, "--at 90% cannot be branched at: from 1080 samples on"),
    "outside": ({}, {"at": ("100%",)}, 150, "--at 100% is not inside the run, which has 1200 samples"),
    "words": (
        {},
        {"at": ("late",)},
        150,
        "--at takes percentages such as 30%, or samples such as 4096, not ",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals(run, tmp_path, name):
    changes, asks, steps, message = REFUSED[name]
    settings, _ = run
    with pytest.raises(ValueError, match=message):
        plan_of(
            overlay(settings, changes), records_of(settings, [BATCH] * steps), tmp_path, replace(ASKED, **asks)
        )
    assert not (tmp_path / "runs").exists()


def test_records_that_lack_what_branches_follow(run, tmp_path):
    settings, records = run
    records[30]["lr"] = None
    with pytest.raises(ValueError, match="lack the batch, the micro-batch or the learning rate"):
        plan_of(settings, records, tmp_path)


def test_checkpoints_are_witnesses(run, tmp_path):
    settings, records = run
    with pytest.raises(ValueError, match=r"has other settings than .*config.toml \(lr was 0.01 and is 0.02\)"):
        plan_of(overlay(settings, {"lr": 0.02}), records_of(settings, [8] * 150), tmp_path / "out")
    (tmp_path / "run" / "checkpoints" / "step-00000400" / "progress.json").write_text("{}")
    with pytest.warns(UserWarning, match=r"skipped the checkpoint .*400: progress.json has 2 bytes"):
        assert plan_of(settings, records, tmp_path / "out").made_again[1].begins_at == 240
    (tmp_path / "run" / "checkpoints" / "step-00001200" / "complete.json").unlink()
    with (
        pytest.warns(UserWarning, match="skipped"),
        pytest.raises(ValueError, match="no intact checkpoint"),
    ):
        plan_of(settings, records, tmp_path / "out")


@pytest.mark.parametrize("factors", [(), (1.0,), (1.0, 1.0), (0.0, 1.0), (1.0, math.inf), (math.nan, 1.0)])
def test_two_factors_are_needed(factors):
    with pytest.raises(ValueError, match="--factors takes two or more different numbers above 0"):
        replace(ASKED, factors=factors)
