"""`adabatch ablate` at its smallest size, and with bad input."""

from __future__ import annotations

import subprocess
import sys

import pytest

from adabatch.commands import main

COMMAND = [sys.executable, "-m", "adabatch", "ablate", "--quick", "--output", "out"]


def finish(folder, *more):
    return subprocess.run([*COMMAND, *more], cwd=folder, capture_output=True, text=True, check=False, timeout=280)


@pytest.mark.slow
@pytest.mark.distributed
def test_grid_table_and_heat_map(tmp_path):
    arguments = ["--etas", "0.1,1", "--vary", "estimator"]
    done = finish(tmp_path, *arguments)
    assert done.returncode == 0, done.stderr
    assert "### eta and estimator" in done.stdout
    text = (tmp_path / "out" / "ablation.md").read_text()
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert set(rows) == {"estimator", "unbiased", "debiased", "paper", "l1 test"}
    assert "jumps" in rows["unbiased"].split("|")[2]
    assert (tmp_path / "out" / "ablation.png").stat().st_size > 5000
    again = finish(tmp_path, *arguments)
    assert "8 of 8 runs are finished already" in again.stderr
    assert (tmp_path / "out" / "ablation.md").read_text() == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--etas 0.1,x", "--etas takes numbers separated by commas"),
        ("--etas 0", "eta must be a positive number"),
        ("--vary colour", "'colour' is not varied: take one or more of estimator, test interval"),
        ("--seeds 0", "at least 1 seed"),
        ("--report-only", "no point of this ablation is finished"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(monkeypatch, capsys, tmp_path, arguments, message):
    monkeypatch.setattr(sys, "argv", ["adabatch", "ablate", *arguments.split(), "--output", str(tmp_path)])
    with pytest.raises(SystemExit) as ended:
        main()
    error = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in error
    assert error.count("\n") == 1, error
