r"""The constants of Theorem 2, the sharper theorem on Adam: each written once, by the lemma it comes from.

Notation of the statements: r = beta1 / sqrt(beta2), c = 1 - beta2, tau^2 = 1 + eta^2, and three free parameters of
the proof: zeta in (0, 1), the relative change of a gradient at which its momentum is given up (lemma S); M >= 1,
the window over which second moments are unrolled (lemma L7'); N >= 0, how many virtual steps with exact gradients
follow the K real ones (lemma P). K' = K + N and x = beta2^(M/2).

At beta1 = 0 there is no momentum to freeze or to swap: lambda = R = 1 there, and zeta and N play no part.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions. Differences from 1 are formed without
    cancellation, up to beta2 = 1 - 1e-8 and beyond.

Example:
    >>> int(freezing_factor(0.0, 0.2, zeta=0.1)), round(freezing_factor(0.9, 0.2, zeta=0.1), 4)
    (1, 1.2464)
    >>> round(sign_penalty(0.9, 0.95, 0.2, zeta=0.1), 4)
    1.2942
"""

from __future__ import annotations

from adabatch.moments.numeric import Value, log, minimum, one_minus_power, sqrt, where
from theory.adam.constants import (
    alignment_at,
    freezing_constant,
    momentum_gap,
    momentum_ratio,
    normalized_step_bound,
    root_gap,
    second_moment_weight,
    squared_noise_growth,
)
from theory.problem import AdamParameters, Problem

__all__ = [
    "denominator_growth",
    "denominator_start",
    "drift_multiplier",
    "energy_cost",
    "freezing_factor",
    "freezing_ratio",
    "frozen_second_moment",
    "gradient_energy",
    "kept_momentum",
    "mean_step",
    "mixture",
    "momentum_gain",
    "momentum_growth",
    "momentum_root",
    "preconditioned_sum",
    "second_order_cost",
    "sign_penalty",
    "swap_growth",
    "theorem2_alignment",
    "theorem2_growth",
    "theorem2_start",
    "uniform_cost",
    "window_drift",
]


# ----------------------------------------------------------------------------------------------------
# Lemma M: noise of mean 1 and variance eta^2 acts at worst like a mixture of 1 and 0.


def mixture(at_one: Value, at_zero: Value, eta: Value) -> Value:
    """(1 - eta^2) F(A + 1) + eta^2 F(A): the bound on E F(A + X^2) for a Stieltjes function F (lemma M).

    >>> mixture(at_one=1.0, at_zero=2.0, eta=0.5)
    1.25
    """
    return at_one + eta**2 * (at_zero - at_one)


# ----------------------------------------------------------------------------------------------------
# Lemma S: the sum of a gradient's momentum, for as long as the gradient keeps within zeta of what it was.


def freezing_ratio(zeta: Value) -> Value:
    """u = (1 + zeta) / (1 - zeta): how much gradients within zeta of each other can differ."""
    return (1 + zeta) / (1 - zeta)


def frozen_second_moment(second_moment: Value, gradient: Value, age: Value, beta2: Value, zeta: Value) -> Value:
    """beta2^n v + (1 - beta2^n) (1 - zeta)^2 G^2: v after n more steps with the least gradient allowed."""
    return beta2**age * second_moment + one_minus_power(beta2, age) * ((1 - zeta) * gradient) ** 2


def swap_growth(beta1: Value, beta2: Value, eta: Value) -> Value:
    """C = 1 / (1 - r eta^2): how much more than the frozen sum noise can make of uphill momentum."""
    return 1 / (1 - momentum_ratio(beta1, beta2) * eta**2)


def freezing_factor(beta1: Value, eta: Value, zeta: Value) -> Value:
    """lambda = tau (1 + zeta) / (1 - zeta), and 1 at beta1 = 0: what freezing costs downhill momentum."""
    return where(beta1 == 0, 1, sqrt(squared_noise_growth(eta)) * freezing_ratio(zeta))


