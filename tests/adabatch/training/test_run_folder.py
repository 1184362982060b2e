"""A run's folder: one run at a time, and a new run next to what others have left."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path

import pytest

from adabatch.checkpoints.errors import AgreedError
from adabatch.checkpoints.folders import MARKER, complete_checkpoints
from adabatch.distributed.parallel import DistributedContext
from adabatch.locks import LOCK, occupied
from adabatch.reporting.metrics import read_metrics
from adabatch.settings import load_settings
from adabatch.training.run_folder import known_launch, run_folder, run_folder_of_ranks
from tests.support.spawning import run_ranks

OPTIONS = {
    "model": "tiny",
    "data": "words.txt",
    "threads": 1,
    "warmup-samples": 4,
    "validation-interval": 0,
    "sequence-length": 32,
    "initial-batch": 4,
    "max-batch": 4,
}
SMALL = [word for name, value in OPTIONS.items() for word in (f"--{name}", value)] + ["--no-figures"]


@pytest.fixture(autouse=True)
def words(tmp_path_factory, monkeypatch):
    """The working directory has a text to train on."""
    monkeypatch.chdir(tmp_path_factory.mktemp("texts"))
    Path("words.txt").write_text("a batch grows as the noise does. " * 200)


def settings(output: Path, **changes):
    return load_settings("demo", overrides={"output": str(output), **changes})


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_folder_in_use_is_refused_before_anything_is_touched(adabatch, tmp_path):
    assert adabatch("train", *SMALL, "--samples", 8, "--output", tmp_path).code == 0
    before = everything(tmp_path)
    with occupied(tmp_path):
        before[str(tmp_path / LOCK)] = (tmp_path / LOCK).read_bytes()
        for how in ([], ["--overwrite"], ["--resume", "auto"]):
            holder = f"process {os.getpid()} on {socket.gethostname()} is at work in {tmp_path}: wait for it"
            adabatch.refuses(holder, "train", *SMALL, "--samples", 8, "--output", tmp_path, *how)
        assert everything(tmp_path) == before


def test_a_new_run_next_to_old_checkpoints_keeps_its_own_and_resumes_from_them(adabatch, tmp_path):
    words = ["train", *SMALL, "--keep", 2, "--checkpoint-interval", 16]
    assert adabatch(*words, "--samples", 96, "--output", tmp_path).code == 0
    old = complete_checkpoints(tmp_path / "checkpoints")
    assert [path.name for path in old] == ["step-00000020", "step-00000024"]
    (tmp_path / "metrics.jsonl").unlink()

    told = adabatch(*words, "--samples", 48, "--seed", 3, "--output", tmp_path)
    assert told.code == 0
    assert f"{tmp_path}/checkpoints/quarantined-step-00000024 and so on" in told.err
    own = complete_checkpoints(tmp_path / "checkpoints")
    assert [path.name for path in own] == ["step-00000008", "step-00000012"]
    assert all((tmp_path / "checkpoints" / f"quarantined-{path.name}" / MARKER).is_file() for path in old)

    resumed = adabatch(*words, "--samples", 48, "--seed", 3, "--output", tmp_path, "--resume", "auto")
    assert resumed.code == 0
    assert f"resumed from {own[-1]}" in resumed.err
    assert [record["step"] for record in read_metrics(tmp_path)] == list(range(1, 13))


def test_records_of_another_run_are_refused_and_can_be_allowed(adabatch, tmp_path):
    words = ["train", *SMALL, "--samples", 16]
    for seed in (0, 1):
        assert adabatch(*words, "--seed", seed, "--output", tmp_path / str(seed)).code == 0
    other = (tmp_path / "1" / "metrics.jsonl").read_text()
    (tmp_path / "0" / "metrics.jsonl").write_text(other)
    resume = [*words, "--seed", 0, "--output", tmp_path / "0", "--resume", "auto"]
    refused = adabatch(*resume)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "metrics.jsonl holds the records of another run, or was edited" in refused.err
    assert (tmp_path / "0" / "metrics.jsonl").read_text() == other
    assert adabatch(*resume, "--allow", "records").code == 0
    assert (tmp_path / "0" / "metrics.jsonl.before").read_text() == other


def test_files_that_a_run_replaces_are_kept_as_copies(tmp_path, capfd):
    (tmp_path / "config.toml").write_text("mine")
    for _ in range(2):  # the second time the folder is a run's
        with run_folder(settings(tmp_path)):
            (tmp_path / "config.toml").write_text("the run's")
    assert (tmp_path / "config.toml.before").read_text() == "mine"
    assert not (tmp_path / "config.toml.before-2").exists()
    assert "config.toml; what was there is kept as config.toml.before" in capfd.readouterr().err


def test_a_link_to_a_checkpoint_elsewhere_is_neither_followed_nor_in_the_way(tmp_path):
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / MARKER).write_text("{}")
    checkpoints = tmp_path / "run" / "checkpoints"
    checkpoints.mkdir(parents=True)
    (checkpoints / "step-00000010").symlink_to(tmp_path / "archive")
    (tmp_path / "run" / "metrics.jsonl").write_text('{"step": 1, "samples": 4}\n')
    with run_folder(settings(tmp_path / "run", overwrite=True)):
        assert complete_checkpoints(checkpoints) == []
    assert (checkpoints / "quarantined-step-00000010").is_symlink()
    assert (tmp_path / "archive" / MARKER).read_text() == "{}"


def test_records_of_a_finished_run_are_kept_when_it_begins_again(tmp_path):
    """Somebody has deleted its checkpoints, and --resume auto finds none."""
    record = '{"step": 1, "samples": 64}\n'
    (tmp_path / "metrics.jsonl").write_text(record)
    for samples, copies in ((128, 0), (64, 1)):
        with run_folder(settings(tmp_path, samples=samples, resume="auto")):
            pass
        assert len(list(tmp_path.glob("metrics.jsonl.before*"))) == copies
    assert (tmp_path / "metrics.jsonl.before").read_text() == record


def test_a_launch_knows_its_own_folder(tmp_path, monkeypatch):
    for name in ("none", "job-17"):
        monkeypatch.setenv("TORCHELASTIC_RUN_ID", name)
        assert not known_launch(str(tmp_path))
        with run_folder(settings(tmp_path)):
            pass
        assert known_launch(str(tmp_path)) == (name != "none")
    for content in ("", "[]", '{"launch": 3}'):
        (tmp_path / "adabatch-run.json").write_text(content)
        assert not known_launch(str(tmp_path))


@pytest.mark.parametrize(
    ("output", "reason"),
    [
        ("file", "is a file: name a folder"),
        ("file/run", "Not a directory"),
        ("dangling", "File exists"),
        ("x" * 300, "File name too long"),
    ],
)
def test_outputs_that_cannot_be_written_are_one_line(tmp_path, output, reason):
    (tmp_path / "file").touch()
    (tmp_path / "dangling").symlink_to("nowhere")
    with pytest.raises(ValueError, match=re.escape(reason)) as refused, run_folder(settings(tmp_path / output)):
        pass
    assert "\n" not in str(refused.value)
    assert "--output" in str(refused.value)


def hold_on_ranks(rank: int, world_size: int, folder: Path) -> str:
    ranks = DistributedContext(rank, world_size)
    try:
        with run_folder_of_ranks(settings(folder), ranks):
            # All read before the main rank leaves.
            return ranks.gather((folder / LOCK).read_text().splitlines()[0])[rank]
    except AgreedError as error:
        return str(error)


@pytest.mark.distributed
def test_all_ranks_of_another_launcher_are_refused_alike(tmp_path):
    with occupied(tmp_path):
        first, second = run_ranks(hold_on_ranks, 2, tmp_path)
    assert (
        first
        == second
        == f"process {os.getpid()} on {socket.gethostname()} is at work in {tmp_path}: wait for "
        + ("it, or name another folder")
    )
    first, second = run_ranks(hold_on_ranks, 2, tmp_path)  # held by the main rank
    assert first == second
    assert first.isdigit()
