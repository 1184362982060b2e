"""torchtitan: every step's gradient and moments by hand, in a trainer of its shape; its guards."""

import json
import math
from itertools import count
from types import SimpleNamespace

import pytest
import torch

from adabatch.integrations.torchtitan import AdaptiveTraining
from adabatch.schedules import NormTest, Stagewise
from adabatch.statistics import GradientStatistics
from tests.support.moments_by_hand import flat
from tests.support.spawning import run_ranks
from tests.support.titan_loop import MICRO_BATCH, ByHand, TitanTrainer
from tests.support.token_texts import TokenModel


def stages(unit=MICRO_BATCH):
    """Accumulation 2, then 3, then 5."""
    return Stagewise([2 * unit, 3 * unit, 5 * unit], [0.25, 0.35, 0.4], 40 * unit, multiple_of=unit)


class Recorded(ByHand, TitanTrainer):
    """With every step by hand."""

    twin = TokenModel


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
    return [measured.groups for measured in moments], trainer.errors(moments), adaptive.history


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
