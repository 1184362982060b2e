"""What every experiment is asked for, and what is refused of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from adabatch.experiments.request import Request
from adabatch.settings import Settings, overlay


def request(quick: bool = False, **settings: object) -> Request:
    return Request(overlay(Settings(), settings), Path("out"), 1, 0, quick, False, "adabatch compare")


def test_the_smallest_experiment_has_its_own_settings(monkeypatch):
    monkeypatch.delenv("RANK", raising=False)
    assert request(seed=3).settings({"samples": 7}) == overlay(Settings(), {"seed": 3})
    assert request(True, seed=3).settings({"samples": 7}) == overlay(Settings(), {"seed": 3, "samples": 7})


def test_a_time_limit_is_refused():
    with pytest.raises(ValueError, match=r"end single runs, not the whole experiment: leave out --time-limit"):
        request(time_limit="3h").settings({})


def test_torchrun_is_refused(monkeypatch):
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(ValueError, match=r"RANK is set, as under torchrun.*without torchrun, or unset RANK"):
        request().settings({})
