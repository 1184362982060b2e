"""`adabatch compare` and `adabatch plot` at their smallest size, killed and started again, and with bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from tests.support.command import COMMAND

SMALL = ["compare", "--quick", "--seeds", "2", "--constant-batches", "16,32", "--output", "out"]
SMALL += ["--variants", "constant-16,constant-32,ramp"]
REPORT = ["comparison.md", "comparison.json", "runs.csv", "losses-lr-0.003.csv", "gaps-lr-0.003.csv"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A comparison from beginning to end: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("whole")
    done = subprocess.run([*COMMAND, *SMALL], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "out", done.stdout


@pytest.mark.slow
@pytest.mark.distributed
def test_tables_and_figures(whole):
    folder, output = whole
    assert "norm test, eta 0.8" in output
    assert "Throughput" in output
    report = json.loads((folder / "comparison.json").read_text())
    assert len(report["runs"]) == 2 * 4
    assert len({run["final_loss"] for run in report["runs"]}) > 2
    for what in ("curves-fixed", "curves-adaptive", "frontier", "gaps", "wall-clock"):
        assert (folder / "figures" / f"{what}-lr-0.003.png").stat().st_size > 5000
        assert (folder / "figures" / f"{what}-lr-0.003.pdf").stat().st_size > 5000


@pytest.mark.slow
@pytest.mark.distributed
def test_equal_seeds_share_weights_and_samples(whole):
    """The loss of the first step is that of the initial weights: equal for equal first batches and seeds."""

    def first_loss(variant, seed):
        lines = (whole[0] / f"runs/{variant}/lr-0.003/seed-{seed}/metrics.jsonl").read_text().splitlines()
        return json.loads(lines[0])["loss"]

    assert first_loss("constant-16", 0) == pytest.approx(first_loss("unbiased-0.8", 0), rel=1e-6)
    assert first_loss("constant-16", 1) == pytest.approx(first_loss("ramp", 1), rel=1e-6)
    assert abs(first_loss("constant-16", 0) - first_loss("constant-16", 1)) > 1e-4


@pytest.mark.slow
@pytest.mark.distributed
def test_killed_and_started_again_gives_the_same_tables(whole, adabatch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    process = subprocess.Popen([*COMMAND, *SMALL], stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 200
    while len(list(tmp_path.glob("out/runs/*/*/*/metrics.jsonl"))) < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    begun = len(list(tmp_path.glob("out/runs/*/*/*/config.toml")))
    assert begun < 8
    assert not (tmp_path / "out" / "comparison.md").exists()
    time.sleep(1)  # its runs notice
    done = adabatch(*SMALL)
    assert done.code == 0, done.err
    assert "runs are finished already" in done.err
    for name in REPORT:
        assert (tmp_path / "out" / name).read_bytes() == (whole[0] / name).read_bytes(), name


@pytest.mark.slow
@pytest.mark.distributed
def test_a_finished_comparison_trains_nothing(whole, adabatch, monkeypatch):
    monkeypatch.chdir(whole[0].parent)
    text = (whole[0] / "comparison.md").read_text()
    before = {path: path.stat().st_mtime_ns for path in whole[0].rglob("metrics.jsonl")}
    printed = adabatch.output(*SMALL, "--report-only")
    assert "norm test, eta 0.8" in printed
    assert (whole[0] / "comparison.md").read_text() == text
    assert {path: path.stat().st_mtime_ns for path in whole[0].rglob("metrics.jsonl")} == before


@pytest.mark.slow
@pytest.mark.distributed
def test_other_settings_in_the_same_folder_are_refused(whole, adabatch, monkeypatch):
    monkeypatch.chdir(whole[0].parent)
    message = "holds a run with other settings (weight_decay is 0.1, wanted 0.5)"
    adabatch.refuses(message, *SMALL, "--weight-decay", "0.5")


@pytest.mark.slow
@pytest.mark.distributed
def test_a_run_that_fails_is_named_with_its_log(adabatch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    place = tmp_path / "out/runs/constant-16/lr-0.003/seed-0"
    place.mkdir(parents=True)
    (place / "checkpoints").write_text("in the way")
    done = adabatch(*SMALL)
    assert done.code == 2
    assert "the run constant-16/lr-0.003/seed-0 failed" in done.err
    assert f"see {place.relative_to(tmp_path) / 'log.txt'}" in done.err
    assert "Traceback" not in done.err


@pytest.mark.slow
@pytest.mark.distributed
def test_plot_draws_runs_together(whole, adabatch, tmp_path):
    runs = [path.parent for path in sorted(whole[0].rglob("metrics.jsonl"))[:3]]
    printed = adabatch.output("plot", *runs, "--against", "step", "--output", tmp_path / "drawn")
    assert "drawn/runs.png" in printed
    assert (tmp_path / "drawn" / "runs.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "compare --variants constant-17",
            "the variant 'constant-17' is not known: take one or more of constant-16",
        ),
        ("compare --seeds 0", "'--seeds': it must be from 1 to 10,000, but is 0"),
        ("compare --learning-rates 1,x", "--learning-rates takes numbers separated by commas"),
        ("compare --constant-batches 16", "at least two different constant batches"),
        ("compare --processes -1", "'--processes': it must be from 0 to 1,024, but is -1"),
        ("compare --validation-interval 0", "--validation-interval above 0"),
        ("compare --report-only", "no run of this comparison is finished"),
        ("plot missing", "no metrics at missing"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(adabatch, tmp_path, arguments, message):
    adabatch.refuses(message, *arguments.split(), "--output", tmp_path / "out")
