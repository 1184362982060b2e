"""AdamW with a beta2 that moves with the batch against a slow twin in fp64."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import AdamW

from adabatch.schedules import Replay
from adabatch.schedules.coupling import Coupling, SecondMomentDecay
from adabatch.schedules.learning_rate import BatchScaling, LearningRate
from adabatch.schedules.length_stages import LengthStages
from adabatch.settings import OptimizerSettings
from adabatch.training.optimizers import build_optimizer, optimizer_step

BETA1, EPSILON, DECAY = 0.9, 1e-3, 0.1


class Twin:
    """AdamW by its formulas; the weights in the second moment are added up as they are."""

    def __init__(self, start):
        self.x, self.m, self.v, self.steps, self.weights = start.copy(), 0.0, 0.0, 0, 0.0

    def step(self, gradient, rate, beta2, decay):
        self.steps += 1
        self.m = BETA1 * self.m + (1 - BETA1) * gradient
        self.v = beta2 * self.v + (1 - beta2) * gradient**2
        self.weights = beta2 * self.weights + (1 - beta2)
        first, second = self.m / (1 - BETA1**self.steps), self.v / self.weights
        self.x = self.x - rate * decay * self.x - rate * first / (np.sqrt(second) + EPSILON)


def coupling_of(half_life, scaling="linear"):
    rates = LearningRate(0.01, 0.001, 10, 10_000, BatchScaling("sqrt", 4))
    decay = BatchScaling(scaling, 4)
    return Coupling(rates, SecondMomentDecay(0.95, half_life), DECAY, decay, LengthStages.always(8))


def trajectories(batches, half_life, skipped=(), altered=lambda step: step, scaling="linear", **options):
    """What torch and the twin make of the same gradients, one row per step taken."""
    generator = np.random.default_rng(len(batches))
    start = generator.normal(size=6)
    parameter = torch.nn.Parameter(torch.from_numpy(start.copy()))
    optimizer = AdamW([parameter], lr=1.0, betas=(BETA1, 0.5), eps=EPSILON, weight_decay=9.0, **options)
    coupling, schedule, twin = coupling_of(half_life, scaling), Replay(batches), Twin(start)
    rows = []
    for index in range(len(batches)):
        step = coupling.next_step(schedule)
        scale = 10.0 ** generator.uniform(-4, 1) / np.sqrt(step.batch_size)
        if index not in skipped:
            gradient = scale * generator.normal(size=6)
            parameter.grad = torch.from_numpy(gradient.copy())
            optimizer_step(optimizer, altered(step))
            twin.step(gradient, step.learning_rate, step.beta2, step.weight_decay)
            rows.append((parameter.detach().numpy().copy(), twin.x.copy()))
        coupling.advance(step, skipped=index in skipped)
        schedule.update()
    return np.array(rows).transpose(1, 0, 2)


@settings(deadline=None, max_examples=50)
@given(
    batches=st.lists(st.integers(1, 512), min_size=1, max_size=40),
    half_life=st.sampled_from([0.0, 1.0, 30.0, 1000.0, 1e5]),
    skipped=st.sets(st.integers(0, 39), max_size=5),
)
def test_adamw_takes_the_steps_of_its_twin(batches, half_life, skipped):
    if skipped.issuperset(range(len(batches))):
        skipped = set()
    ours, twin = trajectories(batches, half_life, skipped)
    np.testing.assert_allclose(ours, twin, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("options", [{"foreach": True}, {"foreach": False}, {"fused": True}], ids=str)
def test_growth_after_a_hundred_steps_in_every_implementation(options):
    batches = [4] * 100 + [128] * 20
    ours, twin = trajectories(batches, 10_000.0, **options)
    np.testing.assert_allclose(ours, twin, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("part", ["all", "decay", "epsilon"])
def test_without_the_factor_or_a_part_of_it_the_steps_differ(part):
    def altered(step):
        if part == "all":
            return replace(step, bias_factor=1.0)
        return _Partly(step, part)

    ours, twin = trajectories([4] * 100 + [128] * 20, 10_000.0, altered=altered, scaling="none")
    assert not np.allclose(ours, twin, rtol=1e-4)


def test_growth_after_a_hundred_steps_by_hand():
    """torch's own correction would make the first step on the large batch four times as large."""
    coupling, schedule = coupling_of(10_000.0), Replay([4] * 100 + [128])
    for _ in range(100):
        coupling.advance(coupling.next_step(schedule))
        schedule.update()
    step = coupling.next_step(schedule)
    assert step.beta2 == pytest.approx(0.9911667, abs=1e-6)  # 2^(-128 / 10,000)
    # (1 - 2^(-528 / 10,000)) / (1 - 2^(-128 x 101 / 10,000)) = 0.0359364 / 0.5918122
    assert step.bias_factor == pytest.approx((0.0359364 / 0.5918122) ** 0.5, rel=1e-4)
    assert 1 / step.bias_factor == pytest.approx(4.06, abs=0.01)


