"""A run stops, and saves by the clock, at the end of a step, on all ranks alike."""

from __future__ import annotations

import itertools
import json
import math
import signal
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import adabatch.training.stopping
from adabatch.checkpoints.folders import complete_checkpoints
from adabatch.distributed.parallel import DistributedContext
from adabatch.reporting.metrics import TIMED
from adabatch.settings import RunSettings, load_settings
from adabatch.training import launch
from adabatch.training.launch import launch as launch_run
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from adabatch.training.stopping import Stopping, seconds_of
from tests.support.spawning import run_ranks

SMALL = {
    "samples": 48,
    "initial_batch": 4,
    "max_batch": 4,
    "micro_batch": 2,
    "warmup_samples": 8,
    "validation_interval": 0,
    "sequence_length": 32,
    "threads": 1,
    "figures": False,
}
COUNT = st.none() | st.integers(0, 10**6)


@given(st.tuples(COUNT, COUNT, COUNT, COUNT))
def test_a_time_limit_is_the_sum_of_its_parts(counts):
    days, hours, minutes, seconds = (count or 0 for count in counts)
    expected = ((days * 24 + hours) * 60 + minutes) * 60 + seconds
    assume(expected > 0)
    text = "".join(f"{count}{unit}" for count, unit in zip(counts, "dhms", strict=True) if count is not None)
    assert seconds_of(text) == expected


def test_without_a_limit_there_is_no_end():
    assert seconds_of(None) == math.inf


@pytest.mark.parametrize(
    "text", ["0", "0h", "3", "3.5h", "-3h", "3h 50m", "50m3h", "3hours", "3:50:00", "nan", "inf", "²h", "3h\n"]
)
def test_another_time_limit_is_refused_before_anything_is_written(text, tmp_path):
    settings = load_settings("demo", overrides=SMALL | {"output": str(tmp_path / "run"), "time_limit": text})
    with pytest.raises(ValueError, match=r"such as 3h50m, 1d12h or 90s, not "):
        launch_run(settings)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("value", [-1.0, math.nan, math.inf])
def test_checkpoint_minutes_are_0_or_more(value, tmp_path):
    with pytest.raises(ValueError, match=r"--checkpoint-minutes must be 0 \(never\) or from "):
        load_settings("demo", overrides=SMALL | {"output": str(tmp_path), "checkpoint_minutes": value})


@pytest.fixture
def clock(monkeypatch):
    now = [1000.0]
    monkeypatch.setattr(adabatch.training.stopping.time, "monotonic", lambda: now[0])
    return now


def wishes(stopping: Stopping) -> list[float]:
    return [float(wish) for wish in stopping.wishes()]


def test_the_main_rank_saves_when_its_last_checkpoint_is_old(clock):
    main, other = (Stopping(RunSettings(), DistributedContext(rank, 2)) for rank in (0, 1))
    clock[0] += 899
    assert wishes(main) == [0, 0]
    clock[0] += 1
    assert (wishes(main), wishes(other)) == ([0, 1], [0, 0])
    main.saved()
    assert wishes(main) == [0, 0]
    clock[0] += 900
    assert wishes(main) == [0, 1]


def test_0_minutes_are_never(clock):
    stopping = Stopping(RunSettings(checkpoint_minutes=0.0), DistributedContext())
    clock[0] += 1e9
    assert wishes(stopping) == [0, 0]


def test_the_time_limit_is_the_main_rank_s(clock):
    main, other = (Stopping(RunSettings(), DistributedContext(rank, 2)) for rank in (0, 1))
    main.deadline = other.deadline = 1010.0
    clock[0] = 1009.9
    assert wishes(main) == [0, 0]
    clock[0] = 1010.0
    assert (wishes(main), wishes(other)) == ([1, 0], [0, 0])


def opened(folder: Path, rank: int = 0, ranks: int = 1, **changes):
    values = SMALL | {"output": str(folder), "parallel": "fsdp" if ranks > 1 else "single", "ranks": ranks}
    return open_run(load_settings("demo", overrides=values | changes), DistributedContext(rank, ranks))


