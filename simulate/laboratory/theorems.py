"""The theorems as bounds on runs: each reads the optimizer, eta and the problem, and returns its bound."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from adabatch.moments.hypotheses import require
from simulate.laboratory.bounds import BoundRule, Run
from simulate.noise import Clipped
from simulate.noise.exact_tests import Test
from simulate.optimizers import SGD, AdaGrad, Adam, AdamW
from simulate.registry import Registry
from simulate.streams import Array
from theory.adam import variants
from theory.adam_sharp.parameters import best_bound, largest_extra_steps
from theory.adam_sharp.theorem2 import log_growth_bound
from theory.bound import Bound
from theory.guarantee import adam_guarantee
from theory.l1 import theorem as l1_theorem
from theory.l1 import theorem3
from theory.l1.costs import Kind
from theory.other_optimizers import adagrad, sgd
from theory.training import clipping, step_schedules, violated_steps
from theory.training.weight_decay import weight_bound, weight_decay_bound

__all__ = ["BOUNDS", "Schedule", "usual_bound"]


class Theorem1(BoundRule):
    """Theorem 1 on sum_k E||G_k||_1 under the coordinate-wise test, with epsilon, bias correction, schedules."""

    theorem = "theory.adam.theorem1"
    name = "theorem-1"
    test: ClassVar[Test | None] = "coordinate-wise"

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        adam = run.adam_like(run.scheduled_adam, corrected=True)
        return variants.gradient_norm_sum_bound(run.problem, adam, self.multipliers(run))

    @staticmethod
    def multipliers(run: Run) -> variants.StepMultipliers | None:
        """Of the schedule and bias correction; None without both."""
        optimizer, scheduled = run.scheduled_adam, run.multipliers
        betas = float(optimizer.beta1), float(optimizer.beta2)
        if scheduled is None:
            return variants.bias_correction(*betas, run.steps) if optimizer.bias_correction else None
        if optimizer.bias_correction:
            scheduled = scheduled * variants.bias_correction_multiplier(np.arange(1, run.steps + 1), *betas)
        return variants.step_multipliers(scheduled, *betas)


class Theorem2(BoundRule):
    """Theorem 2 on sum_k E||G_k||_1 under the coordinate-wise test, at its best free parameters."""

    theorem = "theory.adam_sharp.theorem2"
    name = "theorem-2"
    test: ClassVar[Test | None] = "coordinate-wise"

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        bound, adam = best_bound(run.problem, run.adam), run.adam
        if not (run.v0 + adam.epsilon > 0).all():
            return bound
        growth = replace(adam, log_growth=self.log_growth(run))
        return min(bound, best_bound(run.problem, growth), key=lambda found: float(found.value))

    @staticmethod
    def log_growth(run: Run) -> float:
        """Of sum_i E ln((v_{K,i} + epsilon^2) / (v_{0,i} + epsilon^2)), an upper bound."""
        adam, known = run.adam, float(np.log(run.v0 + run.adam.epsilon**2).sum())
        extra_steps = float(largest_extra_steps(adam.beta1))
        return float(log_growth_bound(run.problem, adam, float(run.v0.sum()), known, extra_steps))


class Certified(BoundRule):
    """Theorem 3 on sum_k h_k E||G_k||_1, given a certificate of a kind, where step sizes do not rise."""

    theorem = "theory.l1.theorem3"
    measured = "weighted_l1_sum"
    kind: ClassVar[Kind]

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        adam, v0 = run.adam_like(run.scheduled_adam), run.optimizer.initial_second_moment
        certificate = theorem3.find_certificate(adam.beta1, adam.beta2, adam.eta, self.kind)
        gradient, multipliers = run.trajectory.first_gradient[0], run.multipliers
        return theorem3.certified_bound(certificate, run.problem, adam, gradient, v0=v0, multipliers=multipliers)


class CertifiedL1(Certified):
    """Theorem 3 on sum_k E||G_k||_1 under the l1 test, for betas with a certificate."""

    name, kind = "theorem-3-l1", Kind.L1
    test: ClassVar[Test | None] = "l1"


class CertifiedVariance(Certified):
    """Theorem 3 on sum_k E||G_k||_1 under the coordinate-wise test, for betas with a certificate."""

    name, kind = "theorem-3-variance", Kind.VARIANCE
    test: ClassVar[Test | None] = "coordinate-wise"


class Guarantee(BoundRule):
    """The best of Theorems 1, 2 and 3 on sum_k E||G_k||_1 under the coordinate-wise test."""

    theorem = "theory.guarantee"
    name = "guarantee"
    test: ClassVar[Test | None] = "coordinate-wise"

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        if run.plain_adam.bias_correction:
            return Theorem1().value(run)
        return adam_guarantee(run.problem, run.adam)


class L1Test(BoundRule):
    """The theorem without a certificate on sum_k E||G_k||_1 under the l1 test."""

    theorem = "theory.l1.theorem"
    name = "l1-test"
    test: ClassVar[Test | None] = "l1"

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        return l1_theorem.l1_test_bound(run.problem, run.adam)


class ScalarTest(BoundRule):
    """The theorem on sum_k E||G_k||_2 of Adam under the norm-wise test, for eta of the order of 1/sqrt(d)."""

    theorem = "theory.l1.theorem"
    name, measured = "scalar-test", "l2_sum"
    test: ClassVar[Test | None] = "norm-wise"

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        return l1_theorem.scalar_test_bound(run.problem, run.adam, float(run.v0.sum()))


class WeightDecay(BoundRule):
    """The theorem on sum_k E||G_k||_1 of AdamW under the coordinate-wise test, for small weight decay."""

    theorem = "theory.training.weight_decay"
    name = "weight-decay"
    test: ClassVar[Test | None] = "coordinate-wise"

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        optimizer = run.optimizer
        require(type(optimizer) is AdamW, "AdamW", optimizer.name, "choose adamw")
        assert isinstance(optimizer, AdamW)
        adam, decay = run.adam_like(optimizer), float(optimizer.weight_decay)
        start = float(np.abs(run.objective.start()).max())
        largest = weight_bound(adam.beta1, adam.beta2, decay, start, adam.alpha, run.steps)
        return weight_decay_bound(run.problem, adam, decay, float(largest))


@dataclass(frozen=True)
class Schedule(BoundRule):
    """The theorem on sum_k s_k E||G_k||_1 of Adam with step sizes alpha s_k, once a warm-up is over.

    Attributes:
        warmup: steps that are not counted.
    """

    theorem: ClassVar[str] = "theory.training.step_schedules"
    name: ClassVar[str] = "schedule"
    test: ClassVar[Test | None] = "coordinate-wise"
    warmup: int = 0

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        optimizer = run.optimizer
        require(type(optimizer) is Adam, "Adam", optimizer.name, "choose adam")
        assert isinstance(optimizer, Adam)
        multipliers, first = run.multipliers, self.warmup + 1
        multipliers = np.ones(run.steps) if multipliers is None else multipliers
        return step_schedules.schedule_bound(run.problem, run.adam_like(optimizer), multipliers, first=first)

    def measure(self, run: Run) -> Array:
        """sum of s_k ||G_k||_1 over the steps after the warm-up."""
        sums = run.trajectory.weighted_l1_sum
        before = sums[run.trajectory.steps.index(self.warmup)] if self.warmup else 0.0
        return np.asarray(sums[run.record] - before)

    def records(self, steps: int) -> tuple[int, ...]:
        """The end of the warm-up."""
        return (self.warmup,) if self.warmup else ()


@dataclass(frozen=True)
class Clipping(BoundRule):
    """The theorem on sum_k E||G_k||_1 of Adam with clipped gradients, whose clip factors have a floor.

    Attributes:
        floor: what no clip factor is below; that it is so is up to you, and may need gradients that are bounded.
    """

    theorem: ClassVar[str] = "theory.training.clipping"
    name: ClassVar[str] = "clipping"
    unbiased: ClassVar[bool] = False
    floor: float

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        noise = run.noise
        require(isinstance(noise, Clipped), "clipped noise", type(noise).__name__, "choose simulate.noise.Clipped")
        return clipping.clipped_bound(run.problem, run.adam, self.floor)


class ViolatedSteps(BoundRule):
    """The theorem on sum_k E||G_k||_1 of Adam where some steps violate the coordinate-wise test."""

    theorem = "theory.training.violated_steps"
    name, deviations = "violated-steps", True

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        return violated_steps.violated_bound(
            run.problem,
            run.adam,
            violated_gradient=run.mean("missed_l1_sum"),
            excess_deviation=run.excess_deviation,
        )


class StochasticGradientDescent(BoundRule):
    """The theorem on the mean of E||G_k||_2^2 of SGD under the norm-wise test."""

    theorem = "theory.other_optimizers.sgd"
    name, measured, tight = "sgd", "average_squared", True
    test: ClassVar[Test | None] = "norm-wise"

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        plain = type(run.optimizer) is SGD and run.optimizer.schedule is None
        require(plain, "SGD without a schedule", run.optimizer.name, "choose sgd")
        alpha = float(run.optimizer.step_size)
        return sgd.average_squared_norm_bound(run.problem, step_size=alpha, eta=run.eta)

    def measure(self, run: Run) -> Array:
        """The mean of ||G_k||^2, a little smaller: it may equal its bound, and rounding must not decide."""
        return super().measure(run) * (1 - 1e-12)


class AdaGradSum(BoundRule):
    """The theorem on the preconditioned sum of AdaGrad under the coordinate-wise test."""

    theorem = "theory.other_optimizers.adagrad"
    name, measured, preconditioned = "adagrad", "preconditioned_sum", True
    test: ClassVar[Test | None] = "coordinate-wise"

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        optimizer = run.optimizer
        plain = type(optimizer) is AdaGrad and optimizer.schedule is None and optimizer.epsilon == 0
        require(plain, "AdaGrad without schedule and epsilon", optimizer.name, "choose adagrad")
        whole = run.record == len(run.trajectory.steps) - 1
        require(whole, "the run's last K", f"K = {run.steps}", "v is known at the end only")
        end = run.trajectory.final_state.second_moment
        require(bool((run.v0 > 0).all()), "v_0 > 0", "v_0 = 0", "give initial_second_moment=1e-2, say")
        growth = run.expected(adagrad.accumulator_log_growth(run.v0, end))
        alpha = float(optimizer.step_size)
        return adagrad.preconditioned_sum_bound(run.problem, step_size=alpha, eta=run.eta, log_growth=growth)


RULES: tuple[type[BoundRule], ...] = (
    Guarantee,
    Theorem1,
    Theorem2,
    CertifiedL1,
    CertifiedVariance,
    L1Test,
    ScalarTest,
    WeightDecay,
    Schedule,
    Clipping,
    ViolatedSteps,
    StochasticGradientDescent,
    AdaGradSum,
)

BOUNDS: Registry[type[BoundRule]] = Registry("bound", {rule.name: rule for rule in RULES})
"""The theorems by name."""

USUAL = {
    "adam": "guarantee",
    "rmsprop": "guarantee",
    "adamw": "weight-decay",
    "sgd": "sgd",
    "adagrad": "adagrad",
}


def usual_bound(optimizer: str) -> str | None:
    """The name of the bound on an optimizer, None if there is no theorem on it."""
    return USUAL.get(optimizer)
