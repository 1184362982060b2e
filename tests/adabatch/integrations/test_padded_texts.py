"""The Trainer on texts of unequal length: the noise scale in tokens, and losses that are not divided by tokens."""

import copy

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers import Trainer

from adabatch.integrations.normalisation import counted_tokens
from adabatch.integrations.transformers import AdaptiveBatchCallback
from adabatch.schedules import NormTest
from tests.support.moments_by_hand import moments_by_hand
from tests.support.padded_texts import VOCABULARY, exact_noise_scale, padded, texts
from tests.support.trainer_runs import Bigram, Probe, RecordingTrainer, arguments, small_llama

SAMPLES = 8


def train(folder, model, data, schedule=None, trainer_class=Trainer, **changes):
    """The callback and the moments it measured."""
    callback, moments = AdaptiveBatchCallback(schedule, interval=1), []
    update = callback.monitor.update
    callback.monitor.update = lambda found: (moments.append(found), update(found))[1]
    parts = {"compute_loss_func": changes.pop("compute_loss_func", None)}
    args = arguments(
        folder,
        **{"per_device_train_batch_size": SAMPLES, "gradient_accumulation_steps": 16, "logging_steps": 10_000}
        | {"learning_rate": 0.0, "num_train_epochs": 1}
        | changes,
    )
    trainer = trainer_class(
        model=model, args=args, train_dataset=data, data_collator=padded, callbacks=[callback], **parts
    )
    trainer.train()
    return callback, moments


def averaged(moments):
    """B_noise: both halves averaged over steps, then divided."""
    return sum(each.covariance_trace for each in moments) / sum(each.debiased_squared_norm for each in moments)


@pytest.mark.parametrize("sigma", [0.3, 1.0])
def test_noise_scale_in_tokens(tmp_path, sigma):
    data = texts(200 * 16 * SAMPLES, sigma)
    callback, moments = train(tmp_path, Bigram(VOCABULARY), data)
    assert len(moments) == 200
    assert averaged(moments) == pytest.approx(exact_noise_scale(), rel=0.02)
    assert sum(record["batch_tokens"] for record in callback.history) == sum(
        len(row["labels"]) - 1 for row in data
    )
    assert callback.history[-1]["samples"] == len(data)
    assert {record["batch_size"] for record in callback.history} == {16 * SAMPLES}
    assert {float(each.samples) for each in moments} == {16.0 * SAMPLES}


def test_moments_as_by_hand_while_the_batch_grows(tmp_path):
    """n sum_j (t_j / N) ||g_j||^2 of every window, from each micro-batch's own mean gradient in fp64."""
    model, data = Bigram(VOCABULARY), texts(60 * 4, 1.0)
    schedule = NormTest(eta=0.05, initial=8, maximum=32, multiple_of=4)
    probes, found = [], []

    class Recording(RecordingTrainer):
        def __init__(self, **parts):
            super().__init__(**parts)
            probes.append(Tokens(self))
            self.add_callback(probes[0])

    class Tokens(Probe):
        def on_pre_optimizer_step(self, args, state, control, model=None, **_):
            window, self.trainer.window = self.trainer.window, ()
            twin = copy.deepcopy(model).double()
            counts = [int((each["labels"][:, 1:] != -100).sum()) for each in window]
            gradients = [torch.autograd.grad(twin(**each)["loss"], twin.table)[0] for each in window]
            mean, expected = moments_by_hand(gradients, counts)
            self.steps.append((float((model.table.grad.flatten() - mean).norm() / mean.norm()), expected))

    changes = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "learning_rate": 0.1}
    callback, found = train(tmp_path, model, data, schedule, Recording, **changes)
    assert max(record["batch_size"] for record in callback.history) == 32
    expected = [moments for _, moments in probes[0].steps if moments.groups >= 2]
    assert max(error for error, _ in probes[0].steps) < 1e-6
    for one, other in zip(found, expected, strict=True):
        assert (one.groups, float(one.batch_size)) == (other.groups, pytest.approx(other.batch_size))
        assert one.sum_of_squares == pytest.approx(other.sum_of_squares, rel=1e-5)
        assert one.squared_norm == pytest.approx(other.squared_norm, rel=1e-5)


class Mean(Bigram):
    """A model that knows nothing of num_items_in_batch."""

    def forward(self, input_ids, labels=None):
        return super().forward(input_ids, labels)


class Ignores(Bigram):
    """A model that takes num_items_in_batch and does not use it."""

    def forward(self, input_ids, labels=None, **_):
        return super().forward(input_ids, labels)


class Auxiliary(Bigram):
    """A model with a loss that is divided by tokens, and one that is not."""

    def forward(self, input_ids, labels=None, **items):
        outputs = super().forward(input_ids, labels, **items)
        return outputs | {"loss": outputs["loss"] + (self.table - 0.1).square().sum()}


