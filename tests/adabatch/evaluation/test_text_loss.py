"""Losses of sequences against those by hand in fp64, and against what training recorded."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

from adabatch.evaluation.subject import Subject, open_subject
from adabatch.evaluation.text_loss import text_losses
from adabatch.export import export_run
from adabatch.settings import load_settings
from tests.adabatch.evaluation.test_subject import trained_run

DOCUMENTS = ["adaptive batch", "norm test, naïve", "eta"]
LENGTH = 5


def only_loss(subject, **options):
    """Of the only text."""
    (found,) = text_losses(subject, **options).values()
    return found


class Sums(nn.Module):
    """A causal model in fp64: logits from the sum of the embeddings so far."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(2)
        self.embedding = nn.Embedding(257, 3, dtype=torch.float64)
        self.output = nn.Linear(3, 257, dtype=torch.float64)

    def forward(self, input_ids):
        return SimpleNamespace(logits=self.output(self.embedding(input_ids).cumsum(1)))


def by_hand(model: Sums, tokens: list[int]) -> float:
    """The mean loss of a sequence, number by number."""
    embedding, weight = model.embedding.weight.tolist(), model.output.weight.tolist()
    losses, state = [], [0.0, 0.0, 0.0]
    for token, following in pairwise(tokens):
        state = [a + b for a, b in zip(state, embedding[token], strict=True)]
        logits = [
            math.fsum([bias, *(a * b for a, b in zip(row, state, strict=True))])
            for row, bias in zip(weight, model.output.bias.tolist(), strict=True)
        ]
        losses.append(math.log(math.fsum(map(math.exp, logits))) - logits[following])
    return math.fsum(losses) / len(losses)


def test_by_hand_in_fp64(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in DOCUMENTS))
    given = {"data": str(tmp_path / "a.jsonl"), "validation_fraction": 0.0, "sequence_length": LENGTH}
    model = Sums()
    found = only_loss(Subject(tmp_path, None, model, load_settings(overrides=given), own_data=False), batch=3)

    tokens = [token for text in DOCUMENTS for token in (*text.encode(), 256)]
    rows = [tokens[at : at + LENGTH] for at in range(0, len(tokens) - LENGTH + 1, LENGTH)]
    expected = sorted(by_hand(model, row) for row in rows)
    assert found.available == len(found.losses) == len(rows) == 7
    assert sorted(found.losses) == pytest.approx(expected, rel=1e-13)
    mean, half = np.mean(expected), stats.t.ppf(0.975, 6) * stats.sem(expected)
    assert (found.loss.low, found.loss.high) == pytest.approx((mean - half, mean + half), rel=1e-12)
    assert found.perplexity == pytest.approx(tuple(math.exp(mean + shift) for shift in (0, -half, half)))
    counted = sum(token < 256 for row in rows for token in row[1:])
    assert found.sizes.sum() == counted < 7 * (LENGTH - 1)  # ends of documents are of no bytes
    assert found.bits_per_byte.mean == pytest.approx(sum(expected) * (LENGTH - 1) / math.log(2) / counted)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """It validates on all of its validation data."""
    return trained_run(tmp_path_factory.mktemp("losses"), validation_samples=1000)


def test_a_run_on_its_validation_data_gives_what_training_recorded(run):
    recorded = json.loads((run.parent / "last.json").read_text())
    found, few = (only_loss(open_subject(run), sequences=count) for count in (None, 5))
    assert found.available == len(found.losses) > 10
    assert found.loss.mean == pytest.approx(recorded["val_loss"], rel=1e-5)
    assert found.bits_per_byte.mean == pytest.approx(recorded["val_bits_per_byte"], rel=0.02)
    assert list(few.losses) == pytest.approx(list(found.losses[:5]), rel=1e-5)  # in one order, drawn at random


def test_sequences_are_drawn_from_all_of_the_text(run, tmp_path):
    """Its first half is one letter: in the order of the text, the first quarter would have one loss."""
    (tmp_path / "halves.txt").write_text("a" * 320 + "".join(chr(33 + k % 90) for k in range(320)))
    given = {"validation_data": str(tmp_path / "halves.txt")}
    found = [only_loss(open_subject(run, given=given), sequences=count) for count in (10, 0)]
    assert found[1].available == 40
    assert len({round(loss, 4) for loss in found[0].losses}) > 3
    assert found[0].loss.low < found[1].loss.mean < found[0].loss.high


def test_an_export_gives_the_same_losses_on_the_same_sequences(run, tmp_path):
    given = {"data": str(run.parent / "text.txt"), "sequence_length": 16}
    export_run(run, tmp_path / "exported")
    found = [only_loss(open_subject(folder, given=given), sequences=20) for folder in (run, tmp_path / "exported")]
    assert np.array_equal(found[0].losses, found[1].losses)
    assert np.array_equal(found[0].sizes, found[1].sizes)
    alone = replace(found[0], losses=found[0].losses[:1], sizes=found[0].sizes[:1])
    assert alone.as_json()["loss"] == {"mean": found[0].losses[0], "low": None, "high": None}
    assert " to " not in str(alone)


def test_a_run_with_a_tokenizer_of_its_own_reads_other_data_with_that(tmp_path):
    (tmp_path / "b.txt").write_text("another text, 2 * batch\n" * 40)
    sets = {"validation_data": ("held-out", f"other={tmp_path / 'b.txt'}")}
    folder = trained_run(tmp_path, tokenizer="bpe", vocabulary_size=300, validation_samples=1000, **sets)
    recorded = json.loads((tmp_path / "last.json").read_text())
    held_out, other = text_losses(open_subject(folder)).values()
    assert held_out.loss.mean == pytest.approx(recorded["val_loss"], rel=1e-5)
    assert other.loss.mean == pytest.approx(recorded["val_loss/other"], rel=1e-5)
    assert other.loss.mean != pytest.approx(held_out.loss.mean, rel=0.01)
    found = only_loss(open_subject(folder, given={"data": str(tmp_path / "b.txt")}), sequences=0)
    assert found.counted
    assert found.sizes.sum() > 1.2 * len(found.losses) * found.predicted


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"validation_fraction": 0.0}, r"holds no validation data out: name what to read \(--data\)"),
        (
            {"data": ["short.txt"]},
            r"short.txt' has 3 tokens, less than one sequence of 16; use more data or a shorter --seq",
        ),
        ({"data": ["empty.txt"]}, r"the file .*empty.txt is empty; name a file with text"),
        ({"data": ["nowhere.txt"]}, r"there is no file or folder .*nowhere.txt"),
    ],
)
def test_data_that_cannot_be_read(run, tmp_path, monkeypatch, given, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "short.txt").write_text("ab")
    (tmp_path / "empty.txt").touch()
    with pytest.raises(ValueError, match=message):
        only_loss(open_subject(run, given=given))
