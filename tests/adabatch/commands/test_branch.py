"""``adabatch branch`` on a tiny run: killed half-way and continued, its report, and bad input."""

from __future__ import annotations

import json
import math
import subprocess
import time

import pytest

from adabatch import load_settings, train
from adabatch.reporting.metrics import read_metrics
from adabatch.settings import overlay, write_config
from tests.support.command import COMMAND
from tests.support.tiny_llama import write_tiny_model

RUN = {"sequence_length": 16, "samples": 480, "warmup_samples": 16, "lr": 0.01, "threads": 1, "figures": False}
RUN |= {
    "initial_batch": 8,
    "micro_batch": 2,
    "schedule": "constant",
    "validation_interval": 480,
    "keep_best": True,
}
ASKED = "--at 25%,50% --factors 1,2 --samples 160 --seeds 1 --processes 1 --tolerance 0.5"
ALONE = "--parallel single --ranks 1"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A finished run with checkpoints in the middle and at the end; it might have had other ranks meanwhile."""
    folder = tmp_path_factory.mktemp("branching")
    write_tiny_model(folder / "model.json")
    (folder / "text.txt").write_text("a batch that is larger costs more samples, beyond some size. " * 400)
    named = {"model": str(folder / "model.json"), "data": str(folder / "text.txt"), "output": str(folder / "run")}
    settings = load_settings(overrides=RUN | named | {"checkpoint_interval": 240})
    train(settings)
    write_config(overlay(settings, {"parallel": "ddp", "ranks_at": "16:2"}), folder / "run")
    return folder


@pytest.mark.slow
@pytest.mark.distributed
def test_killed_half_way_and_continued(adabatch, folder, monkeypatch):
    monkeypatch.chdir(folder)
    words = ["branch", "run", *ASKED.split(), *ALONE.split(), "--output", "out"]
    before = {path: path.stat().st_mtime_ns for path in sorted((folder / "run").rglob("*"))}
    process = subprocess.Popen([*COMMAND, *words], stderr=subprocess.PIPE, text=True, stdout=subprocess.DEVNULL)
    first = next(line for line in process.stderr if line.startswith("2 of 5 runs: "))
    process.kill()
    process.communicate()
    made = first.split(": ")[1].split(" in ")[0]
    (kept,) = (folder / "out" / "runs").glob(f"{made}-*")
    records = (kept / "metrics.jsonl").stat().st_mtime_ns
    deadline = time.monotonic() + 120
    while (ended := adabatch(*words)).code and "is at work" in ended.err:  # its runs end a moment later
        assert time.monotonic() < deadline
    assert ended.code == 0, ended.err
    assert "2 of 5 runs are finished already" in ended.err
    assert (kept / "metrics.jsonl").stat().st_mtime_ns == records
    assert {path: path.stat().st_mtime_ns for path in sorted((folder / "run").rglob("*"))} == before

    (again,) = (folder / "out" / "runs").glob("*-to-120-*")
    own = read_metrics(folder / "run")
    assert [record["loss"] for record in read_metrics(again)] == [record["loss"] for record in own[:15]]
    same = next((folder / "out" / "runs").glob("*-at-240-batch-8-seed-0-*"))
    for record, other in zip(read_metrics(same), own[30:], strict=False):  # its seed is the run's own
        assert (record["samples"], record["lr"]) == (other["samples"], other["lr"])
        assert record["loss"] == pytest.approx(other["loss"], abs=1e-6)
    double = next((folder / "out" / "runs").glob("*-at-240-batch-16-seed-0-*"))
    assert {record["batch_size"] for record in read_metrics(double)} == {16}
    assert read_metrics(double)[0]["lr"] == pytest.approx(math.sqrt(2) * own[30]["lr"], rel=0.05)
    assert not list((folder / "out" / "runs").glob("*-at-*/checkpoints/step-*"))

    report = json.loads((folder / "out" / "report.json").read_text())
    assert report["largest_deviation"] == 0.0
    assert [place["samples"] for place in report["places"]] == [120, 240]
    for place in report["places"]:
        assert place["critical"]["kind"] == "unresolved"  # a single seed shows no spread
        assert place["factors"][1]["verdict"] == "unresolved"
        assert {branch["batch"] for branch in place["branches"]} == {8, 16}
        assert place["scales"]["plug-in"] > 0
        assert place["parts"]
    assert " unresolved |" in ended.out
    assert (folder / "out" / "branch.png").stat().st_size > 5000
    shown = adabatch.output(*words, "--report-only")
    assert shown.split("\n\n")[1:] == ended.out.split("\n\n")[1:]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--factors 1", "--factors takes two or more different numbers above 0, such as 0.5,1,2,4,8, but is 1"),
        ("--factors 0.1,1", "factor 0.1 makes no batch at 25%: 0.1 x 8 is 0.8, and 2 ranks make multiples of 2"),
        ("--tolerance 0", "'--tolerance': it must be above 0 and at most 100, but is 0"),
        ("--at 95%", "--at 95% cannot be branched at: from 456 samples on"),
        ("--at ,", "--at takes one or more places"),
        ("--output run", "--output run is the run's own folder, which is only read: name another"),
        ("--report-only", "no place of this experiment is finished in new"),
        ("--lr-scaling cube", "'cube' is not one of 'sqrt', 'linear', 'none'"),
    ],
)
def test_bad_input_is_one_line(adabatch, folder, monkeypatch, arguments, message):
    monkeypatch.chdir(folder)
    adabatch.refuses(message, "branch", "run", *ASKED.split(), "--output", "new", *arguments.split())
    assert not (folder / "new").exists()


def test_what_is_not_a_run(adabatch, tmp_path):
    adabatch.refuses("is not the folder of a run: it has no config.toml", "branch", tmp_path)
