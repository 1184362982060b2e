"""Models with dropout on several ranks: each rank drops other units, and the test sees the noise of it."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
import torch

from adabatch.checkpoints.random_states import seed_of_share
from adabatch.distributed.parallel import DistributedContext
from adabatch.settings import load_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from tests.support.spawning import run_ranks

SIZES = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 16, "vocab_size": 264}


def settings_for(folder: str, **changes: Any) -> Any:
    """All samples are the same, so that only dropout makes gradients differ."""
    size = {"initial_batch": 2, "micro_batch": 1, "max_micro_batch": 1, "samples": 8, "warmup_samples": 4}
    other = {"schedule": "constant", "monitor_interval": 1, "validation_interval": 0, "sequence_length": 16}
    base = {"model": f"{folder}/model.json", "data": f"{folder}/text.txt", "parallel": "ddp", "ranks": 2}
    return load_settings(overrides=base | size | other | {"output": f"{folder}/run"} | changes)


def on_a_rank(rank: int, world_size: int, folder: str) -> Any:
    """Noise of the first steps, and what a run that resumes draws next on this rank and would have drawn."""
    ranks = DistributedContext(rank, world_size)
    run = open_run(settings_for(folder, checkpoint_interval=4), ranks)
    noise = [record["noise_trace"] / record["grad_sq_norm"] for record in itertools.islice(train(run), 3)]
    open_run(settings_for(folder, resume="auto"), ranks)
    return noise, float(torch.rand(()))


@pytest.mark.distributed
def test_the_noise_of_dropout_is_seen(tmp_path):
    (tmp_path / "text.txt").write_text("a" * 4000)
    for dropout in (0.0, 0.3):
        rates = dict.fromkeys(("resid_pdrop", "embd_pdrop", "attn_pdrop"), dropout)
        (tmp_path / "model.json").write_text(json.dumps(SIZES | rates))
        (noise, drawn), (other, drawn_there) = run_ranks(on_a_rank, 2, str(tmp_path))
        assert noise == other
        assert drawn != drawn_there
        assert all(ratio > 0.01 for ratio in noise) if dropout else max(map(abs, noise)) < 1e-6


def test_each_share_of_the_samples_has_a_stream_of_its_own():
    """The first rank's is that of a run on one rank."""
    drawn = []
    for seed, share in [(0, 0), (0, 1), (0, 2), (2**63 - 1, 1), (0, 1)]:
        torch.manual_seed(5)
        seed_of_share(seed, share)
        drawn.append(float(torch.rand(())))
    torch.manual_seed(5)
    assert drawn[0] == float(torch.rand(()))
    assert drawn[1] == drawn[4]
    assert len(set(drawn)) == 4
