"""Every optimizer on two ranks: its step on shards is that on whole parameters; its state suits other ranks."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.distributed.tensor import distribute_tensor
from torch.optim import Adafactor, Muon

from adabatch.checkpoints.folders import complete_checkpoints
from adabatch.distributed.parallel import DistributedContext, parallelize
from adabatch.model.language_model import build_model, model_config
from adabatch.schedules.coupling import StepHyperparameters
from adabatch.settings import OptimizerSettings, ParallelSettings
from adabatch.training import optimizers
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from adabatch.training.optimizers import build_optimizer, optimizer_step
from tests.distributed.test_other_world_sizes import LAYOUTS, MODEL, full_state, settings_for
from tests.support.spawning import run_ranks

pytestmark = pytest.mark.distributed

UNEVEN = MODEL | {"hidden_size": 36, "intermediate_size": 49, "num_attention_heads": 2, "vocab_size": 265}
"""Whose matrices two ranks cannot divide evenly."""

STEP = StepHyperparameters(batch_size=8, sequence_length=16, learning_rate=0.02, beta2=0.95, weight_decay=0.1)

NAMES = ("adamw", "sgd", "adafactor", "muon")

TOLERANCE = {"adamw": 1e-5, "sgd": 1e-5, "adafactor": 1e-5, "muon": 1e-3}
"""Of losses after a change of ranks, relative: gradients are summed in another order, and Muon rounds them to
bf16, where the last digit of fp32 may turn the last of eight bits."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("optimizers")
    (folder / "model.json").write_text(json.dumps(MODEL))
    (folder / "uneven.json").write_text(json.dumps(UNEVEN))
    return str(folder)


def differences(rank: int, world_size: int, folder: str, name: str, of_torch: bool = False) -> tuple[float, float]:
    """Between three steps on shards and on whole parameters, and of these steps; at most, over all parameters.

    ``of_torch``: with the shards in torch's own optimizer; infinite where it refuses them.
    """
    given = OptimizerSettings(optimizer=name, weight_decay_on="matrices")
    config = model_config(f"{folder}/uneven.json", 265, 16)
    start, whole, sharded = (build_model(config, 0) for _ in range(3))
    parallelize(sharded, ParallelSettings(parallel="fsdp"), DistributedContext(rank, world_size))
    own = build_optimizer(whole, given)
    with pytest.MonkeyPatch.context() as patch:
        if of_torch:
            patch.setattr(optimizers, "WholeMuon", Muon)
            patch.setattr(optimizers, "WholeAdafactor", Adafactor)
        other = build_optimizer(sharded, given)
    generator = torch.Generator().manual_seed(5)
    for _ in range(3):
        for plain, part in zip(whole.parameters(), sharded.parameters(), strict=True):
            plain.grad = torch.randn(plain.shape, generator=generator)
            part.grad = distribute_tensor(plain.grad, part.device_mesh, part.placements)
        optimizer_step(own, STEP)
        try:
            optimizer_step(other, STEP)
        except RuntimeError:
            if not of_torch:
                raise
            return math.inf, 0.0
    apart = moved = 0.0
    for before, plain, part in zip(start.parameters(), whole.parameters(), sharded.parameters(), strict=True):
        moved = max(moved, float((plain - before).detach().abs().max()))
        apart = max(apart, float((part.full_tensor() - plain).detach().abs().max()))
    return apart, moved


def all_differences(rank: int, world_size: int, folder: str) -> list[tuple[str, bool, float, float]]:
    tried = [(name, False) for name in NAMES] + [("adafactor", True), ("muon", True)]
    return [(name, of_torch, *differences(rank, world_size, folder, name, of_torch)) for name, of_torch in tried]


def test_a_sharded_step_is_the_unsharded_one_and_torchs_own_is_not(folder):
    for on_rank in run_ranks(all_differences, 2, folder):
        for name, of_torch, apart, moved in on_rank:
            if of_torch:
                assert apart > 1e-4 * moved, name
            else:
                assert moved > 1e-3, name
                assert apart <= (0.0 if name == "adafactor" else 1e-6 * moved), name


def whole_run(rank: int, world_size: int, folder: str, layout: str, changes: dict[str, Any]) -> Any:
    """The records of a run, from its start or from a checkpoint, and its state when it begins."""
    run = open_run(settings_for(folder, layout, **changes), DistributedContext(rank, world_size))
    state = full_state(run) if changes.get("resume") else {}
    names = ("step", "loss", "batch_size", "grad_norm", "lr", "nuclear_noise_scale")
    return [{name: record[name] for name in names if name in record} for record in train(run)], state


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES[1:])
def test_a_run_resumes_on_the_same_and_on_other_ranks(folder, name):
    """On the same bit by bit; on others from the same state, and Muon's matrices show the same noise there."""
    changes = {"optimizer": name, "lr": 0.01, "monitor_interval": 3, "output": f"{folder}/{name}"}
    size, _ = LAYOUTS["fsdp 2"]
    whole, _ = run_ranks(whole_run, size, folder, "fsdp 2", changes)[0]
    path = complete_checkpoints(Path(folder, name, "checkpoints"))[0]
    states = []
    for layout in ("fsdp 2", "single"):
        again = changes | {"resume": str(path), "output": f"{folder}/{name} on {layout}"}
        records, state = run_ranks(whole_run, LAYOUTS[layout][0], folder, layout, again)[0]
        states.append(state)
        rest = whole[-len(records) :]
        assert 0 < len(records) < len(whole)
        if layout == "fsdp 2":
            assert records == rest
        for ours, theirs in zip(records, rest, strict=True):
            assert ours["batch_size"] == theirs["batch_size"]
            assert ours["loss"] == pytest.approx(theirs["loss"], rel=TOLERANCE[name])
            assert ours.keys() == theirs.keys()
            if "nuclear_noise_scale" in ours:
                assert ours["nuclear_noise_scale"] == pytest.approx(theirs["nuclear_noise_scale"], rel=0.01)
        assert any("nuclear_noise_scale" in record for record in records) == (name == "muon")
    assert states[0].keys() == states[1].keys()
    assert all(np.array_equal(states[0][key], states[1][key]) for key in states[0])
    assert any(".momentum_buffer" in key or ".row_var" in key for key in states[0])
