"""The collector of cycles looks rarely while a command or a rank starts, and as usual once it trains."""

from __future__ import annotations

import gc
import os

import pytest

from adabatch.collecting import RARELY, USUALLY
from adabatch.distributed import launcher, signals
from adabatch.training import train as training


@pytest.fixture
def frozen(monkeypatch):
    """How often all objects were set apart, which would be those of other tests."""
    calls = []
    monkeypatch.setattr(gc, "freeze", lambda: calls.append(gc.get_threshold()))
    yield calls
    gc.set_threshold(*USUALLY)


def test_a_command_looks_rarely_and_training_as_usual(adabatch, frozen, monkeypatch, tmp_path):
    seen = []
    monkeypatch.setattr(training, "launch", lambda *_, **__: seen.append(gc.get_threshold()) or 3)
    assert adabatch("train", "--preset", "demo", "--output", tmp_path).code == 3
    assert (frozen, seen, gc.get_threshold()) == ([RARELY], [USUALLY], USUALLY)


def test_a_command_that_is_refused_leaves_the_collector_as_it_was(adabatch):
    adabatch.refuses("none", "train", "--preset", "none")
    assert gc.get_threshold() == USUALLY


def test_a_rank_looks_rarely_while_it_starts(frozen, monkeypatch):
    monkeypatch.setenv(signals.LAUNCHER, str(os.getppid()))
    monkeypatch.setattr(signals, "die_with_parent", lambda pid: None)
    monkeypatch.setattr(signals, "_starting", signals.ExitStack())
    with signals._starting:
        signals.while_a_rank_starts()
        assert gc.get_threshold() == RARELY
    ended, seen = [], []
    monkeypatch.setattr(os, "_exit", ended.append)
    monkeypatch.setattr(launcher, "end_with_parent", lambda: None)
    launcher._be_rank(lambda: seen.append(gc.get_threshold()) or 0, (), {})
    assert (frozen, seen, ended) == ([RARELY], [USUALLY], [0])
