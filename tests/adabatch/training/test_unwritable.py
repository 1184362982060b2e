"""What a run writes for its reader may fail: training continues, and nothing else is lost."""

from __future__ import annotations

import errno
import itertools
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import partial

import pytest

from adabatch.checkpoints.folders import complete_checkpoints, problem_with
from adabatch.reporting.metrics import MetricsWriter, read_metrics
from adabatch.settings import load_settings
from adabatch.training.launch import launch
from adabatch.training.stopping import Stopping
from tests.support.command import COMMAND

STEPS = 12
SMALL = {
    "samples": 4 * STEPS,
    "initial_batch": 4,
    "max_batch": 4,
    "micro_batch": 2,
    "warmup_samples": 8,
    "validation_interval": 0,
    "checkpoint_interval": 8,
    "keep": 0,
    "sequence_length": 32,
    "threads": 1,
    "figures": False,
}


@pytest.fixture
def train(tmp_path, monkeypatch):
    """Trains to the end in the folder ``run``, and before a step's end does what is asked for this step."""

    def run(disturb: dict[int, Callable[[], object]], **changes: object) -> int:
        steps, wishes = itertools.count(1), Stopping.wishes

        def disturbed(self):
            disturb.get(next(steps), int)()
            return wishes(self)

        monkeypatch.setattr(Stopping, "wishes", disturbed)
        return launch(load_settings("demo", overrides=SMALL | {"output": str(tmp_path / "run")} | changes))

    return run


def require_whole(folder):
    """All records and all checkpoints are there."""
    assert [record["step"] for record in read_metrics(folder)] == list(range(1, STEPS + 1))
    complete = complete_checkpoints(folder / "checkpoints")
    assert len(complete) == STEPS // 2
    assert all(problem_with(path) is None for path in complete)


@pytest.mark.parametrize("what", ["deleted", "moved", "replaced by a folder's link"])
@pytest.mark.parametrize("step", [3, 4])
def test_metrics_that_vanish_are_written_again(train, tmp_path, what, step, capsys):
    """Step 4 is one that saves a checkpoint, which waits for the metrics to be on the disk."""
    metrics = tmp_path / "run" / "metrics.jsonl"

    def disturb():
        if what == "deleted":
            metrics.unlink()
        else:
            metrics.rename(tmp_path / "moved")
        if what == "replaced by a folder's link":
            metrics.symlink_to(tmp_path)

    assert train({step: disturb}) == 0
    require_whole(tmp_path / "run")
    assert "could not be written" not in capsys.readouterr().err


def test_a_folder_that_vanishes_is_there_again_with_all_that_a_run_resumes_with(train, tmp_path):
    assert train({3: lambda: shutil.rmtree(tmp_path / "run")}) == 0
    assert [record["step"] for record in read_metrics(tmp_path / "run")] == list(range(1, STEPS + 1))
    assert complete_checkpoints(tmp_path / "run" / "checkpoints")
    assert load_settings(file=tmp_path / "run" / "config.toml").run.output == str(tmp_path / "run")


def test_records_of_a_disk_that_is_full_for_a_while_are_not_lost(train, tmp_path, monkeypatch, capsys):
    write = os.write

    def full(descriptor, data):
        if b'"step"' in data:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, data)

    disturb = {
        3: partial(monkeypatch.setattr, os, "write", full),
        8: partial(monkeypatch.setattr, os, "write", write),
    }
    assert train(disturb) == 0
    require_whole(tmp_path / "run")
    assert "could not be written" not in capsys.readouterr().err


def test_records_that_are_lost_for_good_are_said_once(train, tmp_path, monkeypatch, capsys):
    def full(descriptor, data):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    assert train({9: lambda: monkeypatch.setattr(os, "write", full)}) == 0
    assert [record["step"] for record in read_metrics(tmp_path / "run")] == list(range(1, 9))
    assert len(complete_checkpoints(tmp_path / "run" / "checkpoints")) == STEPS // 2
    assert capsys.readouterr().err.count("the last 4 lines could not be written to") == 1


@pytest.mark.parametrize("what", ["fails", "vanishes"])
def test_tensorboard_that_fails_or_vanishes_ends_nothing(train, tmp_path, monkeypatch, capsys, what):
    def fail(*arguments):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    folder, writers, init = tmp_path / "run" / "tensorboard", [], MetricsWriter.__init__

    def remembered(self, *arguments, **names):
        init(self, *arguments, **names)
        writers.append(self)

    monkeypatch.setattr(MetricsWriter, "__init__", remembered)

    def disturb():
        if what == "vanishes":
            shutil.rmtree(folder)
        else:
            monkeypatch.setattr(next(iter(writers[0]._trackers.values())), "write", fail)

    assert train({3: disturb}, tensorboard=True) == 0
    require_whole(tmp_path / "run")
    assert capsys.readouterr().err.count("the TensorBoard files are cut short") == 1


@pytest.mark.slow
def test_a_command_whose_output_goes_nowhere_trains_to_its_end(tmp_path):
    options = [f"--{name.replace('_', '-')}={value}" for name, value in SMALL.items() if name != "figures"]
    command = [*COMMAND, "train", *options, "--no-figures", "--output", str(tmp_path / "run")]
    with open("/dev/full", "w") as full:
        done = subprocess.run(command, stdout=full, stderr=full, check=False)
    assert done.returncode == 0
    require_whole(tmp_path / "run")
