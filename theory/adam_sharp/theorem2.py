r"""Adam under the coordinate-wise norm test, sharper: Theorem 2, for any betas and eta < .7071 or more.

Problem:
    As in corrected Theorem 1 (:mod:`theory.adam.theorem1`): L is L-smooth and bounded below, Delta = L(w_1) - inf
    L, E_k g_k = G_k = grad L(w_k), and the coordinate-wise exact-variance norm test
    E_k (g_{k,i} - G_{k,i})^2 <= eta^2 G_{k,i}^2 holds at every step.

Algorithm (Adam without bias correction; m_0 = 0, any v_0 >= 0, 0 / 0 := 0):
    m_k = beta1 m_{k-1} + (1 - beta1) g_k,  v_k = beta2 v_{k-1} + (1 - beta2) g_k^2,
    w_{k+1} = w_k - alpha m_k / (sqrt(v_k) + epsilon),  0 <= beta1 < sqrt(beta2) < 1, epsilon >= 0 constant.

Guarantee:
    For integers M >= 1, N >= 0, eta <= 1, with the constants of :mod:`theory.adam_sharp.constants`:
    if kappa = (h - Lambda eta^2) / (1 + eta^2) > 0 then for every alpha > 0 and K >= 1

        sum_k E||G_k||_1 <= (B2 Q + sqrt(B2^2 Q^2 + 4 A2 Q)) / 2,
        Q = (Delta / alpha + alpha L E) / kappa.

    kappa increases with N. As N -> oo, and where Lambda_1 is the largest of the Lambda_i, the condition is
    eta^2 / (1 - r eta^2) < sum_m r^m / sqrt(1 + a_m / (1 + eta^2)), r = beta1 / sqrt(beta2),
    a_m = (beta2^-m - 1) / (1 - beta2). For all betas eta^2 (1 + r) < 1 suffices, and so does eta <= .7071. No
    constant free of the betas can be .8839 or more (:mod:`theory.adam_sharp.sharpness_example`).

    M and N belong to the proof, not to the algorithm: any choice gives a bound, and
    :mod:`theory.adam_sharp.parameters` finds the best one.

    Not covered: bias correction and step multipliers, where Theorem 1 (:mod:`theory.adam.variants`,
    :mod:`theory.training.step_schedules`) applies.

References:
    Lau et al., CPAL 2025, arXiv 2412.21124 (the algorithm and the test); the theorem and its proof, by lemmas
    M, V, S, H, D, L5', Q', P and L7': :mod:`proofs.adam_sharp`.

Shapes:
    Floats or numpy arrays (broadcast together); :func:`bound_at_cost` takes SymPy expressions too.

Example:
    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10**6)
    >>> adam = AdamParameters(beta1=0.9, beta2=0.95, eta=0.5, step_size=1e-4)
    >>> bound = bound_at(problem, adam, FreeParameters(window=100, extra_steps=40))
    >>> round(bound.value / 10**6, 3)
    0.253
    >>> round(largest_admissible_eta(0.9, 0.95), 4), round(largest_admissible_eta(0.99e-4, 1e-8), 4)
    (0.9557, 0.7089)
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from scipy.optimize import brentq

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, absolute, is_symbolic, item, log, sqrt
from theory.adam.constants import normalized_step_bound, solve_self_bounding, squared_noise_growth
from theory.adam_sharp.constants import (
    denominator_growth,
    denominator_start,
    gradient_energy,
    kept_momentum,
    mean_step,
    preconditioned_sum,
    second_order_cost,
    theorem2_growth,
    theorem2_start,
    window_drift,
)
from theory.adam_sharp.momentum_sums import momentum_sums
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
        window: M >= 1, over how many steps second moments are unrolled.
        extra_steps: N >= 0, virtual steps after the K real ones.
    """

    window: Value = 1
    extra_steps: Value = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        require(self.window >= 1, "window M >= 1", describe("window", self.window), "take window = 1")
        extra = describe("extra_steps", self.extra_steps)
        require(self.extra_steps >= 0, "extra_steps N >= 0", extra, "take extra_steps = 0")
        for name in ("window", "extra_steps"):
            value = getattr(self, name)
            if not is_symbolic(value):
                require(np.floor(value) == value, f"{name} an integer", describe(name, value), "round it")


def freezing_threshold(beta1: Value, beta2: Value, eta: Value) -> Value:
    """Lambda eta^2 / h as N -> oo, for eta <= 1: the condition is that it is below 1; eta^2 at beta1 = 0.

    >>> freezing_threshold(0.0, 0.95, 0.5), round(freezing_threshold(0.9, 0.95, 0.5), 4)
    (0.25, 0.0634)
    """
    sums = momentum_sums(beta1, beta2, eta, np.inf)
    return item(np.asarray(sums.penalty * np.asarray(eta) ** 2 / sums.gain))


