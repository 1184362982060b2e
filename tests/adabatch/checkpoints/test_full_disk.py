"""A disk that fills up stops the run with a clear message; what was complete stays so."""

from __future__ import annotations

import json
import subprocess

import pytest

from adabatch.checkpoints.folders import complete_checkpoints, problem_with
from adabatch.reporting.metrics import read_metrics
from adabatch.settings import load_settings
from adabatch.training.launch import launch
from tests.support.tiny_llama import write_tiny_model


@pytest.fixture
def small_disk(tmp_path):
    """A disk of 1.5 MB; a checkpoint takes 0.2 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"mounting is not allowed here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_full_disk_stops_the_run_and_leaves_the_last_checkpoint_intact(
    small_disk, tmp_path, capsys, monkeypatch, asynchronous
):
    monkeypatch.setattr(
        "adabatch.reporting.figures.save_figures", lambda records, folder: [folder]
    )  # slower than the run
    write_tiny_model(tmp_path / "model.json")
    overrides = {
        "model": str(tmp_path / "model.json"),
        "samples": 160,
        "threads": 1,
        "initial_batch": 4,
        "max_batch": 4,
        "warmup_samples": 4,
        "sequence_length": 16,
        "validation_interval": 0,
        "checkpoint_interval": 8,
        "keep": 0,
        "async_checkpoints": asynchronous,
        "output": str(small_disk / "run"),
    }
    assert launch(load_settings("demo", overrides=overrides)) == 1
    error = capsys.readouterr().err
    complete = complete_checkpoints(small_disk / "run" / "checkpoints")
    assert "could not be written (no space left on the device" in error
    assert f"the last complete checkpoint is {complete[-1]}" in error
    assert "Traceback" not in error
    assert 2 <= len(complete) < 20
    assert all(problem_with(path) is None for path in complete)
    assert not list(small_disk.rglob("*.tmp"))
    records = read_metrics(small_disk / "run")
    assert [record["step"] for record in records] == list(range(1, len(records) + 1))
    assert records[-1]["samples"] >= json.loads((complete[-1] / "progress.json").read_text())["samples"]
    # With room again, the run goes on from there.
    subprocess.run(["mount", "-o", "remount,size=30m", str(small_disk)], check=True)
    assert launch(load_settings("demo", overrides=overrides | {"resume": "auto"})) == 0
    assert [record["step"] for record in read_metrics(small_disk / "run")] == list(range(1, 41))
