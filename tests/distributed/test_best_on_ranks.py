"""The best checkpoint of a run on several ranks that is killed and resumed by other numbers of them."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from adabatch.checkpoints.folders import (
    best_checkpoint,
    checkpoint_step,
    complete_checkpoints,
    lowest_loss,
    problem_with,
)
from adabatch.reporting.metrics import last_record, read_metrics
from adabatch.settings import load_settings
from adabatch.training import loop
from tests.support.forked_runs import ForkedRun
from tests.support.tiny_llama import write_tiny_model

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

KILLS = int(os.environ.get("BEST_KILLS", "3"))
BATCH, STEPS, NUMBERS = 8, 40, (2, 4, 1)


def loss_after(step: int) -> float:
    """The validation loss: it falls up to two thirds of the run and rises from there, and swings about that."""
    return 2 + abs(3 * step - 2 * STEPS) / 100 + 0.3 * (step // 2 % 3)


def lowest_up_to(step: int) -> float:
    """Each second step is validated."""
    return min(map(loss_after, range(2, step + 1, 2)))


def test_kills_and_other_numbers_of_ranks_never_lose_the_best(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "validate", lambda run: {"val_loss": loss_after(run.schedule.steps)})
    write_tiny_model(tmp_path / "model.json")
    (tmp_path / "text.txt").write_text("a batch grows as the noise does. " * 900)
    chance, folder = random.Random(7), tmp_path / "run" / "checkpoints"
    for start in range(KILLS + 1):
        run = ForkedRun(settings_of(tmp_path, NUMBERS[start % len(NUMBERS)]), tmp_path / "log")
        if start < KILLS:
            kill_after(run, tmp_path / "run", (start + 1) * STEPS // (KILLS + 2), chance)
        else:
            assert run.wait(120) == 0, (tmp_path / "log").read_text()
        known = [checkpoint_step(path) for path in complete_checkpoints(folder)]
        if known and known[-1] > 1:
            assert problem_with(best_checkpoint(folder)) is None
            assert lowest_loss(folder) == lowest_up_to(known[-1])
    best = min(range(2, STEPS + 1, 2), key=loss_after)
    assert known == [best, STEPS]
    assert [record["step"] for record in read_metrics(tmp_path / "run")] == list(range(1, STEPS + 1))
    assert f"best checkpoint: {folder}/step-{best:08d}" in (tmp_path / "log").read_text()


def settings_of(folder: Path, ranks: int):
    given = {"model": f"{folder}/model.json", "data": f"{folder}/text.txt", "cache": f"{folder}/cache"}
    given |= {"schedule": "constant", "initial_batch": BATCH, "samples": BATCH * STEPS, "sequence_length": 16}
    given |= {"validation_interval": 2 * BATCH, "checkpoint_interval": 5 * BATCH, "keep": 1, "keep_best": True}
    given |= {"parallel": "fsdp", "ranks": ranks, "threads": 1, "device": "cpu", "figures": False}
    return load_settings(overrides=given | {"warmup_samples": 16, "resume": "auto", "output": f"{folder}/run"})


def kill_after(run: ForkedRun, folder: Path, step: int, chance: random.Random) -> None:
    """SIGKILL to all processes or to one rank, soon after the record of a step."""
    deadline = time.monotonic() + 60
    while (record := last_record(folder)) is None or record["step"] < step:
        assert time.monotonic() < deadline
        assert run.poll() is None, run.log.read_text()
        time.sleep(0.01)
    time.sleep(chance.uniform(0, 0.1))
    ranks = run.ranks()
    if chance.random() < 0.5 and ranks:
        chance.choice(ranks).kill()
        run.wait(60)
    run.kill()
