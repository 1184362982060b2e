"""What is evaluated: checkpoints of a run, exported folders, and which of them are refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from adabatch.data.preparation import save_tokenizer
from adabatch.distributed.parallel import DistributedContext
from adabatch.evaluation.subject import open_subject
from adabatch.export import export_run
from adabatch.settings import load_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run

TEXT = "def schedule(batch):\n    return 2 * batch  # naïve\n" * 80


def trained_run(folder: Path, **changes) -> Path:
    """A run of two steps with a checkpoint after each; its last record is next to it, as last.json."""
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    small = {"data": str(folder / "text.txt"), "output": str(folder / "run"), "samples": 8, "warmup_samples": 4}
    small |= {"sequence_length": 16, "validation_samples": 5, "validation_interval": 4, "checkpoint_interval": 4}
    run = open_run(load_settings("demo", overrides={**small, "model": "nano", **changes}), DistributedContext())
    (folder / "last.json").write_text(json.dumps(list(train(run))[-1]))
    save_tokenizer(run.corpus.tokenizer, folder / "run")
    return folder / "run"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run and its export."""
    folder = tmp_path_factory.mktemp("evaluated")
    export_run(trained_run(folder), folder / "exported")
    return folder


def test_a_checkpoint_by_its_step_or_by_its_folder(folder):
    newest, first = open_subject(folder / "run"), open_subject(folder / "run", step=1)
    by_folder = open_subject(first.folder)
    assert (newest.step, first.step, by_folder.step) == (2, 1, 1)
    for name, value in first.model.state_dict().items():
        assert torch.equal(value, by_folder.model.state_dict()[name])
    assert not torch.equal(first.model.lm_head.weight, newest.model.lm_head.weight)


def test_an_export_is_the_same_model(folder):
    run, exported = open_subject(folder / "run"), open_subject(folder / "exported")
    assert exported.parameters == run.parameters
    assert not exported.has_data
    assert all(torch.equal(v, exported.model.state_dict()[k]) for k, v in run.model.state_dict().items())


def test_settings_are_the_runs_but_for_what_describes_other_data(folder):
    own = open_subject(folder / "run", given={"sequence_length": 8}).settings.data
    assert (own.sequence_length, own.validation_fraction, own.seed) == (8, 0.05, 0)
    named = open_subject(folder / "run", given={"data": ["b.jsonl"], "text_field": "body"})
    data = named.settings.data
    assert (data.data, data.text_field, data.sequence_length) == (("b.jsonl",), "body", 16)
    assert (data.validation_fraction, data.streaming, named.own_data) == (0.0, False, False)


def without_weights(copy):
    (copy / "model.safetensors").unlink()


def lacking_a_tensor(copy):
    tensors = load_file(copy / "model.safetensors")
    tensors.pop("model.norm.weight")
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})


def cut_short(copy):
    (copy / "model.safetensors").write_bytes((copy / "model.safetensors").read_bytes()[:1000])


def of_fewer_tokens(copy):
    config = json.loads((copy / "config.json").read_text())
    tensors = load_file(copy / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        tensors[name] = tensors[name][:200].clone()
    save_file(tensors, copy / "model.safetensors", metadata={"format": "pt"})
    (copy / "config.json").write_text(json.dumps(config | {"vocab_size": 200}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            without_weights,
            r"holds no weights: name the folder of a run .* or of an exported model \(config.json and",
        ),
        (lacking_a_tensor, r"lack 1 tensors, such as model.norm.weight: export it again"),
        (cut_short, r"cannot be loaded \(.*\): export it again"),
        (of_fewer_tokens, r"does not fit: it has 257 token values, and the model in .* 200; name the model's own"),
    ],
)
def test_folders_that_are_refused(folder, tmp_path, damage, message):
    shutil.copytree(folder / "exported", tmp_path / "copy")
    damage(tmp_path / "copy")
    with pytest.raises(ValueError, match=message):
        open_subject(tmp_path / "copy")


@pytest.mark.parametrize(
    ("name", "step", "given", "message"),
    [
        ("run", 3, {}, r"no complete checkpoint of step 3: those there are of steps 1, 2"),
        ("exported", 3, {}, r"--step 3 is of a run, and .* is not the folder of one: leave it out"),
        ("run", None, {"split": "test"}, r"--split describes --data: name that too, or leave it out"),
        ("run", None, {"sequence_length": 4096}, r"a sequence length of 4096 is above the model's 1024: lower"),
        (
            "run",
            None,
            {"tokenizer": "exported"},
            r"the tokenizer .* does not fit: .* another \(bytes\); leave out",
        ),
        ("text.txt", None, {}, r"text.txt holds no weights"),
    ],
)
def test_what_does_not_fit(folder, name, step, given, message):
    if "tokenizer" in given:
        given = {"tokenizer": str(folder / given["tokenizer"])}
    with pytest.raises(ValueError, match=message):
        open_subject(folder / name, step, given)
