"""The tokenizer trained on the corpus: deterministic, kept with the run, comparable by bits per byte."""

import dataclasses
import json
import math
import os
import random
import shutil
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from adabatch.data import bpe_training
from adabatch.data.corpus import open_corpus
from adabatch.data.preparation import prepare
from adabatch.distributed.parallel import DistributedContext
from adabatch.reporting.metrics import read_metrics
from adabatch.settings import DataSettings, load_settings
from adabatch.training.launch import launch
from adabatch.training.opening import open_run
from adabatch.training.validation import bits_per_byte, validation_loss

TEXTS = [f"def function_{i}(x):\n    return x + {i}  # naïve €\n" * (1 + i % 5) for i in range(60)]
TEXTS[7] += "<|endoftext|> is text here\n"


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    (folder / "texts").mkdir()
    for i, text in enumerate(TEXTS):
        (folder / "texts" / f"{i:02}.txt").write_text(text, encoding="utf-8")
    return DataSettings(
        str(folder / "texts"),
        tokenizer="bpe",
        vocabulary_size=300,
        sequence_length=8,
        cache=str(folder / "cache"),
    )


@pytest.fixture(scope="module")
def corpus(settings):
    return open_corpus(settings)


def test_the_corpus_is_that_of_its_tokenizer(settings, corpus):
    plain = Tokenizer.from_file(str(corpus.folder / "tokenizer.json"))
    plain.encode_special_tokens = True
    assert corpus.tokenizer.size == 300
    assert corpus.vocabulary_size == 304
    end = plain.token_to_id("<|endoftext|>")
    assert end == corpus.tokenizer.end_of_document
    tokens = corpus.train._samples.reshape(-1).tolist()
    text = corpus.tokenizer.decode(tokens)
    training = [text for text in TEXTS if text[:60] in corpus.tokenizer.decode(tokens)]
    assert 50 <= len(training) < 60
    expected = [token for each in training for token in [*plain.encode(each).ids, end]]
    assert tokens == expected[: len(tokens)]
    assert "<|endoftext|> is text here" in text  # not taken for the end of a document
    assert tokens.count(end) == len(training) - (expected[len(tokens) :].count(end))


@hypothesis_settings(deadline=None)
@given(text=st.text(max_size=60))
def test_any_text_comes_back(corpus, text):
    (tokens,) = corpus.tokenizer.encode([text.encode()])
    assert corpus.tokenizer.decode(tokens) == text
    assert corpus.tokenizer.end_of_document not in tokens


@pytest.mark.slow
def test_it_is_the_same_in_any_process(settings, corpus, tmp_path):
    code = (
        "import sys; from adabatch.data.preparation import prepare; from adabatch.settings import DataSettings; "
    )
    code += "print(prepare(DataSettings(sys.argv[1], tokenizer='bpe', "
    code += "vocabulary_size=300, sequence_length=8, cache=sys.argv[2])))"
    for threads, seed in ((1, 1), (4, 2)):
        added = {"RAYON_NUM_THREADS": str(threads), "PYTHONHASHSEED": str(seed)}
        cache = tmp_path / str(threads)
        done = subprocess.run(
            [sys.executable, "-c", code, settings.data, str(cache)],
            env=os.environ | added,
            capture_output=True,
            text=True,
            check=True,
        )
        folder = done.stdout.strip()
        assert (cache / "corpora" / corpus.folder.name).samefile(folder)
        for name in ("train.tokens", "tokenizer.json"):
            assert (cache / "corpora" / corpus.folder.name / name).read_bytes() == (
                corpus.folder / name
            ).read_bytes()


def test_only_training_text_and_not_too_much_is_used(settings, tmp_path, monkeypatch):
    from adabatch.data import bpe

    read = []
    texts = bpe._texts

    def recording(sources):
        for text in texts(sources):
            read.append(text)
            yield text

    monkeypatch.setattr(bpe, "_texts", recording)
    monkeypatch.setattr(bpe, "TRAINING_BYTES", 2000)
    prepare(DataSettings(settings.data, tokenizer="bpe", sequence_length=8, cache=str(tmp_path)))
    assert 1500 < sum(map(len, read)) < 3000


def test_mistakes(tmp_path):
    with pytest.raises(ValueError, match="vocabulary_size is 256; bpe needs at least 257"):
        DataSettings(tokenizer="bpe", vocabulary_size=256)
    (tmp_path / "a.jsonl").write_text('{"text": ""}\n')
    with pytest.raises(ValueError, match="no text to train a tokenizer on"):
        prepare(DataSettings(str(tmp_path / "a.jsonl"), tokenizer="bpe", cache=str(tmp_path / "cache")))


