"""Lightning's callback: every step's gradient and moments by hand, and its guards."""

import doctest
import json
import math
import os
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist
from torch.utils.data import DataLoader, TensorDataset

pytest.importorskip("lightning", reason="lightning is not installed: pip install 'adabatch[lightning]'")

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler, ModelCheckpoint

import adabatch.integrations.lightning
from adabatch.integrations.lightning import AdaptiveBatchCallback, _check_trainer
from adabatch.schedules import Constant, NormTest, Stagewise
from adabatch.statistics import GradientStatistics
from tests.support.moments_by_hand import flat, moments_by_hand
from tests.support.spawning import run_fresh_ranks
from tests.support.token_texts import TokenModel, counted, token_loss, token_texts

MICRO_BATCH = 2


class Texts(LightningModule):
    """Losses are means over a micro-batch's tokens, or sums."""

    def __init__(self, manual=False, sums=False):
        super().__init__()
        self.automatic_optimization, self.reduction = not manual, "sum" if sums else "mean"
        self.model, self.window = TokenModel(), []

    def training_step(self, batch, batch_idx):
        inputs, labels = batch
        self.window.append(batch)
        loss = token_loss(self.model(inputs), labels, self.reduction)
        if not self.automatic_optimization:
            accumulation, optimizer = self.trainer.accumulate_grad_batches, self.optimizers()
            self.manual_backward(loss / accumulation)
            if (batch_idx + 1) % accumulation == 0:
                optimizer.step()
                optimizer.zero_grad()
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
        decay = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, total_iters=38)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": decay, "interval": "step"}}


class ByHand(Callback):
    """At each optimizer step: the gradient as it is, and gradient and moments from each micro-batch's own."""

    def __init__(self):
        self.steps = []

    def on_before_optimizer_step(self, trainer, module, optimizer):
        window, module.window = module.window, []
        if dist.is_initialized():
            parts = [None] * dist.get_world_size()
            dist.all_gather_object(parts, window)
            window = [batch for part in parts for batch in part]
        parameters = list(module.model.parameters())
        losses = [token_loss(module.model(inputs), labels) for inputs, labels in window]
        gradients = [flat(torch.autograd.grad(loss, parameters)) for loss in losses]
        tokens = [counted(labels) for _, labels in window]
        sizes = tokens if module.reduction == "sum" else [MICRO_BATCH] * len(window)
        mean, moments = moments_by_hand(gradients, sizes)
        found = flat([parameter.grad for parameter in parameters])
        self.steps.append((len(window), found, mean, moments))


def stages(unit=MICRO_BATCH):
    """Accumulation 2, then 3, then 5."""
    return Stagewise([2 * unit, 3 * unit, 5 * unit], [0.25, 0.35, 0.4], 40 * unit, multiple_of=unit)


def loader(count, **options):
    data = TensorDataset(*token_texts(count))
    return DataLoader(data, **{"batch_size": MICRO_BATCH, "drop_last": True} | options)


def trainer_of(callbacks, manual=False, **options):
    usual = {"max_epochs": 2, "accelerator": "cpu", "devices": 1, "logger": False, "enable_checkpointing": False}
    usual |= {"enable_progress_bar": False, "enable_model_summary": False}
    return Trainer(**usual | {"accumulate_grad_batches": 1 if manual else 2, "callbacks": callbacks} | options)


def fit(callback, count=75, manual=False, others=(), module=None, data=None, **options):
    """The trainer, the steps by hand, and the moments that were measured."""
    probe, moments = ByHand(), []
    update = callback.monitor.update
    callback.monitor.update = lambda found: (moments.append(found), update(found))[1]
    trainer = trainer_of([callback, probe, *others], manual, **options)
    trainer.fit(module or Texts(manual, callback.tokens is not None), loader(count) if data is None else data)
    return trainer, probe.steps, moments


def test_the_example_of_the_documentation():
    assert doctest.testmod(adabatch.integrations.lightning) == (0, 2)


def of_batch(batch):
    return counted(batch[1])


def assert_by_hand(steps, moments):
    for _, found, mean, _ in steps:
        torch.testing.assert_close(found, mean, rtol=1e-10, atol=1e-14)
    measured = [expected for *_, expected in steps if expected.groups >= 2]
    for one, other in zip(moments, measured, strict=True):
        assert (one.groups, float(one.batch_size)) == (other.groups, pytest.approx(float(other.batch_size)))
        assert one.sum_of_squares == pytest.approx(other.sum_of_squares, rel=1e-10)
        assert one.squared_norm == pytest.approx(other.squared_norm, rel=1e-10)


