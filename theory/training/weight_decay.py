r"""Adam with decoupled weight decay (AdamW) under the coordinate-wise norm test.

Problem:
    As in :mod:`theory.adam.theorem1`: L-smooth L, bounded below, coordinate-wise exact-variance norm test.

Algorithm:
    w_{k+1} = (1 - alpha lambda) w_k - alpha m_k / sqrt(v_k), alpha lambda <= 1.

Guarantee:
    Let W >= sup_k ||w_k||_inf (:func:`weight_bound`: always at most max(||w_1||_inf, C_m / lambda)),
    s = C_m + lambda W and, with the constants of :mod:`theory.adam.constants`,

        P_W = Delta/alpha + alpha K L d [ s^2/2 + (1-beta1) s r / (sqrt(c) (1-r)^2) ].

    If lambda W < (1-beta1) kappa / B, then S = sum_k E||G_k||_1 satisfies (1-beta1) kappa S^2 <=
    (P_W + lambda W S)(A + B S); :func:`weight_decay_bound` returns its larger root, which at lambda = 0 is the
    bound of the corrected Theorem 1, and which is never above

        (P_W + (1-beta1) kappa A / B^2) / ((1-beta1) kappa / B - lambda W)         (term ``simpler form``).

    The condition is on lambda W: since C_m > (1-beta1) kappa / B it never covers the whole box
    |w| <= C_m / lambda, only weights that stay well inside it. That is not an artefact alone: AdamW minimises L
    on a box, and its stationarity measure there, the Frank-Wolfe gap

        max_{|x_i| <= 1/lambda} <G, w - x> = <G, w> + ||G||_1 / lambda,

    does not vanish when eta > 0, however small the step: where G keeps its size and sign, as that of
    H(w - w*), H Huber's function, with w* far outside the box, E lambda w tends to u = E m/sqrt(v) < 1, and the
    mean of lambda gap to (1 - u) ||G||_1, at every step size (:func:`limiting_gap`; at (.9, .95) and eta .2
    intervals give 1 - u in [.0196, .0198]).

References:
    Proof: :mod:`proofs.training.weight_decay`. Lau et al., arXiv 2412.21124, train with weight decay 0.1; their
    theorem has none.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10_000)
    >>> adam = AdamParameters(beta1=0.0, beta2=0.5, eta=0.2, step_size=1e-4)
    >>> bound = weight_decay_bound(problem, adam, weight_decay=0.1, largest_weight=2.0)
    >>> round(bound.value / 10_000, 2)
    5.65
    >>> from theory.adam.normalized_step import two_point_law
    >>> noise = two_point_law(delta=1e-3, probability=1.002001 / 1.042001)            # Var X = 0.2^2
    >>> round(limiting_gap(noise, 0.9, 0.95), 4)
    0.0197
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, absolute, expm1, is_symbolic, log1p, maximum, minimum, total
from theory.adam.constants import (
    alignment,
    descent_budget,
    freezing_constant,
    normalized_step_bound,
    preconditioner_growth,
    preconditioner_start,
    solve_self_bounding,
)
from theory.adam.normalized_step import Law, mean_normalized_step
from theory.adam.theorem1 import require_condition
from theory.bound import Bound
from theory.problem import AdamParameters, Problem, require_betas

__all__ = [
    "decayed_drift",
    "frank_wolfe_gap",
    "largest_admissible_decay",
    "limiting_gap",
    "simulate_box_gap",
    "weight_bound",
    "weight_decay_bound",
]


def weight_bound(
    beta1: Value, beta2: Value, weight_decay: Value, start: Value, step_size: Value, steps: Value
) -> Value:
    """W with ||w_k||_inf <= W for k = 1..K+1: max(w, q^K w + (1 - q^K) C_m / lambda), w = ||w_1||_inf.

    Here q = 1 - alpha lambda; |m| <= C_m sqrt(v) gives it. It is at most max(||w_1||_inf, C_m / lambda).

    Args:
        beta1: decay of m.
        beta2: decay of v.
        weight_decay: lambda > 0.
        start: ||w_1||_inf.
        step_size: alpha > 0, with alpha lambda <= 1.
        steps: K.

    Raises:
        HypothesisError: unless 0 < alpha lambda <= 1.

    >>> round(weight_bound(0.9, 0.95, 0.1, start=1.0, step_size=1e-3, steps=1000), 3)
    2.013
    """
    require_betas(beta1, beta2)
    _require_step(weight_decay, step_size)
    box = normalized_step_bound(beta1, beta2) / weight_decay
    pulled = step_size * weight_decay
    if is_symbolic(pulled, steps):
        kept = (1 - pulled) ** steps
        return maximum(start, kept * start + (1 - kept) * box)
    # q^K rounds to 1 where alpha lambda is tiny, and box is huge there; 2^-53 below 1 there is a logarithm.
    moved = -expm1(steps * log1p(-minimum(pulled, 1 - 2.0**-53)))
    return maximum(start, start + moved * (box - start))


def decayed_drift(beta1: Value, beta2: Value, decay_pull: Value) -> Value:
    """s^2/2 + (1-beta1) s r / (sqrt(c) (1-r)^2), s = C_m + lambda W: Gamma where the steps carry weight decay.

    Args:
        beta1: decay of m.
        beta2: decay of v.
        decay_pull: lambda W.
    """
    step = normalized_step_bound(beta1, beta2) + decay_pull
    return step**2 / 2 + step * freezing_constant(beta1, beta2)


def largest_admissible_decay(beta1: Value, beta2: Value, eta: Value) -> Value:
    """(1-beta1) kappa / B, the supremum of the admissible lambda W. It is below C_m.

    >>> round(largest_admissible_decay(0.9, 0.95, 0.2), 5)
    0.00511
    """
    require_condition(beta1, beta2, eta)
    return (1 - beta1) * alignment(beta1, beta2, eta) / preconditioner_growth(beta2, eta)


def weight_decay_bound(
    problem: Problem, adam: AdamParameters, weight_decay: Value, largest_weight: Value
) -> Bound:
    """S = sum_k E||grad L(w_k)||_1 for AdamW whose weights stay within ``largest_weight``.

    Args:
        problem: L, d, Delta and K.
        adam: with a step size.
        weight_decay: lambda >= 0.
        largest_weight: W.

    Raises:
        HypothesisError: unless 0 <= alpha lambda <= 1, eta^2 < 1 - r and lambda W < (1-beta1) kappa / B, or for
            epsilon > 0.
    """
    adam.require_no_epsilon()
    beta1, beta2, eta = adam.beta1, adam.beta2, adam.eta
    limit = largest_admissible_decay(beta1, beta2, eta)
    _require_step(weight_decay, adam.alpha)
    pull = weight_decay * largest_weight
    require(
        pull < limit,
        "lambda W < (1 - beta1) kappa / B",
        describe("lambda W", pull),
        f"take {describe('lambda W', limit)} at most (exclusive): less weight decay, or smaller weights",
    )
    descent = (1 - beta1) * alignment(beta1, beta2, eta)
    start, growth = preconditioner_start(beta2, adam.sum_sqrt_v0), preconditioner_growth(beta2, eta)
    drift = decayed_drift(beta1, beta2, pull)
    budget = descent_budget(problem, adam, drift)
    leading = descent - pull * growth
    value = solve_self_bounding((budget * growth + pull * start) / leading, budget * start / leading, 1)
    return Bound(
        value=value,
        theorem="corrected Theorem 1 with decoupled weight decay",
        constants={"(1-beta1) kappa": descent, "Gamma_W": drift, "A": start, "B": growth, "lambda W": pull},
        terms={"P_W": budget, "simpler form": (budget + descent * start / growth**2) / (descent / growth - pull)},
    )


def _require_step(weight_decay: Value, step_size: Value) -> None:
    """Raise unless lambda >= 0, alpha > 0 and alpha lambda <= 1."""
    require(step_size > 0, "step_size > 0", describe("step_size", step_size), "take a positive step size")
    require(weight_decay >= 0, "weight_decay >= 0", describe("weight_decay", weight_decay), "take 0 or more")
    require(
        step_size * weight_decay <= 1,
        "step_size * weight_decay <= 1",
        describe("their product", step_size * weight_decay),
        "take a step size of at most 1 / weight_decay",
    )


def frank_wolfe_gap(gradient: NDArray[np.float64], weights: NDArray[np.float64], weight_decay: float) -> Value:
    """max over the box |x_i| <= 1/lambda of <G, w - x> = <G, w> + ||G||_1 / lambda, over the last axis.

    >>> frank_wolfe_gap(np.array([1.0, -1.0]), np.array([-10.0, 4.0]), 0.1)        # 0 + 6
    6.0
    """
    return total(gradient * weights + absolute(gradient) / weight_decay)


def limiting_gap(noise: Law, beta1: float, beta2: float) -> float:
    """lambda times the mean Frank-Wolfe gap, per ||G||_1, that AdamW is left with: 1 - E m/sqrt(v).

    It belongs to a minimiser far outside the box, where G keeps its size and sign, and to g_i = X_i G_i, X of law
    ``noise`` (mean 1). Without noise it is 0.
    """
    return 1 - mean_normalized_step(noise, beta1, beta2)


def simulate_box_gap(
    noise: Law,
    beta1: float,
    beta2: float,
    weight_decay: float = 0.1,
    minimiser: float = 100.0,
    step_size: float = 0.01,
    steps: int = 20_000,
    paths: int = 64,
    seed: int = 0,
) -> NDArray[np.float64]:
    """AdamW on Huber's function of w - minimiser from w = 0: lambda times the gap, averaged over the last half.

    Returns:
        One value per path, shape [paths].
    """
    generator = np.random.default_rng(seed)
    weights, momentum, second, gap = np.zeros((4, paths))
    for k in range(steps):
        gradient = np.clip(weights - minimiser, -1, 1)
        if k >= steps // 2:
            gap += frank_wolfe_gap(gradient[:, None], weights[:, None], weight_decay) * weight_decay
        noisy = gradient * generator.choice(noise.values, size=paths, p=noise.probabilities)
        momentum = beta1 * momentum + (1 - beta1) * noisy
        second = beta2 * second + (1 - beta2) * noisy**2
        weights = weights - step_size * (momentum / np.sqrt(second) + weight_decay * weights)
    return gap / (steps - steps // 2)
