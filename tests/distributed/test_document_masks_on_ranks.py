"""Document masks under FSDP2 and tensor parallelism: the losses of one process."""

from __future__ import annotations

import json

import pytest
import torch

from adabatch.distributed.parallel import DistributedContext
from adabatch.settings import load_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from tests.support.spawning import run_ranks

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

SHARED = {"parallel": "fsdp", "tensor_parallel": 2, "sequence_parallel": True}
MODES = {"fsdp": {"parallel": "fsdp", "activation_checkpointing": True}, "tensor parallel": SHARED}


def losses(ranks: DistributedContext, folder: str, **changes) -> list[float]:
    """Of every step, and of the validation at the end."""
    given = {"data": [f"{folder}/a.jsonl"], "model": "nano", "sequence_length": 32, "document_mask": True}
    given |= {"samples": 24, "initial_batch": 8, "micro_batch": 4, "schedule": "constant", "warmup_samples": 8}
    given |= {"validation_samples": 6, "validation_interval": 24, "checkpoint_interval": 0}
    given |= {"cache": f"{folder}/cache", "output": f"{folder}/{'-'.join(map(str, changes))}", **changes}
    records = list(train(open_run(load_settings(overrides=given), ranks)))
    return [*(record["loss"] for record in records), records[-1]["val_loss"]]


def on_a_rank(rank: int, world_size: int, folder: str) -> dict[str, list[float]]:
    contexts = {
        name: DistributedContext(rank, world_size, tensor_parallel=mode.get("tensor_parallel", 1))
        for name, mode in MODES.items()
    }
    return {name: losses(contexts[name], folder, **mode) for name, mode in MODES.items()}


def test_the_losses_of_one_process(tmp_path):
    lines = [{"text": f"{i} is followed by {i + 1}"} for i in range(400)]
    (tmp_path / "a.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    torch.set_num_threads(1)
    single = losses(DistributedContext(), str(tmp_path))
    across = losses(DistributedContext(), str(tmp_path), document_mask=False)
    assert single != pytest.approx(across, rel=1e-5)
    for result in run_ranks(on_a_rank, 2, str(tmp_path)):
        for name, found in result.items():
            assert found == pytest.approx(single, rel=1e-5), name
