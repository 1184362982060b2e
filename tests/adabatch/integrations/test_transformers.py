"""The Trainer's callback: every window's gradient against a hand-written one, and its guards."""

import copy
import math
import os
import pickle
import tempfile
import warnings
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerCallback, TrainingArguments

from adabatch.integrations.accumulation import Accumulation
from adabatch.integrations.transformers import AdaptiveBatchCallback, _check_arguments
from adabatch.schedules import Stagewise
from tests.support.spawning import run_fresh_ranks
from tests.support.trainer_runs import (
    MICRO_BATCH,
    RecordingTrainer,
    dataset,
    relative_error,
    run,
    small_llama,
    stages,
)


def test_every_window_as_by_hand(tmp_path):
    """37 micro-batches per epoch: windows of 2, 3 and 5, and a short one at each epoch's end."""
    schedule, moments = stages(), []
    callback = AdaptiveBatchCallback(schedule, interval=1)
    update = schedule.update
    schedule.update = lambda found, taken: (moments.append(found), update(found, taken))[1]
    trainer, steps = run(tmp_path, callback, count=75)
    sizes = [step["micro_batches"] for step in steps]
    assert {2, 3, 5} <= set(sizes)
    assert sum(sizes) == 2 * 37
    assert max(relative_error(step) for step in steps) < 1e-6
    whole = [step["moments"] for step in steps if step["moments"].batch_size in {4, 6, 10}]
    for found, expected in zip(moments[:8], whole[:8], strict=True):
        assert found.groups == expected.groups
        assert found.sum_of_squares == pytest.approx(expected.sum_of_squares, rel=1e-5)
        assert found.squared_norm == pytest.approx(expected.squared_norm, rel=1e-5)
    assert schedule.samples == callback.history[-1]["samples"] == 2 * 37 * MICRO_BATCH
    assert trainer.args.gradient_accumulation_steps == 2
    logged = [record for record in trainer.state.log_history if "loss" in record]
    assert [record["batch_size"] for record in logged] == [MICRO_BATCH * size for size in sizes]
    assert all("noise_scale" in record for record in logged)


def test_a_plain_change_of_the_accumulation_mis_scales(tmp_path):
    """What the callback is for; if this fails, the Trainer has fixed it."""

    class Plain(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            args.gradient_accumulation_steps = 3 if state.global_step == 2 else args.gradient_accumulation_steps

    _, steps = run(tmp_path, Plain(), count=24, num_train_epochs=1)
    assert steps[1]["micro_batches"] == 2
    assert relative_error(steps[1]) < 1e-5
    assert relative_error(steps[2]) > 0.1


def test_learning_rate_and_end_by_samples(tmp_path):
    """The planned 38 steps of 4 samples become fewer; the linear decay reaches its end with the data."""
    callback = AdaptiveBatchCallback(stages())
    trainer, steps = run(tmp_path, callback, count=76)
    assert len(steps) < trainer.state.max_steps == 38
    assert trainer.lr_scheduler.get_last_lr()[0] == pytest.approx(0, abs=1e-12)
    shorter, _ = run(tmp_path, AdaptiveBatchCallback(stages(), samples=20), count=76)
    assert shorter.state.log_history[-2]["samples"] == 20


def test_clips_after_measuring(tmp_path):
    callback = AdaptiveBatchCallback(interval=1)
    trainer, steps = run(tmp_path, callback, count=16, max_grad_norm=0.25)
    for record, step in zip(callback.history, steps, strict=True):
        assert record["grad_norm"] == pytest.approx(float(step["by_hand"].norm()), rel=1e-5)
        assert record["grad_norm"] > 0.25
        assert float(step["gradient"].norm()) == pytest.approx(0.25, rel=1e-4)
    assert trainer.args.max_grad_norm == 0.25


def test_gradients_that_are_not_finite_are_thrown_away(tmp_path):
    class Broken(RecordingTrainer):
        def training_step(self, model, inputs, *rest):
            loss = super().training_step(model, inputs, *rest)
            if self.state.global_step == 1:
                model.lm_head.weight.grad.fill_(math.nan)
            return loss

    weights = []

    class Weights(TrainerCallback):
        def on_step_end(self, args, state, control, model=None, **_):
            weights.append(model.lm_head.weight.detach().clone())

    schedule = stages()
    trainer = Broken(
        model=small_llama(),
        args=TrainingArguments(
            str(tmp_path), use_cpu=True, disable_tqdm=True, report_to="none", dataloader_drop_last=True,
            per_device_train_batch_size=MICRO_BATCH, max_steps=3, save_strategy="no",
        ),
        train_dataset=dataset(40),
        callbacks=[AdaptiveBatchCallback(schedule, interval=1), Weights()],
    )  # fmt: skip
    with pytest.warns(UserWarning, match="step 2 skipped: the gradient's norm is nan"):
        trainer.train()
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])
    assert all(weight.isfinite().all() for weight in weights)
    assert schedule.steps == 3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dataloader_drop_last": False}, "dataloader_drop_last=True"),
        ({"accelerator_config": {"split_batches": True}}, "split_batches"),
    ],
)
def test_refuses_arguments_with_which_it_would_be_wrong(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, AdaptiveBatchCallback(stages()), **changes)


