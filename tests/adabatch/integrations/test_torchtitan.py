"""torchtitan: every step's gradient and moments by hand, in a trainer of its shape; its guards."""

import json
import math
from itertools import count
from types import SimpleNamespace

import pytest
import torch
import torch.distributed as dist

from adabatch.integrations.torchtitan import AdaptiveTraining
from adabatch.schedules import NormTest, Stagewise
from adabatch.statistics import GradientStatistics
from tests.support.moments_by_hand import flat, moments_by_hand
from tests.support.spawning import run_ranks
from tests.support.titan_loop import MICRO_BATCH, TitanTrainer
from tests.support.token_texts import TokenModel, counted, token_loss


def stages(unit=MICRO_BATCH):
    """Accumulation 2, then 3, then 5."""
    return Stagewise([2 * unit, 3 * unit, 5 * unit], [0.25, 0.35, 0.4], 40 * unit, multiple_of=unit)


def whole(parameter):
    tensor = parameter.grad if parameter.grad is not None else torch.zeros_like(parameter)
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


class Recorded(TitanTrainer):
    """Each step's gradient, and gradient and moments by hand, where the trainer clips."""

    def __init__(self, **options):
        super().__init__(**options)
        self.window, self.seen = [], []

    def forward_backward_step(self, *, input_dict, labels, global_valid_tokens):
        self.window.append((input_dict["input"], labels))
        named = {"input_dict": input_dict, "labels": labels, "global_valid_tokens": global_valid_tokens}
        return super().forward_backward_step(**named)

    def train_step(self, data_iterator):
        self.optimizers.register_step_pre_hook(self.look) if self.step == 1 else None
        super().train_step(data_iterator)

    def look(self, *_):
        window, self.window = self.window, []
        if dist.is_initialized():
            parts = [None] * dist.get_world_size()
            dist.all_gather_object(parts, window)
            window = [batch for part in parts for batch in part]
        model = self.model_parts[0]
        twin = TokenModel()
        states = {
            name: getattr(value, "full_tensor", lambda value=value: value)()
            for name, value in model.state_dict().items()
        }
        twin.load_state_dict(states)
        losses = [token_loss(twin(inputs), labels) for inputs, labels in window]
        gradients = [flat(torch.autograd.grad(loss, list(twin.parameters()))) for loss in losses]
        mean, moments = moments_by_hand(gradients, [counted(labels) for _, labels in window])
        self.seen.append((flat([whole(parameter) for parameter in model.parameters()]), mean, moments))


def run(schedule, interval=1, **options):
    """The trainer, its adaptation, and the moments that were measured."""
    trainer = Recorded(**options)
    adaptive, moments = AdaptiveTraining(trainer, schedule, interval), []
    update = adaptive.monitor.update
    adaptive.monitor.update = lambda found: (moments.append(found), update(found))[1]
    trainer.train()
    return trainer, adaptive, moments


def on_ranks(rank=0, world_size=1):
    """Groups of each step, and relative errors of gradients and sums."""
    trainer, adaptive, moments = run(stages(MICRO_BATCH * world_size))
    errors = []
    for (found, mean, by_hand), measured in zip(trainer.seen, moments, strict=True):
        assert (measured.groups, float(measured.batch_size)) == (by_hand.groups, pytest.approx(by_hand.batch_size))
        errors.append(float((found - mean).norm() / mean.norm()))
        errors.append(measured.sum_of_squares / by_hand.sum_of_squares - 1)
        errors.append(measured.squared_norm / by_hand.squared_norm - 1)
    return [measured.groups for measured in moments], errors, adaptive.history


def test_every_step_as_by_hand():
    groups, errors, history = on_ranks()
    assert groups == [2] * 5 + [3] * 5 + [5] * 2
    assert max(map(abs, errors)) < 1e-10
    assert history[-1]["samples"] == MICRO_BATCH * sum(groups)
    assert sum(record["batch_tokens"] for record in history) > history[-1]["samples"]


