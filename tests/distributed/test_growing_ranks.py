"""A run whose ranks follow its batch is the run on the most of them throughout, also where ranks die in it."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import time
from pathlib import Path

import psutil
import pytest

from adabatch.data.samples import PreparedSamples
from adabatch.reporting.metrics import TIMED
from adabatch.settings import Settings, load_settings
from adabatch.training import launch
from tests.support.forked_runs import ForkedRun
from tests.support.tiny_llama import write_tiny_model

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

KILLS = int(os.environ.get("GROWTH_KILLS", "1"))
SPLIT = {"ranks", "accumulation"}
"""What of a record depends on the number of ranks."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("growing")
    write_tiny_model(made / "model.json")
    words = random.Random(0).choices(["norm", "test", "batch", "grows", "as", "noise", "does", "\n"], k=20_000)
    (made / "text.txt").write_text(" ".join(words))
    return made


def settings_of(folder: Path, output: str, **changes) -> Settings:
    """A run of 26 steps whose batch grows from 8 to 32, through 12 at step 5 and 24 at step 20."""
    batches = {"schedule": "linear-ramp", "ramp_samples": 480, "initial_batch": 8, "max_batch": 32}
    batches |= {"micro_batch": 1, "max_micro_batch": 4, "monitor_interval": 1}
    sizes = {"model": f"{folder}/model.json", "data": f"{folder}/text.txt", "cache": f"{folder}/cache"}
    sizes |= {"sequence_length": 16, "samples": 512, "warmup_samples": 64, "validation_interval": 0}
    rest = {"parallel": "fsdp", "threads": 1, "device": "cpu", "figures": False, "output": str(folder / output)}
    return load_settings(overrides=batches | sizes | rest | {"ranks_at": "12:2,24:4"} | changes)


def records_of(settings: Settings) -> list[dict]:
    lines = (Path(settings.run.output) / "metrics.jsonl").read_text().splitlines()
    return [{name: value for name, value in json.loads(line).items() if name not in TIMED} for line in lines]


def assert_alike(records: list[dict], expected: list[dict]) -> None:
    """The same steps on the same samples, with losses to 1e-5."""
    measured = ("loss", "grad_norm", "noise_trace", "grad_sq_norm", "test_statistic")
    assert [record["step"] for record in records] == list(range(1, len(expected) + 1))
    for ours, theirs in zip(records, expected, strict=True):
        for name, value in theirs.items():
            if name in measured:
                assert ours[name] == pytest.approx(value, rel=1e-5 if name == "loss" else 1e-3), (name, ours)
            elif name not in SPLIT:
                assert ours[name] == value, (name, ours)


@pytest.fixture(scope="module")
def fixed(folder):
    """The records of a run on four ranks."""
    settings = settings_of(folder, "fixed", ranks=4, ranks_at="")
    run_to_end(settings, folder / "log")
    return records_of(settings)


def run_to_end(settings: Settings, log: Path) -> str:
    """What the run printed."""
    run = ForkedRun(settings, log)
    assert run.wait(150) == 0, log.read_text()
    return log.read_text()


def test_ranks_follow_the_batch(folder, fixed, monkeypatch, tmp_path):
    take = PreparedSamples.take

    def recording(self, positions):
        with (folder / "taken").open("a") as file:
            file.write("".join(f"{position}\n" for position in positions))
        return take(self, positions)

    monkeypatch.setattr(PreparedSamples, "take", recording)
    settings = settings_of(folder, "growing")
    printed = run_to_end(settings, tmp_path / "log")
    records = records_of(settings)
    assert_alike(records, fixed)
    assert [record["ranks"] for record in records] == [
        4 if record["batch_size"] >= 24 else 2 if record["batch_size"] >= 12 else 1 for record in fixed
    ]
    taken = [int(line) for line in (folder / "taken").read_text().splitlines()]
    assert sorted(taken) == list(range(records[-1]["samples"])), "each sample once, as on a fixed number of ranks"
    assert "2 ranks in place of 1 from step " in printed
    assert "4 ranks in place of 2 from step " in printed
    assert "seconds in pauses" in printed


def test_ranks_that_die_at_their_start_are_done_without(folder, fixed, monkeypatch, tmp_path):
    spawned = launch._spawned_rank

    def dying(*arguments):
        if os.environ["WORLD_SIZE"] == "2" and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        return spawned(*arguments)

    monkeypatch.setattr(launch, "_spawned_rank", dying)
    settings = settings_of(folder, "refused")
    printed = run_to_end(settings, tmp_path / "log")
    records = records_of(settings)
    assert_alike(records, fixed)
    assert [record["ranks"] for record in records] == [4 if r["batch_size"] >= 24 else 1 for r in fixed]
    assert "2 ranks took no step (it was stopped by SIGKILL): the run continues with 1" in printed


def test_kills_while_the_ranks_change_lose_nothing(folder, fixed):
    """SIGKILL to one rank or to all processes, soon after some ranks have ended; the run is started again."""
    chance, log, killed, runs = random.Random(3), folder / "log", 0, 0
    while killed < KILLS:
        runs += 1
        settings = settings_of(folder, f"killed {runs}", resume="auto", checkpoint_interval=64)
        for attempt in range(20):
            run = ForkedRun(settings, log)
            if attempt < 2 and killed < KILLS:
                killed += kill_in_a_change(run, settings, chance)
            if run.wait(120) == 0:
                break
        assert run.poll() == 0, log.read_text()[-4000:]
        assert_alike(records_of(settings), fixed)


def kill_in_a_change(run: ForkedRun, settings: Settings, chance: random.Random) -> bool:
    """Wait until ranks have ended for others, and a moment; whether there was something left to kill."""
    begun = Path(settings.run.output) / "metrics.jsonl"
    first = {rank.pid for rank in wait_for(run.ranks)}
    wait_for(lambda: begun.is_file() and first.isdisjoint(rank.pid for rank in run.ranks()))
    time.sleep(chance.uniform(0, 0.8))
    victims = run.ranks()
    if not victims:  # it has finished, or is between two starts
        return False
    if chance.random() < 0.4:
        run.kill()
    else:
        with contextlib.suppress(psutil.NoSuchProcess):
            chance.choice(victims).kill()
    return True


def wait_for(condition, seconds: float = 60):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found
