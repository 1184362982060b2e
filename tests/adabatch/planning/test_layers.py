"""Steps of a model with many layers, from models with two and three, against the model's own step."""

import json

import pytest

from adabatch.distributed.communication import by_kind
from adabatch.model.language_model import with_layers
from adabatch.planning.layers import ddp_buckets, simulate_layers
from adabatch.planning.simulated import simulate_steps
from adabatch.schedules import MicroBatching
from adabatch.settings import load_settings
from adabatch.training.model_size import config_parameters, planned_config

TOLERANCE = 0.01
SHARDED = {"parallel": "fsdp", "ranks": 4, "precision": "bf16"}
LAYOUTS = {
    "single": {},
    "ddp, bf16": {"parallel": "ddp", "ranks": 4, "precision": "bf16"},
    "ddp": {"parallel": "ddp", "ranks": 4},
    "ddp, bf16, checkpointing": {
        "parallel": "ddp",
        "ranks": 2,
        "precision": "bf16",
        "activation_checkpointing": True,
    },
    "fsdp": SHARDED,
    "fsdp, whole between": SHARDED | {"reshard_after_forward": False},
    "fsdp, every micro-batch reduced": SHARDED | {"accumulation_sync": True, "activation_checkpointing": True},
    "hsdp": SHARDED | {"parallel": "hsdp"},
    "tensor parallel": SHARDED | {"tensor_parallel": 2},
    "sequence parallel": SHARDED | {"tensor_parallel": 2, "sequence_parallel": True},
}


def peaks(step):
    return {phase: sum(parts.values()) for phase, parts in step.peaks.items()}


def compare(name, micro_batches, layers):
    """Both ways of planning a layout, which must agree in memory and, exactly, in traffic."""
    settings = load_settings("demo", overrides={"model": "llama-34m", "sequence_length": 64, **LAYOUTS[name]})
    ranks = settings.parallel.ranks // settings.parallel.tensor_parallel
    layouts = [MicroBatching(ranks, 2, size) for size in micro_batches]
    config = with_layers(planned_config(settings), layers)
    pairs = zip(simulate_steps(settings, config, layouts), simulate_layers(settings, config, layouts), strict=True)
    for whole, fast in pairs:
        assert max(peaks(fast).values()) == pytest.approx(max(peaks(whole).values()), rel=TOLERANCE)
        assert by_kind(fast.traffic) == by_kind(whole.traffic)
        assert by_kind(fast.repeated) == by_kind(whole.repeated)


MICRO_BATCHES = {
    # where memory is mostly that of activations, and of weights
    **dict.fromkeys(("single", "ddp, bf16", "fsdp", "tensor parallel"), (32, 1)),
    **dict.fromkeys(("ddp, bf16, checkpointing", "fsdp, every micro-batch reduced", "sequence parallel"), (32,)),
    **dict.fromkeys(("ddp", "fsdp, whole between", "hsdp"), (1,)),
}
"""Both for one layout of each kind; for the others the one that matters more to what they change."""


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] * (name != "ddp, bf16")) for name in LAYOUTS]
)
def test_five_layers_follow_from_two_and_three(name):
    compare(name, MICRO_BATCHES[name], layers=5)


def test_buckets_are_those_of_the_whole_model():
    config = planned_config(load_settings("demo", overrides={"model": "llama-34m"}))
    # a byte vocabulary: 8 layers of 12 MiB; the first bucket closes at 1 MiB, the others at 25 MiB
    assert [len(ddp_buckets(with_layers(config, count))) for count in (1, 8)] == [2, 5]


@pytest.mark.parametrize("tied", [True, False])
def test_a_tied_embedding_is_counted_once(tied, tmp_path):
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 64, "vocab_size": 1000}
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"model_type": "gpt2", "tie_word_embeddings": tied, **sizes}))
    overrides = {"model": str(file), "sequence_length": 16, "schedule": "constant", **LAYOUTS["ddp"]}
    settings = load_settings("demo", overrides=overrides)
    config = planned_config(settings)
    (step,) = simulate_steps(settings, config, [MicroBatching(4, 2, 1)])
    parameters = config_parameters(config)
    assert 4 * parameters <= by_kind(step.traffic)["all-reduce"].payload < 4 * parameters + 1000
