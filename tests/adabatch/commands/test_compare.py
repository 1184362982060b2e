"""`adabatch compare` and `adabatch plot` at their smallest size, killed and started again, and with bad input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from adabatch.reporting.metrics import read_metrics
from tests.support.command import COMMAND

SMALL = ["compare", "--quick", "--seeds", "1", "--points", "1", "--constant-batches", "8,16", "--output", "out"]
SMALL += ["--schedules", "constant-8"]
SMALL += ["--variant", "mine:schedule=norm-test,initial_batch=8,micro_batch=4,lr_scaling=sqrt"]

RUNS = 3 * 2 + 3 + 2 + 2 * 4
"""Tries on two seeds, results, controls of the norm test, other budgets of the constants."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A comparison from beginning to end: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("whole")
    done = subprocess.run([*COMMAND, *SMALL], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert f"\n{RUNS} of {RUNS} runs: " in done.stderr
    assert f"\n1 of at most {RUNS} runs: " in done.stderr
    assert "; about " in done.stderr
    return folder / "out", done.stdout


def records(folder: Path, name: str) -> list[dict]:
    """Of the result of this name, not at another budget; its last batch may go beyond the 256 samples."""
    found = [read_metrics(path) for path in folder.glob(f"runs/{name}-seed-0-*")]
    (result,) = [run for run in found if 256 <= run[-1]["samples"] < 300]
    return result


def report(folder: Path) -> dict[str, bytes]:
    """The tables, but for the one of measured times."""
    files = [path for path in folder.glob("*.*") if path.suffix in (".md", ".json", ".csv")]
    return {path.name: path.read_bytes() for path in files if path.stem != "speed"}


@pytest.mark.slow
@pytest.mark.distributed
def test_tables_and_figures(whole):
    folder, output = whole
    assert "| mine " in output
    written = json.loads((folder / "comparison.json").read_text())
    schedules = ["constant-8", "constant-16", "mine"]
    assert (
        list(written["schedules"]) == list(json.loads((folder / "tuned.json").read_text())["points"]) == schedules
    )
    assert len(list(folder.glob("runs/*"))) == RUNS
    figures = [path.stat().st_size for path in (folder / "figures").iterdir()]
    assert figures
    assert min(figures) > 5000


@pytest.mark.slow
@pytest.mark.distributed
def test_controls_replay_what_they_should(whole):
    """The rates on a constant batch, or two neighbouring ones, in as many steps; and the batches."""
    run, rates, batches = (records(whole[0], name) for name in ("mine", "rates-of-mine", "batches-of-mine"))
    sizes = {record["batch_size"] for record in rates}
    assert max(sizes) - min(sizes) <= 1
    assert len(rates) == len(run)
    total = sum(record["lr"] * record["batch_size"] for record in run)
    assert sum(record["lr"] * record["batch_size"] for record in rates) == pytest.approx(total, rel=0.01)
    assert [record["batch_size"] for record in batches] == [record["batch_size"] for record in run]
    assert [record["lr"] for record in batches] != [record["lr"] for record in run]


@pytest.mark.slow
@pytest.mark.distributed
def test_equal_seeds_share_weights_and_samples(whole):
    """The loss of the first step is that of the initial weights: equal for equal first batches."""
    first = {name: records(whole[0], name)[0]["loss"] for name in ("constant-8", "constant-16", "mine")}
    assert first["constant-8"] == pytest.approx(first["mine"], rel=1e-6)
    assert abs(first["constant-8"] - first["constant-16"]) > 1e-4


@pytest.mark.slow
@pytest.mark.distributed
def test_killed_and_started_again_gives_the_same_tables(whole, adabatch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    process = subprocess.Popen([*COMMAND, *SMALL], stderr=subprocess.PIPE, start_new_session=True)
    deadline = time.monotonic() + 200
    while len(list(tmp_path.glob("out/runs/*/metrics.jsonl"))) < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert len(list(tmp_path.glob("out/runs/*/config.toml"))) < RUNS
    assert not (tmp_path / "out" / "comparison.md").exists()
    time.sleep(1)  # its runs notice
    done = adabatch(*SMALL)
    assert done.code == 0, done.err
    assert f"of at most {RUNS} runs are finished already" in done.err
    assert report(tmp_path / "out") == report(whole[0])


@pytest.mark.slow
@pytest.mark.distributed
def test_a_finished_comparison_trains_nothing(whole, adabatch, monkeypatch):
    monkeypatch.chdir(whole[0].parent)
    before = report(whole[0])
    times = {path: path.stat().st_mtime_ns for path in whole[0].rglob("metrics.jsonl")}
    assert "| mine " in adabatch.output(*SMALL, "--report-only")
    assert f"{RUNS} of {RUNS} runs are finished already" in adabatch(*SMALL).err
    assert report(whole[0]) == before
    assert {path: path.stat().st_mtime_ns for path in whole[0].rglob("metrics.jsonl")} == times


@pytest.mark.slow
@pytest.mark.distributed
def test_other_settings_are_refused_in_its_folder(whole, adabatch, monkeypatch):
    monkeypatch.chdir(whole[0].parent)
    message = "the folder out has a comparison with other settings (weight_decay was 0.1 and is 0.5): take another"
    adabatch.refuses(message, *SMALL, "--report-only", "--weight-decay", "0.5")


@pytest.mark.slow
@pytest.mark.distributed
def test_a_run_that_fails_is_named_with_its_log(whole, adabatch, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (first,) = whole[0].glob("runs/constant-8-seed-1000-*")
    place = Path("out/runs") / first.name
    place.mkdir(parents=True)
    (place / "checkpoints").write_text("in the way")
    done = adabatch(*SMALL)
    assert done.code == 2
    assert "the run constant-8-seed-1000 failed" in done.err
    assert f"see {place / 'log.txt'}" in done.err
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
        ("compare --schedules constant-17", "'constant-17' is not known: take one or more of constant-8, const"),
        ("compare --seeds 0", "'--seeds': it must be from 1 to 1,000, but is 0"),
        ("compare --points 0", "'--points': it must be from 1 to 1,000, but is 0"),
        ("compare --points 5", "--points must be at least 6, but is 5: a search begins with as many"),
        ("compare --quick --points 5 --report-only", "no schedule of this comparison is finished"),
        ("compare --time-limit 3h", "leave out --time-limit; the command may be stopped at any time"),
        (
            "compare --ranks 2 --constant-batches 16,7 --report-only",
            "constant batches (--constant-batches, --init",
        ),
        ("compare --variant mine", "--variant takes a name of letters and digits, a colon, and settings"),
        ("compare --variant mine:eta=1 --variant mine:eta=2", "--variant mine: there is a schedule of this name"),
        ("compare --variant mine:samples=9", "share samples = 9 (the comparison's is"),
        ("compare --noise-limit 1", "the schedule constant-8: the batch never goes beyond the first one"),
        ("compare --quick --report-only", "no schedule of this comparison is finished"),
        ("compare --constant-batches 16", "at least two different constant batches"),
        ("compare --constant-batches 16,x", "--constant-batches takes numbers separated by commas"),
        ("compare --tuned-by missing", "missing has no tuned.json: name the folder of a comparison"),
        ("compare --claims missing", "missing is not a file of claims"),
        (
            "compare --data stdlib:1 --samples 900000",
            "are trained on 2 times --samples too: the source stdlib has",
        ),
        ("compare --processes -1", "'--processes': it must be from 0 to 1,024, but is -1"),
        ("compare --validation-interval 0", "--validation-interval above 0"),
        ("compare --report-only", "no schedule of this comparison is finished"),
        ("plot missing", "no metrics at missing"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(adabatch, tmp_path, arguments, message):
    adabatch.refuses(message, *arguments.split(), "--output", tmp_path / "out")
