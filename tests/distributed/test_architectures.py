"""Causal language models trained on two ranks: moments by hand in fp64, exported with equal logits."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from transformers import AutoModelForCausalLM

from adabatch.distributed.parallel import DistributedContext
from adabatch.export import export_run
from adabatch.model.language_model import build_model, language_model_loss, model_config
from adabatch.settings import load_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from tests.support.spawning import run_ranks

pytestmark = [pytest.mark.distributed, pytest.mark.slow]

SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 64}
LLAMA_LIKE = {"intermediate_size": 48, "num_key_value_heads": 2}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": LLAMA_LIKE | {"tie_word_embeddings": True},  # as SmolLM's
    "gpt2": {},
    "qwen3": LLAMA_LIKE | {"head_dim": 16},
    "gemma": LLAMA_LIKE | {"head_dim": 16},
    "olmo2": LLAMA_LIKE,
    "mistral": LLAMA_LIKE | {"sliding_window": 8},
}
STEPS = int(os.environ.get("ARCHITECTURE_STEPS", "12"))
"""The log has what fifty of them gave: ARCHITECTURE_STEPS=50."""


def by_hand(settings: Any, state: dict[str, Any], groups: list[torch.Tensor]) -> tuple[float, float]:
    """tr Sigma and ||g||^2 from each group's own gradient, in fp64 and one process."""
    model = build_model(model_config(settings.model.model, 264), 0).double()
    model.load_state_dict({name: value.double() for name, value in state.items()}, strict=False)
    model.tie_weights()
    gradients = []
    for tokens in groups:
        model.zero_grad()
        language_model_loss(model, tokens).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters()]))
    stacked = torch.stack(gradients)
    trace = len(groups[0]) * stacked.var(dim=0, correction=1).sum()
    return float(trace), float(stacked.mean(dim=0).square().sum())


def on_a_rank(rank: int, world_size: int, folder: str, family: str) -> dict[str, Any]:
    torch.manual_seed(rank)
    ranks = DistributedContext(rank, world_size)
    settings = load_settings(
        "demo",
        overrides={
            "model": f"{folder}/{family}.json",
            "parallel": "fsdp",
            "activation_checkpointing": family == "qwen3",
            "samples": 16 * STEPS,
            "schedule": "linear-ramp",
            "monitor_interval": 1,
            "initial_batch": 8,
            "max_batch": 16,
            "ramp_samples": 4 * STEPS,
            "micro_batch": 2,
            "max_micro_batch": 2,
            "sequence_length": 24,
            "warmup_samples": 8,
            "validation_interval": 0,
            "output": f"{folder}/{family}",
        },
    )
    run = open_run(settings, ranks)
    take, taken = run.corpus.train.take, []
    run.corpus.train.take = lambda positions: taken.append(take(positions)) or taken[-1]  # type: ignore[method-assign]
    losses, compared = [], {}
    steps = train(run)
    while not run.finished():
        whole = run.schedule.steps in (0, STEPS // 2) and get_model_state_dict(
            run.model, options=StateDictOptions(full_state_dict=True)
        )
        record = next(steps)
        losses.append(record["loss"])
        if whole is not False:
            groups = [part for own in ranks.gather(taken[-1]) for part in own.split(record["micro_batch"])]
            if rank == 0:
                measured = record["noise_trace"], record["grad_sq_norm"]
                compared[record["step"]] = (*measured, *by_hand(settings, whole, groups))
    list(steps)
    tokens = torch.arange(48).reshape(2, 24) % 264
    with torch.no_grad():
        logits = run.model(tokens).logits
    if rank == 0:
        export_run(Path(folder) / family, Path(folder) / f"{family}-exported")
        exported = AutoModelForCausalLM.from_pretrained(Path(folder) / f"{family}-exported").eval()
        assert exported.config.model_type == family
        with torch.no_grad():
            difference = float((exported(tokens).logits - logits).abs().max())
        return {"losses": losses, "compared": compared, "difference": difference}
    return {"losses": losses}


@pytest.mark.parametrize("family", FAMILIES)
def test_moments_by_hand_and_the_exported_logits(family, tmp_path):
    values = {"model_type": family, "vocab_size": 264, **SIZES, **FAMILIES[family]}
    dropout = {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0} if family == "gpt2" else {}
    (tmp_path / f"{family}.json").write_text(json.dumps(values | dropout))
    first, second = run_ranks(on_a_rank, 2, str(tmp_path), family)
    assert first["losses"] == second["losses"]
    assert len(first["losses"]) >= STEPS
    assert first["losses"][-1] < first["losses"][0] - 0.3
    assert len(first["compared"]) == 2
    for trace, squared, expected_trace, expected_squared in first["compared"].values():
        assert trace == pytest.approx(expected_trace, rel=2e-4)
        assert squared == pytest.approx(expected_squared, rel=2e-4)
    assert first["difference"] < 1e-5
