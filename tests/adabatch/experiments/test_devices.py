"""Which GPUs or cores each run gets, and the line that says so."""

from __future__ import annotations

import random
from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from adabatch.experiments import devices, runner, worker
from adabatch.experiments.devices import place_runs, visible_gpus
from adabatch.experiments.run import ExperimentRun
from adabatch.experiments.runner import Processes
from adabatch.settings import ParallelSettings, Settings


def placed(gpus, runs=20, processes=0, cores=8, **settings):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(devices, "visible_gpus", lambda: gpus)
        patch.setattr(devices, "visible_cores", lambda: cores)
        return place_runs(ParallelSettings(**settings), runs, processes)


@pytest.mark.parametrize(
    ("environment", "found", "names"),
    [
        (None, 3, ("0", "1", "2")),
        ("2,0", 2, ("2", "0")),
        ("GPU-8f2, GPU-11c", 2, ("GPU-8f2", "GPU-11c")),
        ("1,99,0", 1, ("1",)),  # CUDA stops at the first one that does not exist
        ("", 0, ()),
        (None, 0, ()),
    ],
)
def test_visible_gpus_are_named_as_cuda_is_told(monkeypatch, environment, found, names):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if environment is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", environment)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: found)
    assert visible_gpus() == names


@pytest.mark.parametrize(
    ("gpus", "asked", "shares", "text"),
    [
        ("0123", {}, "0 1 2 3", "4 at once, a GPU each: 0, 1, 2, 3"),
        ("0123", {"processes": 2}, "0 1", "2 at once, a GPU each: 0, 1 of 4 visible"),
        ("0123", {"runs": 3}, "0 1 2", "3 at once, a GPU each: 0, 1, 2 of 4 visible"),
        ("42031", {"ranks": 2}, "42 03", "2 at once, 2 GPUs each: 4+2, 0+3 of 5 visible"),
        (
            "01",
            {"processes": 5},
            "0 1",
            "2 at once, a GPU each: 0, 1; 5 were asked for, but the GPUs are enough for 2",
        ),
        (
            "012",
            {"processes": 2, "ranks": 2},
            "01",
            "1 at once, 2 GPUs each: 0+1 of 3 visible; 2 were asked for, but the GPUs are enough for 1",
        ),
    ],
)
def test_each_rank_has_a_gpu_of_its_own(gpus, asked, shares, text):
    placement = placed(tuple(gpus), **asked)
    assert ["".join(share) for share in placement.shares] == shares.split()
    assert placement.text == text


@pytest.mark.parametrize(
    ("asked", "count", "text"),
    [
        ({}, 8, "8 at once, 1 thread each, on 8 CPU cores"),
        ({"runs": 3}, 3, "3 at once, 1 thread each, on 8 CPU cores"),
        ({"threads": 3}, 2, "2 at once, 3 threads each, on 8 CPU cores"),
        ({"ranks": 2, "threads": 2}, 2, "2 at once, 2 ranks of 2 threads each, on 8 CPU cores"),
        ({"ranks": 16}, 1, "1 at once, 16 ranks of 1 thread each, on 8 CPU cores: 16 threads share them"),
        ({"processes": 10}, 10, "10 at once, 1 thread each, on 8 CPU cores: 10 threads share them"),
    ],
)
def test_without_gpus_each_run_has_its_threads(asked, count, text):
    placement = placed((), **asked)
    assert placement.shares == ((),) * count
    assert placement.text == text
    assert placed(tuple("0123"), device="cpu", **asked) == placement


def test_runs_of_more_ranks_than_gpus_are_refused():
    with pytest.raises(
        ValueError, match=r"a run of 3 ranks needs 3 GPUs, but 2 are visible \(1, 4\): lower --ranks"
    ):
        placed(("1", "4"), ranks=3)


@given(gpus=st.integers(1, 9), ranks=st.integers(1, 4), runs=st.integers(1, 9), asked=st.integers(0, 9))
def test_no_gpu_is_shared_and_none_is_idle_without_need(gpus, ranks, runs, asked):
    if ranks > gpus:
        return
    shares = placed(tuple(map(str, range(gpus))), runs, asked, ranks=ranks).shares
    used = [gpu for share in shares for gpu in share]
    assert len(used) == len(set(used)) == ranks * len(shares)
    assert len(shares) == min(gpus // ranks, runs, asked or gpus)


@pytest.mark.parametrize("seed", range(5))
def test_a_run_gets_the_gpus_of_one_that_has_ended(monkeypatch, seed):
    """Runs end in any order; at no time do two have the same GPU, and nothing waits while one is free."""
    generator, given_to, most = random.Random(seed), {}, []
    settings = Settings(parallel=ParallelSettings(ranks=2))
    runs = [ExperimentRun(str(number), Path("nowhere"), lambda: settings) for number in range(9)]

    class OnGpus(Processes):
        def start(self, run, corpus, gpus):
            given_to[run.name] = gpus

    def ended(active, starter, stop):
        held = [gpu for run in active for gpu in given_to[run.name]]
        assert len(held) == len(set(held)) == 2 * len(active)
        most.append(len(active))
        for run in generator.sample(list(active), generator.randint(1, len(active))):
            del active[run]
            yield run, 1.0

    monkeypatch.setattr(devices, "visible_gpus", lambda: tuple("abcdef"))
    monkeypatch.setattr(runner, "prepare_with_progress", lambda *_: Path("corpus"))
    monkeypatch.setattr(runner, "_ended", ended)
    monkeypatch.setattr(runner, "_active", lambda: nullcontext({}))
    runner.execute(runs, OnGpus())
    assert len(given_to) == 9
    assert most[0] == 3
    assert set(given_to.values()) == {("a", "b"), ("c", "d"), ("e", "f")}


@pytest.mark.parametrize(("gpus", "expected"), [(("3", "1"), "3,1"), ((), "before")])
def test_a_worker_sees_its_share(monkeypatch, tmp_path, gpus, expected):
    """Also what it starts: the environment is set when the run begins."""
    seen = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "before")
    monkeypatch.setattr("adabatch.training.launch.launch", lambda *_: seen.append(dict(worker.os.environ)) or 0)
    monkeypatch.setattr(worker.os, "dup2", lambda *_: None)
    monkeypatch.setattr(worker.os, "_exit", seen.append)
    monkeypatch.setattr(worker, "end_with_parent", lambda: None)
    worker.run_in_this_process(None, tmp_path / "run" / "log.txt", tmp_path, gpus)
    environment, code = seen
    assert environment["CUDA_VISIBLE_DEVICES"] == expected
    assert code == 0
