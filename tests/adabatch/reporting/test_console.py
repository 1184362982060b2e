"""What progress and summary tell of speed and of the time left."""

import io

import pytest
from rich.console import Console

from adabatch.reporting.console import ProgressReport, TimeLeft, summary

RECORD = {"step": 1, "samples": 10, "tokens": 640, "loss": 2.0, "batch_size": 10, "seconds": 2.0, "skipped": 0}
RECORD |= {"tokens_per_second": 320.0, "flops": 4e12, "mfu": None}


def test_the_time_left_is_that_of_the_last_steps():
    """Steps whose samples become cheaper, one of them late; nothing between steps."""
    now = [0.0]
    left = TimeLeft(1000, clock=lambda: now[0])
    for step in range(1, 51):
        seconds = 50.0 if step == 48 else 2.0 if step <= 30 else 1.0
        now[0] += seconds
        told = left.after(RECORD | {"samples": 10 * step, "seconds": seconds})
    assert told == pytest.approx(500 * 0.1)


def test_validation_and_checkpoints_count_as_often_as_before():
    now = [0.0]
    left = TimeLeft(100, done=50, clock=lambda: now[0])
    now[0] = 5.0
    assert left.after(RECORD | {"samples": 60}) == pytest.approx(40 * (0.2 + 3.0 / 10))


def test_validation_before_the_first_step_is_not_to_come_again():
    clock = iter([0.0, 52.0, 52.0, 54.0]).__next__
    left = TimeLeft(100, clock=clock)
    assert left.after(RECORD | {"at_start": {"val_loss": 1.0}}) == pytest.approx(90 * 0.2)
    assert left.after(RECORD | {"samples": 20}) == pytest.approx(80 * 0.2)


def test_utilisation_is_told_where_a_peak_is_known():
    written = io.StringIO()
    with ProgressReport(100, console=Console(file=written)) as progress:
        progress.show(RECORD)
        progress._last_line = -1e9
        progress.show(RECORD | {"samples": 20, "mfu": 0.25})
    first, second = written.getvalue().splitlines()
    assert "320 tokens/s  2 s/step  2 Tflop/s  MFU n/a" in first
    assert "MFU 25.0%" in second
    assert (summary([RECORD])["MFU"], summary([RECORD])["operations"]) == ("n/a", 4e12)
    assert summary([RECORD | {"mfu": 0.25}])["MFU"] == "25.0%"
