"""What the runner refuses before any run starts."""

from __future__ import annotations

import pytest

from adabatch.experiments.runner import alone, carry_out


def test_one_process_trains_in_a_folder(tmp_path):
    here = tmp_path / "here"
    with alone(here), alone(tmp_path / "there"), pytest.raises(ValueError, match="another process"), alone(here):
        pass
    with alone(here):
        pass


def test_no_runs_and_too_few_processes():
    carry_out([])
    with pytest.raises(ValueError, match="--processes must be 0"):
        carry_out([], processes=-1)
