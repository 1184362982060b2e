"""Running out of memory as the micro-batch grows: an allocator that fails, in earnest, beyond some size."""

import itertools
import json
import sys

import pytest
import torch

import adabatch.training.admission
from adabatch.commands import main
from adabatch.distributed.parallel import DistributedContext
from adabatch.settings import load_settings
from adabatch.training.launch import OUT_OF_MEMORY
from adabatch.training.loop import train
from adabatch.training.memory_guard import MemoryGuard, is_out_of_memory
from adabatch.training.opening import open_run
from adabatch.training.validation import validate

IMPOSSIBLE = 1 << 55


def settings(folder, **changes):
    ramp = {"schedule": "linear-ramp", "initial_batch": 4, "max_batch": 24, "ramp_samples": 64, "micro_batch": 2}
    small = {"samples": 128, "max_micro_batch": 8, "warmup_samples": 16, "validation_interval": 0}
    return load_settings("demo", overrides=ramp | small | {"output": str(folder), "sequence_length": 32} | changes)


def with_memory_for(run, most):
    """The run on a device that holds micro-batches of at most ``most``: a larger one really fails to allocate."""

    def allocate(module, arguments, named):
        if named["input_ids"].shape[0] > most:
            torch.empty(IMPOSSIBLE)

    getattr(run.model, "module", run.model).register_forward_pre_hook(allocate, with_kwargs=True)
    return run


