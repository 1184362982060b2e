"""``adabatch export-schedule``: a run's folder or a plan, to a file or the terminal."""

from __future__ import annotations

import json

import pytest
from typer.testing import CliRunner

from adabatch.commands.application import app
from adabatch.settings import load_settings, overlay, to_toml


def export(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["export-schedule", *map(str, arguments)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def run(tmp_path):
    settings = overlay(load_settings("demo", None), {"sequence_length": 32, "lr_path": "cosine"})
    (tmp_path / "config.toml").write_text(to_toml(settings))
    records, samples = [], 0
    for step, batch in enumerate([8, 8, 12, 20, 36], start=1):
        samples += batch
        records.append(
            {"step": step, "samples": samples, "batch_size": batch, "lr": step / 8, "sequence_length": 32}
        )
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return tmp_path


def test_a_run_is_exported_as_it_was_taken(run):
    read = json.loads(export(run))
    assert [stage["batch_size"] for stage in read["stages"]] == [8, 12, 20, 36]
    assert read["learning_rates"][-1] == [48, 5 / 8]
    assert export(run, "--format", "megatron", "--micro-batch", 4).splitlines()[:4] == [
        '--step-batch-size-schedule "0:8 512:12 896:20 1536:36"',
        "--micro-batch-size 4",
        "--seq-length 32",
        "--train-samples 84",
    ]


def test_doublings_go_to_a_file(run, tmp_path):
    file = tmp_path / "schedule.py"
    shown = export(run, "--format", "olmo-core", "--doublings", "--batches-only", "--output", file)
    assert shown == f"{file}: 3 stages over 96 samples\n"
    assert "batch_sizes=[256, 512, 1024]" in file.read_text()
    assert "Duration.tokens(1024)" in file.read_text()


def test_a_plan_needs_no_run(tmp_path):
    config = tmp_path / "plan.toml"
    config.write_text('[schedule]\nschedule = "linear-ramp"\n')
    assert json.loads(export("--preset", "demo", "--config", config))["stages"][-1]["batch_size"] == 128


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "either the folder of a run, or --config"),
        (["."], r"is not the folder of a run"),
        (["--preset", "demo"], "depends on what it measures"),
    ],
)
def test_what_cannot_be_exported_is_refused(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        CliRunner().invoke(app, ["export-schedule", *arguments], catch_exceptions=False)