@pytest.mark.parametrize("tokens", [None, of_batch], ids=["means", "tokens"])
@pytest.mark.parametrize("manual", [False, True], ids=["automatic", "manual"])
def test_every_step_as_by_hand(manual, tokens):
    """37 micro-batches per epoch: steps of 2, 3 and 5; where Lightning steps, a short one at each epoch's end."""
    callback = AdaptiveBatchCallback(stages(), interval=1, tokens=tokens)
    trainer, steps, moments = fit(callback, manual=manual)
    sizes = [size for size, *_ in steps]
    assert_by_hand(steps, moments)
    assert {2, 3, 5} <= set(sizes)
    assert sum(sizes) == 2 * 37 if not manual else 2 * 37 - 5 < sum(sizes) <= 2 * 37
    assert (sizes[-1], sizes.count(2)) == ((5, 5) if manual else (2, 7))  # an epoch's end cuts a step of 5
    assert callback.history[-1]["samples"] == callback.schedule.samples == MICRO_BATCH * sum(sizes)
    assert trainer.accumulate_grad_batches == (1 if manual else 2)
    assert trainer.callback_metrics["grad_norm"] == pytest.approx(callback.history[-1]["grad_norm"])


def test_a_plain_change_of_the_accumulation_mis_scales():
    """What the callback is for; if this fails, Lightning has fixed it."""

    class Plain(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            trainer.accumulate_grad_batches = 3 if trainer.global_step >= 2 else 2

    module, probe = Texts(), ByHand()
    trainer_of([Plain(), probe], max_epochs=1).fit(module, loader(24))
    size, found, mean, _ = probe.steps[2]
    assert size == 2
    assert float((found - mean).norm() / mean.norm()) > 0.1


def test_data_without_length_and_losses_left_out():
    """The last step is cut without a warning before; a micro-batch without a loss is no group."""

    class Stream(torch.utils.data.IterableDataset):
        def __iter__(self):
            return iter(TensorDataset(*token_texts(26)))

    class Skipping(Texts):
        def training_step(self, batch, batch_idx):
            return None if batch_idx == 3 else super().training_step(batch, batch_idx)

    callback = AdaptiveBatchCallback(stages(), interval=1)
    _, steps, moments = fit(callback, data=DataLoader(Stream(), batch_size=2), module=Skipping(), max_epochs=1)
    assert [size for size, *_ in steps] == [2, 1, 2, 2, 2, 2, 1]
    assert_by_hand(steps, moments)


def test_learning_rate_and_end_by_samples():
    callback = AdaptiveBatchCallback(stages())
    trainer, steps, _ = fit(callback, count=76)
    assert len(steps) < 38
    assert trainer.lr_scheduler_configs[0].scheduler.get_last_lr()[0] == pytest.approx(0, abs=1e-12)
    callback = AdaptiveBatchCallback(stages(), samples=20)
    fit(callback, count=76)
    assert callback.history[-1]["samples"] == 20


def test_clips_after_measuring():
    callback = AdaptiveBatchCallback(interval=1, tokens=of_batch)
    _, steps, _ = fit(callback, count=24, gradient_clip_val=1e-3)
    for record, (_, _, mean, _) in zip(callback.history, steps, strict=True):
        assert record["grad_norm"] == pytest.approx(float(mean.norm()), rel=1e-10)


def test_gradients_that_are_not_finite_are_thrown_away():
    class Broken(Texts):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return loss * math.nan if batch_idx == 3 else loss

    module, weights = Broken(), []

    class Weights(Callback):
        def on_train_batch_end(self, trainer, module, *_):
            weights.append(flat(list(module.parameters())))

    callback = AdaptiveBatchCallback(stages())
    with pytest.warns(UserWarning, match="step 2 skipped: the gradient's norm is nan"):
        trainer_of([callback, Weights()], max_epochs=1).fit(module, loader(12))
    assert torch.equal(weights[1], weights[3])
    assert not torch.equal(weights[3], weights[5])
    assert weights[5].isfinite().all()
    assert callback.schedule.steps == 3


def test_resumes_exactly(tmp_path):
    """From an epoch's end; the schedule, the noise scale and the samples are those of the checkpoint."""
    whole, keep = AdaptiveBatchCallback(stages(), interval=1), ModelCheckpoint(tmp_path, save_top_k=-1)
    trainer, _, _ = fit(whole, others=[keep], enable_checkpointing=True, max_epochs=3)
    first = next(path for path in tmp_path.iterdir() if "epoch=0" in path.name)
    resumed = AdaptiveBatchCallback(stages(), interval=1)
    module = Texts()
    again = trainer_of([resumed], max_epochs=3)
    again.fit(module, loader(75), ckpt_path=str(first))
    begun = len(whole.history) - len(resumed.history)
    assert 0 < begun < len(whole.history)
    assert json.dumps(resumed.history) == json.dumps(whole.history[begun:])
    assert torch.equal(flat(list(module.parameters())), flat(list(trainer.lightning_module.parameters())))
    with pytest.raises(ValueError, match="another kind of batch"):
        trainer_of([AdaptiveBatchCallback(interval=1)]).fit(Texts(), loader(75), ckpt_path=str(first))


def test_leaves_the_trainer_as_it_was_after_an_error():
    class Failing(Texts):
        def training_step(self, batch, batch_idx):
            if batch_idx == 3:
                raise ArithmeticError
            return super().training_step(batch, batch_idx)

    module, callback = Failing(), AdaptiveBatchCallback(stages(), interval=1)
    trainer = trainer_of([callback])
    with pytest.raises(ArithmeticError):
        trainer.fit(module, loader(24))
    assert type(trainer.accumulate_grad_batches) is int
    GradientStatistics(module)  # nothing is attached
    trainer_of([callback], max_epochs=1).fit(Texts(), loader(24))
    assert callback.history[0]["samples"] == 2 * MICRO_BATCH


@pytest.mark.parametrize(
    ("callbacks", "options", "data", "message"),
    [
        (lambda: [AdaptiveBatchCallback(stages()), AdaptiveBatchCallback(interval=1)], {}, {}, "keep one"),
        (lambda: [AdaptiveBatchCallback(interval=1)], {"accumulate_grad_batches": 1}, {}, "needs at least 2; acc"),
        (
            lambda: [AdaptiveBatchCallback(NormTest(0.5, MICRO_BATCH, 64, MICRO_BATCH))],
            {"accumulate_grad_batches": 1},
            {},
            "1 micro-batch on 1 rank has too few groups: norm-test needs at least 2",
        ),
        (
            lambda: [AdaptiveBatchCallback(stages())],
            {},
            {"drop_last": False},
            "would have 1 samples and the others 2",
        ),
        (lambda: [AdaptiveBatchCallback(stages(), micro_batch=4)], {}, {}, "micro_batch=4 was told, but"),
        (lambda: [AdaptiveBatchCallback(Constant(5))], {}, {}, "multiple_of=2"),
        (lambda: [AdaptiveBatchCallback(Constant(2))], {}, {}, "is below the 4 with which the trainer plans"),
        (
            lambda: [AdaptiveBatchCallback(stages()), GradientAccumulationScheduler({0: 4})],
            {"accumulate_grad_batches": 1},
            {},
            "changed from 1 to 4 during training, changed by something else",
        ),
    ],
)
def test_refuses_before_anything_is_trained(callbacks, options, data, message):
    module = Texts()
    before = flat(list(module.parameters()))
    with pytest.raises((ValueError, RuntimeError), match=message) as refused:
        trainer_of(callbacks(), **options).fit(module, loader(75, **data))
    assert "\n" not in str(refused.value)
    assert torch.equal(flat(list(module.parameters())), before)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"optimizers": [0, 1]}, "the module has 2 optimizers"),
        ({"precision_plugin": SimpleNamespace(scaler=object())}, "use bf16-mixed or 32-true"),
        ({"strategy": SimpleNamespace(handles_gradient_accumulation=True)}, "accumulates gradients itself"),
    ],
)
def test_refuses_trainers_of_other_machines(changes, message):
    usual = {"callbacks": [], "optimizers": [0], "precision_plugin": SimpleNamespace()}
    usual |= {"strategy": SimpleNamespace(handles_gradient_accumulation=False)}
    _check_trainer(SimpleNamespace(**usual))
    with pytest.raises(ValueError, match=message):
        _check_trainer(SimpleNamespace(**usual | changes))


