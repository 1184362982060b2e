"""The best checkpoint: kept next to the newest ones, at every moment of a save, through resumptions, and named."""

from __future__ import annotations

import math
import os
import shutil
from contextlib import suppress

import pytest
import torch

import adabatch.training.loop
from adabatch.checkpoints.errors import CheckpointError
from adabatch.checkpoints.folders import (
    LOSS,
    best_checkpoint,
    checkpoint_step,
    complete_checkpoints,
    lowest_loss,
    named_checkpoint,
    problem_with,
)
from adabatch.checkpoints.saving import CheckpointSaver
from adabatch.data.preparation import save_tokenizer
from adabatch.distributed.parallel import DistributedContext
from adabatch.export import export_run
from adabatch.settings import load_settings
from adabatch.training.checks import check_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from adabatch.training.trained_model import load_trained_model
from tests.adabatch.checkpoints.test_folders import trained

ALONE = DistributedContext()


def save(folder, losses: dict[int, float | None], **options) -> None:
    saver = CheckpointSaver(folder, ALONE, **options)
    for step, loss in losses.items():
        saver.save(step, *trained(step), {"step": step, LOSS: loss})
    saver.wait()


def kept(folder) -> list[int]:
    return [checkpoint_step(path) for path in complete_checkpoints(folder)]


LOSSES = {1: 3.0, 2: 2.0, 3: None, 4: 2.0, 5: 5.0, 6: 4.0}


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_earliest_of_the_lowest_stays_next_to_the_newest(tmp_path, asynchronous):
    save(tmp_path / "with", LOSSES, keep=2, keep_best=True, asynchronous=asynchronous)
    save(tmp_path / "without", LOSSES, keep=2, asynchronous=asynchronous)
    assert (kept(tmp_path / "with"), kept(tmp_path / "without")) == ([2, 5, 6], [5, 6])
    assert checkpoint_step(best_checkpoint(tmp_path / "with")) == 2
    assert lowest_loss(tmp_path / "with") == 2.0
    save(tmp_path / "unknown", {1: None}, keep_best=True)
    assert (best_checkpoint(tmp_path / "unknown"), lowest_loss(tmp_path / "unknown")) == (None, math.inf)


OPERATIONS = ("replace", "rename", "unlink", "mkdir", "rmdir", "fsync")


class Killed(BaseException):
    pass


def count_down(monkeypatch, left: int) -> list[str]:
    """The operation on the disk after that many others kills; the names of those before."""
    done: list[str] = []

    def counted(name, operation):
        def instead(*arguments, **options):
            if len(done) >= left:
                raise Killed
            done.append(name)
            return operation(*arguments, **options)

        return instead

    for name in OPERATIONS:
        monkeypatch.setattr(os, name, counted(name, getattr(os, name)))
    return done


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "end"), [(1.0, [3]), (4.0, [1, 3])])
def test_a_kill_at_any_operation_leaves_the_best_whole(tmp_path, loss, end):
    """Of a save that is the best one and of one that is not, which deletes another; then the run resumes."""
    save(tmp_path / "before", {1: 2.0, 2: 3.0}, keep=1, keep_best=True)
    lowest, lost = set(), 0
    for left in range(1000):
        for keep_best in (True, False):
            folder = shutil.copytree(tmp_path / "before", tmp_path / f"{left}-{keep_best}")
            with pytest.MonkeyPatch.context() as patched:
                done = count_down(patched, left)
                with suppress(Killed, CheckpointError):
                    save(folder, {3: loss}, keep=1, keep_best=keep_best)
            best = best_checkpoint(folder)
            if not keep_best:
                lost += lowest_loss(folder) > 2.0
                continue
            lowest.add(lowest_loss(folder))
            assert problem_with(best) is None
            whole = len(done) < left
            save(folder, {3: loss}, keep=1, keep_best=True)
            assert kept(folder) == end
        shutil.rmtree(folder)
        if whole:
            break
    assert lowest == {2.0, min(2.0, loss)}
    assert bool(lost) == (loss > 2.0)  # that of keeping the newest only is noticed
    assert left > 20


