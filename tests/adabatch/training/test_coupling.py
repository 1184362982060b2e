"""What moves with the batch, in runs: beta2, weight decay, sequence length, the learning rates of another run."""

from __future__ import annotations

import itertools
import json
import math

import pytest
import torch

import adabatch.training.admission
import adabatch.training.loop
from adabatch.checkpoints.folders import complete_checkpoints
from adabatch.distributed.parallel import DistributedContext
from adabatch.reporting.console import summary
from adabatch.reporting.metrics import TIMED, MetricsWriter
from adabatch.schedules import MicroBatchPlan
from adabatch.settings import load_settings
from adabatch.training.checks import check_model, check_settings
from adabatch.training.loop import next_batch, train
from adabatch.training.opening import open_run
from tests.support.tiny_llama import write_tiny_model

HALF_LIFE = 60.0
MOVING = {
    "lr_scaling": "sqrt",
    "beta2_half_life": HALF_LIFE,
    "weight_decay_scaling": "linear",
    "length_stages": "12:0.4,16:0.7,32:1",
}


@pytest.fixture
def open_single(tmp_path):
    """Opens a small run whose batch grows, in a folder of this name."""
    write_tiny_model(tmp_path / "model.json")
    (tmp_path / "text.txt").write_text("a batch grows as the noise does. " * 400)

    def open_(name, **changes):
        return open_run(settings_in(tmp_path, output=str(tmp_path / name), **changes), DistributedContext())

    return open_


def settings_in(folder, **changes):
    small = {
        "model": str(folder / "model.json"),
        "data": str(folder / "text.txt"),
        "samples": 96,
        "eta": 0.1,
        "max_growth": 1.5,
        "initial_batch": 4,
        "micro_batch": 1,
        "max_micro_batch": 4,
        "max_batch": 16,
        "warmup_samples": 16,
        "sequence_length": 32,
        "validation_interval": 0,
        "checkpoint_interval": 24,
    }
    return load_settings(overrides=small | changes)


def written(folder, records):
    folder.mkdir(exist_ok=True)
    with MetricsWriter(folder) as metrics:
        for record in records:
            metrics.write(record)
    return str(folder)


def test_a_growing_run_that_is_resumed_in_the_middle_is_the_same_bit_by_bit(open_single, tmp_path):
    whole = list(train(open_single("whole", **MOVING)))
    sizes = [record["batch_size"] for record in whole]
    assert len(set(sizes)) > 2
    begun = list(itertools.islice(train(open_single("cut", **MOVING)), sizes.index(sizes[-1]) + 1))
    run = open_single("cut", resume="auto", **MOVING)
    assert 0 < run.schedule.steps <= len(begun) < len(whole)
    resumed = begun[: run.schedule.steps] + list(train(run))

    def exact(records):
        return [{name: value for name, value in record.items() if name not in TIMED} for record in records]

    assert exact(resumed) == exact(whole)
    ends = [complete_checkpoints(tmp_path / name / "checkpoints")[-1] for name in ("cut", "whole")]
    first, second = ((end / "__0_0.distcp").read_bytes() for end in ends)
    assert first == second
    couplings = [json.loads((end / "progress.json").read_text())["coupling"] for end in ends]
    assert couplings[0] == couplings[1]
    assert couplings[0]["log_product"] == pytest.approx(-math.log(2) * sum(sizes) / HALF_LIFE)


def test_records_say_what_moved(open_single):
    records = list(train(open_single("run", **MOVING)))
    tokens = 0
    for record in records:
        batch, length = record["batch_size"], record["sequence_length"]
        first = record["samples"] - batch
        assert length == (12 if first < 0.4 * 96 else 16 if first < 0.7 * 96 else 32)
        tokens += batch * length
        assert record["tokens"] == tokens
        assert record["tokens_per_second"] * record["seconds"] == pytest.approx(batch * length)
        assert record["beta2"] == pytest.approx(2 ** (-batch / HALF_LIFE))
        assert record["weight_decay"] == pytest.approx(0.1 * batch / 4)
    assert {record["sequence_length"] for record in records} == {12, 16, 32}
    shown = summary(records)
    assert shown["tokens"] == tokens
    assert shown["tokens/s"] * shown["seconds in steps"] == pytest.approx(tokens)


def test_records_of_a_run_where_nothing_moves(open_single):
    record = next(iter(train(open_single("run"))))
    assert (record["sequence_length"], record["tokens"]) == (32, 4 * 32)
    assert not {"beta2", "weight_decay"} & set(record)


def test_the_optimizer_is_handed_what_is_recorded(open_single):
    run = open_single("run", **MOVING)
    for record in train(run):
        (group,) = run.optimizer.param_groups
        assert group["betas"] == (0.9, record["beta2"])
        assert group["lr"] * group["weight_decay"] == pytest.approx(record["lr"] * record["weight_decay"])
        assert group["lr"] / group["eps"] == pytest.approx(record["lr"] / 1e-8)


