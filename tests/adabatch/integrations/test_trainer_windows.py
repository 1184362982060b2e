"""The Trainer's windows while their length varies: all kinds of data and ends; interrupted, repeated, resumed."""

import json
import math
import warnings
from pathlib import Path

import pytest
import torch
from torch.utils.data import IterableDataset
from transformers import Trainer, TrainerCallback, set_seed

from adabatch.integrations.transformers import AdaptiveBatchCallback
from adabatch.schedules import Composed, Exchange, Goodput, L1NormTest, NoiseLimit, Seesaw
from adabatch.schedules.learning_rate import LearningRate
from adabatch.schedules.step_times import StepTime
from tests.support.trainer_runs import (
    MICRO_BATCH,
    RecordingTrainer,
    arguments,
    dataset,
    relative_error,
    run,
    small_llama,
    stages,
)


class Stream(IterableDataset):
    """Samples without a length; as many per pass as are given."""

    def __init__(self, count):
        self.count = count

    def __iter__(self):
        return iter(dataset(self.count))


def windows(steps):
    return [step["micro_batches"] for step in steps]


def assert_by_hand(steps):
    assert max(relative_error(step) for step in steps) < 1e-6


@pytest.mark.parametrize("interval", [0, 1])
def test_data_without_length(tmp_path, interval):
    """14 steps of 2, 3 and 5 micro-batches: more than the 28 that the Trainer reckons with."""
    callback = AdaptiveBatchCallback(stages(), interval=interval)
    _, steps = run(tmp_path, callback, data=Stream(1000), max_steps=14)
    assert windows(steps) == [2] * 5 + [3] * 5 + [5] * 4
    assert_by_hand(steps)


def test_passes_over_data_without_length(tmp_path):
    """11 micro-batches per pass: the pass's last window is short, and nothing of it is left for the next one."""
    _, steps = run(tmp_path, AdaptiveBatchCallback(stages(), interval=1), data=Stream(23), max_steps=12)
    assert windows(steps) == [2] * 5 + [1] + [3] * 3 + [2] + [3] + [5]
    assert_by_hand(steps)


def test_steps_are_taken_in_as_many_epochs_as_they_need(tmp_path):
    """20 steps of 2 would take 3 epochs of 15 micro-batches; 3 and 5 need more."""
    trainer, steps = run(tmp_path, AdaptiveBatchCallback(stages(), interval=1), count=30, max_steps=20)
    assert len(steps) == trainer.state.global_step == trainer.state.max_steps == 20
    assert sum(windows(steps)) > 45
    assert windows(steps)[:6] == [2, 2, 2, 2, 2, 3]
    assert_by_hand(steps)
    assert trainer.lr_scheduler.get_last_lr()[0] == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("changes", "groups", "least"),
    [
        ({"max_steps": 24}, 2, 2),
        ({"num_train_epochs": 2, "gradient_accumulation_steps": 3}, 2, 3),
        ({"num_train_epochs": 2, "gradient_accumulation_steps": 3}, 4, 4),
    ],
    ids=["two groups", "the planned batch", "more groups than the planned batch has"],
)
def test_a_falling_batch_falls_as_far_as_a_step_can(tmp_path, changes, groups, least):
    """Small batches cost next to nothing here, so that goodput asks for the smallest."""
    schedule = Goodput(4 * MICRO_BATCH, 8 * MICRO_BATCH, StepTime(1e-3, 1.0), multiple_of=MICRO_BATCH)
    schedule.groups_needed = groups
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        _, steps = run(tmp_path, AdaptiveBatchCallback(schedule, interval=1), **changes)
    assert windows(steps)[0] == 4
    assert windows(steps)[12:15] == [least] * 3
    assert schedule.batch_size == MICRO_BATCH
    assert schedule.samples == MICRO_BATCH * sum(windows(steps))
    asked = [str(each.message) for each in warned if "asks for less than" in str(each.message)]
    assert bool(asked) == ("gradient_accumulation_steps" in changes)
    assert all("lower gradient_accumulation_steps" in text for text in asked)
    assert_by_hand(steps)


@pytest.mark.parametrize("data", [None, Stream(1000)])
def test_samples_budget(tmp_path, data):
    callback = AdaptiveBatchCallback(stages(), samples=30 * MICRO_BATCH)
    _, steps = run(tmp_path, callback, data=data, max_steps=100)
    assert windows(steps) == [2] * 5 + [3] * 5 + [5]
    assert callback.history[-1]["samples"] == 30 * MICRO_BATCH
    assert_by_hand(steps)