def test_means_of_micro_batches_weigh_alike_and_count_samples(tmp_path):
    """Every micro-batch is one observation of its own mean: m times their variance is tr Sigma of a sample."""
    model, data = Mean(VOCABULARY), texts(4 * 4, 1.0)
    changes = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 4,
        "train_sampling_strategy": "sequential",
    }
    callback, (moments,) = train(tmp_path, model, data, **changes)
    groups = [torch.autograd.grad(model(**padded(data[i : i + 4]))["loss"], model.table)[0] for i in (0, 4, 8, 12)]
    mean = sum(groups) / 4
    variance = sum(float((group - mean).square().sum()) for group in groups) / 3
    assert moments.covariance_trace == pytest.approx(4 * variance, rel=1e-4)
    assert moments.squared_norm == pytest.approx(float(mean.square().sum()), rel=1e-5)
    assert (float(moments.batch_size), "batch_tokens" in callback.history[0]) == (16, False)


def test_means_of_incomplete_micro_batches_are_refused(tmp_path):
    class Uneven(Trainer):
        def get_train_dataloader(self):
            return [padded(texts(4, 0.3)), padded(texts(3, 0.3))]

    with pytest.raises(ValueError, match="a micro-batch has 3 samples, and per_device_train_batch_size is 4"):
        train(
            tmp_path, Mean(VOCABULARY), texts(8, 0.3), trainer_class=Uneven, per_device_train_batch_size=4,
            gradient_accumulation_steps=2,
        )  # fmt: skip


@pytest.mark.parametrize(
    ("model", "told", "function", "message"),
    [
        (Ignores, None, None, "does not depend on num_items_in_batch"),
        (Mean, True, None, "does not depend on num_items_in_batch|cannot count"),
        (Bigram, False, None, "divides it by the accumulation once more"),
        (Auxiliary, None, None, "only a part of the loss"),
        (Bigram, None, lambda outputs, labels, num_items_in_batch: outputs["loss"], "does not depend"),
    ],
)
def test_refuses_losses_that_change_with_the_accumulation(tmp_path, model, told, function, message):
    class Told(Trainer):
        loss_is_scaled_for_ga = told

    data = [row | {"labels": row["labels"]} for row in texts(64, 0.3)]
    changes = {"gradient_accumulation_steps": 2, "compute_loss_func": function}
    if function is not None:
        model = WithoutLabels
    with pytest.raises(ValueError, match=message):
        train(tmp_path, model(VOCABULARY), data, trainer_class=Told, **changes)


class WithoutLabels(Bigram):
    """For a loss function of the user's."""

    def forward(self, input_ids, labels=None, **_):
        return {"loss": self.table.square().sum() + 1, "logits": self.table[input_ids]}


def test_a_loss_function_divided_by_tokens(tmp_path):
    """The user's own function, and labels that it shifts by itself: as the model's own loss."""

    def loss(outputs, labels, num_items_in_batch):
        logits, targets = outputs["logits"][:, :-1].flatten(0, 1), labels[:, 1:].flatten()
        return cross_entropy(logits, targets, reduction="sum") / num_items_in_batch

    data, changes = texts(128, 1.0), {"gradient_accumulation_steps": 4}
    own, _ = train(tmp_path, WithoutLabels(VOCABULARY), data, compute_loss_func=loss, **changes)
    model, _ = train(tmp_path, Bigram(VOCABULARY), data, **changes)
    for one, other in zip(own.history, model.history, strict=True):
        assert one == pytest.approx(other, rel=1e-6, nan_ok=True)


def test_a_shift_that_the_trainer_does_not_know(tmp_path):
    """Without loss_type the Trainer counts first labels too: the gradient is smaller, B_noise the same."""

    class Unknown(Bigram):
        loss_type = None

    data, changes = texts(128, 1.0), {"gradient_accumulation_steps": 4}
    _, first = train(tmp_path, Bigram(VOCABULARY), data, **changes)
    _, second = train(tmp_path, Unknown(VOCABULARY), data, **changes)
    for one, other in zip(first, second, strict=True):
        assert one.batch_size == other.batch_size
        assert one.squared_norm > other.squared_norm
        ratio = other.covariance_trace / other.squared_norm
        assert one.covariance_trace / one.squared_norm == pytest.approx(ratio, rel=1e-4)


def test_label_smoothing_is_divided_by_tokens(tmp_path):
    """The smoothed loss has another gradient, and is over the same tokens."""
    data = texts(64, 1.0)
    data = [{name: value % 11 for name, value in row.items()} for row in data]
    changes = {"gradient_accumulation_steps": 4, "label_smoothing_factor": 0.1}
    callback, moments = train(tmp_path, small_llama(), data, **changes)
    assert [float(each.batch_size) for each in moments] == [record["batch_tokens"] for record in callback.history]
    assert sum(record["batch_tokens"] for record in callback.history) == sum(
        len(row["labels"]) - 1 for row in data
    )


def test_counts_follow_the_labels():
    labels = torch.tensor([[1, 2, -100], [3, -100, -100]])
    assert counted_tokens([{"labels": labels}], shifted=True) == [1]
    assert counted_tokens([{"labels": labels, "shift_labels": labels}], shifted=True) == [3]