def test_a_skipped_step_counts_its_samples_and_tokens_but_no_decay(open_single, monkeypatch):
    run = open_single("run", schedule="constant", **MOVING)
    loss_of, calls = adabatch.training.loop.language_model_loss, itertools.count()

    def broken(model, tokens):
        loss = loss_of(model, tokens)
        return loss * math.nan if next(calls) in (1, 2) else loss

    monkeypatch.setattr(adabatch.training.loop, "language_model_loss", broken)
    with pytest.warns(UserWarning, match="skipped"):
        records = list(itertools.islice(train(run), 3))
    skipped = records[-1]["skipped"]
    assert 0 < skipped < 3
    assert run.coupling.updates == 3 - skipped
    assert run.coupling.log_product == pytest.approx(-(3 - skipped) * 4 * math.log(2) / HALF_LIFE)
    assert run.coupling.tokens == 3 * 4 * 12
    (state, *_) = run.optimizer.state.values()
    assert state["step"] == run.coupling.updates


def test_a_shorter_length_cuts_the_same_samples(open_single):
    run, plan = open_single("run"), MicroBatchPlan(world_size=1, accumulation=2, micro_batch=3)
    whole, cut = next_batch(run, plan, 32), next_batch(run, plan, 12)
    assert [part.shape for part in cut] == [(3, 12)] * 2
    for a, b in zip(whole, cut, strict=True):
        assert torch.equal(a[:, :12], b)


def test_the_micro_batch_is_tried_again_where_sequences_grow(open_single, monkeypatch):
    tried = []
    fits = adabatch.training.admission._fits
    monkeypatch.setattr(
        adabatch.training.admission, "_fits", lambda *given: tried.append(given[1:]) or fits(*given)
    )
    changes = {"schedule": "constant", "initial_batch": 8, "micro_batch": 4}
    records = list(train(open_single("run", length_stages="8:0.5,32:1", **changes)))
    assert tried == [(4, 32)]
    assert {record["micro_batch"] for record in records} == {4}
    tried.clear()
    monkeypatch.setattr(adabatch.training.admission, "_fits", lambda *_: False)
    with pytest.warns(UserWarning, match="micro-batch of 4 does not fit in memory"):
        records = list(train(open_single("other", length_stages="8:0.5,32:1", **changes)))
    assert [record["micro_batch"] for record in records] == [4] * 6 + [1] * 6


def test_the_learning_rates_of_another_run(open_single, tmp_path):
    first = list(train(open_single("first", lr_scaling="sqrt")))
    changes = {"lr_replay": written(tmp_path / "first", first), "lr": 1.0, "min_lr": 1.0}
    batches = {"schedule": "replay", "replay_run": changes["lr_replay"]}
    again = list(train(open_single("again", **changes, **batches)))
    assert len({record["batch_size"] for record in first}) > 1
    for a, b in zip(first, again, strict=True):
        assert b["lr"] == pytest.approx(a["lr"], rel=1e-12)
        assert b["loss"] == pytest.approx(a["loss"], rel=1e-4)
    constant = list(train(open_single("constant", schedule="constant", samples=first[-1]["samples"], **changes)))
    ends = [record["samples"] for record in first]
    for record in constant:  # as many samples at each rate, by counting them
        positions = range(record["samples"] - record["batch_size"], record["samples"])
        rates = [next(r["lr"] for r, end in zip(first, ends, strict=True) if p < end) for p in positions]
        assert record["lr"] == pytest.approx(sum(rates) / len(rates), rel=1e-12)


RECORDS = [{"step": k, "samples": 4 * k, "batch_size": 4, "lr": 1e-3} for k in (1, 2, 3)]


@pytest.mark.parametrize(
    ("records", "changes", "message"),
    [
        ([], {}, "needs records"),
        ([{"step": 1, "samples": 4}], {}, "an lr each"),
        ([*RECORDS, {"step": 4, "samples": 16, "lr": None}], {}, "an lr each"),
        ([{**record, "lr": 0.0} for record in RECORDS], {}, "one above 0"),
        ([{**record, "lr": -1.0} for record in RECORDS], {}, "one above 0"),
        (RECORDS[::-1], {}, "ascending samples"),
        (RECORDS, {"lr_scaling": "sqrt"}, "leave out --lr-scaling sqrt"),
        (RECORDS, {"noise_limit": 1.0}, "leave out --noise-limit"),
        (RECORDS, {"schedule": "exchange"}, "exchange and seesaw make their own learning rates"),
        (RECORDS, {"schedule": "seesaw"}, "exchange and seesaw make their own learning rates"),
        (RECORDS, {"batch_floor": "exchange"}, "exchange and seesaw make their own learning rates"),
    ],
)
def test_what_a_replay_of_learning_rates_refuses(tmp_path, records, changes, message):
    folder = written(tmp_path / "other", records)
    with pytest.raises(ValueError, match=message) as refused:
        check_settings(settings_in(tmp_path, lr_replay=folder, **changes), 1)
    assert "\n" not in str(refused.value)


def test_each_length_is_divided_among_tensor_parallel_ranks(tmp_path):
    write_tiny_model(tmp_path / "model.json")
    shared = {"parallel": "fsdp", "tensor_parallel": 2, "sequence_parallel": True, "ranks": 2}
    check_model(settings_in(tmp_path, length_stages="16:0.5,32:1", **shared), None)
    with pytest.raises(ValueError, match="sequence length of 15"):
        check_model(settings_in(tmp_path, length_stages="15:0.5,32:1", **shared), None)
