"""``adabatch.train`` as a script or a notebook calls it: what it returns, what it raises."""

from __future__ import annotations

import dataclasses
import warnings

import pytest

import adabatch
from adabatch import TrainingFailedError, load_settings, train
from adabatch.reporting.metrics import read_metrics
from adabatch.settings import CONFIG
from tests.support.tiny_llama import write_tiny_model


@pytest.fixture
def small(tmp_path):
    """Settings of a run of a few steps, some of them replaced."""
    write_tiny_model(tmp_path / "model.json")
    (tmp_path / "text.txt").write_text("a batch grows as the noise does. " * 400)
    values = {
        "model": str(tmp_path / "model.json"),
        "data": str(tmp_path / "text.txt"),
        "samples": 24,
        "initial_batch": 4,
        "max_batch": 8,
        "warmup_samples": 8,
        "sequence_length": 16,
        "validation_interval": 8,
        "validation_samples": 4,
        "figures": False,
        "threads": 1,
        "output": str(tmp_path / "run"),
    }
    return lambda **changes: load_settings(overrides=values | changes)


def test_the_result_is_what_the_run_has_left(small, tmp_path):
    shown = warnings.showwarning
    result = train(small())
    assert warnings.showwarning is shown
    assert result.output == tmp_path / "run"
    assert result.records == read_metrics(tmp_path / "run")
    assert result.steps == len(result.records) > 1
    assert result.samples == sum(record["batch_size"] for record in result.records) >= 24
    assert result.validation_loss == result.records[-1]["val_loss"] > 0
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.output = tmp_path  # type: ignore[misc]


def test_the_folder_holds_what_repeats_the_run(small, tmp_path):
    first = train(small(validation_interval=0))
    assert first.validation_loss is None
    again = load_settings(file=first.output / CONFIG, overrides={"output": str(tmp_path / "again")})
    losses = [[record["loss"] for record in result.records] for result in (first, train(again))]
    assert losses[0] == losses[1]


def test_a_start_from_the_settings_that_a_run_has_left_does_not_delete_it(small):
    first = train(small(overwrite=True))
    with pytest.raises(ValueError, match="holds an earlier run"):
        train(load_settings(file=first.output / CONFIG))
    assert read_metrics(first.output) == first.records


def test_a_mistake_is_a_value_error_before_anything_is_written(small, tmp_path):
    with pytest.raises(ValueError, match="--eta must be from 1e-06 to 1,000,000"):
        train(small(eta=0.0))
    with pytest.raises(ValueError, match=r"nowhere has no weights: name a folder with model\.safetensors"):
        train(small(init_from=str(tmp_path / "nowhere")))
    assert not (tmp_path / "run").exists()


def test_a_run_that_fails_raises_its_exit_code(small, capsys):
    wild = {"lr": 1e30, "min_lr": 0.0, "warmup_samples": 0, "max_skipped": 1, "validation_interval": 0}
    with pytest.raises(TrainingFailedError, match="exit code 3: it diverged") as failed:
        train(small(samples=64, **wild))
    assert failed.value.exit_code == 3
    assert "training diverged" in capsys.readouterr().err


def test_the_interrupt_of_a_notebook_stays_one(small, monkeypatch):
    monkeypatch.setattr("adabatch.training.train.launch", lambda settings, allocated: 130)
    with pytest.raises(KeyboardInterrupt):
        train(small())


def test_the_names_at_the_root():
    assert adabatch.train is train
    assert {"train", "TrainingResult", "TrainingFailedError"} <= set(adabatch.__all__)
