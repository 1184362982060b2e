"""What an instance is measured against: a theorem's bound, and the sum that it bounds, both from the exact tree.

Every target works on one instance or on a population; the hypotheses of its theorem are :func:`hypotheses`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from adabatch.moments.hypotheses import HypothesisError
from simulate.attack.instance import Instance
from simulate.attack.tree import Tree, grow
from simulate.optimizers import SGD, AdaGrad, Adam, AdamW, Optimizer
from simulate.outcomes import Assertion
from simulate.streams import Array
from theory.adam import theorem1, variants
from theory.adam_sharp.parameters import best_bound, largest_extra_steps
from theory.adam_sharp.theorem2 import log_growth_bound
from theory.bound import Bound
from theory.l1 import theorem, theorem3
from theory.l1.costs import Kind
from theory.other_optimizers import adagrad
from theory.problem import AdamParameters, Problem
from theory.samples import sgd as sgd_samples
from theory.samples.goal import Goal
from theory.training import clipping, step_schedules, violated_steps, weight_decay

__all__ = ["TARGETS", "Target", "averaged_eta", "compare", "hypotheses"]


@dataclass(frozen=True)
class Target:
    """One theorem's bound.

    Attributes:
        statement: what is bounded, in words.
        optimizer: made from an instance.
        measured: the sum, for one coordinate.
        bound: on the sum over all coordinates; None where the hypotheses fail.
        averaged: whether the theorem wants the test on average only, and of which kind.
        violated: whether single steps may violate the test.
    """

    statement: str
    optimizer: Callable[[Instance], Optimizer]
    measured: Callable[[Instance, Tree], Array]
    bound: Callable[[Instance, Tree], Any]
    averaged: Kind | None = None
    violated: bool = False


def problem_of(instance: Instance) -> Problem:
    """L, d, Delta, K and ||G_1||_1."""
    return Problem(
        smoothness=instance.smoothness,
        dimension=instance.dimension,
        initial_gap=instance.dimension * instance.objective.gap,
        steps=instance.steps,
        initial_gradient_norm=instance.dimension * np.abs(instance.first),
    )


def adam_of(instance: Instance) -> AdamParameters:
    """The parameters of Adam's theorems."""
    return AdamParameters(
        beta1=instance.beta1,
        beta2=instance.beta2,
        eta=instance.eta,
        step_size=instance.step_size,
        sum_sqrt_v0=instance.dimension * np.sqrt(instance.v0),
        epsilon=instance.epsilon,
    )


def averaged_eta(instance: Instance, tree: Tree, kind: Kind) -> Array:
    """The least eta for which the test of a kind holds on average over the steps, shape [...]."""
    size = np.abs(tree.gradients)
    relative = np.divide(tree.deviations, size, out=np.zeros_like(size), where=size > 0)
    noise = tree.expected(tree.deviations if kind is Kind.L1 else tree.deviations * relative)
    weights = np.ones(instance.steps) if instance.multipliers is None else instance.multipliers
    ratio: Array = (weights * noise).sum(-1) / (weights * tree.gradient_norms).sum(-1)
    return ratio if kind is Kind.L1 else np.sqrt(ratio)


def hypotheses(instance: Instance, tree: Tree) -> list[Assertion]:
    """What the theorem of a single instance's bound assumes of it, found in the tree."""
    target, objective = TARGETS[instance.bound], instance.objective
    found = [Assertion("largest slope", float(np.abs(objective.slopes).max()), "<=", objective.smoothness)]
    problem = problem_of(instance)
    most = replace(problem, initial_gradient_norm=None).first_gradient_norm
    found.append(Assertion("||G_1||_1", float(problem.first_gradient_norm) * (1 - 1e-12), "<=", float(most)))
    found.append(Assertion("total probability", float(tree.probabilities.sum()), "~", 1.0, 1e-12))
    if target.averaged is None and not target.violated:
        found.append(Assertion("sd / |G|", float(instance.largest_deviation), "<=", instance.eta))
    return found