def sign_penalty(beta1: Value, beta2: Value, eta: Value, zeta: Value) -> Value:
    """R = lambda / (1 - r eta^2), and 1 at beta1 = 0: the weight of uphill momentum, rho in Theorem 1."""
    return where(beta1 == 0, 1, freezing_factor(beta1, eta, zeta) * swap_growth(beta1, beta2, eta))


def theorem2_alignment(beta1: Value, beta2: Value, eta: Value, zeta: Value) -> Value:
    """kappa_R = (1 - R eta^2) / (1 + eta^2): the descent left under noise; it must be positive."""
    return alignment_at(sign_penalty(beta1, beta2, eta, zeta), eta)


# ----------------------------------------------------------------------------------------------------
# Lemmas D and H: what the drift of the gradients costs, to second order in the step size.


def drift_multiplier(zeta: Value) -> Value:
    """z = 1 + 1 / zeta: 1 for reading old gradients as new ones, 1 / zeta for giving up momentum (lemma D)."""
    return 1 + 1 / zeta


def momentum_gain(beta1: Value, beta2: Value) -> Value:
    """(1 - beta1) / (1 - r): the norm of the convolution that takes normalised gradients to steps (Young)."""
    return (1 - beta1) / momentum_gap(beta1, beta2)


def gradient_energy(horizon: Value, dimension: Value, beta2: Value, log_growth: Value | None = None) -> Value:
    """H >= sum_{j <= K'} E h_j^2, h_j = ||g_j / (sqrt(v_j) + epsilon)|| (lemma H).

    K' d / c, or the smaller of that and (K' d ln(1 / beta2) + log_growth) / c.

    Args:
        horizon: K' = K + N.
        dimension: d.
        beta2: in (0, 1).
        log_growth: sum_i E ln((v_{K',i} + epsilon^2) / (v_{0,i} + epsilon^2)) or an upper bound, if known.
    """
    uniform = horizon * dimension / second_moment_weight(beta2)
    if log_growth is None:
        return uniform
    grown = (log_growth - horizon * dimension * log(beta2)) / second_moment_weight(beta2)
    return minimum(uniform, grown)


def uniform_cost(horizon: Value, dimension: Value, beta1: Value, beta2: Value, zeta: Value) -> Value:
    """K' d (C_m^2 / 2 + C_m z (1 - beta1) r / (sqrt(c) (1 - r)^2)): every step at its largest (L1, L3)."""
    step = normalized_step_bound(beta1, beta2)
    return horizon * dimension * step * (step / 2 + drift_multiplier(zeta) * freezing_constant(beta1, beta2))


def energy_cost(energy: Value, beta1: Value, beta2: Value, zeta: Value) -> Value:
    """((1 - beta1) / (1 - r))^2 (1/2 + z r / (1 - r)) H: steps by their squares (lemma D)."""
    drift = momentum_ratio(beta1, beta2) / momentum_gap(beta1, beta2)
    return momentum_gain(beta1, beta2) ** 2 * energy * (1 + 2 * drift_multiplier(zeta) * drift) / 2


def second_order_cost(
    horizon: Value, dimension: Value, energy: Value, beta1: Value, beta2: Value, zeta: Value
) -> Value:
    """E: the smaller of :func:`uniform_cost` and :func:`energy_cost`."""
    return minimum(
        uniform_cost(horizon, dimension, beta1, beta2, zeta),
        energy_cost(energy, beta1, beta2, zeta),
    )


def preconditioned_sum(
    problem: Problem, adam: AdamParameters, cost: Value, factor: Value, alignment: Value
) -> Value:
    """Q = (lambda / kappa_R) (Delta / alpha + alpha L E): the bound on (1 - beta1) sum E[G^2 Phi] (lemma Q')."""
    return factor / alignment * (problem.initial_gap / adam.alpha + adam.alpha * problem.smoothness * cost)


# ----------------------------------------------------------------------------------------------------
# Lemma L7': the denominators, unrolled over windows of M steps.


