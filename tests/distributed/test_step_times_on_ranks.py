"""Goodput on two ranks whose clocks differ: the main rank's times decide, and all ranks decide alike."""

from __future__ import annotations

from unittest.mock import patch

import pytest
import torch

from adabatch.distributed.parallel import DistributedContext
from adabatch.settings import load_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from adabatch.training.step_clock import StepClock
from tests.support.spawning import run_ranks

pytestmark = pytest.mark.distributed

TIMES = [(0.2, 0.01), (0.001, 5.0)]
"""t0 and t1 of either rank's clock: B_sat is 20 on the main rank and 0.0002 on the other."""


def trained(rank: int, world_size: int, folder: str, resume: str) -> tuple[list[int], dict[str, object]]:
    """The batches and the schedule's state at the end of a run."""
    torch.set_num_threads(1)
    fixed, per_sample = TIMES[rank]
    stop = StepClock.stop

    def as_if(clock, seconds, plan, *rest, **named):
        stop(clock, fixed + per_sample * plan.batch_size, plan, *rest, **named)

    settings = load_settings(
        overrides={
            "model": "tiny", "parallel": "ddp", "schedule": "goodput", "initial_batch": 2, "micro_batch": 1,
            "max_batch": 64, "samples": 1600, "sequence_length": 8, "warmup_samples": 16, "validation_interval": 0,
            "checkpoint_interval": 64, "output": folder, "resume": resume,
        }
    )  # fmt: skip
    batches = []
    with patch.object(StepClock, "stop", as_if):
        run = open_run(settings, DistributedContext(rank, world_size))
        for record in train(run):
            batches.append(record["batch_size"])
            if record["samples"] >= (160 if resume == "never" else 320):
                break
    return batches, run.schedule.state_dict()


def test_ranks_whose_clocks_differ_decide_alike(tmp_path):
    (first, state), (second, other) = run_ranks(trained, 2, str(tmp_path), "never")
    assert first == second
    assert state == other
    assert state["identified"]
    t0, t1, *_ = state["times"]["fitted"]
    assert (t0, t1) == pytest.approx(TIMES[0], rel=0.02)
    assert len(set(first)) > 2
    (resumed, state), (again, other) = run_ranks(trained, 2, str(tmp_path), "auto")
    assert resumed == again
    assert state == other
    assert state["times"]["count"] > 0
    assert tuple(state["times"]["fitted"][:2]) == pytest.approx(TIMES[0], rel=0.02)