def compare(instance: Instance) -> tuple[Array, Array, Tree]:
    """The measured sum over all coordinates, the bound (infinite where a hypothesis fails), and the tree.

    Args:
        instance: one or a population.
    """
    target = TARGETS[instance.bound]
    tree = grow(instance, target.optimizer(instance))
    return instance.dimension * target.measured(instance, tree), _bound(target, instance, tree), tree


def _bound(target: Target, instance: Instance, tree: Tree) -> Array:
    if tree.probabilities.ndim == 1:
        return np.asarray(target.bound(instance, tree).value, float)
    values = np.full(len(tree.probabilities), np.inf)
    for i in range(len(values)):
        try:
            one = Tree(**{name: value[i] for name, value in vars(tree).items()})
            values[i] = target.bound(instance.candidate(i), one).value
        except HypothesisError:
            continue
    return values


def _adam(instance: Instance) -> Optimizer:
    def schedule(step: int) -> Any:
        return instance.multipliers[..., step - 1, None] if instance.multipliers is not None else 1.0

    settings: dict[str, Any] = {
        "initial_second_moment": instance.v0[..., None],
        "schedule": schedule,
        "epsilon": instance.epsilon[..., None],
    }
    betas = (instance.step_size, instance.beta1, instance.beta2)
    if np.any(instance.weight_decay > 0):
        return AdamW(*betas, weight_decay=instance.weight_decay[..., None], **settings)
    return Adam(*betas, **settings)


def _bias_corrected(instance: Instance) -> Optimizer:
    return replace(_adam(instance), bias_correction=True)  # type: ignore[call-arg]


def _gradient_sum(instance: Instance, tree: Tree) -> Array:
    """sum_k s_k E|G_k| from k0 on; s_k = 1 without multipliers."""
    weights = np.ones(instance.steps) if instance.multipliers is None else instance.multipliers
    result: Array = (weights * tree.gradient_norms)[..., instance.first_step - 1 :].sum(-1)
    return result


def _plain_sum(instance: Instance, tree: Tree) -> Array:
    result: Array = tree.gradient_norms.sum(-1)
    return result


def _preconditioned_sum(instance: Instance, tree: Tree) -> Array:
    below = tree.denominators + instance.epsilon[..., None, None]
    ratio = np.divide(tree.gradients**2, below, out=np.zeros_like(below), where=below > 0)
    result: Array = tree.expected(ratio).sum(-1)
    return result


def _mean_square(instance: Instance, tree: Tree) -> Array:
    result: Array = tree.expected(tree.gradients**2).mean(-1)
    return result


def _steps_to_goal(instance: Instance, tree: Tree) -> Array:
    """The expected number of steps, of the tree's, before G^2 <= goal for the first time; of one coordinate."""
    reached = np.cumsum(tree.gradients**2 <= instance.goal, axis=-2) > 0
    result: Array = tree.expected(np.where(reached, 0.0, 1.0)).sum(-1)
    return result


def _log_growth(instance: Instance, tree: Tree) -> Array:
    start, squared = instance.v0[..., None], instance.epsilon[..., None] ** 2
    growth: Array = np.log((tree.second_moment + squared) / (start + squared))
    return tree.expected(growth)


def _a_priori_growth(instance: Instance, extra_steps: float) -> Any:
    known = instance.dimension * np.log(instance.v0 + instance.epsilon**2)
    problem, adam = problem_of(instance), adam_of(instance)
    return log_growth_bound(problem, adam, instance.dimension * instance.v0, known, extra_steps)


def _theorem2(instance: Instance, tree: Tree) -> Bound:
    problem, adam = problem_of(instance), adam_of(instance)
    bound = best_bound(problem, adam)
    if instance.v0 + instance.epsilon > 0:
        growth = _a_priori_growth(instance, float(largest_extra_steps(instance.beta1)))
        bound = min(bound, best_bound(problem, replace(adam, log_growth=growth)), key=lambda b: float(b.value))
    return bound


def _bias_correction(instance: Instance, tree: Tree) -> Bound:
    multipliers = variants.bias_correction(instance.beta1, instance.beta2, steps=instance.steps)
    return variants.gradient_norm_sum_bound(problem_of(instance), adam_of(instance), multipliers)


