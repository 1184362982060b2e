"""What is refused before any run starts."""

from __future__ import annotations

import pytest

from adabatch.experiments.request import Request
from adabatch.experiments.runner import execute
from adabatch.locks import exclusive
from adabatch.settings import Settings


def test_one_process_trains_in_a_folder(tmp_path):
    request = Request(Settings(), tmp_path / "runs" / "here", 1, 0, False, False, "adabatch compare")
    with exclusive(request.output), pytest.raises(ValueError, match=r"process \d+ on .* is at work in .*here"):
        request.train([])
    request.train([])


def test_no_runs_and_too_few_processes():
    execute([])
    with pytest.raises(ValueError, match="--processes must be 0"):
        execute([], processes=-1)
