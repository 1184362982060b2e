"""The check of several GPUs, on a CPU with gloo, and whether it would notice a difference."""

from __future__ import annotations

import math
import sys

import pytest

from tests.support.repository import script

several_gpus = script("benchmarks/several_gpus.py")


@pytest.mark.distributed
@pytest.mark.slow
def test_layouts_are_alike_and_a_run_outlives_a_kill(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["several_gpus.py", "--device", "cpu", "--ranks", "2", "--samples", "128"])
    monkeypatch.setenv("COLUMNS", "150")
    with pytest.raises(SystemExit) as ended:
        several_gpus.main()
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in capsys.readouterr().out.splitlines()]
    alike = {row[0]: row[-1] for row in rows if len(row) > 1}
    assert not ended.value.code, alike
    killed = [f"FSDP2, a rank killed, resumed on {ranks}" for ranks in (1, 2)]
    assert alike == dict.fromkeys(["one rank", "DDP", "FSDP2", "FSDP2 x tensor parallel 2", *killed], "yes")


def test_a_difference_is_noticed():
    run = [{"batch_size": 4, "loss": 2.0}, {"batch_size": 8, "loss": 1.0}]
    assert several_gpus.largest_difference("loss", run, run) == 0
    other = [run[0], run[1] | {"loss": 1.01}]
    assert several_gpus.largest_difference("loss", other, run) == pytest.approx(0.01)
    for other in ([run[0], run[1] | {"batch_size": 4}], run[:1], []):
        assert several_gpus.largest_difference("loss", other, run) == math.inf
