"""A few of the starts of benchmarks/run_folders.py, and all of its layouts around a made-up earlier run."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from adabatch.settings import load_settings
from adabatch.training.run_folder import run_folder
from tests.support.repository import ROOT, script

benchmark = script("benchmarks/run_folders.py")

WRITTEN = [
    "adabatch-run.json",
    "config.toml",
    "config.toml.17.tmp",
    "tokenizer.json",
    "metrics.jsonl",
    "metrics.jsonl.17.tmp",
    "figures/training.png",
    "figures/training-steps.pdf",
    "figures/layers.tmp.png",
    "tensorboard/events.out.tfevents.1700000000.host.19.0.adabatch",
    "checkpoints/costs.jsonl",
    *(
        f"checkpoints/{folder}/{name}"
        for folder in ("step-00000010", "step-00000020.tmp", "quarantined-step-00000030")
        for name in (
            "complete.json",
            "progress.json",
            "tensors.json",
            "rank-00000.json",
            "__0_0.distcp",
            "progress.json.17.tmp",
        )
    ),
]
"""What a run may leave, and one that was killed."""


def made_up_run(output: Path, overwrite: bool) -> None:
    """A run that writes all that a run may write, and trains nothing."""
    settings = load_settings(overrides={"output": str(output), "overwrite": overwrite, "samples": 4})
    with run_folder(settings):
        for name in WRITTEN if not overwrite else ():
            (output / name).parent.mkdir(parents=True, exist_ok=True)
            if not (output / name).is_dir():
                (output / name).write_text("{}\n")


@pytest.mark.parametrize("layout", benchmark.LAYOUTS)
def test_overwriting_loses_nothing_of_others(tmp_path, layout):
    files, lost = benchmark.overwritten(layout, tmp_path, made_up_run)
    assert files >= 3
    assert lost == []
    left = [name for name in WRITTEN if (tmp_path / "run" / name).is_file()]
    assert left == ["adabatch-run.json"], "the earlier run"


def test_what_is_lost_is_seen(tmp_path):
    """Negative control: a run that deletes the folder."""

    def ruthless(output: Path, overwrite: bool) -> None:
        for path in sorted(output.rglob("*"), reverse=True) if overwrite else ():
            if path.is_file() and path.name != "one.tex":
                path.unlink()

    files, lost = benchmark.overwritten("a project", tmp_path, ruthless)
    assert files - len(lost) == 6  # the folder itself, four below it, and one.tex


@pytest.mark.slow
def test_of_starts_at_once_exactly_one_trains(tmp_path, monkeypatch):
    monkeypatch.setenv("ADABATCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.syspath_prepend(ROOT / "benchmarks")  # where the starts' processes find their function
    chance = random.Random(7)
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        benchmark.words(folder)
        assert list(benchmark.problems(benchmark.Pair.draw(chance, real=False), folder)) == []


def test_two_runs_in_one_folder_are_seen(tmp_path, monkeypatch):
    """Negative control: two exit codes of 0, and records of both."""
    (tmp_path / "run").mkdir()
    lines = [json.dumps({"step": step}) + "\n" for step in (*range(1, 41), *range(1, 41))]
    (tmp_path / "run" / "metrics.jsonl").write_text("".join(lines))
    pair = benchmark.Pair.draw(random.Random(0), real=False)
    for codes in ([0, 0], [0, 2]):
        monkeypatch.setattr(
            benchmark, "outcome", lambda *_, codes=codes: (codes, ["", "process 1 on x is at work in run"])
        )
        assert list(benchmark.problems(pair, tmp_path))