def test_part_of_an_epoch(tmp_path):
    """1.5 epochs of 36 micro-batches are 54, in windows of any length."""
    _, steps = run(tmp_path, AdaptiveBatchCallback(stages(), interval=1), num_train_epochs=1.5)
    assert sum(windows(steps)) == 54
    assert_by_hand(steps)


def test_the_last_step_is_saved_and_evaluated(tmp_path):
    """Fewer steps than the Trainer planned: what it does at the end happens all the same."""
    changes = {"save_strategy": "steps", "eval_strategy": "steps", "save_steps": 1000, "eval_steps": 1000}

    class Evaluated(RecordingTrainer):
        def __init__(self, **parts):
            super().__init__(**parts, eval_dataset=dataset(4))

    trainer, steps = run(
        tmp_path, AdaptiveBatchCallback(stages()), num_train_epochs=1, trainer_class=Evaluated, **changes
    )
    assert len(steps) < 18
    assert [path.name for path in tmp_path.glob("checkpoint-*")] == [f"checkpoint-{len(steps)}"]
    assert sum("eval_runtime" in record for record in trainer.state.log_history) == 1


class Interrupt(TrainerCallback):
    """Raises once, at the given event of the third step."""

    def __init__(self, event, error):
        self.error, self.raised = error, False
        setattr(self, event, self._interrupt)

    def _interrupt(self, args, state, control, **_):
        if state.global_step >= 2 and not self.raised:
            self.raised = True
            raise self.error


def leaf_hooks(model):
    return [hook for p in model.parameters() for hook in (p._backward_hooks or {}).values()]


EVENTS = ["on_step_begin", "on_substep_end", "on_pre_optimizer_step", "on_step_end", "on_epoch_end"]


@pytest.mark.parametrize("event", EVENTS)
@pytest.mark.parametrize("schedule", [True, False])
def test_interrupted_anywhere_the_arguments_are_as_they_were(tmp_path, event, schedule):
    callback = AdaptiveBatchCallback(stages() if schedule else None, interval=1)
    args = arguments(tmp_path, max_grad_norm=0.25)
    before, given = args.to_dict(), dict(vars(args))
    trainer = RecordingTrainer(model=small_llama(), args=args, train_dataset=dataset(72), callbacks=[callback])
    methods = set(vars(trainer))
    trainer.add_callback(Interrupt(event, KeyboardInterrupt()))
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    assert args.to_dict() == before
    assert type(args.gradient_accumulation_steps) is int
    assert vars(args)["max_grad_norm"] == given["max_grad_norm"] == 0.25
    assert not leaf_hooks(trainer.model)
    assert not {"get_batch_samples", "training_step", "_clip_grad_norm"} & (set(vars(trainer)) - methods)


class Norms(TrainerCallback):
    def __init__(self):
        self.largest = 0.0

    def on_optimizer_step(self, args, state, control, model=None, **_):
        norm = float(torch.cat([p.grad.flatten() for p in model.parameters()]).norm())
        self.largest = max(self.largest, norm)


