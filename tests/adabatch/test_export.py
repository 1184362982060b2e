"""Exported models: transformers loads them, with the same logits, and they write and read text."""

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend
from tokenizers import models, pre_tokenizers, processors, trainers
from transformers import AutoModelForCausalLM, AutoTokenizer

from adabatch.data.tokenizer import open_tokenizer
from adabatch.distributed.parallel import DistributedContext
from adabatch.export import export_run
from adabatch.locks import occupied
from adabatch.settings import load_settings
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from tests.support.spawning import run_ranks

TEXT = "def schedule(batch):\n    return 2 * batch  # naïve\n" * 80
TOKENS = torch.randint(264, (2, 16), generator=torch.Generator().manual_seed(3))


def trained(folder: Path, ranks: DistributedContext, **changes) -> torch.Tensor:
    """Train for two steps; the logits of TOKENS, for any wrapping."""
    run = open_run(
        load_settings(
            "demo",
            overrides={
                "data": str(folder / "text.txt"),
                "samples": 8,
                "warmup_samples": 4,
                "sequence_length": 16,
                "validation_interval": 0,
                "output": str(folder / "run"),
                **changes,
            },
        ),
        ranks,
    )
    list(train(run))
    with torch.no_grad():
        return run.model(TOKENS % run.corpus.vocabulary_size).logits


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A text, a run on it, its logits and its export."""
    folder = tmp_path_factory.mktemp("exporting")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    logits = trained(folder, DistributedContext(), checkpoint_interval=4)
    torch.save(logits, folder / "logits.pt")
    export_run(folder / "run", folder / "exported")
    return folder


@pytest.fixture(scope="module")
def tokenizer(folder):
    return AutoTokenizer.from_pretrained(folder / "exported")


def logits_of(exported: Path) -> torch.Tensor:
    with torch.no_grad():
        return AutoModelForCausalLM.from_pretrained(exported)(TOKENS).logits


def test_logits_are_equal_to_the_bit(folder):
    assert torch.equal(logits_of(folder / "exported"), torch.load(folder / "logits.pt"))


def test_an_earlier_checkpoint_by_its_folder(folder, tmp_path):
    done = export_run(folder / "run" / "checkpoints" / "step-00000001", tmp_path / "first")
    assert (done.step, done.parameters) == (1, 469_632)
    assert not torch.equal(logits_of(done.folder), torch.load(folder / "logits.pt"))


def test_nothing_is_written_but_what_transformers_reads(folder):
    names = {path.name for path in (folder / "exported").iterdir()}
    assert names >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert all(name.endswith((".json", ".safetensors")) for name in names)
    assert not list(folder.glob(".exported*"))


def test_it_writes_text(folder, tokenizer):
    model = AutoModelForCausalLM.from_pretrained(folder / "exported")
    prompt = tokenizer("def ", return_tensors="pt")
    written = model.generate(**prompt, max_new_tokens=12, do_sample=True, top_k=0, temperature=3.0)[0]
    assert len(written) > len("def ")
    assert written.max() <= 256  # the vocabulary's padding is never generated
    assert tokenizer.decode(written, skip_special_tokens=True).startswith("def ")


@settings(max_examples=200, deadline=None)
@given(text=st.text())
def test_every_text_is_its_bytes_and_comes_back(tokenizer, text):
    tokens = tokenizer(text)["input_ids"]
    assert tokens == list(text.encode("utf-8"))
    assert tokenizer.decode(tokens) == text


def test_a_text_that_looks_like_the_end_of_a_document_is_text(tokenizer):
    text = f"a{tokenizer.eos_token}b"
    assert tokenizer.eos_token_id == 256
    assert tokenizer(text)["input_ids"] == list(text.encode())
    assert tokenizer.decode([97, 256, 98], skip_special_tokens=True) == "ab"


def sharded(rank, world_size, folder):
    return trained(Path(folder), DistributedContext(rank, world_size), parallel="fsdp")


@pytest.mark.distributed
def test_a_run_sharded_over_ranks(folder, tmp_path):
    shutil.copy(folder / "text.txt", tmp_path)
    logits = run_ranks(sharded, 2, str(tmp_path))
    export_run(tmp_path / "run", tmp_path / "exported")
    assert torch.equal(logits_of(tmp_path / "exported"), logits[0])


def write_subwords(path: Path) -> None:
    """A tokenizer file that, by itself, would begin every text with <s>."""
    backend = Backend(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(vocab_size=80, special_tokens=["<unk>", "<s>", "</s>"])
    backend.train_from_iterator([TEXT], trainer)
    backend.post_processor = processors.TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    backend.save(str(path))


def test_a_subword_tokenizer_reads_as_it_did_in_training(folder, tmp_path):
    shutil.copy(folder / "text.txt", tmp_path)
    write_subwords(tmp_path / "subwords.json")
    name = str(tmp_path / "subwords.json")
    trained(tmp_path, DistributedContext(), tokenizer=name)
    export_run(tmp_path / "run", tmp_path / "exported")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "exported")
    for text in ("return 2 * batch", "</s> is read as text"):
        (expected,) = open_tokenizer(name).encode([text.encode()])
        assert tokenizer(text)["input_ids"] == expected.tolist()
    assert tokenizer.eos_token == "</s>"

    shutil.copy(name, tmp_path / "run" / "tokenizer.json")  # as `adabatch train` leaves it
    backend = Backend.from_file(name)
    backend.add_tokens(["schedule"])
    backend.save(name)
    export_run(tmp_path / "run", tmp_path / "from the run's own")
    (tmp_path / "run" / "tokenizer.json").unlink()
    with pytest.raises(
        ValueError, match=r"neither .*tokenizer\.json nor .* the one that the run was trained with"
    ):
        export_run(tmp_path / "run", tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_only_an_earlier_export_is_replaced_and_only_on_request(folder, tmp_path):
    target, scratch = tmp_path / "exported", tmp_path / "scratch"
    shutil.copytree(folder / "exported", scratch)
    target.symlink_to("scratch")
    (target / "README.md").write_text("a card")
    (target / "model.safetensors").rename(target / "earlier.safetensors")  # what an earlier version wrote
    listed = json.loads((target / "adabatch-export.json").read_text())
    assert sorted(listed["files"]) == [
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    ]
    (target / "adabatch-export.json").write_text(json.dumps({"files": [*listed["files"], "earlier.safetensors"]}))
    with pytest.raises(ValueError, match=r"holds an earlier export: name another folder \(--to\), or --overwrite"):
        export_run(folder / "run", target)
    export_run(folder / "run", target, overwrite=True)
    assert target.is_symlink()
    assert sorted(path.name for path in scratch.iterdir()) == sorted(
        ["README.md", "adabatch-export.json", *listed["files"]]
    )
    (target / "adabatch-export.json").write_text('{"files": ["../thesis"]}')
    with pytest.raises(ValueError, match=r"adabatch-export\.json is damaged"):
        export_run(folder / "run", target, overwrite=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ValueError, match="holds something else than an export"):
        export_run(folder / "run", tmp_path / "mine", overwrite=True)
    assert (tmp_path / "mine" / "thesis.tex").exists()


def test_a_folder_without_a_checkpoint(tmp_path):
    with pytest.raises(ValueError, match="no complete checkpoint in"):
        export_run(tmp_path, tmp_path / "exported")


def test_a_file_with_a_name_that_an_export_needs_is_not_replaced(folder, tmp_path):
    shutil.copytree(folder / "exported", tmp_path / "exported")
    listed = {"files": ["model.safetensors"]}
    (tmp_path / "exported" / "adabatch-export.json").write_text(json.dumps(listed))
    with pytest.raises(ValueError, match=r"holds config\.json, which is not of the earlier export"):
        export_run(folder / "run", tmp_path / "exported", overwrite=True)
    assert (tmp_path / "exported" / "model.safetensors").exists()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o007, 0o660)])
def test_an_export_can_be_read_by_those_whom_the_umask_allows(folder, tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        export_run(folder / "run", tmp_path / "exported")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "exported").iterdir()}
    assert set(modes.values()) == {mode}, modes
    assert (tmp_path / "exported").stat().st_mode & 0o777 == 0o777 & ~umask


def test_a_folder_in_use_is_no_target(folder, tmp_path):
    with occupied(tmp_path), pytest.raises(ValueError, match=f"process {os.getpid()} on .* is at work in"):
        export_run(folder / "run", tmp_path, overwrite=True)


def test_an_export_that_fails_leaves_no_folder(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("adabatch.export._put_in_place", lambda *_: (tmp_path / "no" / "file").touch())
    with pytest.raises(ValueError, match="cannot be read or written"):
        export_run(folder / "run", tmp_path / "exported")
    assert not (tmp_path / "exported").exists()
