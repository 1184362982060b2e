r"""Adam as it is run: epsilon outside the root, step multipliers, bias correction.

Problem:
    The setting of :mod:`theory.adam.theorem1` (corrected Theorem 1), with two changes to the step.

Algorithm:
    w_{k+1} = w_k - alpha s_k m_k / (sqrt(v_k) + epsilon_k), with fixed multipliers s_k > 0 and
    0 <= epsilon_k <= epsilon non-decreasing.

    Bias correction is s_k = sqrt(1 - beta2^k) / (1 - beta1^k) and epsilon_k = epsilon sqrt(1 - beta2^k).

Guarantee:
    With rho_s = sup_j sum_n (s_{j+n} / s_j) r^n, kappa_s = (1 - rho_s eta^2) / (1 + eta^2), lo and hi the least
    and the greatest multiplier, and eta^2 < 1 / rho_s, for every alpha > 0 and K >= 1

    (1) sum_{k,i} E[G_{k,i}^2 / (sqrt(D_{k,i}) + epsilon_k)] <= Qbar
            = (Delta / alpha + alpha hi^2 K L d Gamma) / (lo (1 - beta1) kappa_s);
    (2) sum_k E||G_k||_1 <= (B Qbar + sqrt(B^2 Qbar^2 + 4 (A + K d epsilon) Qbar)) / 2.

    What epsilon adds to the average gradient norm is at most min(sqrt(Qbar d epsilon / K), d epsilon / B).
    Non-increasing multipliers have rho_s <= rho. Multipliers that start or end at 0 (warm-up, decay) make
    rho_s or lo degenerate: they need a theorem on the weighted sum.

References:
    Corrected Theorem 1 and its lemmas, arXiv 2412.21124. Proof: :mod:`proofs.adam.variants`.

Arguments (of the bounds):
    multipliers: :class:`StepMultipliers`, of which the default is the constant step.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions; the multipliers are one sequence of floats.

Example:
    >>> corrected = bias_correction(0.9, 0.95)
    >>> round(corrected.amplification, 2), round(corrected.largest_admissible_eta, 4)
    (13.38, 0.2734)
    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10**6)
    >>> adam = AdamParameters(beta1=0.9, beta2=0.95, eta=0.2, step_size=3e-5, epsilon=1e-8)
    >>> bound = gradient_norm_sum_bound(problem, adam, corrected)
    >>> round(bound.value / 10**6, 2)
    34.74
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, minimum, one_minus_power, sqrt
from theory.adam.constants import (
    alignment_at,
    descent_budget,
    drift_constant,
    momentum_amplification,
    momentum_gap,
    momentum_ratio,
    preconditioner_growth,
    preconditioner_start,
    solve_self_bounding,
)
from theory.adam.discounted_sums import discounted_sums
from theory.bound import Bound
from theory.problem import AdamParameters, Problem, require_betas, require_eta

__all__ = [
    "StepMultipliers",
    "amplifications",
    "bias_correction",
    "bias_correction_multiplier",
    "gradient_norm_sum_bound",
    "preconditioned_sum_bound",
    "step_multipliers",
]

NAME = "Theorem 1 (corrected), variants"
NEGLIGIBLE = 45.0
"""exp(-45) = 3e-20 is below the rounding of a double relative to 1."""
LONGEST_RECURSION = 10**7


@dataclass(frozen=True)
class StepMultipliers:
    """What the theorem needs to know of the multipliers s_k.

    Attributes:
        amplification: rho_s = sup_j sum_n (s_{j+n} / s_j) r^n.
        lowest: lo, the least multiplier (or a lower bound).
        highest: hi, the greatest multiplier (or an upper bound).
    """

    amplification: Value
    lowest: Value = 1.0
    highest: Value = 1.0

    @property
    def largest_admissible_eta(self) -> Value:
        """rho_s^(-1/2), the supremum of the admissible eta (not admissible itself)."""
        return 1 / sqrt(self.amplification)


def amplifications(multipliers: Iterable[float], ratio: float, after: float = 0.0) -> list[float]:
    """sum_{n <= N - j} (s_{j+n} / s_j) r^n for j = 1..N, by the backward recursion R_j = s_j + r R_{j+1}.

    Args:
        multipliers: s_1..s_N, all > 0.
        ratio: r in [0, 1).
        after: R_{N+1}, 0 if the run ends at step N.

    >>> amplifications([1.0, 1.0, 1.0], 0.5)
    [1.75, 1.5, 1.0]
    """
    s = list(multipliers)
    return [total / own for total, own in zip(discounted_sums(s, ratio, after).tolist(), s, strict=True)]


def step_multipliers(multipliers: Iterable[float], beta1: float, beta2: float) -> StepMultipliers:
    """The constants of a run with the multipliers s_1..s_K.

    Raises:
        HypothesisError: unless 0 <= beta1 < sqrt(beta2) < 1 and all multipliers are positive and finite.

    >>> step_multipliers([1.0, 0.5], beta1=0.5, beta2=0.81).lowest
    0.5
    """
    require_betas(beta1, beta2)
    values = np.asarray(list(multipliers), dtype=float)
    require(values.size > 0, "at least one multiplier", "none was given")
    given = describe("multipliers", values)
    require((values > 0) & np.isfinite(values), "0 < s_k < infinity", given, "warm-up must start above 0")
    sums = amplifications(values.tolist(), momentum_ratio(beta1, beta2))
    return StepMultipliers(max(sums), float(values.min()), float(values.max()))


def bias_correction_multiplier(step: Value, beta1: Value, beta2: Value) -> Value:
    """s_k = sqrt(1 - beta2^k) / (1 - beta1^k), for the step number k >= 1.

    >>> round(bias_correction_multiplier(1, 0.9, 0.99), 12)
    1.0
    """
    require(step >= 1, "step >= 1", describe("step", step), "count steps from 1")
    return sqrt(one_minus_power(beta2, step)) / one_minus_power(beta1, step)


def bias_correction(beta1: float, beta2: float, steps: int | None = None) -> StepMultipliers:
    """The constants of bias correction, for a run of K = ``steps`` or, without it, for runs of any length.

    Rounding apart, both are the exact suprema. A short run's are better: its s_k have not risen to 1, and its
    sums end with it.

    Once beta1^j is negligible, s_{j+n} / s_j = sqrt((1 - beta2^{j+n}) / (1 - beta2^j)) falls with j, so that no
    later sum is larger, but for a factor that rounds to 1, and s_k rises to its limit 1. The recursion starts so
    much later that what follows it, at most rho, is negligible too.

    Raises:
        HypothesisError: unless 0 <= beta1 < sqrt(beta2) < 1.
        ValueError: if the betas are so near 1 that the recursion would take more than ``LONGEST_RECURSION`` steps.

    >>> round(bias_correction(0.9, 0.999).amplification, 2)
    11.17
    >>> own = bias_correction(0.9, 0.999, steps=100)
    >>> round(own.amplification, 2), round(own.highest, 3)
    (11.17, 0.316)
    """
    require_betas(beta1, beta2)
    settled = _steps_until_negligible(1 - beta1)
    length = settled + _steps_until_negligible(momentum_gap(beta1, beta2))
    if steps is not None and steps <= min(length, LONGEST_RECURSION):
        return step_multipliers(bias_correction_multiplier(np.arange(1, steps + 1), beta1, beta2), beta1, beta2)
    if length > LONGEST_RECURSION:
        raise ValueError(
            f"bias correction at beta1 = {beta1}, beta2 = {beta2} takes {length} steps to settle, more than "
            f"{LONGEST_RECURSION}; use step_multipliers on the run's own multipliers"
        )
    multipliers = bias_correction_multiplier(np.arange(1, length + 1), beta1, beta2)
    limit = momentum_amplification(beta1, beta2)
    sums = amplifications(multipliers.tolist(), momentum_ratio(beta1, beta2), after=limit)
    last = 1.0 if steps is None else float(bias_correction_multiplier(steps, beta1, beta2))
    lowest, highest = float(multipliers[:settled].min()), max(last, float(multipliers[:settled].max()))
    return StepMultipliers(max(sums[:settled]), lowest, highest)


def _steps_until_negligible(gap: float) -> int:
    """The least n >= 1 with (1 - gap)^n <= exp(-NEGLIGIBLE)."""
    return 1 if gap >= 1 else math.ceil(NEGLIGIBLE / -math.log1p(-gap))


def _descent(adam: AdamParameters, multipliers: StepMultipliers | None) -> tuple[Value, Value]:
    """(lo (1 - beta1) kappa_s, hi^2 Gamma): the descent per step and the drift, once the hypotheses hold."""
    chosen = multipliers or StepMultipliers(momentum_amplification(adam.beta1, adam.beta2))
    require(chosen.lowest > 0, "lowest multiplier > 0", describe("lowest", chosen.lowest), "start above 0")
    kappa = alignment_at(chosen.amplification, adam.eta)
    largest = chosen.largest_admissible_eta
    require_eta(adam.eta, kappa > 0, "eta^2 < 1 / rho_s", largest, rho_s=chosen.amplification)
    return chosen.lowest * (1 - adam.beta1) * kappa, chosen.highest**2 * drift_constant(adam.beta1, adam.beta2)


def preconditioned_sum_bound(
    problem: Problem, adam: AdamParameters, multipliers: StepMultipliers | None = None
) -> Bound:
    """Bound (1): sum_{k,i} E[G_{k,i}^2 / (sqrt(D_{k,i}) + epsilon_k)] <= Qbar, for every epsilon.

    Raises:
        HypothesisError: if a hypothesis of the theorem is violated.
    """
    descent, drift = _descent(adam, multipliers)
    return Bound(
        value=descent_budget(problem, adam, drift) / descent,
        quantity="sum_{k,i} E[G_{k,i}^2 / (sqrt(D_{k,i}) + epsilon_k)]",
        theorem=f"{NAME}, bound (1)",
        constants={"lo (1 - beta1) kappa_s": descent, "hi^2 Gamma": drift},
        terms={"gap": problem.initial_gap / adam.alpha / descent},
    )


def gradient_norm_sum_bound(
    problem: Problem, adam: AdamParameters, multipliers: StepMultipliers | None = None
) -> Bound:
    """Bound (2): sum_k E||grad L(w_k)||_1, with epsilon outside the root and step multipliers.

    Raises:
        HypothesisError: if a hypothesis of the theorem is violated.
    """
    first = preconditioned_sum_bound(problem, adam, multipliers)
    growth, q = preconditioner_growth(adam.beta2, adam.eta), first.value
    moved = adam.epsilon * problem.dimension
    start = preconditioner_start(adam.beta2, adam.sum_sqrt_v0) + moved * problem.steps
    return Bound(
        value=solve_self_bounding(growth, start, q),
        theorem=f"{NAME}, bound (2)",
        constants={**first.constants, "A + K d epsilon": start, "B": growth},
        terms={"Qbar": q, "epsilon cost per step": minimum(sqrt(q * moved / problem.steps), moved / growth)},
    )
