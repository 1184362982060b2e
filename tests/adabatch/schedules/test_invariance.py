"""What moves with the batch leaves the first two moments of a quadratic's iterates as they were, at equal samples.

Moments are computed exactly, without sampling. A batch that is or becomes four times the reference is compared
with the reference throughout; finer steps bring the two together by first order if the rule is right, and do not
if it is not.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from adabatch.schedules import Stagewise
from adabatch.schedules.coupling import Coupling, SecondMomentDecay
from adabatch.schedules.learning_rate import BatchScaling, LearningRate
from adabatch.schedules.length_stages import LengthStages
from adabatch.schedules.paths import Linear

REFERENCE = 4


def sgd(step, variance, second_moment):
    """Contraction and added variance of x - lr (x + noise)."""
    del second_moment
    return 1 - step.learning_rate, step.learning_rate**2 * variance


def adam_in_noise(step, variance, second_moment):
    """Of x - lr (x + noise) over the root of E g^2, which is the noise's alone."""
    del second_moment
    return 1 - step.learning_rate / math.sqrt(variance), step.learning_rate**2


def adam(step, variance, second_moment):
    """Of x - lr (x + noise) over the root of Adam's own moving average of E g^2."""
    rate = step.learning_rate / math.sqrt(second_moment)
    return 1 - rate, rate**2 * variance


def without_gradient(step, variance, second_moment):
    """Nothing but the decay acts."""
    del step, variance, second_moment
    return 1.0, 0.0


def final_moments(
    update, sizes, fineness, lr_scaling, decay_scaling="none", half_life=0.01, follows=True, decay=0.0
):
    """Mean and second moment of x, from x = 1, after a budget in steps 1 / fineness as large and as many more.

    The noise grows with the fineness, so that its effect on the second moment stays. The half-life is a share of
    the budget; if beta2 does not follow the batch, it is that of the reference.
    """
    budget = 2048 * fineness
    peak = {sgd: 0.01 / fineness}.get(update, 0.08 / math.sqrt(fineness))
    noise = 250.0 * fineness
    rates = LearningRate(peak, 0.1 * peak, budget // 8, budget, BatchScaling(lr_scaling, REFERENCE), Linear())
    moment = SecondMomentDecay(0.5 ** (REFERENCE / (half_life * budget)), half_life * budget * follows)
    scaling = BatchScaling(decay_scaling, REFERENCE)
    coupling = Coupling(rates, moment, decay / fineness / peak, scaling, LengthStages.always(2))
    schedule = Stagewise(sizes, [0.5, 0.5], budget)
    mean = second = 1.0
    average = 0.0
    while schedule.samples < budget:
        step = coupling.next_step(schedule)
        variance = noise * (1.2 - schedule.samples / budget) ** 2 / step.batch_size
        average = step.beta2 * average + (1 - step.beta2) * variance
        weights = (1 - step.beta2 ** (coupling.updates + 1)) * step.bias_factor**2
        contraction, added = update(step, variance, average / weights)
        contraction -= step.learning_rate * step.weight_decay
        mean, second = contraction * mean, contraction**2 * second + added
        coupling.advance(step)
        schedule.update()
    return np.array([mean, second])


def with_momentum(sizes, fineness, lr_scaling, momentum=0.9):
    """:func:`final_moments` of SGD that steps along v, the decaying sum of gradients: moments of both together."""
    budget, noise, share = 2048 * fineness, 250.0 * fineness, 1 - momentum
    peak = 0.005 * share / fineness
    rates = LearningRate(peak, 0.1 * peak, budget // 8, budget, BatchScaling(lr_scaling, REFERENCE), Linear())
    schedule = Stagewise(sizes, [0.5, 0.5], budget)
    x, v, xx, xv, vv = 1.0, 0.0, 1.0, 0.0, 0.0
    while schedule.samples < budget:
        rate = schedule.learning_rate(rates)
        variance = noise * (1.2 - schedule.samples / budget) ** 2 / schedule.batch_size
        v, vv, xv = momentum * v + x, momentum**2 * vv + 2 * momentum * xv + xx + variance, momentum * xv + xx
        x, xx, xv = x - rate * v, xx - 2 * rate * xv + rate**2 * vv, xv - rate * vv
        schedule.update()
    return np.array([x, xx])


def differences(sizes=(4, 16), **rule):
    """Relative, between batches of these sizes, half of the budget each, and the reference; at fineness 4, 8."""
    moments = rule.pop("moments", final_moments)
    for fineness in (4, 8):
        larger, kept = (moments(sizes=sizes, fineness=fineness, **rule) for sizes in (sizes, (4, 4)))
        yield np.max(np.abs(larger / kept - 1))


RIGHT = {
    "SGD": {"update": sgd, "lr_scaling": "linear"},
    "SGD with momentum": {"moments": with_momentum, "lr_scaling": "linear"},
    "Adam in noise": {"update": adam_in_noise, "lr_scaling": "sqrt"},
    "second moment": {"update": adam, "lr_scaling": "sqrt", "half_life": 0.1, "sizes": (16, 16)},
    "decay of SGD": {"update": sgd, "lr_scaling": "linear", "decay": 0.004},
    "decay of Adam": {"update": adam_in_noise, "lr_scaling": "sqrt", "decay": 0.004, "decay_scaling": "sqrt"},
    "decay at a fixed rate": {
        "update": without_gradient,
        "lr_scaling": "none",
        "decay": 0.004,
        "decay_scaling": "linear",
    },
}


@pytest.mark.parametrize("rule", RIGHT.values(), ids=RIGHT)
def test_a_larger_batch_leaves_both_moments_to_first_order(rule):
    coarse, fine = differences(**rule)
    assert coarse < 0.05
    assert 1.8 < coarse / fine < 2.2


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("SGD", {"lr_scaling": "sqrt"}),
        ("SGD", {"lr_scaling": "none"}),
        ("SGD with momentum", {"lr_scaling": "sqrt"}),
        ("Adam in noise", {"lr_scaling": "linear"}),
        ("Adam in noise", {"lr_scaling": "none"}),
        ("second moment", {"follows": False}),
        # The average still holds the noise of the smaller batch, for a half-life.
        ("second moment", {"sizes": (4, 16)}),
        ("decay of SGD", {"decay_scaling": "linear"}),
        ("decay of Adam", {"decay_scaling": "none"}),
        ("decay of Adam", {"decay_scaling": "linear"}),
        ("decay at a fixed rate", {"decay_scaling": "none"}),
        ("decay at a fixed rate", {"decay_scaling": "sqrt"}),
    ],
)
def test_a_wrong_rule_does_not(name, changes):
    coarse, fine = differences(**RIGHT[name] | changes)
    assert fine > 0.05
    assert coarse / fine < 1.6
