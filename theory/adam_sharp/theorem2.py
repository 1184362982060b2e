r"""Adam under the coordinate-wise norm test, sharper: Theorem 2, for any betas and eta < .6734.

Problem:
    As in corrected Theorem 1 (:mod:`theory.adam.theorem1`): L is L-smooth and bounded below, Delta = L(w_1) - inf
    L, E_k g_k = G_k = grad L(w_k), and the coordinate-wise exact-variance norm test
    E_k (g_{k,i} - G_{k,i})^2 <= eta^2 G_{k,i}^2 holds at every step.

Algorithm (Adam without bias correction; m_0 = 0, any v_0 >= 0, 0 / 0 := 0):
    m_k = beta1 m_{k-1} + (1 - beta1) g_k,  v_k = beta2 v_{k-1} + (1 - beta2) g_k^2,
    w_{k+1} = w_k - alpha m_k / (sqrt(v_k) + epsilon),  0 <= beta1 < sqrt(beta2) < 1, epsilon >= 0 constant.

Guarantee:
    For zeta in (0, 1) and integers M >= 1, N >= 0, with the constants of :mod:`theory.adam_sharp.constants`:
    if R eta^2 < 1 then for every alpha > 0 and K >= 1

        sum_k E||G_k||_1 <= (B2 Q + sqrt(B2^2 Q^2 + 4 A2 Q)) / 2,
        Q = (lambda / kappa_R) (Delta / alpha + alpha L E).

    Some zeta meets the condition iff eta^2 (r + sqrt(1 + eta^2)) < 1, r = beta1 / sqrt(beta2) (for beta1 = 0:
    eta < 1). For all betas eta < .6734 does: the root of eta^2 (1 + sqrt(1 + eta^2)) = 1.

    The free parameters belong to the proof, not to the algorithm: any choice gives a bound, and
    :mod:`theory.adam_sharp.parameters` finds the best one. Constants free of the betas cannot allow any eta < 1
    (:mod:`theory.adam_sharp.sharpness_example`).

References:
    Lau et al., CPAL 2025, arXiv 2412.21124 (the algorithm and the test); the theorem and its proof, by lemmas
    M, S, D, H, Q', P and L7': :mod:`proofs.adam_sharp`.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10**6)
    >>> adam = AdamParameters(beta1=0.9, beta2=0.95, eta=0.5, step_size=1e-4)
    >>> bound = bound_at(problem, adam, FreeParameters(zeta=0.1, window=100, extra_steps=40))
    >>> round(bound.value / 10**6, 3)
    4.953
    >>> round(largest_admissible_eta(0.9, 0.95), 4), round(largest_admissible_eta(0.99e-4, 1e-8), 4)
    (0.6844, 0.6748)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, is_symbolic, log, sqrt, where
from theory.adam.constants import (
    momentum_ratio,
    normalized_step_bound,
    solve_self_bounding,
    squared_noise_growth,
)
from theory.adam_sharp.constants import (
    denominator_growth,
    denominator_start,
    freezing_factor,
    gradient_energy,
    kept_momentum,
    mean_step,
    preconditioned_sum,
    second_order_cost,
    sign_penalty,
    theorem2_alignment,
    theorem2_growth,
    theorem2_start,
    window_drift,
)
from theory.bound import Bound
from theory.problem import AdamParameters, Problem, require_betas, require_eta

__all__ = [
    "NAME",
    "FreeParameters",
    "bound_at",
    "bound_at_cost",
    "freezing_threshold",
    "largest_admissible_eta",
    "log_growth_bound",
    "require_condition",
]

NAME = "Theorem 2 (sharper, for any betas)"


@dataclass(frozen=True)
class FreeParameters:
    """The free parameters of the proof; any admissible choice gives a bound.

    Attributes:
        zeta: in (0, 1) with R eta^2 < 1: momentum is given up where a gradient changes by more than this.
        window: M >= 1, over how many steps second moments are unrolled.
        extra_steps: N >= 0, virtual steps after the K real ones.
    """

    zeta: Value
    window: Value = 1
    extra_steps: Value = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.zeta > 0, "0 < zeta < 1", describe("zeta", self.zeta), "take zeta in (0, 1)")
        require(self.zeta < 1, "0 < zeta < 1", describe("zeta", self.zeta), "take zeta in (0, 1)")
        require(self.window >= 1, "window M >= 1", describe("window", self.window), "take window = 1")
        extra = describe("extra_steps", self.extra_steps)
        require(self.extra_steps >= 0, "extra_steps N >= 0", extra, "take extra_steps = 0")
        for name in ("window", "extra_steps"):
            value = getattr(self, name)
            if not is_symbolic(value):
                require(np.floor(value) == value, f"{name} an integer", describe(name, value), "round it")


def freezing_threshold(beta1: Value, beta2: Value, eta: Value) -> Value:
    """tau eta^2 / (1 - r eta^2): R eta^2 < 1 iff (1 - zeta) / (1 + zeta) exceeds it; eta^2 at beta1 = 0."""
    generic = eta**2 * sqrt(squared_noise_growth(eta)) / (1 - momentum_ratio(beta1, beta2) * eta**2)
    return where(beta1 == 0, eta**2, generic)


def largest_admissible_eta(beta1: Value, beta2: Value) -> Value:
    """The root of eta^2 (r + sqrt(1 + eta^2)) = 1 (1 at beta1 = 0): the supremum of the admissible eta.

    In T = eta^2 it is the positive root of T^3 + (1 - r^2) T^2 + 2 r T - 1, found by Newton's method from the
    right, where the polynomial is increasing and convex.

    Raises:
        HypothesisError: unless 0 <= beta1 < sqrt(beta2) < 1.
    """
    require_betas(beta1, beta2)
    r = momentum_ratio(np.asarray(beta1, dtype=float), np.asarray(beta2, dtype=float))
    square = np.ones_like(r)
    for _ in range(12):
        value = ((square + (1 - r**2)) * square + 2 * r) * square - 1
        slope = (3 * square + 2 * (1 - r**2)) * square + 2 * r
        square = square - value / slope
    return where(np.asarray(beta1) == 0, 1.0, sqrt(square))


def require_condition(beta1: Value, beta2: Value, eta: Value) -> None:
    """Raise :class:`~adabatch.moments.hypotheses.HypothesisError` unless some zeta in (0, 1) has R eta^2 < 1.

    >>> require_condition(0.9, 0.95, 0.7)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    adabatch.moments.hypotheses.HypothesisError: requires eta^2 (r + sqrt(1 + eta^2)) < 1, ... is eta = 0.684364
    """
    require_betas(beta1, beta2)
    if is_symbolic(beta1, beta2, eta):
        return
    meets = freezing_threshold(beta1, beta2, np.minimum(eta, 1.0)) < where(np.asarray(eta) < 1, 1.0, 0.0)
    condition = "eta^2 (r + sqrt(1 + eta^2)) < 1, r = beta1 / sqrt(beta2) (eta < 1 for beta1 = 0)"
    require_eta(eta, meets, condition, largest_admissible_eta(beta1, beta2), beta1=beta1, beta2=beta2)


def log_growth_bound(
    problem: Problem, adam: AdamParameters, sum_v0: Value, sum_log_v0: Value, extra_steps: Value
) -> Value:
    """An upper bound on sum_i E ln((v_{K',i} + epsilon^2) / (v_{0,i} + epsilon^2)), before the run.

    d ln(V / d + epsilon^2) - sum_i ln(v_{0,i} + epsilon^2), with V = sum v_0 + tau^2 (||G_1||_2 +
    alpha L sqrt(d) C_m (K' - 1))^2 >= sum_i E v_{K',i}, by lemma L1 and the concavity of the logarithm.

    Args:
        problem: L, d, Delta and K.
        adam: its ``log_growth`` is not used.
        sum_v0: sum_i v_{0,i}.
        sum_log_v0: sum_i ln(v_{0,i} + epsilon^2), which must be finite.
        extra_steps: N, the largest in use: the bound increases with it.

    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10**6)
    >>> adam = AdamParameters(beta1=0.9, beta2=0.95, eta=0.5, step_size=1e-4, sum_sqrt_v0=1.0)
    >>> round(log_growth_bound(problem, adam, sum_v0=0.1, sum_log_v0=-46.0517, extra_steps=400), 2)
    143.52
    """
    finite = True if is_symbolic(sum_log_v0) else np.isfinite(sum_log_v0)
    require(finite, "sum_i ln(v_{0,i} + epsilon^2) finite", describe("sum_log_v0", sum_log_v0), "use v_0 > 0")
    d = problem.dimension
    step = adam.alpha * sqrt(d) * normalized_step_bound(adam.beta1, adam.beta2)
    last = problem.steps + extra_steps - 1
    gradient = sqrt(problem.smoothness * problem.initial_gap * 2) + problem.smoothness * step * last
    second_moments = sum_v0 + squared_noise_growth(adam.eta) * gradient**2
    return d * log(second_moments / d + adam.epsilon**2) - sum_log_v0


def bound_at(problem: Problem, adam: AdamParameters, free: FreeParameters) -> Bound:
    """Theorem 2's bound on sum_k E||grad L(w_k)||_1 at given free parameters.

    Raises:
        HypothesisError: if R eta^2 >= 1 for this zeta; it names the largest admissible zeta.
    """
    horizon = problem.steps + free.extra_steps
    energy = gradient_energy(horizon, problem.dimension, adam.beta2, adam.log_growth)
    cost = second_order_cost(horizon, problem.dimension, energy, adam.beta1, adam.beta2, free.zeta)
    return bound_at_cost(problem, adam, free, energy, cost)


def require_alignment(adam: AdamParameters, zeta: Value) -> Value:
    """kappa_R, or an error where it is not positive, or no zeta makes it so."""
    kappa = theorem2_alignment(adam.beta1, adam.beta2, adam.eta, zeta)
    if not is_symbolic(kappa) and not np.all((kappa > 0) & (np.asarray(adam.eta) < 1)):
        require_condition(adam.beta1, adam.beta2, adam.eta)
        threshold = freezing_threshold(adam.beta1, adam.beta2, adam.eta)
        largest = (1 - threshold) / (1 + threshold)
        given = f"{describe('zeta', zeta)}, {describe('eta', adam.eta)}"
        require(
            False, "R eta^2 < 1", given, f"the supremum of the admissible values is {describe('zeta', largest)}"
        )
    return kappa


def bound_at_cost(
    problem: Problem, adam: AdamParameters, free: FreeParameters, energy: Value, cost: Value
) -> Bound:
    """Theorem 2 with its H and E given: the rest of its constants, and the bound."""
    beta1, beta2, eta, window = adam.beta1, adam.beta2, adam.eta, free.window
    kappa = require_alignment(adam, free.zeta)
    factor = freezing_factor(beta1, eta, free.zeta)
    step = mean_step(energy, problem.steps, problem.dimension, beta1, beta2)
    drift = window_drift(problem, adam, window, step)
    kept = kept_momentum(beta1, free.extra_steps)
    growth = denominator_growth(beta2, eta, window)
    start = denominator_start(problem, adam, window, drift)
    q = preconditioned_sum(problem, adam, cost, factor, kappa)
    growth_2 = theorem2_growth(beta1, beta2, growth, kept)
    start_2 = theorem2_start(problem, adam, start, kept)
    return Bound(
        value=solve_self_bounding(growth_2, start_2, q),
        theorem=NAME,
        constants={
            "lambda": factor,
            "R": sign_penalty(beta1, beta2, eta, free.zeta),
            "kappa_R": kappa,
            "omega": kept,
            "A1": start,
            "B1": growth,
            "A2": start_2,
            "B2": growth_2,
        },
        terms={"Q": q, "H": energy, "E": cost, "s_t": step, "e_M": drift},
        parameters={"zeta": free.zeta, "M": window, "N": free.extra_steps},
    )
