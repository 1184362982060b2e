"""``adabatch evaluate``: what it prints and writes, and refusals in one line."""

from __future__ import annotations

import json
import re

import pytest

from adabatch.export import export_run
from tests.adabatch.evaluation.test_subject import TEXT, trained_run


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return trained_run(tmp_path_factory.mktemp("evaluating"))


def test_lines_and_json(adabatch, run, tmp_path):
    shown = adabatch.output("evaluate", run, "--step", 1, "--sequences", 4, "--output", tmp_path / "found.json")
    found = json.loads((tmp_path / "found.json").read_text())
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]
    lines = shown.splitlines()
    assert lines[0] == f"{run}/checkpoints/step-00000001: {found['parameters']:,} parameters"
    assert re.fullmatch(r"its own validation data: 4 of \d+ sequences of 16 tokens", lines[1])
    assert lines[2] == "loss, nats per token  {mean:<9.5g} {low:.5g} to {high:.5g}".format(**found["loss"])
    assert (found["step"], found["sequences"], len(found["losses"]), found["bytes"]) == (1, 4, 4, 60)
    named = adabatch.output("evaluate", run, "--data", run.parent / "text.txt", "--sequences", 0)
    count = (len(TEXT.encode()) + 1) // 16
    assert f"text.txt: {count} of {count} sequences of 16 tokens" in named


def test_refusals(adabatch, run, tmp_path):
    (tmp_path / "folder").mkdir()
    export_run(run, tmp_path / "exported")
    adabatch.refuses("folder holds no weights: name the folder of a run that", "evaluate", tmp_path / "folder")
    message = "exported has no data of its own: name what to evaluate it on (--data)"
    adabatch.refuses(message, "evaluate", tmp_path / "exported")
    adabatch.refuses("is a folder: name a file (--output)", "evaluate", run, "--output", tmp_path / "folder")
    adabatch.refuses(
        "there is no folder away to write to: make it", "evaluate", run, "--output", "away/found.json"
    )
    adabatch.refuses("--task-folder is for --tasks", "evaluate", run, "--task-folder", tmp_path)
    adabatch.refuses("'--batch': it must be from 1 to", "evaluate", run, "--batch", 0)
    (tmp_path / "short.txt").write_text("ab")
    message = "short.txt' has 3 tokens, less than one sequence of 16"
    adabatch.refuses(message, "evaluate", run, "--data", tmp_path / "short.txt")
