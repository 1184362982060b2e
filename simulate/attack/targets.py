"""The bounds that an instance is measured against: the laboratory's, your own, and those of exact runs only."""

from __future__ import annotations

from functools import lru_cache
from typing import ClassVar

import numpy as np

from simulate.attack.exact_run import ExactRun
from simulate.laboratory.bounds import BoundRule, Run
from simulate.laboratory.parts import find
from simulate.laboratory.theorems import CertifiedVariance, StochasticGradientDescent, Theorem1, Theorem2
from simulate.noise.exact_tests import Test
from simulate.optimizers import AdamW
from simulate.own_code import is_own
from simulate.registry import Registry
from simulate.streams import Array
from theory.adam import theorem1, variants
from theory.bound import Bound
from theory.l1 import theorem3
from theory.samples import sgd as sgd_samples
from theory.samples.goal import Goal
from theory.training import weight_decay

__all__ = ["TARGETS", "excluded", "rule_of"]


def _exact(run: Run) -> ExactRun:
    assert isinstance(run, ExactRun)
    return run


class Plain(BoundRule):
    """Theorem 1 on sum_k E||G_k||_1 without epsilon, schedule and bias correction."""

    name = "theorem-1-plain"
    test: ClassVar[Test | None] = "coordinate-wise"

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        return theorem1.gradient_norm_sum_bound(run.problem, run.adam)


class AnyLength(BoundRule):
    """Theorem 1 on sum_k E||G_k||_1 with bias correction, by constants that hold for every K."""

    name = "theorem-1-any-length"
    test: ClassVar[Test | None] = "coordinate-wise"

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        adam = run.adam_like(run.plain_adam, corrected=True)
        multipliers = variants.bias_correction(adam.beta1, adam.beta2)
        return variants.gradient_norm_sum_bound(run.problem, adam, multipliers)


class Preconditioned(BoundRule):
    """Theorem 1 on sum_k sum_i E[G_{k,i}^2 / (sqrt(D_{k,i}) + epsilon)]."""

    name = "preconditioned-sum"
    test: ClassVar[Test | None] = "coordinate-wise"

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        return variants.preconditioned_sum_bound(run.problem, run.adam, Theorem1.multipliers(run))

    def measure(self, run: Run) -> Array:
        """The sum on each path."""
        instance, tree = _exact(run).instance, _exact(run).tree
        below, above = tree.denominators + instance.epsilon, tree.gradients**2
        ratio = np.divide(above, below, out=np.zeros_like(below), where=below > 0)
        return np.asarray(instance.dimension * ratio.sum(-2))


class LogGrowth(BoundRule):
    """What Theorem 2 assumes of sum_i E ln((v_{K,i} + epsilon^2) / (v_{0,i} + epsilon^2)) before a run."""

    name = "log-growth"
    test: ClassVar[Test | None] = "coordinate-wise"

    def value(self, run: Run) -> float:
        """See :class:`BoundRule`."""
        return Theorem2.log_growth(run)

    def measure(self, run: Run) -> Array:
        """The logarithm on each path."""
        instance, squared = _exact(run).instance, float(run.adam.epsilon) ** 2
        growth = np.log((_exact(run).tree.second_moment + squared) / (instance.v0 + squared))
        return np.asarray(instance.dimension * growth)


class OfNorms(CertifiedVariance):
    """Theorem 3 on sum_k E||G_k||_1 from ||G_1||_1 and sum_i sqrt(v_{0,i}) only."""

    name = "theorem-3-of-norms"

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        adam = run.adam
        certificate = theorem3.find_certificate(adam.beta1, adam.beta2, adam.eta, self.kind)
        return theorem3.certified_bound(certificate, run.problem, adam)


