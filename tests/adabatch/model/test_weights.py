"""Weights from a folder: whole or in shards, in any precision, tied or not; what does not fit is named."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from adabatch.distributed.parallel import DistributedContext
from adabatch.model.language_model import build_model, model_config
from adabatch.model.weights import load_weights
from adabatch.settings import load_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run

SIZES = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


def made(folder, seed=0, **changes):
    """A model and its configuration file."""
    values = {"model_type": "llama", "vocab_size": 264, "max_position_embeddings": 64, **SIZES, **changes}
    folder.mkdir(exist_ok=True)
    (folder / "config.json").write_text(json.dumps(values))
    return build_model(model_config(str(folder)), seed)


def equal(first, second):
    return all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("shard", ["1GB", "5KB"])
def test_weights_are_those_of_the_folder(tmp_path, tied, shard):
    model, other = (made(tmp_path / "model", seed, tie_word_embeddings=tied) for seed in (1, 2))
    model.save_pretrained(tmp_path / "model", max_shard_size=shard)
    assert (tmp_path / "model" / "model.safetensors").exists() == (shard == "1GB")
    assert not equal(model, other)
    load_weights(other, tmp_path / "model")
    assert equal(model, other)
    assert (other.lm_head.weight is other.model.embed_tokens.weight) == tied


def test_lower_precision_is_raised(tmp_path):
    model, other = (made(tmp_path / "model", seed) for seed in (1, 2))
    model.bfloat16().save_pretrained(tmp_path / "model")
    load_weights(other, tmp_path / "model")
    assert {parameter.dtype for parameter in other.parameters()} == {torch.float32}
    assert equal(model.float(), other)


def test_what_does_not_fit_is_named_and_changes_nothing(tmp_path):
    made(tmp_path / "model", 1).save_pretrained(tmp_path / "model")
    other = made(tmp_path / "other", 2, num_hidden_layers=3, intermediate_size=40)
    before = {name: value.clone() for name, value in other.state_dict().items()}
    with pytest.raises(ValueError, match=r"layers.2\S+ is missing; .* and \d+ more; take --model"):
        load_weights(other, tmp_path / "model")
    assert all(torch.equal(before[name], value) for name, value in other.state_dict().items())
    wider = made(tmp_path / "wider", 2, intermediate_size=40)
    with pytest.raises(ValueError, match=r"gate_proj.weight is 32 x 16 there and 40 x 16 in the model"):
        load_weights(wider, tmp_path / "model")
    file = tmp_path / "model" / "model.safetensors"
    save_file(load_file(file) | {"extra": torch.zeros(1)}, file)
    with pytest.raises(ValueError, match="extra is not in the model"):
        load_weights(made(tmp_path / "same", 2), tmp_path / "model")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has no weights: name a folder with model.safetensors"),
        ({"model.safetensors": "{"}, r"cannot be read .*copy the folder again"),
        ({"model.safetensors.index.json": "[]"}, "is damaged: copy the folder again"),
        (
            {"model.safetensors.index.json": '{"weight_map": {"a": "one.safetensors"}}'},
            "one.safetensors cannot be read",
        ),
    ],
)
def test_a_folder_without_intact_weights_is_refused(tmp_path, files, message):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message) as refused:
        load_weights(made(tmp_path / "model"), tmp_path)
    assert "\n" not in str(refused.value)


def test_a_run_starts_from_weights_and_resumes_from_its_checkpoint(tmp_path):
    model = made(tmp_path / "model", 5)
    model.save_pretrained(tmp_path / "model")
    (tmp_path / "text.txt").write_text("def schedule(batch):\n    return 2 * batch\n" * 80)
    overrides = {
        "model": str(tmp_path / "model"),
        "init_from": str(tmp_path / "model"),
        "data": str(tmp_path / "text.txt"),
        "samples": 8,
        "warmup_samples": 4,
        "sequence_length": 16,
        "validation_interval": 0,
        "checkpoint_interval": 4,
        "output": str(tmp_path / "run"),
    }
    run = open_run(load_settings("demo", overrides=overrides), DistributedContext())
    assert equal(run.model, model)
    list(train(run))
    (tmp_path / "model" / "model.safetensors").unlink()
    again = open_run(load_settings("demo", overrides=overrides | {"resume": "auto"}), DistributedContext())
    assert equal(again.model, run.model)