def mean_step(energy: Value, steps: Value, dimension: Value, beta1: Value, beta2: Value) -> Value:
    """s_t = min(C_m, ((1 - beta1) / (1 - r)) sqrt(H / (K d))): a step's mean size, per alpha sqrt(d)."""
    root_mean_square = momentum_gain(beta1, beta2) * sqrt(energy / (steps * dimension))
    return minimum(normalized_step_bound(beta1, beta2), root_mean_square)


def _spread(adam: AdamParameters, window: Value) -> Value:
    """tau sqrt(1 - x^2): what noise makes of gradients of size 1 over a window, in sqrt(v)."""
    return sqrt(squared_noise_growth(adam.eta) * one_minus_power(adam.beta2, window))


def window_drift(problem: Problem, adam: AdamParameters, window: Value, step: Value) -> Value:
    """e_M = alpha L d tau (M - 1) sqrt(1 - x^2) s_t: how far gradients drift within a window."""
    moved = adam.alpha * problem.smoothness * problem.dimension
    return moved * _spread(adam, window) * step * (window - 1)


def window_gap(beta2: Value, window: Value) -> Value:
    """1 - x = 1 - beta2^(M/2), as (1 - x^2) / (1 + x)."""
    return one_minus_power(beta2, window) / (1 + sqrt(beta2**window))


def denominator_growth(beta2: Value, eta: Value, window: Value) -> Value:
    """B1 = sqrt(c) + tau sqrt(beta2) sqrt((1 + x) / (1 - x)); at M = 1 the B of Theorem 1.

    >>> from theory.adam.constants import preconditioner_growth
    >>> abs(denominator_growth(0.95, 0.2, 1) / preconditioner_growth(0.95, 0.2) - 1) < 1e-14
    True
    """
    spread = sqrt(squared_noise_growth(eta) * one_minus_power(beta2, window))
    return sqrt(second_moment_weight(beta2)) + sqrt(beta2) * spread / window_gap(beta2, window)


def denominator_start(problem: Problem, adam: AdamParameters, window: Value, drift: Value) -> Value:
    """A1 = sqrt(beta2) [ sum sqrt(v_0) / (1 - sqrt(beta2)) + (tau (M-1) sqrt(1-x^2) ||G_1||_1 + K e_M) / (1-x) ].

    At M = 1 it is the A of Theorem 1.
    """
    first_window = _spread(adam, window) * problem.first_gradient_norm * (window - 1)
    unrolled = (first_window + problem.steps * drift) / window_gap(adam.beta2, window)
    return sqrt(adam.beta2) * (adam.sum_sqrt_v0 / root_gap(adam.beta2) + unrolled)


# ----------------------------------------------------------------------------------------------------
# Lemma P: the momentum's denominators in terms of sqrt(D), |G| and epsilon.


def kept_momentum(beta1: Value, extra_steps: Value) -> Value:
    """omega = 1 - beta1^(N+1): the part of the last real step's momentum that N virtual steps use up."""
    return one_minus_power(beta1, extra_steps + 1)


def momentum_root(beta1: Value, beta2: Value) -> Value:
    """p1 = (1 - beta1) / (1 - beta1 sqrt(beta2)): the weight of sqrt(D)."""
    return (1 - beta1) / ((1 - beta1) + beta1 * root_gap(beta2))


def momentum_growth(beta1: Value, beta2: Value) -> Value:
    """p2 = sqrt(beta1 c / (1 - beta1 beta2)): the weight of |G|."""
    c = second_moment_weight(beta2)
    return sqrt(beta1 * c / ((1 - beta1) + beta1 * c))


def theorem2_growth(beta1: Value, beta2: Value, growth: Value, kept: Value) -> Value:
    """B2 = (p1 B1 + p2) / omega^2."""
    return (momentum_root(beta1, beta2) * growth + momentum_growth(beta1, beta2)) / kept**2


def theorem2_start(problem: Problem, adam: AdamParameters, start: Value, kept: Value) -> Value:
    """A2 = (p1 A1 + K d epsilon) / omega^2."""
    offsets = problem.steps * problem.dimension * adam.epsilon
    return (momentum_root(adam.beta1, adam.beta2) * start + offsets) / kept**2
