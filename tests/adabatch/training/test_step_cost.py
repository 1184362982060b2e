"""What a step waits for: one read of the device, and on several ranks one all-reduce of scalars."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

import adabatch.training.loop
from adabatch.distributed.communication import CommunicationCounter
from adabatch.distributed.parallel import DistributedContext
from adabatch.model.language_model import language_model_loss
from adabatch.settings import load_settings
from adabatch.training.loop import accumulate_gradients, next_batch, training_step
from adabatch.training.opening import open_run
from tests.support.spawning import run_ranks

READS = {"item", "tolist", "numpy", "cpu", "__float__", "__int__", "__bool__", "__index__"}

SMALL = {"sequence_length": 32, "micro_batch": 2, "max_micro_batch": 2, "initial_batch": 8, "max_batch": 1000}

MEASURED = {
    "norm test": {},
    "coordinates": {"monitor_coordinates": True, "monitor_interval": 1, "test": "l1"},
    "layers": {"monitor_layers": True},
    "not measured": {"schedule": "constant"},
}


class HostReads(TorchFunctionMode):
    """The methods that bring a tensor's values to the host, as they are called; each waits for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        name = getattr(func, "__name__", "")
        self.names += [name] * (name in READS)
        return func(*args, **(kwargs or {}))


class ScalarReads(TorchDispatchMode):
    """The kernels that bring a scalar to the host, whoever asks for it: torch's own optimizer and hooks too."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


def opened(output, rank=0, world_size=1, **changes):
    values = SMALL | {"ranks": world_size, "output": str(output)} | changes
    settings = load_settings("demo", overrides=values)
    run = open_run(settings, DistributedContext(rank, world_size, torch.device("cpu")))
    training_step(run)
    return run


def reads_of_a_step(run) -> tuple[list[str], int]:
    with HostReads() as reads, ScalarReads() as scalars:
        training_step(run)
    return reads.names, scalars.count


@pytest.mark.parametrize("changes", MEASURED.values(), ids=MEASURED)
def test_a_step_reads_the_device_once(tmp_path, changes):
    assert reads_of_a_step(opened(tmp_path, **changes)) == (["numpy"], 0)


def test_another_read_is_noticed(tmp_path, monkeypatch):
    run = opened(tmp_path)
    value = torch.ones(())
    monkeypatch.setattr(adabatch.training.loop, "clip_gradients", lambda *_: float(value))
    assert reads_of_a_step(run) == (["numpy", "__float__"], 1)


class Launches(TorchDispatchMode):
    """How often each operation is called."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.calls[str(func)] += 1
        return func(*args, **(kwargs or {}))


def test_a_step_that_is_not_measured_computes_what_a_plain_step_does(tmp_path):
    """Apart from its loss, added up: nothing per parameter, whose gradients nobody looks at."""
    run = opened(tmp_path, **MEASURED["not measured"])
    plan = run.micro_batching.plan(run.schedule.batch_size)
    with Launches() as own:
        accumulate_gradients(run, plan, 32)
    run.optimizer.zero_grad()
    with Launches() as plain:
        for tokens in next_batch(run, plan, 32):
            (language_model_loss(run.model, tokens) / plan.accumulation).backward()
    assert not plain.calls - own.calls
    assert own.calls - plain.calls == {
        "aten.zeros.default": 1,
        "aten.detach.default": plan.accumulation,
        "aten.add_.Tensor": plan.accumulation,
    }


def all_reduces(rank, world_size, folder):
    counted = {}
    for name in ("norm test", "layers", "not measured"):
        run = opened(folder, rank, world_size, parallel="fsdp", **MEASURED[name])
        with CommunicationCounter() as counter:
            training_step(run)
        counted[name] = counter.traffic["all-reduce"].calls
    return counted


@pytest.mark.distributed
def test_ranks_reduce_their_scalars_at_once(tmp_path):
    for counted in run_ranks(all_reduces, 2, tmp_path):
        assert counted == {"norm test": 1, "layers": 1, "not measured": 1}
