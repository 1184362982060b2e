"""The files of a report."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from adabatch.experiments.comparison.claims.readings import Figure, read_figure
from adabatch.experiments.comparison.findings import CONTRASTS, Findings
from adabatch.experiments.comparison.report import report
from adabatch.experiments.comparison.report.report import write_report
from adabatch.experiments.intervals import mean_interval
from adabatch.training.model_size import planned_parameters
from tests.adabatch.experiments.comparison.synthetic import BASE, made_up

COMPARISON = made_up()


@pytest.fixture(autouse=True, scope="module")
def no_figures():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(report, "save_comparison_figures", lambda findings, folder: [])
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The report of the whole comparison."""
    folder = tmp_path_factory.mktemp("report")
    written(COMPARISON, folder)
    return folder


@pytest.fixture(scope="module")
def content(folder):
    return json.loads((folder / "comparison.json").read_text())


def written(comparison, folder):
    text = write_report(comparison, folder, "`adabatch compare`")
    return text, json.loads((folder / "comparison.json").read_text())


def test_the_files(folder):
    text = (folder / "comparison.md").read_text()
    names = {"comparison.md", "comparison.json"}
    names |= {f"{name}.csv" for name in ("losses", "times", "tuning", "noise", "runs", "search")}
    assert {path.name for path in folder.iterdir()} == names
    head = text.split("###")[0]
    assert head.startswith("`adabatch compare`\n\nModel nano")
    assert "parameters) on stdlib, 960 samples" in head
    assert "4 seeds from 0 on." in head
    assert "up to 8 points and 10 runs" in head


def test_the_same_runs_make_the_same_files(folder, tmp_path):
    text, _ = written(made_up(), tmp_path)
    assert text == (tmp_path / "comparison.md").read_text()
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes()


def test_the_setting(content):
    parameters = planned_parameters(BASE)
    assert content["level"] == 0.95
    assert content["setting"] == {
        "model": "nano",
        "parameters": parameters,
        "data": ["stdlib"],
        "tokenizer": "bytes",
        "sequence_length": 16,
        "samples": 960,
        "tokens_per_parameter": pytest.approx(960 * 16 / parameters),
        "validation_samples": BASE.run.validation_samples,
        "precision": "fp32",
        "seeds": 4,
        "first_seed": 0,
        "search_points": 8,
        "search_runs": 10,
    }
    assert content["noise_scale"]["within"] is True
    assert (content["noise_scale"]["smallest_batch"], content["noise_scale"]["largest_batch"]) == (8, 32)


def test_a_schedule(content):
    schedule = content["schedules"]["norm-test-1-sqrt"]
    assert (schedule["kind"], schedule["moves_rate"], schedule["path"]) == ("adaptive", True, "wsd 40%")
    assert (schedule["rate"], schedule["warmup"]) == (pytest.approx(0.004), pytest.approx(0.05))
    assert schedule["tries"] == len(COMPARISON.searches["norm-test-1-sqrt"].losses)
    assert (schedule["steps"], schedule["largest_batch"]) == (70, 32)
    gap = mean_interval(list(COMPARISON.gaps("norm-test-1-sqrt").values()))
    assert schedule["gap"]["mean"] == gap.mean
    assert (schedule["gap"]["low"], schedule["gap"]["high"]) == (gap.low, gap.high)
    assert schedule["gap"]["p"] == gap.p_value
    assert schedule["gap"]["p_holm"] > gap.p_value
    assert schedule["loss"]["p"] is schedule["loss"]["p_holm"] is None
    assert set(schedule["time"]["B_sat 8"]) == {"ratio", "low", "high", "seeds", "bound"}
    assert schedule["time"]["B_sat 8"]["seeds"] == 4
    assert schedule["by_seed"]["2"] == {
        "loss": COMPARISON.losses("norm-test-1-sqrt")[2],
        "steps": 70,
        "gap": COMPARISON.gaps("norm-test-1-sqrt")[2],
        "rates_replayed": COMPARISON.rates_replayed["norm-test-1-sqrt"][2].final_loss,
        "batches_replayed": COMPARISON.batches_replayed["norm-test-1-sqrt"][2].final_loss,
    }


@pytest.mark.parametrize("what", ["gap", "minus_rates_replayed", "minus_batches_replayed"])
def test_what_claims_read_is_what_was_written(content, what):
    read = read_figure(content, Figure("norm-test-1-sqrt", what))
    interval = CONTRASTS[what](COMPARISON, "norm-test-1-sqrt")
    assert (read.least, read.low, read.high) == pytest.approx((interval.mean, interval.low, interval.high))


def test_claims_read_times_and_the_noise_scale(content):
    time = Findings.of(COMPARISON).times["cyclic"]["B_sat 32"]
    assert read_figure(content, Figure("cyclic", "time.B_sat 32")).least == pytest.approx(time.ratio)
    assert read_figure(content, Figure("noise_scale", "highest")).least == pytest.approx(12)


def test_a_constant_has_no_gap(content):
    constant = content["schedules"]["constant-16"]
    assert constant["gap"] is constant["minus_rates_replayed"] is constant["by_seed"]["0"]["gap"] is None


def test_what_is_finished_of_a_comparison_is_reported(tmp_path):
    part = made_up(("constant-8", "norm-test-1-sqrt"), seeds=range(1))
    part = replace(part, rates_replayed={}, batches_replayed={}, budgets={})
    text, found = written(part, tmp_path)
    assert "1 seed from 0 on." in text
    schedule = found["schedules"]["norm-test-1-sqrt"]
    assert schedule["gap"] is schedule["minus_rates_replayed"] is schedule["time"]["B_sat 8"] is None
    assert schedule["loss"]["low"] is schedule["loss"]["seeds_needed"] is None


def test_points_that_another_comparison_found_were_not_searched(tmp_path):
    untried = {name: replace(search, losses={}) for name, search in COMPARISON.searches.items()}
    text, found = written(replace(COMPARISON, searches=untried), tmp_path)
    assert (found["setting"]["search_points"], found["setting"]["search_runs"]) == (0, 0)
    assert "Learning rates, paths and warm-ups were found by another comparison." in text
    assert "up to" not in text.split("###")[0]


def test_losses_that_are_no_numbers_are_null(tmp_path):
    runs = {seed: replace(run, final_loss=math.inf) for seed, run in COMPARISON.results["cyclic"].items()}
    _, found = written(replace(COMPARISON, results={**COMPARISON.results, "cyclic": runs}), tmp_path)
    cyclic = found["schedules"]["cyclic"]
    assert cyclic["loss"]["mean"] is cyclic["gap"]["p"] is cyclic["by_seed"]["0"]["loss"] is None
    assert cyclic["by_seed"]["0"]["steps"] == 70
