"""Traces of torch's profiler."""

import json

import pytest
import torch

from adabatch.training.profiling import tracing


def take_steps(count, steps, folder):
    with tracing(steps, folder) as trace:
        for _ in range(count):
            torch.zeros(3).add_(1)
            trace()


def test_the_steps_after_the_first_ones_are_traced(tmp_path):
    take_steps(8, 2, tmp_path)
    assert [path.name for path in (tmp_path / "profile").iterdir()] == ["trace.json"]
    events = json.loads((tmp_path / "profile" / "trace.json").read_text())["traceEvents"]
    assert sum(event["name"] == "aten::add_" for event in events) == 2


def test_nothing_is_traced_unless_asked_for(tmp_path):
    take_steps(8, 0, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_run_that_ends_before_says_so(tmp_path):
    with pytest.warns(UserWarning, match=r"ended before step 5, the first to be traced \(--profile\)"):
        take_steps(2, 2, tmp_path)
