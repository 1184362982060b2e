r"""The constants of Theorem 2, the sharper theorem on Adam: each written once, by the lemma it comes from.

Notation of the statements: r = beta1 / sqrt(beta2), c = 1 - beta2, y = tau^2 = 1 + eta^2, C = 1 / (1 - r eta^2),
and two free parameters of the proof: M >= 1, the window over which second moments are unrolled (lemma L7'), and
N >= 0, how many virtual steps with exact gradients follow the K real ones (lemma P). K' = K + N, x = beta2^(M/2).

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions. Differences from 1 are formed without
    cancellation, up to beta2 = 1 - 1e-8 and beyond.

Example:
    >>> round(swap_growth(0.9, 0.95, 0.2), 4), round(curvature_penalty(0.5), 6)
    (1.0384, 0.078125)
"""

from __future__ import annotations

from adabatch.moments.numeric import Value, log, maximum, minimum, one_minus_power, sqrt
from theory.adam.constants import (
    drift_constant,
    momentum_gap,
    momentum_ratio,
    normalized_step_bound,
    root_gap,
    second_moment_weight,
    squared_noise_growth,
)
from theory.problem import AdamParameters, Problem

__all__ = [
    "curvature_penalty",
    "denominator_growth",
    "denominator_start",
    "energy_cost",
    "frozen_second_moment",
    "frozen_weight",
    "gradient_energy",
    "jump_penalty",
    "kept_momentum",
    "mean_step",
    "mixture",
    "momentum_gain",
    "momentum_growth",
    "momentum_root",
    "noisy_weight",
    "preconditioned_sum",
    "second_order_cost",
    "slope_penalty",
    "swap_growth",
    "theorem2_alignment",
    "theorem2_growth",
    "theorem2_start",
    "uniform_cost",
    "uphill_decay",
    "uphill_penalty",
    "uphill_start",
    "uphill_weight",
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
# Lemmas V and S: the sum of a gradient's momentum, if the gradient did not change.


def frozen_second_moment(second_moment: Value, gradient: Value, age: Value, beta2: Value) -> Value:
    """beta2^m v + (1 - beta2^m) G^2: v after m more steps with the gradient G."""
    return beta2**age * second_moment + one_minus_power(beta2, age) * gradient**2


def swap_growth(beta1: Value, beta2: Value, eta: Value) -> Value:
    """C = 1 / (1 - r eta^2): how much more than its newest gradient's share noise can make of uphill momentum."""
    return 1 / (1 - momentum_ratio(beta1, beta2) * eta**2)


def uphill_decay(beta1: Value, beta2: Value, eta: Value) -> Value:
    """p = beta1 (1 - eta^2) C, below beta1: how fast uphill momentum is forgotten (lemma V).

    >>> uphill_decay(0.0, 0.95, 0.5), round(uphill_decay(0.9, 0.95, 0.5), 4)
    (0.0, 0.8776)
    """
    return beta1 * (1 - eta**2) * swap_growth(beta1, beta2, eta)


# ----------------------------------------------------------------------------------------------------
# Lemma Q': one step. In units of the newest gradient, the m-th term of the momentum has
# a_m = (beta2^-m - 1) / c, and 1 + a_m = beta2^-m (1 - beta2^(m+1)) / c. Both forms are proven equal; these have
# no powers that overflow.


def frozen_weight(beta1: Value, beta2: Value, age: Value) -> Value:
    """r^m / sqrt(1 + a_m) = beta1^m sqrt(c / (1 - beta2^(m+1))): the m-th term of phi_N.

    >>> frozen_weight(0.9, 0.95, 0), frozen_weight(0.0, 0.95, 0)
    (1.0, 1.0)
    """
    return beta1**age * sqrt(second_moment_weight(beta2) / one_minus_power(beta2, age + 1))


def noisy_weight(beta1: Value, beta2: Value, eta: Value, age: Value) -> Value:
    """r^m / sqrt(1 + a_m / y) = beta1^m sqrt(c y / (1 - beta2^m + c y beta2^m)): the m-th term of H_N."""
    fresh = second_moment_weight(beta2) * squared_noise_growth(eta)
    return beta1**age * sqrt(fresh / (one_minus_power(beta2, age) + fresh * beta2**age))


def uphill_weight(beta1: Value, beta2: Value, eta: Value, age: Value) -> Value:
    """pi^m / sqrt(a_m) = p^m sqrt(c / (1 - beta2^m)), pi = p / sqrt(beta2): the m-th term of S_0, m >= 1."""
    return uphill_decay(beta1, beta2, eta) ** age * sqrt(second_moment_weight(beta2) / one_minus_power(beta2, age))


def uphill_start(beta1: Value, beta2: Value, eta: Value) -> Value:
    """mu = max(1, (pi / r) sqrt(1 + beta2)), pi / r = (1 - eta^2) C."""
    return maximum(1, (1 - eta**2) * swap_growth(beta1, beta2, eta) * sqrt(1 + beta2))


def jump_penalty(swap: Value, frozen_sum: Value) -> Value:
    """Lambda_1 = C / phi_N: what a gradient of the wrong sign costs as it tends to 0."""
    return swap / frozen_sum


def curvature_penalty(eta: Value) -> Value:
    """Lambda_2 = y / 16: that a parabola stays below the response to gradients of the right sign."""
    return squared_noise_growth(eta) / 16


def slope_penalty(swap: Value, start: Value, uphill_sum: Value, frozen_sum: Value, eta: Value) -> Value:
    """Lambda_3 = (C (mu + S_0) / phi_N - 1 / sqrt(y)) / (1 + 2 / y): the slope there."""
    y = squared_noise_growth(eta)
    return (swap * (start + uphill_sum) / frozen_sum - 1 / sqrt(y)) / (1 + 2 / y)


def uphill_penalty(beta1: Value, beta2: Value, eta: Value, frozen_sum: Value, uphill_sum: Value) -> Value:
    """Lambda = min(C, max(Lambda_1, Lambda_2, Lambda_3)): the weight of the variance in kappa.

    Args:
        beta1: in [0, sqrt(beta2)).
        beta2: in (0, 1).
        eta: at most 1.
        frozen_sum: phi_N = sum_{m <= N} :func:`frozen_weight`, or a lower bound on it.
        uphill_sum: S_0 = sum_{m >= 1} :func:`uphill_weight`, or an upper bound on it.
    """
    swap, start = swap_growth(beta1, beta2, eta), uphill_start(beta1, beta2, eta)
    slope = slope_penalty(swap, start, uphill_sum, frozen_sum, eta)
    return minimum(swap, maximum(maximum(jump_penalty(swap, frozen_sum), curvature_penalty(eta)), slope))


def theorem2_alignment(gain: Value, penalty: Value, eta: Value) -> Value:
    """kappa = (h - Lambda eta^2) / (1 + eta^2): the descent left under noise; it must be positive.

    >>> theorem2_alignment(gain=1.0, penalty=1.0, eta=0.5)
    0.6
    """
    return (gain - penalty * eta**2) / squared_noise_growth(eta)


# ----------------------------------------------------------------------------------------------------
# Lemmas D and H: what the drift of the gradients costs, to second order in the step size.


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


def uniform_cost(horizon: Value, dimension: Value, beta1: Value, beta2: Value) -> Value:
    """K' d Gamma, with Theorem 1's Gamma: every step at its largest (L1, L3)."""
    return horizon * dimension * drift_constant(beta1, beta2)


def energy_cost(energy: Value, beta1: Value, beta2: Value) -> Value:
    """((1 - beta1) / (1 - r))^2 (1/2 + r / (1 - r)) H: steps by their squares (lemma D)."""
    drift = momentum_ratio(beta1, beta2) / momentum_gap(beta1, beta2)
    return momentum_gain(beta1, beta2) ** 2 * energy * (1 + 2 * drift) / 2


def second_order_cost(horizon: Value, dimension: Value, energy: Value, beta1: Value, beta2: Value) -> Value:
    """E: the smaller of :func:`uniform_cost` and :func:`energy_cost`."""
    return minimum(uniform_cost(horizon, dimension, beta1, beta2), energy_cost(energy, beta1, beta2))


def preconditioned_sum(problem: Problem, adam: AdamParameters, cost: Value, alignment: Value) -> Value:
    """Q = (Delta / alpha + alpha L E) / kappa: the bound on (1 - beta1) sum E[G^2 Phi] (lemma Q')."""
    return (problem.initial_gap / adam.alpha + adam.alpha * problem.smoothness * cost) / alignment


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
