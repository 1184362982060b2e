r"""Steps and samples of SGD under the norm test: a hyperbola, and what a floor on the test costs.

Problem:
    Minimise L: R^d -> R, L-smooth and bounded below, with samples whose gradients have tr Sigma <= sigma^2, until
    ||G_k||^2 <= epsilon for the first time, after T steps. What is the price in samples of large batches,
    whose steps bring more?

Algorithm:
    SGD, alpha = 1 / (L (1 + eta^2)), and at step k the smallest batch of independent samples that meets the exact
    norm test, b_k = max(1, ceil(tr Sigma_k / (eta^2 ||G_k||^2))). Under a **floor** f the test is

        tr Sigma_k / b_k <= eta^2 max(||G_k||^2, f^2).

Guarantee:
    - steps: E T <= K_min (1 + eta^2), K_min = 2 L Delta / epsilon.
    - samples: E sum_{k<=T} b_k <= E T max(1, ceil(sigma^2 / (eta^2 epsilon))) <= E T + N_min (1 + 1 / eta^2),
      N_min = 2 L Delta sigma^2 / epsilon^2.
    - so the two bounds lie on the hyperbola (K / K_min - 1) (N / N_min - 1) = 1, N without the one sample that any
      step takes; eta = 1 is its middle. Where a step costs the time of tau samples on top of its own, the total
      time is bounded least at eta^4 = (sigma^2 / epsilon) / (1 + tau).
    - floor, after any K steps and for any alpha < 2 / (L (1 + eta^2)):

          (1/K) sum_k E||G_k||^2 <= (Delta / K + L alpha^2 eta^2 f^2 / 2) / (alpha (1 - alpha L (1 + eta^2) / 2)),

      and every batch is at most max(1, ceil(sigma^2 / (eta^2 f^2))), surely: without a floor no number is.

    Steps and samples are attained, as ||G_1||^2 falls to epsilon on L w^2 / 2, by g in {0, (1 + eta^2) G} and a
    batch of 1.

References:
    McCandlish et al., arXiv 1812.06162 (the hyperbola, by a quadratic model). Proof: :mod:`proofs.samples.sgd`.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    >>> problem = Problem(smoothness=1.0, dimension=1, initial_gap=2.0, steps=1)
    >>> goal = Goal(level=0.5, noise=50.0)
    >>> steps_to_goal(problem, goal, eta=1.0).value, samples_to_goal(problem, goal, eta=1.0).value
    (16.0, 1600.0)
    >>> round(best_eta(goal), 4), round(best_eta(goal, latency=99.0), 4)
    (3.1623, 1.0)
"""

from __future__ import annotations

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value
from theory.adam.constants import squared_noise_growth
from theory.bound import Bound
from theory.other_optimizers.sgd import average_squared_norm_bound, descent_per_step
from theory.problem import Problem
from theory.samples.goal import Goal, largest_batch, require_positive

__all__ = [
    "best_eta",
    "exact_gradient_steps",
    "floored_bound",
    "hyperbola",
    "least_noisy_samples",
    "samples_to_goal",
    "steps_to_goal",
]


def exact_gradient_steps(problem: Problem, goal: Goal) -> Value:
    """K_min = 2 L Delta / epsilon, the bound on the steps without noise."""
    return 2 * problem.smoothness * problem.initial_gap / goal.level


def least_noisy_samples(problem: Problem, goal: Goal) -> Value:
    """N_min = 2 L Delta sigma^2 / epsilon^2, the bound on the samples as eta -> oo, but for one per step."""
    return exact_gradient_steps(problem, goal) * goal.noise / goal.level


def hyperbola(steps: Value, samples: Value) -> Value:
    """(K / K_min - 1) (N / N_min - 1), from both in these units.

    >>> hyperbola(5.0, 1.25)                                           # eta = 2
    1.0
    """
    return (steps - 1) * (samples - 1)


def steps_to_goal(problem: Problem, goal: Goal, *, eta: Value) -> Bound:
    """E T, the expected number of steps before ||G||^2 <= epsilon; d and K do not matter.

    Raises:
        HypothesisError: unless eta >= 0.
    """
    require(eta >= 0, "eta >= 0", describe("eta", eta), "take eta = 0 (no noise) or more")
    return Bound(
        value=exact_gradient_steps(problem, goal) * squared_noise_growth(eta),
        theorem="steps of SGD to a goal",
        quantity="E T",
        constants={"K_min": exact_gradient_steps(problem, goal)},
        tight=True,
    )


def samples_to_goal(problem: Problem, goal: Goal, *, eta: Value) -> Bound:
    """E sum_{k<=T} b_k, the expected number of samples before ||G||^2 <= epsilon.

    Raises:
        HypothesisError: unless eta > 0.
    """
    require_positive("eta", eta)
    steps = steps_to_goal(problem, goal, eta=eta).value
    batch = largest_batch(goal.noise, goal.level, eta)
    return Bound(
        value=steps * batch,
        theorem="samples of SGD to a goal",
        quantity="E sum_{k<=T} b_k",
        constants={"N_min": least_noisy_samples(problem, goal), "largest batch": batch},
        terms={"one sample a step": steps, "noise": least_noisy_samples(problem, goal) * (1 + 1 / eta**2)},
        tight=True,
    )


def best_eta(goal: Goal, latency: Value = 0) -> Value:
    """eta^4 = (sigma^2 / epsilon) / (1 + tau): where the bound on (tau steps + samples) is least.

    Args:
        goal: epsilon and sigma^2.
        latency: tau >= 0, what a step costs on top of its samples, in samples.
    """
    require(latency >= 0, "latency >= 0", describe("latency", latency), "take 0 where only samples count")
    return (goal.noise / goal.level / (1 + latency)) ** 0.25


def floored_bound(problem: Problem, *, step_size: Value, eta: Value, floor: Value) -> Bound:
    """(1/K) sum_k E||G_k||^2 under the test with a floor.

    Args:
        problem: L, Delta and K.
        step_size: alpha.
        eta: of the test.
        floor: f >= 0.

    Raises:
        HypothesisError: unless eta >= 0, f >= 0 and 0 < alpha < 2 / (L (1 + eta^2)).
    """
    require(floor >= 0, "floor >= 0", describe("floor", floor), "take 0 for the test without a floor")
    kept = average_squared_norm_bound(problem, step_size=step_size, eta=eta)
    descent = descent_per_step(problem.smoothness, step_size, eta)
    added = problem.smoothness * step_size**2 * eta**2 * floor**2 / 2 / descent
    return Bound(
        value=kept.value + added,
        theorem="SGD under the norm test with a floor",
        quantity=kept.quantity,
        constants=kept.constants,
        terms={"initial gap": kept.value, "floor": added},
    )
