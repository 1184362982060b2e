"""The planned peak of memory against the one that torch's profiler measures."""

import gc
from dataclasses import replace

import pytest
import torch

from adabatch.distributed.parallel import DistributedContext
from adabatch.model.language_model import model_shape
from adabatch.planning.memory import LiveMemory
from adabatch.planning.optimizer_cost import OptimizerCost
from adabatch.planning.plan import make_plan
from adabatch.settings import load_settings
from adabatch.training.loop import accumulate_gradients, training_step
from adabatch.training.opening import open_run

TOLERANCE = 0.05
"""The measurement has what operations need for themselves for a moment. The plan holds some gradients for longer,
since autograd does not add in place where operations are observed."""


def allocations(work):
    """Bytes allocated and freed while ``work`` runs, in order."""
    gc.collect()  # else what other tests left would be freed, and counted, in the middle
    with torch.profiler.profile(profile_memory=True) as profiled:
        work()
    events = [e for e in profiled.profiler.kineto_results.events() if e.name() == "[memory]"]
    return [event.nbytes() for event in sorted(events, key=lambda e: e.start_ns())]


def peak(sizes):
    most = total = 0
    for size in sizes:
        total += size
        most = max(most, total)
    return most


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"precision": "bf16", "optimizer": "muon"},
        {"activation_checkpointing": True, "optimizer": "adafactor"},
        {"micro_batch": 1, "max_micro_batch": 1, "initial_batch": 4, "max_batch": 4, "schedule": "constant"}
        | {"optimizer": "sgd"},
    ],
    ids=["adamw", "bf16, muon", "checkpointing, adafactor", "small, sgd"],
)
def test_the_planned_peak_is_the_measured_one(tmp_path, changes):
    small = {"micro_batch": 8, "max_micro_batch": 8, "initial_batch": 16, "max_batch": 32, "sequence_length": 128}
    settings = load_settings("demo", overrides=small | {"output": str(tmp_path)} | changes)
    planned = make_plan(settings).memory
    run = open_run(settings, DistributedContext())
    training_step(run)
    kept = sum(p.nbytes for p in run.model.parameters())
    state = sum(v.nbytes for entry in run.optimizer.state.values() for v in entry.values())
    assert planned["weights"] == pytest.approx(kept, rel=1e-3)  # beside the parameters, a few buffers
    assert planned["optimizer"] == state
    shape, count = model_shape(run.model.config), kept / 4
    costs = OptimizerCost.by_share(settings.optimizer, 1 - shape.outer / count)
    assert sum(share * cost.state for share, cost in costs) * count == pytest.approx(state, abs=0.1 * kept)
    run.micro_batching = replace(run.micro_batching, max_micro_batch=small["micro_batch"])
    plan = run.micro_batching.plan(2 * changes.get("micro_batch", 8))
    measured = kept + state + peak(allocations(lambda: accumulate_gradients(run, plan, small["sequence_length"])))
    assert sum(planned.values()) == pytest.approx(measured, rel=TOLERANCE)


def test_checkpointing_saves_activations():
    whole, saved = (
        make_plan(load_settings("demo", overrides={"activation_checkpointing": on, "max_micro_batch": 4})).memory
        for on in (False, True)
    )
    assert saved["activations"] < whole["activations"]
    assert saved["weights"] == whole["weights"]


def test_a_part_decided_later_counts_in_the_peak_before():
    memory = LiveMemory("temporary")
    with memory:
        kept, dropped = torch.zeros(1000), torch.zeros(1000)
        del dropped
        memory.decide("gradients")
        del kept
        torch.zeros(10)
    assert memory.peaks()[""] == {"gradients": 4000, "temporary": 4000}
    assert memory.live.total() == 0
