r"""Gradient descent with relative errors: SGD under the exact-variance norm test, and biased gradients.

Problem:
    Minimise L: R^d -> R, L-smooth and bounded below, Delta = L(w_1) - inf L, by w_{k+1} = w_k - alpha g_k,
    where the error of g_k is at most eta times the true gradient G_k.

Guarantee (S = (1 / K) sum_k E||G_k||_2^2):
    - SGD: E_k g_k = G_k and E_k||g_k - G_k||^2 <= eta^2 ||G_k||^2 (the norm test, Eq. 4), any eta >= 0. For
      alpha < 2 / (L (1 + eta^2)),

          S <= Delta / (K alpha (1 - alpha L (1 + eta^2) / 2)),

      which is at most 2 Delta / (alpha K) for alpha <= 1 / (L (1 + eta^2)). Without E_k g_k = G_k it is false.
    - relative error: E_k||g_k - G_k||^2 <= eta^2 ||G_k||^2 with eta < 1, biased or not, deterministic or not.
      With alpha = 1 / L,

          S <= 2 L Delta / ((1 - eta^2) K).

    Both are sharp: on the quadratic L w^2 / 2 the ratio of S to the bound is 1 - q^K, with
    q = 1 - 2 alpha L + alpha^2 L^2 (1 + eta^2) for SGD and q = eta^2 for g = (1 +- eta) G.

References:
    The norm test of Byrd, Chin, Nocedal, Wu, Math. Program. 134 (2012); Eq. 4 of Lau et al., arXiv 2412.21124.
    Proof: :mod:`proofs.other_optimizers.sgd`.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    On w^2 / 2 from w = 2 (Delta = 2) with exact gradients and alpha = 1, the only nonzero gradient is the first:

    >>> problem = Problem(smoothness=1.0, dimension=1, initial_gap=2.0, steps=4)
    >>> average_squared_norm_bound(problem, step_size=1.0, eta=0.0).value
    1.0
    >>> largest_step_size(1.0, 0.5)
    1.6
    >>> relative_error_bound(problem, eta=0.5).value
    1.3333333333333333
"""

from __future__ import annotations

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value
from theory.adam.constants import squared_noise_growth
from theory.bound import Bound
from theory.problem import Problem

__all__ = [
    "average_squared_norm_bound",
    "best_step_size",
    "descent_per_step",
    "largest_step_size",
    "relative_error_bound",
    "relative_error_descent",
]

QUANTITY = "(1/K) sum_k E||grad L(w_k)||_2^2"


def largest_step_size(smoothness: Value, eta: Value) -> Value:
    """2 / (L (1 + eta^2)), the supremum of the step sizes for which SGD is guaranteed to descend."""
    return 2 * best_step_size(smoothness, eta)


def best_step_size(smoothness: Value, eta: Value) -> Value:
    """1 / (L (1 + eta^2)), for which the bound is least.

    >>> best_step_size(2.0, 1.0)
    0.25
    """
    return 1 / (smoothness * squared_noise_growth(eta))


def descent_per_step(smoothness: Value, step_size: Value, eta: Value) -> Value:
    """alpha (1 - alpha L (1 + eta^2) / 2): what L falls by in expectation, per E||G_k||^2."""
    return step_size * (1 - step_size * smoothness * squared_noise_growth(eta) / 2)


def relative_error_descent(smoothness: Value, eta: Value) -> Value:
    """(1 - eta^2) / (2 L): what L falls by at step size 1 / L, per ||G_k||^2, for relative errors of eta."""
    return (1 - eta) * (1 + eta) / (2 * smoothness)


def average_squared_norm_bound(problem: Problem, *, step_size: Value, eta: Value) -> Bound:
    """SGD with unbiased gradients under the norm test; d does not matter.

    Raises:
        HypothesisError: unless eta >= 0 and 0 < alpha < 2 / (L (1 + eta^2)).
    """
    require(eta >= 0, "eta >= 0", describe("eta", eta), "take eta = 0 (no noise) or more")
    given, largest = describe("step_size", step_size), largest_step_size(problem.smoothness, eta)
    require(step_size > 0, "0 < step_size < 2 / (L (1 + eta^2))", given, "take a positive step size")
    descent = descent_per_step(problem.smoothness, step_size, eta)
    advice = f"the supremum of the admissible values is {describe('step_size', largest)}"
    require(descent > 0, "0 < step_size < 2 / (L (1 + eta^2))", given, advice)
    return Bound(
        value=problem.initial_gap / descent / problem.steps,
        quantity=QUANTITY,
        theorem="SGD under the norm test",
        constants={"descent per step": descent, "tau^2": squared_noise_growth(eta)},
        tight=True,
    )


def relative_error_bound(problem: Problem, *, eta: Value) -> Bound:
    """Gradient descent at step size 1 / L with relative errors of at most eta, biased or not.

    Raises:
        HypothesisError: unless 0 <= eta < 1.
    """
    given = describe("eta", eta)
    require(eta >= 0, "0 <= eta < 1", given, "take eta = 0 (no error) or more")
    require(eta < 1, "0 <= eta < 1", given, "take eta below 1: at 1 the gradient may be 0 everywhere")
    descent = relative_error_descent(problem.smoothness, eta)
    return Bound(
        value=problem.initial_gap / descent / problem.steps,
        quantity=QUANTITY,
        theorem="gradient descent with relative errors",
        constants={"descent per step": descent},
        tight=True,
    )