def run_settings(settings, folder, **changes):
    overrides = {
        "data": [settings.data],
        "tokenizer": "bpe",
        "vocabulary_size": 300,
        "sequence_length": 8,
        "initial_batch": 8,
        "warmup_samples": 8,
        "validation_samples": 16,
        "validation_interval": 16,
        "threads": 1,
        "cache": str(folder / "cache"),
        "output": str(folder / "run"),
        **changes,
    }
    return load_settings("demo", overrides=overrides)


@pytest.mark.slow
def test_a_run_keeps_its_tokenizer(settings, tmp_path, monkeypatch):
    """Resumed with another cache, and libraries that would train another tokenizer."""
    whole = tmp_path / "whole"
    assert launch(run_settings(settings, whole, samples=64, checkpoint_interval=32, figures=False)) == 0
    shutil.copytree(whole, tmp_path / "resumed")
    early, *late = sorted((tmp_path / "resumed" / "run" / "checkpoints").glob("step-*"))
    for checkpoint in late:
        shutil.rmtree(checkpoint)
    assert late
    assert early
    shutil.rmtree(tmp_path / "resumed" / "cache")
    monkeypatch.setattr("adabatch.data.bpe._train", lambda *_: pytest.fail("trained again"))
    resumed = run_settings(settings, tmp_path / "resumed", samples=64, resume="auto", figures=False)
    assert launch(resumed) == 0
    kept = tmp_path / "resumed" / "run" / "tokenizer.json"
    assert kept.read_bytes() == (whole / "run" / "tokenizer.json").read_bytes()
    first, second = (read_metrics(folder / "run") for folder in (whole, tmp_path / "resumed"))
    assert [r["loss"] for r in first] == [r["loss"] for r in second]
    assert first[-1]["val_bits_per_byte"] == second[-1]["val_bits_per_byte"] > 0


def test_bits_per_byte(settings, tmp_path):
    """Of a model that knows nothing: log2 of the vocabulary for each token, shared by the bytes of the text."""
    run = open_run(run_settings(settings, tmp_path), DistributedContext())
    for parameter in run.model.parameters():
        torch.nn.init.zeros_(parameter)
    loss = validation_loss(run.model, run.corpus.validation, run.settings, run.ranks, at_once=4)
    assert loss == pytest.approx(math.log(304))
    record = json.loads((run.corpus.folder / "corpus.json").read_text())["parts"]["validation"]
    held_out = [text for text in TEXTS if text[:60] not in run.corpus.tokenizer.decode(_all(run.corpus.train))]
    size = sum(len(text.encode()) for text in held_out)
    assert record["bytes"] == size
    assert bits_per_byte(loss, run.corpus.validation) == pytest.approx(math.log2(304) * record["tokens"] / size)
    assert bits_per_byte(None, run.corpus.validation) is None


def _all(samples):
    return samples._samples.reshape(-1)


@pytest.mark.parametrize("text", ["ACGT", "0123456789abcdef", '{"a":1},'])
def test_training_is_bounded_whatever_the_text(text, monkeypatch):
    """No word is longer than what it is cut at, and no more different words are taken than the limit."""
    monkeypatch.setattr(bpe_training, "WORD_BYTES", 20_000)
    unbroken = "".join(random.Random(0).choices(text, k=200_000))
    taken = list(bpe_training._enough(iter([unbroken])))
    assert "".join(taken) == unbroken[: sum(map(len, taken))]
    assert 10_000 <= sum(map(len, taken)) <= 150_000
    tokens = json.loads(bpe_training.byte_level_bpe(iter([unbroken]), 400, "<end>"))["model"]["vocab"]
    assert max(map(len, set(tokens) - {"<end>"})) <= bpe_training.LONGEST_WORD


def test_all_of_a_text_with_few_words_is_taken(monkeypatch):
    monkeypatch.setattr(bpe_training, "WORD_BYTES", 2000)
    texts = ["the same few words again\n" * 5000] * 3
    assert "".join(bpe_training._enough(iter(texts))) == "".join(texts)


def test_cutting_words_changes_nothing_where_they_are_short():
    """The negative control: by hand the most frequent pairs come first, and a long run is cut."""
    tokens = json.loads(bpe_training.byte_level_bpe(iter(["ab ab ab " * 50]), 259, "<end>"))["model"]["merges"]
    assert tokens == [["a", "b"], ["\u0120", "ab"]]
    runs = json.loads(bpe_training.byte_level_bpe(iter(["a" * 1000]), 400, "<end>"))["model"]["vocab"]
    assert max(map(len, set(runs) - {"<end>"})) == bpe_training.LONGEST_WORD


def test_a_training_that_dies_is_one_line(settings, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "executable", shutil.which("false"))
    with pytest.raises(
        ValueError, match=r"training the tokenizer ended early \(exit code 1\); lower --vocabulary-size"
    ):
        prepare(dataclasses.replace(settings, cache=str(tmp_path)))
