"""Runs in a table: what is found, their numbers by hand, their states, and the three formats."""

from __future__ import annotations

import csv
import io
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

from adabatch.experiments.run_table import (
    COLUMNS,
    as_csv,
    as_markdown,
    as_text,
    columns_of,
    find_runs,
    read_run,
    sort_runs,
)
from adabatch.locks import occupied
from adabatch.settings import load_settings, write_config

BATCHES = (4, 8, 8)


def leave_run(folder: Path, *last: dict, **changes) -> Path:
    """A run of 20 samples in three steps of 2 s each, and of what further records say."""
    folder.mkdir(parents=True)
    write_config(load_settings(overrides={"samples": 20, "initial_batch": 4, "max_skipped": 1, **changes}), folder)
    records, samples = [], 0
    for step, batch in enumerate(BATCHES, start=1):
        samples += batch
        records.append(
            {"step": step, "samples": samples, "batch_size": batch, "tokens": 10 * samples, "loss": 4.0}
        )
        records[-1] |= {"seconds": 2.0, "sequence_length": 10, "val_loss": 5.0 - step if step < 3 else 3.5}
    for further in last:
        records.append({**records[-1], "step": len(records) + 1, **further})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


def test_the_numbers_by_hand(tmp_path):
    run = read_run(leave_run(tmp_path / "a", eta=0.5, test="l1"))
    assert (run.schedule, run.steps, run.samples, run.state) == ("norm-test l1 eta=0.5", 3, 20, "finished")
    assert run.batch == pytest.approx(20 / 3)
    assert (run.seconds, run.loss, run.val_loss) == (6.0, pytest.approx(4.0), 3.0)
    assert run.tokens_per_second == pytest.approx(200 / 6)
    assert math.isnan(run.noise_scale)


def test_the_noise_scale_is_that_of_the_later_half(tmp_path):
    """Eight steps of B = 8 / (||g||^2 - 8 / 8): 80 at ||g||^2 = 1.1, and 16 at 1.5; some are not measured."""
    squares = [1.1] * 4 + [None] * 2 + [1.5] * 4
    measured = [{"noise_trace": square and 8.0, "grad_sq_norm": square} for square in squares]
    assert read_run(leave_run(tmp_path / "a", *measured)).noise_scale == pytest.approx(16)


@pytest.mark.parametrize(
    ("last", "changes", "state"),
    [
        ([], {}, "finished"),
        ([], {"samples": 21}, "stopped"),
        ([{"decision": "skipped"}], {"samples": 21}, "stopped"),
        ([{"decision": "skipped"}] * 2, {"samples": 21}, "diverged"),
        ([{"decision": "skipped"}] * 2, {"samples": 21, "max_skipped": 0}, "stopped"),
        ([{"val_loss": None}], {}, "diverged"),
    ],
)
def test_states(tmp_path, last, changes, state):
    run = leave_run(tmp_path / "a", *last, **changes)
    assert read_run(run).state == state
    with occupied(run):
        assert read_run(run).state == "running"


def test_a_run_before_its_first_step(tmp_path):
    write_config(load_settings(overrides={"schedule": "stagewise"}), tmp_path)
    (tmp_path / "adabatch-run.json").write_text("{}")
    run = read_run(*find_runs([tmp_path]))
    assert (run.schedule, run.steps, run.loss, run.state) == ("stagewise 32-64-128", 0, None, "stopped")
    assert as_text([run]).splitlines()[1].split()[2:7] == ["0", "–", "0:00", "–", "–"]


def test_each_run_below_is_found_once_and_what_a_run_keeps_is_not_searched(tmp_path):
    runs = [leave_run(tmp_path / name) for name in ("compare/runs/a", "compare/runs/b", "z")]
    write_config(load_settings(), tmp_path / "compare")  # of the comparison, which is not a run
    leave_run(runs[2] / "checkpoints" / "copy")
    assert find_runs([tmp_path / "compare", tmp_path]) == runs
    with pytest.raises(ValueError, match=r"there is no folder .*/no: name the folder of a run"):
        find_runs([tmp_path / "no"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"no run in .*/empty or below: name a folder"):
        find_runs([tmp_path / "empty"])


@pytest.fixture
def three(tmp_path):
    """Validation losses of 3, 2 and none."""
    leave_run(tmp_path / "b")
    leave_run(tmp_path / "a", {"val_loss": 2.0}, schedule="constant")
    lines = (leave_run(tmp_path / "c") / "metrics.jsonl").read_text().splitlines()
    whole = [json.dumps({k: v for k, v in json.loads(line).items() if k != "val_loss"}) for line in lines]
    (tmp_path / "c" / "metrics.jsonl").write_text("\n".join(whole) + "\n")
    return [read_run(path) for path in find_runs([tmp_path])]


def test_what_is_missing_comes_last_in_either_order(three):
    for descending, names in ((False, "abc"), (True, "bac")):
        assert [run.run[-1] for run in sort_runs(three, "val_loss", descending)] == list(names)


def test_csv_holds_the_numbers_as_they_are(three):
    rows = list(csv.DictReader(io.StringIO(as_csv(three))))
    assert tuple(rows[0]) == COLUMNS
    assert [row["val_loss"] for row in rows] == ["2.0", "3.0", ""]
    assert float(rows[1]["batch"]) == three[1].batch


def test_further_validation_sets_have_columns_of_their_own(three, tmp_path):
    leave_run(tmp_path / "d", {"val_loss/code": 4.0}, {"val_loss/code": 4.5}, {"val_loss/prose": 1.0})
    runs = [*three, read_run(tmp_path / "d")]
    others = ("val_loss/code", "val_loss/prose")
    assert columns_of(three) == COLUMNS
    assert columns_of(runs) == (*COLUMNS[:-2], *others, *COLUMNS[-2:])
    assert [row["val_loss/code"] for row in csv.DictReader(io.StringIO(as_csv(runs)))] == ["", "", "", "4.0"]
    assert sort_runs(runs, "val_loss/code")[0] is runs[-1]
    assert "val loss code | val loss prose |    state |" in as_markdown(runs)
    assert as_text(runs).splitlines()[-1].split()[-4:-1] == ["4.000", "1.000", "finished"]


def test_markdown_begins_with_the_columns_of_the_paper(three):
    head, _, *rows = as_markdown(three).splitlines()[4:]
    cells = [cell.strip() for cell in head.strip("|").split("|")]
    assert cells[:6] == ["schedule", "steps", "batch", "time", "loss", "val loss"]
    assert len(rows) == 3


def test_lines_fit_a_terminal_of_80_columns_or_are_one_per_run(three):
    whole = as_text(three).splitlines()
    assert len(whole) == 4
    assert all(run.run in line for run, line in zip(three, whole[1:], strict=True))
    assert as_text(three, width=max(map(len, whole))) == as_text(three)
    narrow = as_text(three, width=80).splitlines()
    assert narrow[2] == f"{three[0].run}: constant 4"
    assert [len(line) for line in narrow[1::2]] == [len(narrow[1])] * 4
    assert len(narrow[1]) <= 80


def test_a_table_of_runs_waits_for_no_large_package():
    code = "import sys, adabatch.experiments.run_table; print({'matplotlib', 'scipy', 'torch'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