def of_losses(folder, **changes):
    """An opened run of six steps that is validated after each."""
    (folder / "text.txt").write_text("a batch grows as the noise does. " * 400)
    small = {"data": str(folder / "text.txt"), "output": str(folder / "run"), "samples": 24, "warmup_samples": 4}
    small |= {"schedule": "constant", "initial_batch": 4, "sequence_length": 16, "validation_interval": 4}
    small |= {"checkpoint_interval": 8, "keep": 1, "keep_best": True, "model": "nano"}
    return open_run(load_settings("demo", overrides=small | changes), ALONE)


@pytest.fixture
def losses(monkeypatch):
    """After each number of samples."""
    known = {4: 5.0, 8: 3.0, 12: math.nan, 16: 3.5, 20: 3.25, 24: 3.1}
    monkeypatch.setattr(adabatch.training.loop, "validate", lambda run: {"val_loss": known[run.samples]})
    return known


def test_each_lower_loss_saves_and_a_resumed_run_goes_on_from_the_lowest(tmp_path, losses):
    folder = tmp_path / "run" / "checkpoints"
    run = of_losses(tmp_path)
    for record in train(run):
        if record["samples"] == 20:  # killed: the checkpoints are those of steps 2, the best, and 4
            break
    assert kept(folder) == [2, 4]
    resumed = of_losses(tmp_path, resume="auto", allow=("records",))
    assert (resumed.schedule.steps, resumed.lowest) == (4, 3.0)
    losses[20] = 2.0  # lower: saved between two intervals
    list(train(resumed))
    assert kept(folder) == [5, 6]
    assert lowest_loss(folder) == 2.0
    again = of_losses(tmp_path, resume=str(folder / "step-00000005"), allow=("records",))
    assert (again.schedule.steps, again.lowest) == (5, 2.0)


def test_the_best_is_named(tmp_path, losses):
    run = of_losses(tmp_path)
    list(train(run))
    save_tokenizer(run.corpus.tokenizer, tmp_path / "run")
    best = tmp_path / "run" / "checkpoints" / "best"
    assert kept(best.parent) == [2, 6]
    found = load_trained_model(best)
    assert found.step == 2
    assert export_run(best, tmp_path / "exported").step == 2
    started = of_losses(tmp_path, output=str(tmp_path / "second"), init_from=str(best))
    for (name, value), own in zip(found.model.named_parameters(), started.model.parameters(), strict=True):
        assert torch.equal(value, own), name
    other = {"tokenizer": "bpe", "vocabulary_size": 260}
    with pytest.warns(UserWarning, match=r"were trained with another tokenizer, .* \(--tokenizer bytes\)"):
        of_losses(tmp_path, output=str(tmp_path / "third"), init_from=str(best), **other)
    with pytest.raises(ValueError, match=r"step-00000002 do not fit the model: .* take the --model of that run"):
        of_losses(tmp_path, output=str(tmp_path / "third"), init_from=str(best), model="tiny")
    assert named_checkpoint(tmp_path / "run") == tmp_path / "run"
    shutil.rmtree(best.parent / "step-00000002")
    shutil.rmtree(best.parent / "step-00000006")
    with pytest.raises(ValueError, match=r"no complete checkpoint in .* after a step that was validated: train"):
        load_trained_model(best)


@pytest.mark.parametrize(("changes", "option"), [({"validation_interval": 0}, "interval"), ({}, "fraction")])
def test_the_best_of_what_is_not_validated_is_refused(changes, option):
    given = {"keep_best": True, "validation_fraction": 0.0 if option == "fraction" else 0.05}
    with pytest.raises(ValueError, match=f"--keep-best goes by validation losses, and --validation-{option} is 0"):
        check_settings(load_settings("demo", overrides=given | changes), 1)
