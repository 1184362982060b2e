"""One rank alone runs out of memory: all ranks agree on the micro-batch, and none hangs."""

from unittest.mock import patch

import pytest

import adabatch.training.admission
from adabatch.distributed.parallel import DistributedContext
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from tests.adabatch.training.test_memory_guard import IMPOSSIBLE, settings, with_memory_for
from tests.support.spawning import run_ranks

pytestmark = pytest.mark.distributed


def train_with_little_memory(rank, world_size, parallel, folder):
    """Rank 1 holds micro-batches of 2 only."""
    run = open_run(
        settings(folder, parallel=parallel, ranks=world_size, micro_batch=1),
        DistributedContext(rank, world_size),
    )
    if rank == 1 and parallel == "ddp":
        with_memory_for(run, 2)
    if rank == 1 and parallel == "fsdp":
        run.memory.transient = 1000
    original = adabatch.training.admission.reserve

    def reserve(size, device):
        too_much = rank == 1 and parallel == "fsdp" and size > 1000 * 2 / run.memory.worked
        original(IMPOSSIBLE if too_much else size, device)

    keys = ("batch_size", "micro_batch", "accumulation", "micro_batch_limit", "loss")
    with patch.object(adabatch.training.admission, "reserve", reserve):
        return [{key: record[key] for key in keys} for record in train(run)]


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_all_ranks_fall_back_together(tmp_path, parallel):
    one, other = run_ranks(train_with_little_memory, 2, parallel, str(tmp_path))
    assert one == other
    assert one[0]["micro_batch_limit"] is None
    assert one[-1]["micro_batch_limit"] == 2
    assert max(record["micro_batch"] for record in one) == 2
    assert [r["batch_size"] for r in one] == sorted(r["batch_size"] for r in one)
    assert one[-1]["batch_size"] == 24