def largest_admissible_eta(beta1: Value, beta2: Value) -> Value:
    """The eta at which :func:`freezing_threshold` is 1 (1 at beta1 = 0): the supremum of the admissible eta.

    The threshold is at most 1 at eta^2 = 1 / (1 + r), and at least 1 at eta = 1.

    Raises:
        HypothesisError: unless 0 <= beta1 < sqrt(beta2) < 1.
    """
    require_betas(beta1, beta2)
    pairs = np.broadcast(np.asarray(beta1, dtype=float), np.asarray(beta2, dtype=float))
    roots = [_threshold_root(float(momentum), float(decay)) for momentum, decay in pairs]
    return item(np.array(roots).reshape(pairs.shape))


@lru_cache(maxsize=1024)
def _threshold_root(beta1: float, beta2: float) -> float:
    if beta1 == 0:
        return 1.0

    def excess(eta: float) -> float:
        return float(freezing_threshold(beta1, beta2, eta)) - 1

    low = float(1 / np.sqrt(1 + beta1 / np.sqrt(beta2))) * (1 - 1e-12)
    return float(brentq(excess, low, 1.0, xtol=1e-15)) if excess(1.0) > 0 else 1.0


CONDITION = "Lambda eta^2 < h (for which eta^2 (1 + r) < 1, r = beta1 / sqrt(beta2), is enough; eta < 1)"


def require_condition(beta1: Value, beta2: Value, eta: Value) -> None:
    """Raise :class:`~adabatch.moments.hypotheses.HypothesisError` unless some N has kappa > 0.

    >>> require_condition(0.9, 0.95, 0.96)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    adabatch.moments.hypotheses.HypothesisError: requires Lambda eta^2 < h ... admissible values is eta = 0.955...
    """
    require_betas(beta1, beta2)
    if is_symbolic(beta1, beta2, eta):
        return
    within = np.asarray(eta) < 1
    meets = (np.asarray(freezing_threshold(beta1, beta2, item(np.clip(eta, 0.0, 1.0)))) < 1) & within
    if not (meets.all() and np.all(np.asarray(eta) >= 0)):  # the roots take longer than all else
        require_eta(eta, meets, CONDITION, largest_admissible_eta(beta1, beta2), beta1=beta1, beta2=beta2)


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
    finite = True if is_symbolic(sum_log_v0) else absolute(sum_log_v0) < np.inf
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
        HypothesisError: if kappa <= 0 at this N: eta is not admissible, or N is too small for it.
    """
    horizon = problem.steps + free.extra_steps
    energy = gradient_energy(horizon, problem.dimension, adam.beta2, adam.log_growth)
    cost = second_order_cost(horizon, problem.dimension, energy, adam.beta1, adam.beta2)
    return bound_at_cost(problem, adam, free, energy, cost, _alignment(adam, free.extra_steps))


def _alignment(adam: AdamParameters, extra_steps: Value) -> Value:
    """kappa, or an error where it is not positive at this N, or at no N."""
    kappa = momentum_sums(adam.beta1, adam.beta2, item(np.clip(adam.eta, 0.0, 1.0)), extra_steps).alignment
    if not np.all((np.asarray(kappa) > 0) & (np.asarray(adam.eta) < 1)):
        require_condition(adam.beta1, adam.beta2, adam.eta)
        given = f"{describe('extra_steps', extra_steps)}, {describe('eta', adam.eta)}"
        require(False, "kappa > 0", given, "take a larger extra_steps, which increases kappa")
    return kappa


def bound_at_cost(
    problem: Problem, adam: AdamParameters, free: FreeParameters, energy: Value, cost: Value, alignment: Value
) -> Bound:
    """Theorem 2 with its H, E and kappa given: the rest of its constants, and the bound."""
    beta1, beta2, eta, window = adam.beta1, adam.beta2, adam.eta, free.window
    step = mean_step(energy, problem.steps, problem.dimension, beta1, beta2)
    drift = window_drift(problem, adam, window, step)
    kept = kept_momentum(beta1, free.extra_steps)
    growth = denominator_growth(beta2, eta, window)
    start = denominator_start(problem, adam, window, drift)
    q = preconditioned_sum(problem, adam, cost, alignment)
    growth_2 = theorem2_growth(beta1, beta2, growth, kept)
    start_2 = theorem2_start(problem, adam, start, kept)
    return Bound(
        value=solve_self_bounding(growth_2, start_2, q),
        theorem=NAME,
        constants={"kappa": alignment, "omega": kept, "A1": start, "B1": growth, "A2": start_2, "B2": growth_2},
        terms={"Q": q, "H": energy, "E": cost, "s_t": step, "e_M": drift},
        parameters={"M": window, "N": free.extra_steps},
    )