def _any_length(instance: Instance, tree: Tree) -> Bound:
    multipliers = variants.bias_correction(instance.beta1, instance.beta2)
    return variants.gradient_norm_sum_bound(problem_of(instance), adam_of(instance), multipliers)


def _with_multipliers(instance: Instance, tree: Tree) -> Bound:
    multipliers = variants.step_multipliers(np.atleast_1d(instance.multipliers), instance.beta1, instance.beta2)  # type: ignore[arg-type]
    return variants.gradient_norm_sum_bound(problem_of(instance), adam_of(instance), multipliers)


def _weight_decay(instance: Instance, tree: Tree) -> Bound:
    largest = float(np.abs(tree.weights).max())
    return weight_decay.weight_decay_bound(
        problem_of(instance), adam_of(instance), float(instance.weight_decay), largest
    )


def _weight_bound(instance: Instance, tree: Tree) -> Bound:
    adam = adam_of(instance)
    start = float(np.abs(instance.start))
    largest = weight_decay.weight_bound(
        adam.beta1, adam.beta2, float(instance.weight_decay), start, adam.alpha, instance.steps
    )
    return Bound(largest, "weights of AdamW")


def _schedule(instance: Instance, tree: Tree) -> Bound:
    return step_schedules.schedule_bound(
        problem_of(instance), adam_of(instance), instance.multipliers, first=instance.first_step
    )


def _clipping(instance: Instance, tree: Tree) -> Bound:
    floor = min(float(np.min(instance.low_factors)), float(np.min(instance.high_factors)))  # type: ignore[arg-type]
    return clipping.clipped_bound(problem_of(instance), adam_of(instance), floor)


def _violated(instance: Instance, tree: Tree) -> Bound:
    size, allowed = np.abs(tree.gradients), instance.eta * np.abs(tree.gradients)
    excess = tree.expected(np.maximum(tree.deviations - allowed, 0)).sum()
    met = tree.deviations <= allowed * (1 + 1e-12)
    return violated_steps.violated_bound(
        problem_of(instance),
        adam_of(instance),
        violated_gradient=instance.dimension * float(tree.expected(np.where(met, 0.0, size)).sum()),
        excess_deviation=instance.dimension * float(excess),
    )


def _adagrad(instance: Instance, tree: Tree) -> Bound:
    growth = instance.dimension * float(tree.expected(np.log(tree.second_moment / instance.v0)))
    return adagrad.preconditioned_sum_bound(
        problem_of(instance), step_size=instance.step_size, eta=instance.eta, log_growth=growth
    )


def _sgd(instance: Instance, tree: Tree) -> Bound:
    return sgd_samples.floored_bound(
        problem_of(instance), step_size=instance.step_size, eta=instance.eta, floor=float(instance.floor)
    )


def _goal(instance: Instance, tree: Tree) -> Goal:
    return Goal(level=instance.goal, noise=float((tree.deviations**2).max()))


def _scalar_test(instance: Instance, tree: Tree) -> Bound:
    """In one dimension, where the scalar test is the l1 test."""
    return theorem.scalar_test_bound(problem_of(instance), adam_of(instance), float(instance.v0))


def _theorem3(kind: Kind, averaged: bool = False, norms: bool = False) -> Callable[[Instance, Tree], Bound]:
    """With G_1 and v_0, or with their norms only."""

    def bound(instance: Instance, tree: Tree) -> Bound:
        eta = float(averaged_eta(instance, tree, kind)) if averaged else instance.eta
        certificate = theorem3.find_certificate(instance.beta1, instance.beta2, eta, kind)
        return theorem3.certified_bound(
            certificate,
            problem_of(instance),
            replace(adam_of(instance), eta=eta),
            None if norms else instance.first,
            None if norms else instance.v0,
            floors=instance.dimension * float(instance.floor),
            multipliers=instance.multipliers,
        )

    return bound


def _plain(function: Callable[[Problem, AdamParameters], Bound]) -> Callable[[Instance, Tree], Bound]:
    return lambda instance, tree: function(problem_of(instance), adam_of(instance))


def _sgd_optimizer(instance: Instance) -> Optimizer:
    return SGD(instance.step_size)


def _adagrad_optimizer(instance: Instance) -> Optimizer:
    return AdaGrad(instance.step_size, initial_second_moment=instance.v0[..., None])