def saved_steps(folder: Path) -> list[int]:
    return [int(path.name.removeprefix("step-")) for path in complete_checkpoints(folder / "checkpoints")]


def test_a_signal_within_a_step_ends_the_run_after_it(tmp_path):
    run = opened(tmp_path)
    steps = train(run)
    next(steps), next(steps)
    run.stopping.request.note(signal.SIGTERM)
    assert [record["step"] for record in steps] == [3]
    assert run.stopping.code == 143
    assert saved_steps(tmp_path) == [3]


def test_a_run_that_is_stopped_in_its_last_step_has_finished(tmp_path):
    run = opened(tmp_path)
    for record in train(run):
        if record["step"] == 11:
            run.stopping.request.note(signal.SIGTERM)
    assert run.finished()
    assert (run.stopping.code, launch._code(run)) == (143, 0)
    assert saved_steps(tmp_path) == [12]


def test_the_clock_saves_between_two_intervals(tmp_path, clock):
    """Step 3 ends 15 minutes after the start, step 8 fifteen after that; 0.05 s do not count as time here."""
    run = opened(tmp_path, keep=0)
    for record in train(run):
        clock[0] += 450 if record["step"] in (1, 2) else 0
        clock[0] += 900 if record["step"] == 7 else 0
    assert saved_steps(tmp_path) == [3, 8, 12]


def stop_on_ranks(rank: int, ranks: int, folder: Path) -> dict[str, tuple[int, int]]:
    """Exit code and steps of runs that one rank alone asks to stop in its second step."""
    ended = {}
    for name, asking, code in [("rank 1", 1, 138), ("rank 0", 0, 138), ("clock of 0", 0, 5), ("clock of 1", 1, 0)]:
        run = opened(folder / name, rank, ranks)
        for record in train(run):
            if record["step"] == 1 and rank == asking:
                if code == 138:
                    run.stopping.request.note(signal.SIGUSR1)
                else:
                    run.stopping.deadline = 0.0
        ended[name] = run.stopping.code, run.schedule.steps
    return ended


@pytest.mark.distributed
def test_one_rank_stops_all_in_the_same_step(tmp_path):
    for ended in run_ranks(stop_on_ranks, 2, tmp_path):
        assert ended == {"rank 1": (138, 2), "rank 0": (138, 2), "clock of 0": (5, 2), "clock of 1": (0, 12)}
    assert [saved_steps(tmp_path / name) for name in ("rank 1", "rank 0", "clock of 0")] == [[2], [2], [2]]


def test_a_run_that_a_signal_and_then_the_clock_end_is_the_undisturbed_one(tmp_path, capfd, monkeypatch):
    """As the command trains: stopped in its third step, resumed by what it printed, and to its end."""
    settings = load_settings("demo", overrides=SMALL | {"output": str(tmp_path / "stopped")})
    steps, wishes_of = itertools.count(1), Stopping.wishes

    def wishes(self):
        if next(steps) == 3:
            self.request.note(signal.SIGHUP)
        return wishes_of(self)

    deadlines = iter([math.inf, -math.inf, math.inf, math.inf])
    monkeypatch.setattr(Stopping, "wishes", wishes)
    monkeypatch.setattr(launch, "seconds_of", lambda limit: next(deadlines))
    assert launch_run(settings) == 129
    assert saved_steps(tmp_path / "stopped") == [3]
    config, said = tmp_path / "stopped" / "config.toml", capfd.readouterr().err
    assert "stopped by SIGHUP after step 3 (12 of 48 samples); to resume: adabatch train --config " in said
    assert f"{config} --resume auto" in said
    assert launch_run(load_settings(file=config, overrides={"resume": "auto"})) == 5
    assert "the time limit was reached after step 4 (16 of 48 samples)" in capfd.readouterr().err
    assert launch_run(load_settings(file=config, overrides={"resume": "auto"})) == 0
    assert launch_run(load_settings("demo", overrides=SMALL | {"output": str(tmp_path / "whole")})) == 0
    assert records(tmp_path / "stopped") == records(tmp_path / "whole")


def records(folder: Path) -> list[dict]:
    found = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in record.items() if name not in TIMED} for record in found]