@pytest.mark.parametrize("again", ["same trainer", "new trainer", "without the callback"])
def test_training_again_after_a_broken_batch(tmp_path, again):
    class Breaks(RecordingTrainer):
        broken = False

        def training_step(self, model, inputs, *rest):
            if self.state.global_step == 2 and not Breaks.broken:
                Breaks.broken = True
                raise ValueError("a broken batch")
            return super().training_step(model, inputs, *rest)

    args, callback = arguments(tmp_path, max_grad_norm=0.25), AdaptiveBatchCallback(stages(), interval=1)
    trainer = Breaks(model=small_llama(), args=args, train_dataset=dataset(72), callbacks=[callback])
    with pytest.raises(ValueError, match="a broken batch"):
        trainer.train()
    norms, callbacks = Norms(), []
    if again == "new trainer":
        callbacks = [AdaptiveBatchCallback(stages(), interval=1)]
    if again != "same trainer":
        trainer = Trainer(model=trainer.model, args=args, train_dataset=dataset(72), callbacks=callbacks)
    trainer.add_callback(norms)
    trainer.train()
    assert 0.2 < norms.largest < 0.25 + 1e-6
    history = callback.history if again == "same trainer" else callbacks[0].history if callbacks else None
    if history is None:
        assert trainer.state.global_step == 36
    else:
        assert [record["batch_size"] // MICRO_BATCH for record in history[:6]] == [2] * 5 + [3]
        assert sum(record["batch_size"] for record in history) == history[-1]["samples"] == 2 * 72


def test_trains_twice_alike(tmp_path):
    """The schedule begins again with the second training, and so does the history."""
    callback = AdaptiveBatchCallback(stages(), interval=1)
    args = arguments(tmp_path)
    trainer = RecordingTrainer(model=small_llama(), args=args, train_dataset=dataset(72), callbacks=[callback])
    trainer.train()
    first = callback.history
    trainer.model.load_state_dict(small_llama().state_dict())
    trainer.optimizer = None
    set_seed(args.seed)
    trainer.train()
    assert callback.history == first
    trainer.pop_callback(callback)
    trainer.train()
    assert trainer.state.global_step == 36


def test_finds_the_batch_size_while_monitoring(tmp_path):
    """The first attempt runs out of memory after a step; the second one, of micro-batches of 1, is measured."""

    class Small(RecordingTrainer):
        def training_step(self, model, inputs, *rest):
            if len(inputs["labels"]) > 1 and self.state.global_step == 1:
                raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
            return super().training_step(model, inputs, *rest)

    callback, args = AdaptiveBatchCallback(interval=1), arguments(tmp_path, auto_find_batch_size=True)
    trainer = Small(model=small_llama(), args=args, train_dataset=dataset(12), callbacks=[callback])
    trainer.train()
    assert [record["batch_size"] for record in callback.history] == [2] * 12
    assert callback.history[-1]["samples"] == 24
    assert all("noise_scale" in record for record in callback.history)


def flat(model):
    return torch.cat([p.detach().flatten() for p in model.parameters()])


@pytest.mark.parametrize(
    ("schedule", "data"),  # without a schedule, the place in data without length is the Trainer's own affair
    [(True, None), (False, None), (True, Stream(72))],
    ids=["schedule-sized", "monitor-sized", "schedule-unsized"],
)
def test_resumes_exactly(tmp_path, data, schedule):
    """Three epochs of 36 micro-batches; resumed within each epoch and at the ends of epochs."""
    ends = {"num_train_epochs": 3} if data is None else {"max_steps": 30}

    def callback():
        return AdaptiveBatchCallback(stages() if schedule else None, interval=1)

    whole = callback()
    saved, changes = tmp_path / "whole", {"save_strategy": "steps", "save_steps": 1, **ends}
    trainer, steps = run(saved, whole, data=data, **changes)
    expected = flat(trainer.model)
    for step in (4, 9, 13, 14, 20, len(steps) - 1):
        resumed = callback()
        again = RecordingTrainer(
            model=small_llama(),
            args=arguments(tmp_path / "again", **ends),
            train_dataset=dataset(72) if data is None else data,
            callbacks=[resumed],
        )
        again.train(resume_from_checkpoint=str(saved / f"checkpoint-{step}"))
        assert json.dumps(resumed.history) == json.dumps(whole.history[step:])
        assert torch.equal(flat(again.model), expected)
        assert again.state.global_step == len(steps)


def test_saved_arguments_are_those_given(tmp_path):
    run(tmp_path, AdaptiveBatchCallback(stages()), max_grad_norm=0.25, save_strategy="steps", save_steps=8)
    path = next(Path(tmp_path).glob("checkpoint-8")) / "training_args.bin"
    saved = torch.load(path, weights_only=False)
    assert (saved.gradient_accumulation_steps, saved.max_grad_norm) == (2, 0.25)


def test_refuses_to_resume_what_it_cannot(tmp_path):
    run(tmp_path, AdaptiveBatchCallback(interval=1), save_strategy="steps", save_steps=4, max_steps=4)
    checkpoint = {"resume_from_checkpoint": str(tmp_path / "checkpoint-4")}

    def resume(callback, **changes):
        args = arguments(tmp_path / "again", **changes)
        Trainer(model=small_llama(), args=args, train_dataset=dataset(72), callbacks=[callback]).train(
            **checkpoint
        )

    with pytest.raises(ValueError, match="another kind of batch"):
        resume(AdaptiveBatchCallback(stages()))
    with pytest.raises(ValueError, match="this callback restores itself"):
        resume(AdaptiveBatchCallback(interval=1), restore_callback_states_from_checkpoint=True)
    run(tmp_path, AdaptiveBatchCallback(stages()), save_strategy="steps", save_steps=4, max_steps=4)
    with pytest.raises(ValueError, match="2 samples per micro-batch of all ranks and 4 per planned step"):
        resume(AdaptiveBatchCallback(stages()), gradient_accumulation_steps=1)
    with pytest.raises(ValueError, match="another kind of batch"):
        resume(AdaptiveBatchCallback(interval=1))


def test_evaluations_in_between_change_nothing(tmp_path):
    class Evaluating(RecordingTrainer):
        def __init__(self, **parts):
            super().__init__(**parts, eval_dataset=dataset(6))

    class InEvents(TrainerCallback):
        def on_substep_end(self, args, state, control, **_):
            self.trainer.evaluate()

        on_step_end = on_substep_end

    plain, evaluated = AdaptiveBatchCallback(stages(), interval=1), AdaptiveBatchCallback(stages(), interval=1)
    run(tmp_path, plain, count=24)
    events = InEvents()
    args = arguments(tmp_path, eval_strategy="steps", eval_steps=1)
    trainer = Evaluating(model=small_llama(), args=args, train_dataset=dataset(24), callbacks=[evaluated, events])
    events.trainer = trainer
    trainer.train()
    assert json.dumps(evaluated.history) == json.dumps(plain.history)


def test_one_callback_in_two_trainers(tmp_path):
    """One after the other it measures both; one inside the other is refused."""
    callback = AdaptiveBatchCallback(stages(), interval=1)
    _, first = run(tmp_path, callback, count=24)
    history = callback.history
    _, second = run(tmp_path, callback, count=24)
    assert windows(first) == windows(second)
    assert json.dumps(history) == json.dumps(callback.history)

    class Inside(TrainerCallback):
        def on_step_end(self, args, state, control, **_):
            run(tmp_path, callback, count=24)

    with pytest.raises(RuntimeError, match="give each trainer a callback of its own"):
        run(tmp_path, callback, count=24, callbacks=[Inside()])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"auto_find_batch_size": True}, "or only measure"),
        ({"train_sampling_strategy": "group_by_length"}, "sample at random"),
        ({"gradient_accumulation_steps": 4}, "set gradient_accumulation_steps=2 or lower"),
    ],
)
def test_refuses_at_the_start(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, AdaptiveBatchCallback(stages()), **changes)


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (Exchange(8, 32, LearningRate(1e-3, 0.0, 0, 96)), "exchange makes its own learning rate"),
        (Seesaw(8, 32, LearningRate(1e-3, 0.0, 0, 96)), "seesaw makes its own learning rate"),
        (Goodput(8, 32), "goodput fits how long steps take, .* give it step_time"),
        (Composed(Goodput(8, 32, StepTime(1.0, 0.1)), limit=NoiseLimit(1.0, "l1")), "looks at the coordinates"),
        (L1NormTest(eta=0.8, initial=8, maximum=32), "norm-test looks at the coordinates"),
    ],
)
def test_refuses_schedules_that_need_more_than_it_measures(tmp_path, schedule, message):
    with pytest.raises(ValueError, match=message):
        run(tmp_path, AdaptiveBatchCallback(schedule))


def test_refuses_two_callbacks_and_other_callers(tmp_path):
    with pytest.raises(ValueError, match="two AdaptiveBatchCallbacks"):
        run(tmp_path, AdaptiveBatchCallback(stages()), callbacks=[AdaptiveBatchCallback(interval=1)])
    with pytest.raises(RuntimeError, match=r"callbacks=\[callback\]"):
        AdaptiveBatchCallback(interval=1).on_train_begin(None, None, None)


def test_gradient_checkpointing(tmp_path):
    plain, checkpointed = AdaptiveBatchCallback(interval=1), AdaptiveBatchCallback(interval=1)
    run(tmp_path, plain, count=24)
    _, steps = run(tmp_path, checkpointed, count=24, activation_checkpointing=True)
    assert_by_hand(steps)
    for one, other in zip(plain.history, checkpointed.history, strict=True):
        assert one["grad_norm"] == pytest.approx(other["grad_norm"], rel=1e-6)
        assert math.isnan(one["noise_scale"]) or one["noise_scale"] == pytest.approx(
            other["noise_scale"], rel=1e-3
        )