@pytest.mark.distributed
def test_two_ranks_as_by_hand():
    for groups, errors, _ in run_ranks(on_ranks, 2):
        assert groups == [4] * 5 + [6] * 5 + [10] * 2
        assert max(map(abs, errors)) < 1e-10


def test_measuring_alone_changes_nothing():
    plain = TitanTrainer()
    plain.train()
    trainer, adaptive, _ = run(None, interval=3)
    assert torch.equal(
        flat(list(plain.model_parts[0].parameters())), flat(list(trainer.model_parts[0].parameters()))
    )
    assert ["noise_scale" in record for record in adaptive.history] == [False, False, True] * 4


def test_samples_end_training_and_move_the_learning_rate():
    trainer = TitanTrainer(steps=20)
    adaptive = AdaptiveTraining(trainer, stages(), samples=80)
    trainer.train()
    assert adaptive.history[-1]["samples"] == 80
    assert trainer.step < 20
    assert trainer.lr_schedulers.schedulers[0].get_last_lr()[0] == pytest.approx(0, abs=1e-12)


def test_a_step_that_the_data_do_not_fill_is_no_step():
    trainer, adaptive, _ = run(stages(), texts=26)
    assert [record["samples"] for record in adaptive.history] == [4, 8, 12, 16, 20, 26]
    assert len(adaptive.history) == 6
    GradientStatistics(trainer.model_parts[0])  # nothing is attached


def test_gradients_that_are_not_finite_are_thrown_away():
    trainer = TitanTrainer(steps=3)
    plain, calls = trainer.forward_backward_step, count()

    def broken(**named):
        loss = plain(**named)
        if next(calls) == 3:
            trainer.model_parts[0].head.weight.grad.fill_(math.nan)
        return loss

    trainer.forward_backward_step = broken
    adaptive = AdaptiveTraining(trainer, stages())
    with pytest.warns(UserWarning, match="step 2 skipped"):
        trainer.train()
    assert flat(list(trainer.model_parts[0].parameters())).isfinite().all()
    assert adaptive.schedule.steps == 3


def test_resumes_with_torchtitans_checkpoints():
    trainer, adaptive, _ = run(stages(), steps=7)
    state = json.loads(json.dumps(trainer.checkpointer.states["adabatch"].state_dict()))
    resumed = TitanTrainer()
    again = AdaptiveTraining(resumed, stages(), interval=1)
    resumed.step = trainer.step
    resumed.checkpointer.states["adabatch"].load_state_dict(state)
    assert again.schedule.state_dict() == adaptive.schedule.state_dict()
    assert again.monitor.state_dict() == adaptive.monitor.state_dict()
    with pytest.raises(ValueError, match="another kind of batch"):
        AdaptiveTraining(TitanTrainer(), interval=1).load_state_dict(state)


def adapted():
    trainer = TitanTrainer()
    AdaptiveTraining(trainer, stages())
    return trainer


def with_dimension(name):
    trainer = TitanTrainer()
    trainer.parallel_dims = SimpleNamespace(**{"pp_enabled": False, "cp_enabled": False} | {name: True})
    return trainer


def with_graphs():
    trainer = TitanTrainer()
    trainer.config.training.disable_cuda_graphs = False
    return trainer


@pytest.mark.parametrize(
    ("trainer", "schedule", "message"),
    [
        (adapted, stages, "adapted already, .* keep the first one"),
        (lambda: with_dimension("pp_enabled"), stages, "pipeline parallelism"),
        (lambda: with_dimension("cp_enabled"), stages, "context parallelism"),
        (with_graphs, stages, "CUDA graphs"),
        (SimpleNamespace, stages, "this SimpleNamespace lacks train_step, .*"),
        (lambda: TitanTrainer(1), lambda: NormTest(0.5, 2, 64, 2), "1 micro-batch on 1 rank has too few groups"),
        (lambda: TitanTrainer(1), lambda: None, "a variance needs at least 2"),
    ],
)
def test_refuses_in_one_line(trainer, schedule, message):
    with pytest.raises(ValueError, match=message) as refused:
        AdaptiveTraining(trainer(), schedule(), interval=1)
    assert "\n" not in str(refused.value)
