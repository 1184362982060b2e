r"""Adam where the coordinate-wise norm test is violated on some steps or coordinates.

Problem:
    In training, batch k is tested only to choose batch k+1, the batch is capped, and the test runs on estimates:
    it does not hold at every step. What do the violations cost?

Algorithm:
    Adam as in :mod:`theory.adam.theorem1`, with E_k g_k = G_k. V_{k,i}, decided before step k, is the event that
    the test is violated on coordinate i at step k, sd_{k,i}^2 = E_k (g_{k,i} - G_{k,i})^2 > eta^2 G_{k,i}^2.

Guarantee:
    If eta^2 < 1 - r and the two sums

        violated gradient  F = sum_k sum_i E[ |G_{k,i}| 1{V_{k,i}} ],
        excess deviation   X = sum_k sum_i E[ (sd_{k,i} - eta |G_{k,i}|)^+ ]

    are finite, the corrected Theorem 1 holds with

        Qbar -> Qbar + ((kappa + rho) / (kappa sqrt(c))) F,
        A    -> A + (sqrt(beta2) / (1 - sqrt(beta2))) sqrt(c) X.

    So violations are harmless where the gradient is small and the noise finite: only their sum counts. F enters
    because a violated step may go uphill by at most rho |G_i| / sqrt(c), and X because its noise stays in v. For
    an unbiased gradient the test *is* the bound E_k g^2 <= (1 + eta^2) G^2 that the theorem uses for v, so that
    the second term cannot be left out. Where only unbiasedness fails (a coordinate on which E_k g != G, but
    E_k g^2 <= (1 + eta^2) G^2), count it in F, and X = 0 there.

References:
    Proof: :mod:`proofs.training.violated_steps`. Lau et al., arXiv 2412.21124, Algorithm 1.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10_000)
    >>> adam = AdamParameters(beta1=0.9, beta2=0.95, eta=0.2, step_size=1e-4)
    >>> clean = violated_bound(problem, adam)
    >>> costly = violated_bound(problem, adam, violated_gradient=50.0, excess_deviation=10.0)
    >>> round(clean.value / 10_000), round(costly.value / 10_000)
    (212, 218)
"""

from __future__ import annotations

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, sqrt
from theory.adam.constants import root_gap, second_moment_weight, solve_self_bounding
from theory.adam.theorem1 import preconditioned_sum_bound
from theory.bound import Bound
from theory.problem import AdamParameters, Problem

__all__ = ["excess_memory", "uphill_cost", "violated_bound"]


def uphill_cost(amplification: Value, alignment: Value, beta2: Value) -> Value:
    """(kappa + rho) / sqrt(c): the descent lost to one unit of violated gradient, per alpha (1 - beta1)."""
    return (alignment + amplification) / sqrt(second_moment_weight(beta2))


def excess_memory(beta2: Value) -> Value:
    """sqrt(beta2) sqrt(c) / (1 - sqrt(beta2)): what one unit of excess deviation adds to all later sqrt(v)."""
    return sqrt(beta2) * sqrt(second_moment_weight(beta2)) / root_gap(beta2)


def violated_bound(
    problem: Problem, adam: AdamParameters, violated_gradient: Value = 0.0, excess_deviation: Value = 0.0
) -> Bound:
    """S = sum_k E||grad L(w_k)||_1 where the test is violated now and then.

    Args:
        problem: L, d, Delta and K.
        adam: with a step size.
        violated_gradient: F.
        excess_deviation: X.

    Raises:
        HypothesisError: if a hypothesis of the corrected Theorem 1 is violated, or F < 0 or X < 0.
    """
    for name, value in (("violated_gradient", violated_gradient), ("excess_deviation", excess_deviation)):
        require(value >= 0, f"{name} >= 0", describe(name, value), "take 0 where no step is violated")
    kept = preconditioned_sum_bound(problem, adam)
    kappa, rho = kept.constants["kappa"], kept.constants["rho"]
    uphill = uphill_cost(rho, kappa, adam.beta2) * violated_gradient / kappa
    memory = excess_memory(adam.beta2) * excess_deviation
    start = kept.constants["A"] + memory
    return Bound(
        value=solve_self_bounding(kept.constants["B"], start, kept.value + uphill),
        theorem="corrected Theorem 1 with violated steps",
        constants={**kept.constants, "A": start},
        terms={"Qbar": kept.value, "violated gradient": uphill, "excess deviation": memory},
    )
