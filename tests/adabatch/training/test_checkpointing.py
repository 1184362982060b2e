"""Resuming from a checkpoint: what is refused, what may change, what is rounded, what is restored."""

from __future__ import annotations

import itertools
import json
import random
import shutil
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch

from adabatch.checkpoints.compatibility import CHANGEABLE, CHANGEABLE_SECTIONS, FIXED, differences, saved_progress
from adabatch.checkpoints.errors import AgreedError
from adabatch.checkpoints.folders import complete_checkpoints, write_marker
from adabatch.distributed.parallel import DistributedContext
from adabatch.files import checksum
from adabatch.reporting.metrics import TIMED
from adabatch.settings import CONFIG, SECTIONS, from_saved, load_settings, loading, to_saved, write_config
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from tests.support.tiny_llama import write_tiny_model

ALONE = DistributedContext()


def open_single(folder: Path, **changes):
    base = {
        "model": str(folder / "model.json"),
        "data": str(folder / "text.txt"),
        "samples": 48,
        "initial_batch": 4,
        "micro_batch": 1,
        "max_batch": 12,
        "eta": 0.4,
        "warmup_samples": 8,
        "sequence_length": 16,
        "validation_interval": 0,
        "checkpoint_interval": 16,
        "output": str(folder / "run"),
    }
    return open_run(load_settings(overrides=base | changes), ALONE)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run with three checkpoints: the folder that it is in, and its records."""
    folder = tmp_path_factory.mktemp("finished")
    write_tiny_model(folder / "model.json")
    (folder / "text.txt").write_text("a batch grows as the noise does. " * 400)
    return folder, list(train(open_single(folder)))


@pytest.fixture
def finished(trained):
    return trained[0]


@pytest.fixture
def whole(trained):
    return trained[1]


@pytest.fixture
def folder(finished, tmp_path):
    """A copy of that run, with its checkpoint of the middle only."""
    (path,) = complete_checkpoints(finished / "run" / "checkpoints")[1:2]
    shutil.copytree(path, tmp_path / "run" / "checkpoints" / path.name)
    for name in ("model.json", "text.txt"):
        shutil.copy(finished / name, tmp_path)
    progress_path = tmp_path / "run" / "checkpoints" / path.name / "progress.json"
    progress = progress_path.read_text().replace(str(finished), str(tmp_path))
    progress_path.write_text(progress)
    files = [file for file in progress_path.parent.iterdir() if file.name != "complete.json"]
    write_marker(progress_path.parent, {file.name: checksum(file) for file in files})
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "row"),
    [
        ({"seed": 3}, "seed     0      3"),
        ({"lr": 1e-3}, "lr       0.003  0.001"),
        ({"schedule": "constant"}, "schedule  norm-test  constant"),
        ({"samples": 96}, "samples  48     96"),
        ({"precision": "bf16"}, "precision  fp32   bf16"),
        ({"norm_floor": 0.5}, "norm_floor  0.0    0.5"),
        ({"eta": 0.5, "beta2": 0.99}, "eta      0.4    0.5"),
    ],
)
def test_settings_of_another_run_are_refused_with_a_table(folder, changes, row):
    with pytest.raises(AgreedError) as refused:
        open_single(folder, resume="auto", **changes)
    message = str(refused.value)
    assert "was written with different settings" in message
    assert row in message.splitlines()
    assert all(name in message for name in changes)
    assert " ".join(f"--allow {name}" for name in changes) in message
    run = open_single(folder, resume="auto", allow=tuple(changes), **changes)
    assert run.resumed_from is not None


def test_where_and_what_is_written_may_change(folder):
    changes = {"max_micro_batch": 2, "threads": 1, "checkpoint_interval": 8, "keep": 1, "monitor_interval": 2}
    assert open_single(folder, resume="auto", **changes).resumed_from is not None


def test_data_with_other_contents_under_the_same_name_are_refused(folder):
    (folder / "text.txt").write_text("other text entirely, of which there is enough. " * 400)
    with pytest.raises(AgreedError, match="contents"):
        open_single(folder, resume="auto")
    assert open_single(folder, resume="auto", allow=("data",)).resumed_from is not None


@pytest.mark.parametrize(
    ("changes", "allowed"),
    [
        ({"lr": 1e-3}, "lr"),
        ({"seed": 3}, "seed"),
        ({"sequence_length": 8}, "sequence_length"),
        ({"end_of_document": "</s>"}, "end_of_document"),
    ],
)
def test_allowing_a_setting_leaves_the_contents_of_the_data_checked(folder, changes, allowed):
    assert open_single(folder, resume="auto", allow=(allowed,), **changes).resumed_from is not None
    (folder / "text.txt").write_text("other text entirely, of which there is enough. " * 400)
    with pytest.raises(AgreedError, match="contents") as refused:
        open_single(folder, resume="auto", allow=(allowed,), **changes)
    assert "accept the changes with --allow data" in str(refused.value)
    assert open_single(folder, resume="auto", allow=(allowed, "data"), **changes).resumed_from is not None


def rewrite_progress(folder: Path, changes: dict) -> None:
    """The checkpoint with another progress, intact as far as its checksums go; None removes a key."""
    (progress,) = (folder / "run" / "checkpoints").glob("*/progress.json")
    content = json.loads(progress.read_text()) | changes
    progress.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))
    files = [file for file in progress.parent.iterdir() if file.name != "complete.json"]
    write_marker(progress.parent, {file.name: checksum(file) for file in files})


def test_records_that_are_gone_are_refused_or_allowed(folder):
    rewrite_progress(folder, {"metrics": {"bytes": 99, "sha256": "0" * 64}})
    with pytest.raises(AgreedError, match="lacks the records of steps 1 to ") as refused:
        open_single(folder, resume="auto")
    assert "--allow records" in str(refused.value)
    assert open_single(folder, resume="auto", allow=("records",)).resumed_from is not None


@pytest.mark.parametrize(
    "damage",
    [
        *(
            {"step": None},
            {"step": "x"},
            {"samples": None},
            {"schedule": {}},
            {"schedule": [1]},
            {"settings": None},
        ),
        *(
            {"settings": {"run": 3}},
            {"corpus": {}},
            {"corpus": {"train": {}}},
            {"world_size": "2"},
            {"skipped": None},
            {"coupling": {"updates": 3}},
            {"coupling": {"updates": 3, "log_product": "x", "tokens": 3}},
            {"coupling": [1]},
        ),
    ],
    ids=str,
)
def test_progress_that_lacks_something_is_one_line(folder, damage):
    rewrite_progress(folder, damage)
    with pytest.raises(ValueError, match=r"progress\.json is damaged, or of another version") as refused:
        open_single(folder, resume="auto")
    assert "\n" not in str(refused.value)


def test_an_unknown_name_to_allow_is_refused():
    from adabatch.training.checks import check_settings

    with pytest.raises(ValueError, match="--allow sead names no setting"):
        check_settings(load_settings("demo", overrides={"allow": ("sead",)}), 1)


def test_the_lists_of_settings_name_settings():
    by_section = {section: {item.name for item in fields(cls)} for section, cls in SECTIONS.items()}
    free = set().union(*(by_section[section] for section in CHANGEABLE_SECTIONS))
    assert free >= FIXED
    assert set().union(*by_section.values()) - free >= CHANGEABLE


def test_a_setting_that_a_checkpoint_does_not_know_counts_as_its_default():
    assert differences(from_saved({}, "it"), load_settings()) == []
    assert differences(from_saved({}, "it"), load_settings(overrides={"seed": 1})) == [("seed", 0, 1)]


def test_a_setting_that_was_renamed_since_is_refused_with_its_new_name(folder, monkeypatch):
    monkeypatch.setattr(loading, "RENAMED", {"schedule.accuracy": "schedule.eta"})
    (path,) = complete_checkpoints(folder / "run" / "checkpoints")
    progress = path / "progress.json"
    progress.write_text(progress.read_text().replace('"eta":', '"accuracy":'))
    write_marker(path, {file.name: checksum(file) for file in path.iterdir() if file.name != "complete.json"})
    with pytest.raises(ValueError, match=r"step-\d+: schedule.accuracy is called schedule.eta now") as refused:
        open_single(folder, resume="auto")
    assert "\n" not in str(refused.value)


def test_a_run_is_the_same_from_any_working_directory(folder, monkeypatch):
    monkeypatch.chdir(folder)
    (progress,) = (folder / "run" / "checkpoints").glob("*/progress.json")
    relative = load_settings(overrides={"data": "text.txt", "model": "model.json"})
    assert relative.data.data == "text.txt"
    kept = to_saved(relative)
    assert (kept["data"]["data"], kept["model"]["model"]) == (str(folder / "text.txt"), str(folder / "model.json"))
    write_config(open_single(folder, data="text.txt").settings, folder / "run")
    monkeypatch.chdir("/")
    resumed = load_settings(file=folder / "run" / CONFIG, overrides={"resume": "auto"})
    assert resumed.run.output == str(folder / "run")
    assert open_run(resumed, ALONE).resumed_from == progress.parent


def test_what_a_checkpoint_holds(finished):
    progress = saved_progress(complete_checkpoints(finished / "run" / "checkpoints")[-1])
    assert progress["samples"] == progress["schedule"]["samples"] >= 48
    assert progress["settings"]["schedule"]["eta"] == 0.4
    assert progress["versions"]["torch"] == version("torch")
    assert progress["learning_rate"] > 0
    assert progress["optimizer"][0]["betas"] == [0.9, 0.95]
    assert progress["corpus"]["train"]["samples"] > 0


def test_the_schedule_and_all_random_numbers_go_on_exactly(folder, finished):
    """Every float of the schedule, and the generators of Python, NumPy and torch."""
    run = open_single(folder, resume="auto")
    path = run.resumed_from
    assert run.schedule.state_dict() == saved_progress(path)["schedule"]
    drawn = random.random(), np.random.rand(), float(torch.rand(()))
    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(1)
    open_single(folder, resume="auto")
    assert drawn == (random.random(), np.random.rand(), float(torch.rand(())))


def test_a_run_that_goes_on_ends_like_one_that_was_never_stopped(folder, finished, whole):
    run = open_single(folder, resume="auto")
    rest = list(train(run))

    def exact(records):
        return [{name: value for name, value in record.items() if name not in TIMED} for record in records]

    assert 0 < len(rest) < len(whole)
    assert exact(rest) == exact(whole[-len(rest) :])
    last, expected = (complete_checkpoints(path / "run" / "checkpoints")[-1] for path in (folder, finished))
    assert (last / "__0_0.distcp").read_bytes() == (expected / "__0_0.distcp").read_bytes()


def test_a_run_that_stops_early_and_resumes_ends_like_one_that_does_not(finished, whole, tmp_path):
    """Learning rates and schedule follow the budget, not the samples at which it stops."""
    early = {"output": str(tmp_path / "early"), "checkpoint_interval": 0}
    begun = list(train(open_single(finished, **early, stop_at=20)))
    assert begun[-2]["samples"] < 20 <= begun[-1]["samples"] < 48
    rest = list(train(open_single(finished, **early, resume="auto")))
    names = ("step", "samples", "loss", "batch_size", "lr")
    assert [[record[name] for name in names] for record in begun + rest] == [
        [record[name] for name in names] for record in whole
    ]


def test_a_constant_batch_may_follow_any_rule(folder):
    changes = {"schedule": "constant", "initial_batch": 6, "seed": 5}
    run = open_single(folder, resume="auto", allow=tuple(changes), **changes)
    assert run.samples > 0
    assert {record["batch_size"] for record in train(run)} == {6}


def test_a_checkpoint_that_knows_nothing_of_what_moves_with_the_batch_resumes_exactly(folder, finished, whole):
    """As saved before these settings and this state were there."""
    (path,) = complete_checkpoints(folder / "run" / "checkpoints")
    saved = saved_progress(path)["settings"]
    for section, names in {
        "optimizer": ("beta2_half_life", "weight_decay_scaling", "lr_replay", "lr_path"),
        "schedule": ("length_stages",),
    }.items():
        for name in names:
            del saved[section][name]
    rewrite_progress(folder, {"settings": saved, "coupling": None, "micro_batch_length": None})
    run = open_single(folder, resume="auto")
    assert run.coupling.updates == run.schedule.steps
    rest = list(train(run))
    names = ("step", "samples", "tokens", "loss", "batch_size", "grad_norm", "lr", "sequence_length")
    for record, expected in zip(rest, whole[-len(rest) :], strict=True):
        assert [record[name] for name in names] == [expected[name] for name in names]
    last, expected = (complete_checkpoints(path / "run" / "checkpoints")[-1] for path in (folder, finished))
    assert (last / "__0_0.distcp").read_bytes() == (expected / "__0_0.distcp").read_bytes()


@pytest.mark.parametrize(
    "changes", [{"beta2_half_life": 100.0}, {"weight_decay_scaling": "linear"}, {"length_stages": "8:0.5,16:1"}]
)
def test_what_moves_with_the_batch_is_part_of_a_run(folder, changes):
    (name,) = changes
    with pytest.raises(AgreedError, match=f"--allow {name}"):
        open_single(folder, resume="auto", **changes)
    run = open_single(folder, resume="auto", allow=(name,), **changes)
    assert next(iter(train(run)))["loss"] > 0


def test_saves_cost_what_is_said(folder):
    run = open_single(folder, resume="auto", async_checkpoints=True)
    list(itertools.islice(train(run), 100))
    assert [cost.step for cost in run.saver.costs] == sorted(cost.step for cost in run.saver.costs)
    assert all(0 < cost.blocked <= cost.seconds and cost.bytes > 10_000 for cost in run.saver.costs)


def test_a_refused_start_leaves_all_checkpoints_as_they_are(finished):
    """Also where all settings are allowed to differ, and only the rule's own state does not fit."""
    paths = complete_checkpoints(finished / "run" / "checkpoints")
    changes = {"noise_limit": 1.0}
    with pytest.raises(AgreedError, match="holds the state of --schedule norm-test"):
        open_single(finished, resume=str(paths[0]), allow=tuple(changes), **changes)
    assert complete_checkpoints(finished / "run" / "checkpoints") == paths