@pytest.mark.parametrize(
    ("name", "message"),
    [("fp16", "use bf16 or fp32"), ("n_gpu", "one process per GPU"), ("deepspeed", "use DDP or FSDP2")],
)
def test_refuses_what_needs_other_machines(name, message):
    usual = {"fp16": False, "n_gpu": 0, "deepspeed": None, "dataloader_drop_last": True}
    usual |= {"accelerator_config": SimpleNamespace(split_batches=False), "auto_find_batch_size": False}
    _check_arguments(SimpleNamespace(**usual), None)
    with pytest.raises(ValueError, match=message):
        _check_arguments(SimpleNamespace(**usual | {name: 2}), None)


def test_measures_every_third_step_only(tmp_path):
    callback = AdaptiveBatchCallback(interval=3)
    run(tmp_path, callback, count=24, num_train_epochs=1)
    assert ["noise_scale" in record for record in callback.history] == [False, False, True] * 2
    assert all(record["grad_norm"] > 0 for record in callback.history)


def test_refuses_a_batch_that_the_trainer_cannot_make(tmp_path):
    with pytest.raises(ValueError, match=r"multiple_of=2"):
        run(tmp_path, AdaptiveBatchCallback(Stagewise([5], [1.0], 100)))
    with pytest.raises(ValueError, match="without a schedule the interval"):
        AdaptiveBatchCallback()
    with pytest.raises(
        ValueError, match="1 micro-batch on 1 rank has too few groups: a variance needs at least 2"
    ):
        run(tmp_path, AdaptiveBatchCallback(interval=1), gradient_accumulation_steps=1)


def test_refuses_a_changed_micro_batch(tmp_path):
    class Change(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            args.per_device_train_batch_size = 4

    with pytest.raises(ValueError, match="from 2 to 4 during training, where it does nothing"):
        run(tmp_path, AdaptiveBatchCallback(stages()), callbacks=[Change()])


def test_refuses_a_changed_accumulation(tmp_path):
    class Change(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            args.gradient_accumulation_steps = 4

    with pytest.raises(RuntimeError, match="changed by something else"):
        run(tmp_path, AdaptiveBatchCallback(stages()), callbacks=[Change()])


def test_accumulation_counts_from_its_start_and_is_saved_as_given():
    steps = Accumulation(3, start=4, given=2)
    assert (steps, 5 % steps, 7 % steps, 7 // steps) == (3, 1, 0, 2)
    for saved in (copy.deepcopy(steps), pickle.loads(pickle.dumps(steps))):
        assert (saved, type(saved), 5 % saved) == (2, int, 1)


def rank_of_two(rank, world_size):
    """A run that asks for FSDP on a CPU; what was warned, decided and measured."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size)}
    os.environ |= {"LOCAL_WORLD_SIZE": str(world_size), "MASTER_ADDR": "127.0.0.1"}
    schedule = stages(unit=MICRO_BATCH * world_size)
    callback = AdaptiveBatchCallback(schedule, interval=1)
    fsdp = {"fsdp": True, "fsdp_config": {"version": 2}}
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer, steps = run(folder, callback, count=76, ddp_backend="gloo", **fsdp)
    parameters = torch.cat([p.detach().flatten() for p in trainer.model.parameters()])
    expected_norms = [float(step["moments"].squared_norm) ** 0.5 for step in steps]
    return {
        "micro_batches": [step["micro_batches"] for step in steps],
        "errors": [relative_error(step) for step in steps],
        "norms": ([record["grad_norm"] for record in callback.history], expected_norms),
        "noise": [record["noise_scale"] for record in callback.history],
        "parameters": parameters,
        "warned": [str(warning.message) for warning in caught],
    }


@pytest.mark.slow
@pytest.mark.distributed
def test_two_ranks_as_by_hand_where_fsdp_fell_back_to_ddp():
    first, second = run_fresh_ranks(rank_of_two, 2)
    assert {4, 6, 10} <= set(first["micro_batches"])  # both ranks' 2, 3 and 5
    assert max(first["errors"] + second["errors"]) < 1e-6
    assert first["norms"][0] == pytest.approx(first["norms"][1], rel=1e-5)
    assert torch.equal(first["parameters"], second["parameters"])
    assert repr(first["noise"]) == repr(second["noise"])
    assert any("FSDP was asked for, but no module is sharded" in message for message in first["warned"])