TARGETS: dict[str, Target] = {
    "Theorem 1": Target("Σ E‖G‖₁", _adam, _gradient_sum, _plain(theorem1.gradient_norm_sum_bound)),
    "Theorem 1, preconditioned": Target(
        "Σ E G²/√D", _adam, _preconditioned_sum, _plain(variants.preconditioned_sum_bound)
    ),
    "Theorem 1, epsilon": Target("Σ E‖G‖₁, ε > 0", _adam, _gradient_sum, _plain(variants.gradient_norm_sum_bound)),
    "Theorem 1, multipliers": Target("Σ E‖G‖₁, step sizes α s_k", _adam, _plain_sum, _with_multipliers),
    "Theorem 1, bias correction": Target(
        "Σ E‖G‖₁, bias correction", _bias_corrected, _plain_sum, _bias_correction
    ),
    "Theorem 1, bias correction of any length": Target(
        "Σ E‖G‖₁, bias correction", _bias_corrected, _plain_sum, _any_length
    ),
    "Theorem 2": Target("Σ E‖G‖₁", _adam, _gradient_sum, _theorem2),
    "log growth": Target(
        "Σ E ln (v_K + ε²)/(v_0 + ε²)",
        _adam,
        _log_growth,
        lambda i, t: Bound(_a_priori_growth(i, float(largest_extra_steps(i.beta1))), "log growth"),
    ),
    "Theorem 3, l1": Target("Σ E‖G‖₁", _adam, _gradient_sum, _theorem3(Kind.L1, True), Kind.L1),
    "Theorem 3, coordinate-wise": Target(
        "Σ E‖G‖₁", _adam, _gradient_sum, _theorem3(Kind.VARIANCE, True), Kind.VARIANCE
    ),
    "Theorem 3, falling steps": Target(
        "Σ s_k E‖G_k‖₁", _adam, _gradient_sum, _theorem3(Kind.VARIANCE, True), Kind.VARIANCE
    ),
    "Theorem 3, of norms": Target(
        "Σ E‖G‖₁, from ‖G_1‖₁ and Σ √v_0", _adam, _gradient_sum, _theorem3(Kind.VARIANCE, norms=True)
    ),
    "Theorem 3, epsilon and floor": Target(
        "Σ E‖G‖₁, ε > 0, test with a floor", _adam, _gradient_sum, _theorem3(Kind.VARIANCE)
    ),
    "AdamW": Target("Σ E‖G‖₁ with weight decay", _adam, _gradient_sum, _weight_decay),
    "AdamW, weights": Target(
        "|w_{K+1}|", _adam, lambda i, t: np.abs(t.weights[..., -1, :]).max(-1), _weight_bound
    ),
    "Schedules": Target("Σ s_k E‖G_k‖₁ from k0 on", _adam, _gradient_sum, _schedule),
    "Clipping with a floor": Target("Σ E‖G‖₁, gradients clipped", _adam, _gradient_sum, _clipping),
    "Violated steps": Target("Σ E‖G‖₁, test violated", _adam, _gradient_sum, _violated, violated=True),
    "l1 norm test": Target("Σ E‖G‖₁", _adam, _gradient_sum, _plain(theorem.l1_test_bound)),
    "Scalar test": Target("Σ E‖G‖₂ in one dimension", _adam, _gradient_sum, _scalar_test),
    "AdaGrad": Target("Σ E G²/√D", _adagrad_optimizer, _preconditioned_sum, _adagrad),
    "SGD": Target("(1/K) Σ E‖G‖²", _sgd_optimizer, _mean_square, _sgd),
    "SGD, steps to a goal": Target(
        "E T",
        _sgd_optimizer,
        _steps_to_goal,
        lambda i, t: sgd_samples.steps_to_goal(problem_of(i), _goal(i, t), eta=i.eta),
    ),
    "SGD, samples to a goal": Target(
        "E Σ b_k",
        _sgd_optimizer,
        _steps_to_goal,
        lambda i, t: sgd_samples.samples_to_goal(problem_of(i), _goal(i, t), eta=i.eta),
    ),
}
"""By name, in the order of the report."""
