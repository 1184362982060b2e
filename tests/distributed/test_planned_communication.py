"""Planned collectives against those that real ranks issue, byte by byte."""

import pytest

from adabatch.distributed.communication import CommunicationCounter
from adabatch.distributed.parallel import DistributedContext
from adabatch.planning.plan import make_plan
from adabatch.settings import load_settings
from adabatch.training.loop import training_step
from adabatch.training.opening import open_run
from tests.support.spawning import run_ranks

pytestmark = pytest.mark.distributed

LAYOUTS = {
    "ddp": {"parallel": "ddp"},
    "fsdp": {"parallel": "fsdp"},
    "fsdp, bf16, whole between": {"parallel": "fsdp", "precision": "bf16", "reshard_after_forward": False},
    "fsdp, every micro-batch reduced": {"parallel": "fsdp", "accumulation_sync": True},
    "hsdp": {"parallel": "hsdp"},
    "tensor parallel": {"parallel": "fsdp", "tensor_parallel": 2},
    "fsdp, muon": {"parallel": "fsdp", "optimizer": "muon"},
    "hsdp, adafactor": {"parallel": "hsdp", "optimizer": "adafactor"},
}


def settings_of(name, world_size):
    small = {"sequence_length": 32, "micro_batch": 2, "max_micro_batch": 2, "initial_batch": 6 * world_size}
    return load_settings("demo", overrides=small | {"ranks": world_size, "max_batch": 1000} | LAYOUTS[name])


def count_steps(rank, world_size, names):
    """The traffic of each layout's third step, counted."""
    counted = {}
    for name in names:
        settings = settings_of(name, world_size)
        ranks = DistributedContext(rank, world_size, tensor_parallel=settings.parallel.tensor_parallel)
        run = open_run(settings, ranks)
        for _ in range(3):
            run.schedule.batch_size = run.micro_batching.round_up(settings.schedule.initial_batch)
            with CommunicationCounter() as counter:
                training_step(run)
        counted[name] = counter.traffic
    return counted


@pytest.mark.parametrize(
    ("world_size", "names"),
    [
        (2, ["ddp", "fsdp, bf16, whole between"]),
        pytest.param(2, ["fsdp", "tensor parallel", "fsdp, muon"], marks=pytest.mark.slow),
        pytest.param(
            4,
            ["ddp", "fsdp", "fsdp, every micro-batch reduced", "hsdp", "tensor parallel", "hsdp, adafactor"],
            marks=pytest.mark.slow,
        ),
    ],
)
def test_what_is_planned_is_what_is_sent(world_size, names):
    counted = run_ranks(count_steps, world_size, names)
    for name in names:
        settings = settings_of(name, world_size)
        plan = make_plan(settings)
        planned = plan.traffic(plan.course.first)
        for on_rank in counted:
            assert on_rank[name] == planned, name
