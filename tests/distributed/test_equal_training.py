"""The same run under every parallelism: losses, batch sizes, parameters."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from adabatch.distributed.parallel import DistributedContext
from adabatch.settings import Settings, load_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from tests.support.spawning import run_ranks

pytestmark = pytest.mark.distributed

GROUPS = 4
"""Ranks x accumulation in every mode, so that the groups of the norm test are the same samples."""

LOSS_TOLERANCE = 1e-5
"""Relative. Gradients are summed in another order (fp32 rounding, 6e-8), which training may amplify; measured over
some 30 steps: at most 1.2e-7."""

MOMENT_TOLERANCE = 1e-3
"""Relative, of trace and squared norm, differences of nearly equal sums; measured: at most 8e-6."""

SAMPLES = 192
"""16 steps."""

STOP = 112
"""Samples after which runs under tensor parallelism end: a step of theirs takes four ranks half a second."""


def settings_for(parallel: str, world_size: int, folder: str, **changes) -> Settings:
    initial = 8
    return load_settings(
        "demo",
        overrides={
            "parallel": parallel,
            "model": "tiny",
            "samples": SAMPLES,
            "warmup_samples": 16,
            "initial_batch": initial,
            "micro_batch": initial // GROUPS,
            "max_micro_batch": 64,
            "max_batch": 48,
            "eta": 0.3,
            "lr": 8e-3,
            "validation_interval": SAMPLES // 2,
            "validation_samples": 24,
            "output": f"{folder}/{parallel}-{world_size}-{'-'.join(map(str, changes.values()))}",
            **changes,
        },
    )


def trajectory(settings: Settings, ranks: DistributedContext) -> dict[str, list[float]]:
    records = list(train(open_run(settings, ranks)))
    names = ("loss", "batch_size", "noise_trace", "grad_sq_norm", "micro_batch", "accumulation")
    result = {name: [record[name] for record in records] for name in names}
    result["val_loss"] = [record["val_loss"] for record in records if "val_loss" in record]
    return result


def single_run(folder: str, **changes) -> dict[str, list[float]]:
    """What all others are compared with."""
    torch.set_num_threads(1)
    return trajectory(settings_for("single", 1, folder, **changes), DistributedContext())


def l1_run(parallel: str, ranks: DistributedContext, folder: str) -> dict[str, list[float]]:
    """A run on the l1 norm test, which grows the batch by what it measures, from below."""
    changes = {"test": "l1", "eta": 0.5, "l1_denominator": "conservative"}
    return trajectory(settings_for(parallel, ranks.world_size, folder, **changes), ranks)


def all_modes(rank: int, world_size: int, folder: str) -> dict[str, dict[str, list[float]]]:
    """Every mode at this world size: DDP and FSDP2, reducing once per step and after every micro-batch."""
    ranks = DistributedContext(rank, world_size)
    results = {}
    for parallel, sync in itertools.product(("ddp", "fsdp"), (False, True)):
        if world_size == GROUPS and sync:
            continue  # one micro-batch a step: nothing to accumulate
        settings = settings_for(parallel, world_size, folder, accumulation_sync=sync)
        results[f"{parallel}, {world_size} ranks, sync {sync}"] = trajectory(settings, ranks)
    if world_size == 4:
        settings = settings_for("hsdp", 4, folder)
        results["hsdp, 2 x 2 ranks"] = trajectory(settings, ranks)
    if world_size == 2:
        settings = settings_for("fsdp", 2, folder, reshard_after_forward=False, activation_checkpointing=True)
        results["fsdp, 2 ranks, no reshard, checkpointing"] = trajectory(settings, ranks)
    return results


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    return single_run(str(tmp_path_factory.mktemp("single")))


def test_the_single_run_grows_its_batch_in_steps(single):
    sizes = sorted(set(single["batch_size"]))
    assert len(sizes) >= 4
    assert single["loss"][-1] < 0.7 * single["loss"][0]


@pytest.mark.parametrize(
    "world_size", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(4, marks=pytest.mark.slow)]
)
def test_every_mode_trains_the_same(single, world_size, tmp_path):
    by_rank = run_ranks(all_modes, world_size, str(tmp_path))
    assert all(result == by_rank[0] for result in by_rank), "ranks disagree"
    same_training(by_rank[0], single, world_size)


def same_training(runs: dict[str, dict[str, list[float]]], single: dict[str, list[float]], ranks: int) -> None:
    """Batches, losses and moments of every run are those of the single process."""
    for mode, run in runs.items():
        assert run["batch_size"] == single["batch_size"], mode
        assert all(a * ranks == GROUPS for a in run["accumulation"]), mode
        for name in ("loss", "val_loss"):
            np.testing.assert_allclose(run[name], single[name], rtol=LOSS_TOLERANCE, err_msg=f"{mode}: {name}")
        measured = [trace is not None for trace in single["noise_trace"]]
        for name in ("noise_trace", "grad_sq_norm"):
            ours, theirs = (np.array(r[name], dtype=float)[measured] for r in (run, single))
            np.testing.assert_allclose(ours, theirs, rtol=MOMENT_TOLERANCE, err_msg=f"{mode}: {name}")


def tensor_parallel_modes(rank: int, world_size: int, folder: str) -> dict[str, dict[str, list[float]]]:
    """Two data-parallel x two tensor-parallel ranks, norms plain and sequence parallel."""
    ranks = DistributedContext(rank, world_size, tensor_parallel=2)
    results = {}
    for sequence_parallel, sync in ((False, False), (True, True)):
        changes = {"sequence_parallel": sequence_parallel, "accumulation_sync": sync, "stop_at": STOP}
        settings = settings_for("fsdp", world_size, folder, tensor_parallel=2, **changes)
        results[f"tensor parallel, sequence parallel {sequence_parallel}"] = trajectory(settings, ranks)
    return results


def test_tensor_parallel_ranks_train_the_same_as_one(tmp_path):
    single = single_run(str(tmp_path), stop_at=STOP)
    assert len(set(single["batch_size"])) >= 2
    by_rank = run_ranks(tensor_parallel_modes, 4, str(tmp_path))
    assert all(result == by_rank[0] for result in by_rank), "ranks disagree"
    same_training(by_rank[0], single, 2)


def l1_modes(rank: int, world_size: int, folder: str) -> dict[str, dict[str, list[float]]]:
    """The l1 test under DDP and FSDP2."""
    ranks = DistributedContext(rank, world_size)
    return {parallel: l1_run(parallel, ranks, folder) for parallel in ("ddp", "fsdp")}


def test_the_l1_test_trains_the_same_in_every_mode(tmp_path):
    torch.set_num_threads(1)
    single = l1_run("single", DistributedContext(), str(tmp_path))
    assert len(set(single["batch_size"])) >= 2
    by_rank = run_ranks(l1_modes, 2, str(tmp_path))
    assert by_rank[0] == by_rank[1], "ranks disagree"
    same_training(by_rank[0], single, 2)
