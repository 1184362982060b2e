"""Several validation sets, and validation before the first step: by hand, resumed, refused."""

from __future__ import annotations

import os

import pytest

from adabatch.data.corpus import open_corpus
from adabatch.distributed.parallel import DistributedContext
from adabatch.reporting.metrics import TIMED
from adabatch.settings import CONFIG, load_settings, write_config
from adabatch.training.loop import train
from adabatch.training.opening import open_run
from adabatch.training.validation import validation_loss

ALONE = DistributedContext()
TEXTS = {
    "train.txt": "a batch grows as the noise does. " * 200,
    "prose.txt": "It was a dark and stormy night; the rain fell in torrents. " * 20,
    "code.py": "def grow(batch):\n    return 2 * batch\n" * 20,
    "more.py": "class Batch:\n    size = 3\n" * 30,
}
SETS = ("prose.txt", "code=code.py", "code=more.py")


@pytest.fixture
def settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in TEXTS.items():
        (tmp_path / name).write_text(text)
    small = {"data": "train.txt", "model": "nano", "samples": 16, "warmup_samples": 4, "sequence_length": 16}
    small |= {"validation_interval": 8, "validation_samples": 9, "output": "run", "cache": str(tmp_path / "cache")}
    return lambda **changes: load_settings("demo", overrides=small | changes)


@pytest.mark.parametrize("changes", [{}, {"streaming": True, "tokenizer": "bpe", "vocabulary_size": 300}])
def test_each_set_has_its_own_losses(settings, changes):
    run = open_run(settings(validation_data=SETS, **changes), ALONE)
    records = list(train(run))
    validated = [record for record in records if "val_loss" in record]
    assert [record["samples"] for record in validated] == [8, 16]
    assert {name for name in records[-1] if name.startswith("val_")} == {
        *("val_loss", "val_bits_per_byte", "val_loss/code", "val_bits_per_byte/code"),
    }
    for series, data in (("val_loss", "prose.txt"), ("val_loss/code", ("code.py", "more.py"))):
        alone = open_corpus(settings(validation_data=data, **changes).data)
        loss = validation_loss(run.model, alone.validation, run.settings, ALONE, run.memory.worked)
        expected = validation_loss(run.model, run.corpus.validation, run.settings, ALONE, run.memory.worked)
        if series == "val_loss" or not changes:  # a tokenizer of its own is trained on the same text alike
            assert records[-1][series] == loss
        assert (records[-1][series] == expected) == (series == "val_loss")
    without = list(train(open_run(settings(validation_data="prose.txt", output="without", **changes), ALONE)))
    assert untimed(without) == [
        {name: value for name, value in record.items() if "/" not in name} for record in untimed(records)
    ]


def untimed(records):
    return [{name: value for name, value in record.items() if name not in TIMED} for record in records]


def test_the_part_held_out_may_be_the_first_of_several(settings):
    held_out = open_run(settings(), ALONE)
    several = open_run(settings(validation_data=("held-out", "code=code.py"), output="several"), ALONE)
    assert several.corpus.folder == held_out.corpus.folder  # nothing is prepared again
    assert several.corpus.validation.describe() == held_out.corpus.validation.describe()
    assert list(several.corpus.others) == ["code"]


def test_losses_before_the_first_step_are_those_of_the_model_as_it_begins(settings):
    run = open_run(settings(validation_data=SETS, validate_at_start=True, checkpoint_interval=8), ALONE)
    first = validation_loss(
        run.model, run.corpus.validation, run.settings, ALONE, run.settings.schedule.micro_batch
    )
    records = list(train(run))
    assert records[0]["at_start"]["val_loss"] == first
    assert set(records[0]["at_start"]) == {name for name in records[-1] if name.startswith("val_")}
    plain = list(train(open_run(settings(validation_data=SETS, output="plain"), ALONE)))
    assert untimed(plain) == [
        {name: value for name, value in record.items() if name != "at_start"} for record in untimed(records)
    ]
    middle = run.saver.folder / "step-00000002"
    elsewhere = settings(validation_data=SETS, validate_at_start=True, output="resumed", resume=str(middle))
    resumed = list(train(open_run(elsewhere, ALONE)))
    assert untimed(resumed) == untimed(records)[2:]  # which have none


def test_names_are_read_and_kept(settings, tmp_path, monkeypatch):
    (tmp_path / "x=y.txt").write_text("a file of that very name wins")
    data = settings(validation_data=("x=y.txt", "code=code.py")).data
    assert data.validation_sets() == {"": ("x=y.txt",), "code": ("code.py",)}
    write_config(settings(validation_data=("x=y.txt", "code=code.py")), tmp_path)
    home = settings(validation_data=("own=held-out", "code=~/code.py")).data
    assert home.validation_sets()["code"] == (os.path.expanduser("~/code.py"),)
    assert (home.first_validation, list(home.other_validation)) == (None, ["code"])
    monkeypatch.chdir("/")
    kept = load_settings(file=tmp_path / CONFIG).data
    assert kept.validation_sets() == {"": (f"{tmp_path}/x=y.txt",), "code": (f"{tmp_path}/code.py",)}


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("code=code.py", "prose.txt"), r"prose.txt has no name, .* name it, as in prose=prose.txt"),
        (("prose.txt", "own=held-out"), r"held-out is a set of its own, the first one: put it first"),
        (("held-out", "prose.txt"), r"held-out is a set of its own, the first one"),
        (("prose.txt", "code=nowhere.py"), r"there is no file or folder nowhere.py"),
        (("prose.txt", "code=short.txt"), r"the validation part of data 'short.txt' has 6 tokens, less than one"),
    ],
)
def test_sets_that_are_refused(settings, tmp_path, given, message):
    (tmp_path / "short.txt").write_text("short")
    with pytest.raises(ValueError, match=message) as refused:
        open_run(settings(validation_data=given), ALONE)
    assert "\n" not in str(refused.value)


def test_the_part_held_out_must_be_some(settings):
    with pytest.raises(ValueError, match=r"held-out needs a part that is held out: raise --validation-fraction"):
        settings(validation_data=("held-out", "code=code.py"), validation_fraction=0.0)