class _Partly:
    """A step whose factor leaves weight decay, or epsilon, as it is."""

    def __init__(self, step, left):
        self.step, self.left = step, left

    def for_adamw(self, beta1, epsilon):
        options = self.step.for_adamw(beta1, epsilon)
        kept = {"decay": {"weight_decay": self.step.weight_decay}, "epsilon": {"eps": epsilon}}
        return options | kept[self.left]


def test_a_constant_beta2_changes_nothing():
    coupling, schedule = coupling_of(0.0, scaling="none"), Replay([4, 128, 32])
    for _ in range(3):
        step = coupling.next_step(schedule)
        assert (step.bias_factor, step.beta2, step.weight_decay) == (1.0, 0.95, DECAY)
        coupling.advance(step)
        schedule.update()
    assert coupling.state_dict() == {"updates": 3, "log_product": None, "tokens": 8 * (4 + 128 + 32)}


@pytest.mark.parametrize("half_life", [0.0, 40.0])
def test_moments_without_bias_correction(half_life):
    """m / (sqrt(v) + epsilon) by its formula, and a coordinate that never had a gradient rests at epsilon 0."""
    for epsilon in (EPSILON, 0.0):
        coupling, schedule = replace(coupling_of(half_life), uncorrected_beta1=BETA1), Replay([4, 8, 4, 16])
        generator, x, m, v = np.random.default_rng(3), np.array([1.0, -2.0, 3.0]), np.zeros(3), np.zeros(3)
        model = torch.nn.ParameterList([torch.nn.Parameter(torch.from_numpy(x.copy()))])
        optimizer = build_optimizer(model, OptimizerSettings(beta1=BETA1, epsilon=epsilon, weight_decay=DECAY))
        for _ in range(4):
            step = coupling.next_step(schedule)
            gradient = generator.normal(size=3) * [1.0, 1.0, 0.0]
            model[0].grad = torch.from_numpy(gradient.copy())
            optimizer_step(optimizer, step)
            m = BETA1 * m + (1 - BETA1) * gradient
            v = step.beta2 * v + (1 - step.beta2) * gradient**2
            moved = np.divide(m, np.sqrt(v) + epsilon, out=np.zeros(3), where=v > 0)
            x = x - step.learning_rate * (step.weight_decay * x + moved)
            np.testing.assert_allclose(model[0].detach().numpy(), x, rtol=1e-12)
            coupling.advance(step)
            schedule.update()


@pytest.mark.parametrize(("before", "after"), [(0.0, 100.0), (100.0, 0.0), (100.0, 1000.0)])
def test_another_half_life_from_a_checkpoint_on_is_corrected_too(before, after):
    first, schedule = coupling_of(before), Replay([4, 8, 16, 32])
    product = 1.0
    for _ in range(2):
        step = first.next_step(schedule)
        product *= step.beta2
        first.advance(step)
        schedule.update()
    second = coupling_of(after)
    second.load_state_dict(copy.deepcopy(first.state_dict()))
    step = second.next_step(schedule)
    expected = np.sqrt((1 - product * step.beta2) / (1 - step.beta2**3))
    assert step.bias_factor == pytest.approx(expected, rel=1e-12)


def test_a_beta2_too_small_for_a_float():
    coupling, schedule = coupling_of(1.0), Replay([4096, 8192])
    for _ in range(2):
        step = coupling.next_step(schedule)
        assert (step.beta2, step.bias_factor) == (0.0, 1.0)
        coupling.advance(step)
        schedule.update()
