"""A few of the kills, signals and pauses of the benchmarks, and whether they would notice a difference."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.repository import ROOT, script

SCRIPT = ROOT / "benchmarks" / "faults.py"
faults = script("benchmarks/faults.py")


@pytest.mark.distributed
@pytest.mark.slow
def test_runs_that_were_killed_end_as_if_they_had_not_been(tmp_path):
    modes = ["FSDP2, 2 ranks", "FSDP2, 2 ranks, saves in the background"]
    command = [sys.executable, str(SCRIPT), "--kills", "4", "--kills-a-run", "2", "--seed", "3", "--modes", *modes]
    done = subprocess.run([*command, "--folder", str(tmp_path)], capture_output=True, text=True, check=False)
    log = (tmp_path / "log.txt").read_text()
    assert done.returncode == 0, done.stdout + done.stderr + log[-4000:]
    assert "killed in a save" in log
    rows = [line for line in done.stdout.splitlines() if any(mode in line for mode in modes)]
    assert sum(int(row.split("│")[3]) for row in rows) == 4


@pytest.mark.distributed
@pytest.mark.slow
def test_runs_that_signals_ended_lose_nothing_and_end_as_if_they_had_not_been():
    command = [sys.executable, str(ROOT / "benchmarks" / "stops.py"), "--signals", "4", "--real-every", "0"]
    done = subprocess.run([*command, "--seed", "3"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [[cell.strip() for cell in line.split("│")] for line in done.stdout.splitlines() if "│ SIG" in line]
    assert sum(int(row[2]) + int(row[3]) for row in rows) >= 4
    assert all(int(row[8]) == 0 for row in rows if row[1] != "SIGKILL")


@pytest.mark.distributed
@pytest.mark.slow
def test_ranks_that_were_stopped_for_longer_than_the_timeout_end_as_if_they_had_not_been():
    command = [sys.executable, str(ROOT / "benchmarks" / "paused_ranks.py"), "--pauses", "2", "--timeout", "6"]
    command += ["--samples", "256"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = [[cell.strip() for cell in line.split("│")] for line in done.stdout.splitlines() if "│" in line]
    assert [(row[1], row[2]) for row in rows] == [("one rank", "1"), ("all processes", "1")]


@pytest.fixture
def two_runs(tmp_path):
    """Two runs with the same records and checkpoints, as files."""
    faults.write_inputs(tmp_path)
    made = [faults.settings_for("DDP, 2 ranks", tmp_path, name) for name in ("mine", "reference")]
    for settings in made:
        folder = Path(settings.run.output) / "checkpoints" / "step-00000002"
        folder.mkdir(parents=True)
        lines = [
            json.dumps({"step": s, "samples": 8 * s, "loss": 1 / s, "tokens_per_second": id(s)}) for s in (1, 2)
        ]
        (folder.parents[1] / "metrics.jsonl").write_text("".join(line + "\n" for line in lines))
        names = {"step": 2, "samples": 16, "schedule": {"batch_size": 8}, "skipped": 0, "learning_rate": 0.1}
        (folder / "progress.json").write_text(json.dumps(names))
        (folder / "__0_0.distcp").write_bytes(b"tensors")
        (folder / "complete.json").touch()
    return made


def test_equal_runs_do_not_differ(two_runs):
    assert list(faults.differences(*two_runs)) == []


@pytest.mark.parametrize(
    ("file", "before", "after", "found"),
    [
        ("metrics.jsonl", '"loss": 0.5', '"loss": 0.5000000000000001', "the records differ"),
        ("metrics.jsonl", '"step": 2', '"step": 1', "missing or doubled"),
        ("checkpoints/step-00000002/progress.json", '"batch_size": 8', '"batch_size": 9', "schedule differs"),
        ("checkpoints/step-00000002/__0_0.distcp", "tensors", "tensorz", "__0_0.distcp differs"),
    ],
)
def test_a_difference_is_noticed(two_runs, file, before, after, found):
    path = Path(two_runs[0].run.output) / file
    text = path.read_text()
    assert before in text
    path.write_text(text.replace(before, after))
    assert any(found in difference for difference in faults.differences(*two_runs))
