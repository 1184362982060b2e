"""What is refused before any run starts."""

from __future__ import annotations

import subprocess
import time

import pytest

from adabatch.experiments.request import Request
from adabatch.experiments.runner import Processes, execute
from adabatch.locks import exclusive
from adabatch.settings import Settings
from tests.support.command import COMMAND, still_running


def test_one_process_trains_in_a_folder(tmp_path):
    request = Request(Settings(), tmp_path / "runs" / "here", 1, 0, False, False, "adabatch compare")
    with exclusive(request.output), pytest.raises(ValueError, match=r"process \d+ on .* is at work in .*here"):
        request.train([])
    request.train([])


def test_no_runs_and_too_few_processes():
    execute([])
    with pytest.raises(ValueError, match="--processes must be 0"):
        Processes(-1)


@pytest.mark.slow
def test_a_stop_signal_saves_the_runs_and_leaves_no_process(tmp_path):
    process = subprocess.Popen(
        [*COMMAND, "compare", "--schedules", "late", "--samples", "100000", "--output", str(tmp_path)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 200
    while not any(path.read_text() for path in tmp_path.glob("runs/*/metrics.jsonl")):
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.terminate()
    error = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert error.endswith("stopped by SIGTERM; the same command continues the work\n")
    assert "Traceback" not in error
    assert list(tmp_path.glob("runs/*/checkpoints/*/complete.json"))
    assert not still_running(process.pid)