def open_single(folder, **changes):
    return open_run(settings(folder, **changes), DistributedContext())


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The records where memory is enough."""
    return list(train(open_single(tmp_path_factory.mktemp("whole"))))


def test_the_allocators_own_error_is_known():
    with pytest.raises(RuntimeError) as raised:
        torch.empty(IMPOSSIBLE)
    assert is_out_of_memory(raised.value)
    assert not is_out_of_memory(RuntimeError("Connection closed by peer"))


@pytest.mark.parametrize("most", [2, 3, 5])
def test_the_batch_stays_and_accumulation_grows(tmp_path, most, whole):
    run = with_memory_for(open_single(tmp_path / "small"), most)
    with pytest.warns(UserWarning, match=r"does not fit in memory: the batch of \d+ is now 1 ranks x"):
        records = list(train(run))
    assert [r["batch_size"] for r in records] == [r["batch_size"] for r in whole]
    assert all(r["micro_batch"] <= most for r in records)
    assert any(a["accumulation"] > b["accumulation"] for a, b in zip(records, whole, strict=True))
    assert records[0]["micro_batch_limit"] is None
    assert records[-1]["micro_batch_limit"] == run.memory.limit <= most
    assert [r["loss"] for r in records] == pytest.approx([r["loss"] for r in whole], rel=1e-4)


def test_validation_takes_no_more_at_once_than_fits(tmp_path):
    changes = {"validation_interval": 64, "validation_samples": 20}
    whole = [r["val_loss"] for r in train(open_single(tmp_path / "whole", **changes)) if "val_loss" in r]
    run = with_memory_for(open_single(tmp_path / "small", **changes), 3)
    with pytest.warns(UserWarning, match="does not fit"):
        limited = [r["val_loss"] for r in train(run) if "val_loss" in r]
    assert limited == pytest.approx(whole, rel=1e-4)
    assert len(whole) == 2


@pytest.mark.parametrize(("memory", "largest"), [({}, 2), ({"worked": 3}, 3), ({"worked": 8, "length": 8}, 4)])
def test_validation_takes_what_has_fitted(tmp_path, memory, largest):
    """Before the first step the smallest micro-batch; after steps on shorter sequences fewer of the full ones."""
    run, sizes = open_single(tmp_path, validation_samples=20, sequence_length=16, micro_batch=2), []
    run.memory = MemoryGuard(**memory)

    def note(module, arguments, named):
        sizes.append(named["input_ids"].shape[0])

    run.model.register_forward_pre_hook(note, with_kwargs=True)
    validate(run)
    assert max(sizes) == largest
    assert sum(sizes) == 20


def test_trying_leaves_nothing_behind(tmp_path, whole):
    """With memory enough, the run is bit for bit the one that tries nothing."""
    run = open_single(tmp_path / "sure")
    run.memory.worked = 8
    sure = list(train(run))
    assert [(r["loss"], r["grad_norm"]) for r in whole] == [(r["loss"], r["grad_norm"]) for r in sure]
    assert max(r["micro_batch"] for r in whole) > 2


def test_the_norm_test_goes_on_with_more_groups(tmp_path):
    run = with_memory_for(open_single(tmp_path, schedule="norm-test", eta=0.3, initial_batch=8), 3)
    with pytest.warns(UserWarning, match="does not fit"):
        records = list(train(run))
    assert records[-1]["batch_size"] > 12
    assert all(r["batch_size"] == r["accumulation"] * r["micro_batch"] for r in records)


def test_a_resumed_run_knows_the_limit(tmp_path):
    changes = {"checkpoint_interval": 16}
    with pytest.warns(UserWarning, match="does not fit"):
        whole = list(train(with_memory_for(open_single(tmp_path / "whole", **changes), 3)))
    cut = train(with_memory_for(open_single(tmp_path / "cut", **changes), 3))
    with pytest.warns(UserWarning, match="does not fit"):
        begun = list(itertools.islice(cut, 7))
    assert begun[-2]["micro_batch_limit"] is not None
    resumed = with_memory_for(open_single(tmp_path / "cut", resume="auto", **changes), 3)
    rest = list(train(resumed))
    assert 0 < len(rest) < len(whole)
    assert [(r["loss"], r["micro_batch"]) for r in rest] == [
        (r["loss"], r["micro_batch"]) for r in whole[-len(rest) :]
    ]


def test_other_errors_are_not_taken_for_memory(tmp_path, monkeypatch):
    run = open_single(tmp_path)
    steps = train(run)
    next(steps)

    def broken(model, tokens):
        raise RuntimeError("something else")

    monkeypatch.setattr(adabatch.training.admission, "language_model_loss", broken)
    with pytest.raises(RuntimeError, match="something else"):
        list(steps)


def test_a_first_micro_batch_that_does_not_fit_ends_with_its_own_exit_code(monkeypatch, capsys, tmp_path):
    def impossible(model, tokens):
        return torch.empty(IMPOSSIBLE)

    monkeypatch.setattr("adabatch.training.loop.language_model_loss", impossible)
    options = f"--preset demo --threads 1 --samples 64 --warmup-samples 8 --output {tmp_path / 'run'}"
    monkeypatch.setattr(sys, "argv", ["adabatch", "train", *options.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    error = capsys.readouterr().err
    assert ended.value.code == OUT_OF_MEMORY == 4
    assert "Error: rank 0 ran out of memory" in error
    assert "--max-micro-batch" in error
    assert "Traceback" not in error


def test_what_a_step_needs_is_its_peak_beyond_what_it_began_with(monkeypatch):
    held = {"memory_allocated": 100, "max_memory_allocated": 900}
    for name in held:
        monkeypatch.setattr(torch.cuda, name, lambda device, name=name: held[name])
    monkeypatch.setattr(torch.cuda, "reset_peak_memory_stats", lambda device: held.update(max_memory_allocated=0))
    guard, device = MemoryGuard(worked=4, length=16), torch.device("cuda")
    guard.begin_step(device)
    held["max_memory_allocated"] = 250
    guard.end_step(device)
    held["max_memory_allocated"] = 5000  # of a validation
    assert guard.transient == 150
    resumed = MemoryGuard()
    resumed.load_state_dict(json.loads(json.dumps(guard.state_dict())))
    assert (resumed.worked, resumed.length, resumed.transient) == (4, 16, 150)