@pytest.mark.parametrize(("place", "message"), [(0, "after 1 of a step's 2"), (5, "has not stepped")])
def test_manual_steps_in_the_wrong_place_are_refused(place, message):
    class Wrong(Texts):
        def training_step(self, batch, batch_idx):
            self.manual_backward(token_loss(self.model(batch[0]), batch[1]))
            if batch_idx == place:
                self.optimizers().step()

    with pytest.raises(RuntimeError, match=message):
        trainer_of([AdaptiveBatchCallback(stages())], True).fit(Wrong(manual=True), loader(24))


def rank_of_two(rank, world_size, manual, tokens):
    """What a rank of two sees of its steps."""
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world_size), "NODE_RANK": "0"}
    callback = AdaptiveBatchCallback(
        stages(MICRO_BATCH * world_size), interval=1, tokens=of_batch if tokens else None
    )
    _, steps, moments = fit(callback, count=150, manual=manual, devices=world_size, strategy="ddp")
    return steps, moments, callback.history


@pytest.mark.distributed
@pytest.mark.parametrize(("manual", "tokens"), [(False, True), (True, False), (True, True)])
def test_two_ranks_as_by_hand(manual, tokens):
    (steps, moments, history), (_, _, other_history) = run_fresh_ranks(rank_of_two, 2, manual, tokens)
    assert {4, 6, 10} <= {size for size, *_ in steps}
    assert_by_hand(steps, moments)
    assert repr(history) == repr(other_history)