class FlooredTest(CertifiedVariance):
    """Theorem 3 on sum_k E||G_k||_1 under the coordinate-wise test with a floor."""

    name, floored = "theorem-3-floor", True

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        instance, adam = _exact(run).instance, run.adam
        certificate = theorem3.find_certificate(adam.beta1, adam.beta2, adam.eta, self.kind)
        first, floors = run.trajectory.first_gradient[0], instance.dimension * float(instance.floor)
        return theorem3.certified_bound(certificate, run.problem, adam, first, run.v0, floors=floors)


class Weights(BoundRule):
    """The largest |w_{K+1}| of AdamW, in one dimension."""

    name = "weights"

    def value(self, run: Run) -> float:
        """See :class:`BoundRule`."""
        adam, optimizer = _exact(run).instance, run.optimizer
        assert isinstance(optimizer, AdamW)
        decay, start = float(optimizer.weight_decay), float(np.abs(run.objective.start()).max())
        return float(weight_decay.weight_bound(adam.beta1, adam.beta2, decay, start, adam.step_size, run.steps))

    def measure(self, run: Run) -> Array:
        """The largest of all paths."""
        largest = np.abs(run.trajectory.final_w).max()
        return np.full(len(run.trajectory.final_w), largest)


class SgdFlooredTest(StochasticGradientDescent):
    """The theorem on the mean of E||G_k||_2^2 of SGD under the norm-wise test with a floor."""

    name, floored = "sgd-floor", True

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        instance = _exact(run).instance
        alpha, floor = float(run.optimizer.step_size), float(instance.floor)
        return sgd_samples.floored_bound(run.problem, step_size=alpha, eta=run.eta, floor=floor)


class StepsToGoal(BoundRule):
    """E T, the expected number of SGD's steps before ||G||^2 is at most a goal; in one dimension."""

    name = "steps-to-goal"

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        return sgd_samples.steps_to_goal(run.problem, self.goal(run), eta=run.eta)

    def measure(self, run: Run) -> Array:
        """Steps before the goal on each path, K at most."""
        tree, goal = _exact(run).tree, _exact(run).instance.goal
        return np.asarray((np.cumsum(tree.gradients**2 <= goal, axis=-2) == 0).sum(-2))

    @staticmethod
    def goal(run: Run) -> Goal:
        """With the noise that was met."""
        return Goal(level=_exact(run).instance.goal, noise=float((_exact(run).tree.deviations ** 2).max()))


class SamplesToGoal(StepsToGoal):
    """E sum_k b_k, the expected number of SGD's samples before ||G||^2 is at most a goal; in one dimension."""

    name = "samples-to-goal"

    def value(self, run: Run) -> Bound:
        """See :class:`BoundRule`."""
        return sgd_samples.samples_to_goal(run.problem, self.goal(run), eta=run.eta)


RULES: tuple[type[BoundRule], ...] = (
    Plain,
    AnyLength,
    Preconditioned,
    LogGrowth,
    OfNorms,
    FlooredTest,
    Weights,
    SgdFlooredTest,
    StepsToGoal,
    SamplesToGoal,
)

TARGETS: Registry[type[BoundRule]] = Registry("bound", {rule.name: rule for rule in RULES})
"""Those that only exact runs know, by name."""


@lru_cache(maxsize=64)
def rule_of(bound: str) -> BoundRule:
    """The bound of this name with its settings: of :data:`TARGETS`, the laboratory's, or your own.

    Raises:
        ValueError: if there is none, or it cannot be made.
    """
    rule: BoundRule = TARGETS[bound]() if bound in TARGETS else find("bound", bound).make()
    return rule


def excluded(bound: str) -> set[str]:
    """What a bound's hypotheses exclude: clip factors, steps that violate the test, a floor of the test.

    >>> sorted(excluded("theorem-1")), excluded("clipping,floor=0.5") & {"factors"}
    (['factors', 'floor', 'violated'], set())
    """
    rule = rule_of(bound)
    covered = {
        "factors": not rule.unbiased,
        "violated": rule.deviations,
        "floor": getattr(rule, "floored", is_own(bound)),
    }
    return {name for name, may in covered.items() if not may}
