r"""Samples where gaps contract: under the Polyak-Lojasiewicz condition growing batches save a logarithm.

Problem:
    L-smooth, ||grad L||^2 >= 2 mu (L - inf L) (strongly convex functions, for example), samples with
    tr Sigma <= sigma^2, until the gap L(w_k) - inf L is at most e for the first time, after T steps.

Algorithm:
    SGD with alpha < 2 / (L (1 + eta^2)) under the exact norm test, the smallest batch at each step; q = 1 - 2 mu
    alpha (1 - alpha L (1 + eta^2) / 2), which is 1 - mu / (L (1 + eta^2)) at alpha = 1 / (L (1 + eta^2)).

Guarantee (0 < e <= Delta, q > 0):
    - steps: E T <= (1 + ln(Delta / e)) / (1 - q).
    - samples: E sum_{k<=T} b_k <= E T + sigma^2 / (2 mu eta^2 (1 - q)) (2 / e - 1 / Delta): of the order of
      (1 + 1 / eta^2) (L / mu) sigma^2 / (mu e), without ln(Delta / e). Attained as Delta -> e.
    - a constant batch: on mu w^2 / 2 with tr Sigma = sigma^2 and mu alpha = a < 1, SGD reaches E[gap] <= e after K
      steps of b samples only if

          K b >= phi(a) ln(Delta / e) sigma^2 / (4 mu e),        phi(a) = a / ((2 - a) (-ln(1 - a))) <= 1/2,

      and phi falls with a. With a curvature L = kappa mu in another direction, a < 2 / kappa: then every constant
      batch pays the logarithm, so that growing batches save it, as e -> 0, at any fixed eta.

    **Where there is no gain.** phi(a) -> 0 as a -> 1: on a quadratic with a single curvature, one step at
    alpha = 1 / L with b = sigma^2 / (2 L e) reaches the goal from anywhere, and nothing beats that.

References:
    Karimi, Nutini, Schmidt (2016) for the condition; Bollapragada, Byrd, Nocedal (2018) for growing batches. Proof
    (a potential -1/gap, concave): :mod:`proofs.samples.contraction`.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    >>> problem = Problem(smoothness=2.0, dimension=2, initial_gap=1.0, steps=1)
    >>> goal = Goal(level=0.01, noise=1.0)
    >>> bound = samples_to_gap(problem, goal, curvature=1.0, step_size=0.25, eta=1.0)
    >>> round(bound.value), round(constant_batch_samples(problem, goal, curvature=1.0, step_size=0.25))
    (420, 57)
"""

from __future__ import annotations

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, log
from theory.bound import Bound
from theory.other_optimizers.sgd import descent_per_step
from theory.problem import Problem
from theory.samples.goal import Goal, require_positive

__all__ = ["constant_batch_factor", "constant_batch_samples", "contraction", "samples_to_gap", "steps_to_gap"]


def contraction(problem: Problem, curvature: Value, step_size: Value, eta: Value) -> Value:
    """q, by which the expected gap falls per step.

    Args:
        problem: L.
        curvature: mu.
        step_size: alpha.
        eta: of the test.

    Raises:
        HypothesisError: unless 0 < q < 1.
    """
    require_positive("curvature", curvature)
    q = 1 - 2 * curvature * descent_per_step(problem.smoothness, step_size, eta)
    advice = "take 0 < step_size < 2 / (L (1 + eta^2)) and curvature <= L"
    require(q < 1, "0 < q < 1", describe("q", q), advice)
    require(q > 0, "0 < q < 1", describe("q", q), advice)
    return q


def steps_to_gap(problem: Problem, goal: Goal, *, curvature: Value, step_size: Value, eta: Value) -> Bound:
    """E T, the expected number of steps before the gap is at most e.

    Args:
        problem: L and Delta.
        goal: e.
        curvature: mu.
        step_size: alpha.
        eta: of the test.

    Raises:
        HypothesisError: unless 0 < e <= Delta and 0 < q < 1.
    """
    given = f"{describe('level', goal.level)}, {describe('initial_gap', problem.initial_gap)}"
    require(goal.level <= problem.initial_gap, "level <= initial_gap", given, "the goal is reached at the start")
    q = contraction(problem, curvature, step_size, eta)
    value = (1 + log(problem.initial_gap / goal.level)) / (1 - q)
    return Bound(value=value, theorem="steps of SGD to a gap", quantity="E T", constants={"q": q})


def samples_to_gap(problem: Problem, goal: Goal, *, curvature: Value, step_size: Value, eta: Value) -> Bound:
    """E sum_{k<=T} b_k, the expected number of samples before the gap is at most e; arguments as of the steps.

    Raises:
        HypothesisError: see :func:`steps_to_gap`; eta > 0.
    """
    require_positive("eta", eta)
    steps = steps_to_gap(problem, goal, curvature=curvature, step_size=step_size, eta=eta)
    q = steps.constants["q"]
    reciprocals = (2 / goal.level - 1 / problem.initial_gap) / (1 - q)
    noise = goal.noise / (2 * curvature * eta**2) * reciprocals
    return Bound(
        value=steps.value + noise,
        theorem="samples of SGD to a gap",
        quantity="E sum_{k<=T} b_k",
        constants={"q": q, "sum of 1 / gap": reciprocals},
        terms={"one sample a step": steps.value, "noise": noise},
    )


def constant_batch_factor(a: Value) -> Value:
    """phi(a) = a / ((2 - a) (-ln(1 - a))), from 1/2 at a -> 0 to 0 at a -> 1.

    >>> round(constant_batch_factor(1e-6), 6), round(constant_batch_factor(0.5), 3)
    (0.5, 0.481)
    """
    return a / ((2 - a) * -log(1 - a))


def constant_batch_samples(problem: Problem, goal: Goal, *, curvature: Value, step_size: Value) -> Value:
    """K b, from below: what SGD with a constant batch needs on mu w^2 / 2 for E[gap] <= e.

    Args:
        problem: Delta.
        goal: e and sigma^2 (of this direction).
        curvature: mu.
        step_size: the largest alpha; smaller ones need more.

    Raises:
        HypothesisError: unless 0 < mu alpha < 1 and 0 < e <= Delta.
    """
    a = curvature * step_size
    require(a > 0, "0 < mu alpha < 1", describe("mu alpha", a), "take a positive step size")
    require(a < 1, "0 < mu alpha < 1", describe("mu alpha", a), "take a step size below 1 / mu")
    given = f"{describe('level', goal.level)}, {describe('initial_gap', problem.initial_gap)}"
    require(goal.level <= problem.initial_gap, "level <= initial_gap", given, "the goal is reached at the start")
    logarithm = log(problem.initial_gap / goal.level)
    return constant_batch_factor(a) * logarithm * goal.noise / (4 * curvature * goal.level)
