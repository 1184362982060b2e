r"""Coordinate AdaGrad under the coordinate-wise norm test.

Problem:
    Minimise L: R^d -> R, L-smooth and bounded below, Delta = L(w_1) - inf L, from gradients g_k with
    E_k g_k = G_k = grad L(w_k) and E_k (g_{k,i} - G_{k,i})^2 <= eta^2 G_{k,i}^2 for every coordinate i.

Algorithm:
    v_k = v_{k-1} + g_k^2,  w_{k+1} = w_k - alpha g_k / sqrt(v_k), with v_0 > 0 in every coordinate.

Guarantee:
    For eta < 1, every alpha > 0 and K >= 1,

        sum_{k,i} E[G_{k,i}^2 / sqrt(v_{k-1,i} + G_{k,i}^2)]
            <= (1 + eta^2) / ((1 - eta^2) alpha) * (Delta + (L alpha^2 / 2) sum_i E log(v_{K,i} / v_{0,i})).

    The right-hand side is a posteriori: it takes the growth of the accumulators that was measured.

References:
    Lemma L5 (:mod:`theory.adam.key_inequality`) at rho = 1. Proof: :mod:`proofs.other_optimizers.adagrad`.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    >>> growth = accumulator_log_growth([0.1, 0.1], [10.0, 20.0])
    >>> round(growth, 4)
    9.9035
    >>> problem = Problem(smoothness=1.0, dimension=2, initial_gap=1.0, steps=100)
    >>> bound = preconditioned_sum_bound(problem, step_size=0.1, eta=0.5, log_growth=growth)
    >>> round(bound.value, 4)
    17.492
"""

from __future__ import annotations

import numpy as np

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, log, total
from theory.adam.constants import alignment_at
from theory.bound import Bound
from theory.problem import Problem

__all__ = ["accumulator_log_growth", "largest_admissible_eta", "preconditioned_sum_bound"]


def largest_admissible_eta() -> float:
    """1.0, the supremum of the admissible eta (not admissible itself)."""
    return 1.0


def accumulator_log_growth(start: Value, end: Value) -> Value:
    """sum_i log(v_{K,i} / v_{0,i}) over the last axis.

    Args:
        start: v_0 > 0, shape [..., d].
        end: v_K >= v_0, shape [..., d].

    Raises:
        HypothesisError: unless 0 < v_0 <= v_K in every coordinate.
    """
    start, end = np.asarray(start, dtype=float), np.asarray(end, dtype=float)
    require(start > 0, "v_0 > 0 in every coordinate", describe("v_0", start), "add a small constant to v_0")
    require(end >= start, "v_K >= v_0 in every coordinate", describe("v_K - v_0", end - start))
    return total(log(end / start))


def preconditioned_sum_bound(problem: Problem, *, step_size: Value, eta: Value, log_growth: Value) -> Bound:
    """sum_{k,i} E[G_{k,i}^2 / sqrt(v_{k-1,i} + G_{k,i}^2)], for any number of steps and dimension.

    Args:
        problem: L and Delta.
        step_size: alpha > 0.
        eta: in [0, 1).
        log_growth: sum_i E log(v_{K,i} / v_{0,i}) >= 0, see :func:`accumulator_log_growth`.

    Raises:
        HypothesisError: unless alpha > 0, 0 <= eta < 1 and log_growth >= 0.
    """
    require(step_size > 0, "step_size > 0", describe("step_size", step_size), "take a positive step size")
    require(eta >= 0, "0 <= eta < 1", describe("eta", eta), "take eta = 0 (no noise) or more")
    kappa = alignment_at(1, eta)
    require(kappa > 0, "0 <= eta < 1", describe("eta", eta), "take eta below 1")
    require(log_growth >= 0, "log_growth >= 0", describe("log_growth", log_growth), "v_K cannot be below v_0")
    gap_term = problem.initial_gap / (kappa * step_size)
    drift_term = step_size * problem.smoothness * log_growth / (2 * kappa)
    return Bound(
        value=gap_term + drift_term,
        quantity="sum_{k,i} E[G_{k,i}^2 / sqrt(v_{k-1,i} + G_{k,i}^2)]",
        theorem="coordinate AdaGrad under the coordinate-wise norm test",
        constants={"kappa": kappa},
        terms={"gap": gap_term, "drift": drift_term},
    )
