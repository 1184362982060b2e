"""torchtitan's own step under the adapter: gradients and moments by hand, on one rank and on two."""

import pytest
import torch
import torch.distributed as dist

pytest.importorskip("torchtitan", reason="torchtitan 0.3 is not installed: its data sets pin another version")

from adabatch.integrations.torchtitan import AdaptiveTraining
from adabatch.schedules import Stagewise
from tests.support.repository import script
from tests.support.spawning import run_fresh_ranks
from tests.support.titan_loop import ByHand

loop = script("examples/torchtitan_loop.py")


class Recorded(ByHand, loop.CpuTrainer):
    """With every step by hand."""

    twin = loop.Decoder


def on_ranks(rank, world_size):
    torch.manual_seed(0)
    unit = 4 * world_size
    trainer, moments = Recorded(12, 4, 2), []
    trainer.config.training.max_norm = 1e9  # gradients are seen after clipping
    schedule = Stagewise([2 * unit, 3 * unit, 5 * unit], [0.25, 0.35, 0.4], 40 * unit, multiple_of=unit)
    adaptive = AdaptiveTraining(trainer, schedule, interval=1)
    adaptive.monitor.update = moments.append
    trainer.train(loop.texts(4, rank))
    return [measured.groups for measured in moments], trainer.errors(moments)


def test_every_step_as_by_hand():
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    try:
        groups, errors = on_ranks(0, 1)
    finally:
        dist.destroy_process_group()
    assert groups == [2] * 5 + [3] * 5 + [5] * 2
    assert max(map(abs, errors)) < 1e-5


@pytest.mark.distributed
def test_two_ranks_as_by_hand():
    for groups, errors in run_fresh_ranks(on_ranks, 2):
        assert groups == [4] * 5 + [6] * 5 + [10] * 2
        assert max(map(abs, errors)) < 1e-5


def test_the_program_runs_and_the_batch_grows(capsys):
    log = loop.main(["--steps", "20"])
    assert "noise_scale" in capsys.readouterr().out
    assert log[0]["batch_size"] == 8 < log[-1]["batch_size"]
