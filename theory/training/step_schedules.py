r"""Adam with a learning-rate schedule: warm-up from 0, decay to 0, bias correction.

Problem:
    As in :mod:`theory.adam.theorem1`: L-smooth L, bounded below, coordinate-wise exact-variance norm test, betas
    with 0 <= beta1 < sqrt(beta2) < 1.

Algorithm:
    w_{k+1} = w_k - alpha s_k m_k / (sqrt(v_k) + eps_k), any multipliers s_k > 0, k = 1..K, and 0 <= eps_k <= eps
    not decreasing. Bias correction is the multiplier sqrt(1 - beta2^k) / (1 - beta1^k), with
    eps_k = eps sqrt(1 - beta2^k).

Guarantee:
    For any first step k0 >= 1 that is counted, with sums over steps up to K,

        rho_s = max_{k>=k0} sum_n s_{k+n} r^n / s_k,         kappa_s = (1 - rho_s eta^2) / (1 + eta^2),
        z_s   = max_{k>=k0} sum_n s_{k+1+n} beta2^{n/2} / s_k,
        g_j   = ||G_1||_1 + alpha L d C_m sum_{i<j} s_i      (>= ||G_j||_1),
        P     = Delta/alpha + alpha L d Gamma sum_k s_k^2
                + ((1-beta1)/sqrt(c)) sum_{j<k0} (sum_n s_{j+n} r^n) g_j,
        B     = sqrt(c) (1 + tau sqrt(beta2) z_s),
        A     = sqrt(beta2) (beta2^{(k0-1)/2} sum_i sqrt(v_{0,i}) + sqrt(c) tau sum_{j<k0} beta2^{(k0-1-j)/2} g_j)
                * sum_n s_{k0+n} beta2^{n/2} + d eps sum_{k>=k0} s_k:

    if rho_s eta^2 < 1, then with Q = P / ((1-beta1) kappa_s)

        sum_{k>=k0} s_k E||grad L(w_k)||_1 <= (B Q + sqrt(B^2 Q^2 + 4 A Q)) / 2.

    The first steps are what k0 is for: a warm-up multiplies from one step to the next, so that rho_s is large
    where it starts. Linear warm-up: rho_s <= rho + r / ((1-r)^2 k0). With s_k = 1 and k0 = 1 it is the corrected
    Theorem 1, up to the end of the sums.

References:
    Proof: :mod:`proofs.training.step_schedules`. Lau et al., arXiv 2412.21124, train with linear warm-up over 1%
    of the samples, then cosine, and bias correction; their theorem has none of them.

Shapes:
    ``multipliers`` has shape [..., K] (leading axes are a batch of schedules); everything else broadcasts with its
    leading axes.

Example:
    >>> s = warmup_cosine(10_000, 400) * bias_correction(10_000, 0.9, 0.95)
    >>> [round(schedule_amplification(s, 0.9, 0.95, first=k0), 1) for k0 in (1, 100, 200)]
    [74.6, 14.6, 13.8]
    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10_000, initial_gradient_norm=1.0)
    >>> adam = AdamParameters(beta1=0.9, beta2=0.95, eta=0.2, step_size=1e-4)
    >>> bound = schedule_bound(problem, adam, s, first=100)
    >>> round(bound.constants["kappa_s"], 4)
    0.3984
    >>> schedule_bound(problem, adam, s)                                            # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    adabatch.moments.hypotheses.HypothesisError: requires rho_s eta^2 < 1, but ... first counted step k0 = ...
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, item, sqrt
from theory.adam.constants import (
    alignment_at,
    drift_constant,
    momentum_amplification,
    momentum_gap,
    momentum_ratio,
    normalized_step_bound,
    second_moment_weight,
    solve_self_bounding,
    squared_noise_growth,
)
from theory.adam.discounted_sums import discounted_sums
from theory.adam.variants import bias_correction_multiplier
from theory.bound import Bound
from theory.problem import AdamParameters, Problem, require_betas

__all__ = [
    "bias_correction",
    "first_admissible_step",
    "momentum_sums",
    "schedule_amplification",
    "schedule_bound",
    "schedule_growth",
    "second_moment_sums",
    "warmup_amplification",
    "warmup_cosine",
]

Array = NDArray[np.float64]


def warmup_cosine(steps: int, warmup: int, final: float = 0.0) -> Array:
    """s_1..s_K: k / warmup, then a half cosine from 1 towards ``final``, which step K + 1 would reach.

    >>> warmup_cosine(5, 2).round(3).tolist()
    [0.5, 1.0, 0.854, 0.5, 0.146]
    """
    require(0 <= warmup < steps, "0 <= warmup < steps", f"warmup = {warmup}, steps = {steps}", "warm up for less")
    step = np.arange(1, steps + 1)
    progress = (step - max(warmup, 1)) / (steps + 1 - max(warmup, 1))
    decayed = final + (1 - final) * (1 + np.cos(np.pi * np.clip(progress, 0, 1))) / 2
    result: Array = np.where(step < warmup, step / max(warmup, 1), decayed)
    return result


def bias_correction(steps: int, beta1: float, beta2: float) -> Array:
    """s_k = sqrt(1 - beta2^k) / (1 - beta1^k), k = 1..K, which turns Eq. 6 into Adam as it is run.

    >>> bias_correction(3, 0.0, 0.75).round(4).tolist()
    [0.5, 0.6614, 0.7603]
    """
    require_betas(beta1, beta2)
    result: Array = bias_correction_multiplier(np.arange(1, steps + 1), beta1, beta2)
    return result


def momentum_sums(multipliers: Any, beta1: Value, beta2: Value) -> Array:
    """sum_n s_{k+n} r^n for k = 1..K, shape [..., K]: what a gradient at step k moves, with its momentum."""
    return discounted_sums(multipliers, momentum_ratio(beta1, beta2))


def second_moment_sums(multipliers: Any, beta2: Value) -> Array:
    """sum_n s_{k+n} beta2^{n/2} for k = 1..K, shape [..., K]: how long a gradient at step k stays in sqrt(v)."""
    return discounted_sums(multipliers, sqrt(beta2))


def schedule_amplification(multipliers: Any, beta1: float, beta2: float, first: int = 1) -> Value:
    """rho_s = max_{k>=k0} sum_n s_{k+n} r^n / s_k: at least 1, and at most rho for a schedule that never rises."""
    s = _require_multipliers(multipliers, first)
    ratios = momentum_sums(s, beta1, beta2)[..., first - 1 :] / s[..., first - 1 :]
    return item(ratios.max(axis=-1))


def schedule_growth(multipliers: Any, beta2: float, first: int = 1) -> Value:
    """z_s = max_{k>=k0} sum_n s_{k+1+n} beta2^{n/2} / s_k; at most 1 / (1 - sqrt(beta2)) if it never rises."""
    s = _require_multipliers(multipliers, first)
    later = np.concatenate([second_moment_sums(s, beta2)[..., 1:], np.zeros((*s.shape[:-1], 1))], axis=-1)
    return item((later / s)[..., first - 1 :].max(axis=-1))


def warmup_amplification(beta1: Value, beta2: Value, first: Value) -> Value:
    """rho + r / ((1-r)^2 k0): sum_n (k0+n)/k0 r^n, what rho_s is at most for a linear warm-up, then no rise.

    >>> round(warmup_amplification(0.9, 0.95, 100), 2)
    14.62
    """
    r, gap = momentum_ratio(beta1, beta2), momentum_gap(beta1, beta2)
    return momentum_amplification(beta1, beta2) + r / (gap**2 * first)


def first_admissible_step(multipliers: Any, beta1: float, beta2: float, eta: float) -> int | None:
    """The least k0 with rho_s eta^2 < 1, or None if there is none (of one schedule, shape [K])."""
    s = _require_multipliers(multipliers, 1)
    ratios = momentum_sums(s, beta1, beta2) / s
    from_here_on = np.maximum.accumulate(ratios[::-1])[::-1]
    admissible = np.flatnonzero(from_here_on * eta**2 < 1)
    return int(admissible[0]) + 1 if admissible.size else None


def schedule_bound(problem: Problem, adam: AdamParameters, multipliers: Any, first: int = 1) -> Bound:
    """sum_{k>=k0} s_k E||grad L(w_k)||_1 for Adam with step sizes alpha s_k.

    Args:
        problem: its ``initial_gradient_norm`` is needed for ``first`` > 1.
        adam: the betas and eta are floats; epsilon is the largest eps_k.
        multipliers: s_1..s_K > 0, shape [..., K].
        first: k0.

    Raises:
        HypothesisError: unless s > 0, 1 <= k0 <= K and rho_s eta^2 < 1; it names the least k0 that will do.
    """
    s = _require_multipliers(multipliers, first)
    beta1, beta2, eta = adam.beta1, adam.beta2, adam.eta
    steps = describe("steps", problem.steps)
    require(np.equal(problem.steps, s.shape[-1]), "one multiplier per step", f"{steps}, {s.shape[-1]} multipliers")
    rho = schedule_amplification(s, beta1, beta2, first)
    kappa = alignment_at(rho, eta)
    if not np.all(kappa > 0):
        _refuse(s, beta1, beta2, eta, first, rho)
    c, tau = second_moment_weight(beta2), sqrt(squared_noise_growth(eta))
    per_unit = adam.alpha * problem.smoothness * problem.dimension
    per_step = per_unit * normalized_step_bound(beta1, beta2)
    climb, remembered = _first_steps(s, beta1, beta2, first, per_step, problem.initial_gradient_norm)
    drift = per_unit * drift_constant(beta1, beta2) * (s**2).sum(axis=-1)
    q = (problem.initial_gap / adam.alpha + drift + climb) / ((1 - beta1) * kappa)
    growth = sqrt(c) * (1 + tau * sqrt(beta2) * schedule_growth(s, beta2, first))
    old = beta2 ** ((first - 1) / 2) * adam.sum_sqrt_v0 + sqrt(c) * tau * remembered
    start = sqrt(beta2) * old * second_moment_sums(s, beta2)[..., first - 1]
    start = start + problem.dimension * adam.epsilon * s[..., first - 1 :].sum(axis=-1)
    return Bound(
        value=item(solve_self_bounding(growth, start, q)),
        quantity="sum_{k>=k0} s_k E||grad L(w_k)||_1",
        theorem="corrected Theorem 1 with step multipliers",
        constants={"rho_s": rho, "kappa_s": kappa, "A": item(start), "B": item(growth)},
        terms={
            "Q": item(q),
            "gap": problem.initial_gap / adam.alpha,
            "drift": item(drift),
            "first steps": item(climb),
        },
        parameters={"k0": first},
    )


def _first_steps(
    s: Array, beta1: float, beta2: float, first: int, per_step: Value, initial_gradient: Value | None
) -> tuple[Value, Value]:
    """What the steps before k0 may climb, and sum_{j<k0} beta2^{(k0-1-j)/2} g_j, which they leave in sqrt(v)."""
    if first == 1:
        return 0.0, 0.0
    require(
        initial_gradient is not None,
        "||grad L(w_1)||_1 for k0 > 1",
        f"k0 = {first} without initial_gradient_norm",
        "give initial_gradient_norm, or count from k0 = 1",
    )
    moved = np.cumsum(s, axis=-1)[..., : first - 1] - s[..., : first - 1]
    norms = np.asarray(initial_gradient, dtype=float)[..., None] + np.asarray(per_step)[..., None] * moved
    climbed = momentum_sums(s, beta1, beta2)[..., : first - 1] * norms
    remembered = beta2 ** (np.arange(first - 2, -1, -1) / 2) * norms
    return (1 - beta1) / sqrt(second_moment_weight(beta2)) * climbed.sum(axis=-1), remembered.sum(axis=-1)


def _require_multipliers(multipliers: Any, first: int) -> Array:
    """The multipliers as an array; raise unless they are positive and 1 <= k0 <= K."""
    s = np.asarray(multipliers, dtype=float)
    advice = "drop the steps with multiplier 0: they do not move the weights"
    require(s > 0, "s_k > 0", describe("s", s), advice)
    require(
        1 <= first <= s.shape[-1], "1 <= k0 <= K", f"k0 = {first}, K = {s.shape[-1]}", "take k0 between 1 and K"
    )
    return s


def _refuse(s: Array, beta1: float, beta2: float, eta: float, first: int, rho: Value) -> None:
    """Raise, naming the first admissible step or, if there is none, the admissible eta."""
    flat = s.reshape(-1, s.shape[-1])
    found = [first_admissible_step(row, beta1, beta2, eta) for row in flat]
    if all(k is not None for k in found):
        advice = f"take the first counted step k0 = {max(k for k in found if k is not None)}"
    else:
        advice = f"the supremum of the admissible values is {describe('eta', sqrt(1 / np.max(rho)))}"
    require(False, "rho_s eta^2 < 1", f"{describe('rho_s', rho)}, {describe('eta', eta)}, k0 = {first}", advice)
