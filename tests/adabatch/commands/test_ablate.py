"""`adabatch ablate` at its smallest size, and with bad input."""

from __future__ import annotations

import pytest


@pytest.mark.slow
@pytest.mark.distributed
def test_grid_table_and_heat_map(adabatch, tmp_path, monkeypatch):
    """Two GPUs are said to be visible; torch, which does not find them, computes on the CPU."""
    monkeypatch.setattr("adabatch.experiments.devices.visible_gpus", lambda: ("5", "GPU-7a"))
    words = ["ablate", "--quick", "--etas", "0.1,1", "--vary", "estimator", "--output", tmp_path / "out"]
    words += ["--processes", 3]
    ended = adabatch(*words)
    assert ended.code == 0, ended.err
    line = "6 runs, 2 at once, a GPU each: 5, GPU-7a; 3 were asked for, but the GPUs are enough for 2"
    assert line in ended.err.splitlines()
    logs = [path.read_text().splitlines()[0] for path in (tmp_path / "out").rglob("log.txt")]
    assert len(logs) == 6
    assert set(logs) == {"CUDA_VISIBLE_DEVICES=5", "CUDA_VISIBLE_DEVICES=GPU-7a"}
    printed = ended.out
    assert "### eta and estimator" in printed
    text = (tmp_path / "out" / "ablation.md").read_text()
    rows = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert set(rows) == {"estimator", "unbiased", "debiased", "paper", "l1 test"}
    assert "jumps" in rows["unbiased"].split("|")[2]
    assert (tmp_path / "out" / "ablation.png").stat().st_size > 5000
    assert [cell.strip() for cell in rows["paper"].split("|")[3:4]] == [""]  # at eta 1 it never grows
    assert "6 of 6 runs are finished already" in adabatch(*words).err
    assert (tmp_path / "out" / "ablation.md").read_text() == text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--etas 0.1,x", "--etas takes numbers separated by commas"),
        ("--etas 0", "--eta must be from 1e-06 to 1,000,000"),
        ("--vary colour", "'colour' is not varied: take one or more of estimator, test interval"),
        ("--seeds 0", "it must be from 1 to 10,000, but is 0"),
        ("--time-limit 3h", "leave out --time-limit; the command may be stopped at any time"),
        ("--report-only", "no point of this ablation is finished"),
    ],
)
def test_bad_input_is_one_message_and_exit_code_2(adabatch, tmp_path, arguments, message):
    adabatch.refuses(message, "ablate", *arguments.split(), "--output", tmp_path)
