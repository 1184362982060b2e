r"""Gradient clipping under the coordinate-wise norm test: a theorem, and why it needs a floor on the factor.

Problem:
    As in :mod:`theory.adam.theorem1`, with the coordinate-wise exact-variance norm test on the gradients
    *before* clipping.

Algorithm:
    Adam on phi_k g_k, phi_k = min(1, C / ||g_k||) (or any factor in [phi0, 1] that may depend on g_k).

Guarantee:
    If phi_k >= phi0 almost surely and eta^2 < phi0 (1 - r), r = beta1 / sqrt(beta2), the corrected Theorem 1 holds
    with kappa replaced by

        kappa_phi = (phi0 - rho eta^2) / (1 + eta^2).

    Without a floor it can fail (:class:`ClippingDivergence`): L(w) = H(a.w), H(x) = x^2/2 for |x| <= 1 and
    |x| - 1/2 beyond (Huber), with a = (f sqrt(n), 1, ..., 1), and one joint event of probability
    q = eta^2 / (eta^2 + (1+delta)^2) in which X_1 = 0 and all other X_i = -delta; outside it X_1 and X_i make the
    means 1. The coordinate-wise test is met, with equality on the n coordinates. Clipping at C = delta sqrt(n)
    spares the rare, wrong gradients and cuts the common, right ones by about delta / f. Their mean turns negative
    once that factor is below
    delta q / (1 + delta q), which is of the order of eta^2, and for large n they outweigh coordinate 1. While
    a.w >= 1 the gradient is a, so that the steps do not depend on the path: where their stationary mean is uphill
    (:func:`clipped_drift`; intervals show it for the example), a.w -> oo with a probability that tends to 1 as
    alpha -> 0, from every start above 1.

References:
    Proof: :mod:`proofs.training.clipping`. Clipping at 1.0 is what Lau et al., arXiv 2412.21124, train with;
    their theorem has none.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10_000)
    >>> adam = AdamParameters(beta1=0.9, beta2=0.95, eta=0.1, step_size=1e-4)
    >>> bound = clipped_bound(problem, adam, floor=0.5)
    >>> round(bound.constants["kappa"], 4), round(bound.value / 10_000, 1)
    (0.3658, 262.6)
    >>> instance = ClippingDivergence(beta1=0.9, beta2=0.999, eta=0.3, delta=0.1, size_ratio=200.0, count=4e8)
    >>> clipped, unclipped = simulate(instance, 1e-11, 2500), simulate(instance, 1e-11, 2500, clip=False)
    >>> round(float(clipped[-1]), 1), abs(float(unclipped[-1])) < 1e-9          # from a.w = 3
    (6.4, True)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, minimum, sqrt
from theory.adam.constants import (
    alignment_at,
    descent_budget,
    drift_constant,
    momentum_amplification,
    momentum_gap,
    preconditioner_growth,
    preconditioner_start,
    solve_self_bounding,
)
from theory.adam.normalized_step import Law, mean_normalized_step, rare_value
from theory.bound import Bound
from theory.problem import AdamParameters, Problem, require_betas, require_eta

__all__ = [
    "ClippingDivergence",
    "clip_factor",
    "clipped_alignment",
    "clipped_bound",
    "clipped_drift",
    "largest_admissible_eta",
    "require_condition",
    "reversing_factor",
    "simulate",
    "wrong_probability",
]


def clip_factor(norm: Value, threshold: Value) -> Value:
    """phi = min(1, C / ||g||).

    >>> clip_factor(4.0, 1.0), clip_factor(0.5, 1.0)
    (0.25, 1.0)
    """
    return minimum(1, threshold / norm)


def clipped_alignment(amplification: Value, eta: Value, floor: Value) -> Value:
    """kappa_phi = (phi0 - rho eta^2) / (1 + eta^2): phi0 times kappa at the amplification rho / phi0.

    >>> clipped_alignment(1.0, 0.5, 1.0), clipped_alignment(1.0, 0.5, 0.25)
    (0.6, 0.0)
    """
    return floor * alignment_at(amplification / floor, eta)


def largest_admissible_eta(beta1: Value, beta2: Value, floor: Value) -> Value:
    """sqrt(phi0 (1 - r)), the supremum of the admissible eta.

    >>> round(largest_admissible_eta(0.9, 0.95, 0.5), 4)
    0.1957
    """
    require_betas(beta1, beta2)
    return sqrt(floor * momentum_gap(beta1, beta2))


def require_condition(beta1: Value, beta2: Value, eta: Value, floor: Value) -> None:
    """Raise ``HypothesisError`` unless 0 < phi0 <= 1 and 0 <= eta^2 < phi0 (1 - r)."""
    require_betas(beta1, beta2)
    require(floor > 0, "0 < phi0 <= 1", describe("phi0", floor), "clip at a larger threshold")
    require(floor <= 1, "0 < phi0 <= 1", describe("phi0", floor), "clipping only shrinks: take phi0 = 1")
    meets = clipped_alignment(momentum_amplification(beta1, beta2), eta, floor) > 0
    largest = largest_admissible_eta(beta1, beta2, floor)
    require_eta(eta, meets, "eta^2 < phi0 (1 - beta1 / sqrt(beta2))", largest, phi0=floor)


def clipped_bound(problem: Problem, adam: AdamParameters, floor: Value) -> Bound:
    """S = sum_k E||grad L(w_k)||_1 for Adam on clipped gradients, phi_k >= ``floor`` = phi0 almost surely.

    Raises:
        HypothesisError: unless 0 < floor <= 1 and eta^2 < floor (1 - r), or for epsilon > 0.
    """
    require_condition(adam.beta1, adam.beta2, adam.eta, floor)
    adam.require_no_epsilon()
    kappa = clipped_alignment(momentum_amplification(adam.beta1, adam.beta2), adam.eta, floor)
    gamma = drift_constant(adam.beta1, adam.beta2)
    q = descent_budget(problem, adam, gamma) / ((1 - adam.beta1) * kappa)
    start = preconditioner_start(adam.beta2, adam.sum_sqrt_v0)
    growth = preconditioner_growth(adam.beta2, adam.eta)
    return Bound(
        value=solve_self_bounding(growth, start, q),
        theorem="corrected Theorem 1 with clipped gradients",
        constants={"kappa": kappa, "Gamma": gamma, "A": start, "B": growth, "phi0": floor},
        terms={"Qbar": q},
    )


def wrong_probability(eta: Value, delta: Value) -> Value:
    """q = eta^2 / (eta^2 + (1 + delta)^2): X = -delta with this probability, mean 1, has variance eta^2."""
    return eta**2 / (eta**2 + (1 + delta) ** 2)


def reversing_factor(eta: Value, delta: Value) -> Value:
    """delta q / (1 + delta q): if only the right gradients are clipped, by less than this, their mean is negative.

    >>> round(reversing_factor(0.3, 1.0), 5)
    0.02153
    """
    wrong = delta * wrong_probability(eta, delta)
    return wrong / (1 + wrong)


def clipped_drift(
    step_size: Value, count: Value, size_ratio: Value, mean_step: Value, first_mean_step: Value
) -> Value:
    """-alpha (n u + f sqrt(n) u_1): the mean change of a.w per step, u = E m/sqrt(v) where a.w >= 1.

    Args:
        step_size: alpha.
        count: n.
        size_ratio: f.
        mean_step: u of the n coordinates.
        first_mean_step: u_1, of the first coordinate.
    """
    return -step_size * (count * mean_step + size_ratio * sqrt(count) * first_mean_step)


@dataclass(frozen=True)
class ClippingDivergence:
    """The counterexample: the coordinate-wise test holds, and clipping makes Adam climb.

    Attributes:
        beta1: decay of m.
        beta2: decay of v.
        eta: of the coordinate-wise test, met by every coordinate.
        delta: in the rare event X_i = -delta for the n coordinates, and X_1 = 0.
        size_ratio: f, in a = (f sqrt(n), 1, ..., 1).
        count: n; the n coordinates move together, so that one of them is simulated for all.
    """

    beta1: float
    beta2: float
    eta: float
    delta: float
    size_ratio: float
    count: float

    def __post_init__(self) -> None:
        require_betas(self.beta1, self.beta2)
        for name in ("eta", "delta", "size_ratio", "count"):
            value = getattr(self, name)
            require(value > 0, f"{name} > 0", describe(name, value), f"take {name} > 0")

    @property
    def wrong_probability(self) -> float:
        """q, the probability of the rare event."""
        return float(wrong_probability(self.eta, self.delta))

    @property
    def right_values(self) -> tuple[float, float]:
        """(X_1, X_i) outside the rare event: what makes both means 1."""
        right = 1 - self.wrong_probability
        return float(rare_value(0.0, right)), float(rare_value(self.delta, right))

    @property
    def threshold(self) -> float:
        """C = delta sqrt(n)."""
        return self.delta * float(np.sqrt(self.count))

    def drift(self, step_size: float) -> float:
        """Mean change of a.w per clipped step in the stationary state, where a.w >= 1: uphill if positive."""
        q, (right_1, right) = self.wrong_probability, self.right_values
        norm = float(np.sqrt(self.count * ((self.size_ratio * right_1) ** 2 + right**2)))
        factor = clip_factor(norm, self.threshold)
        noisy = Law((-self.delta, factor * right), (q, 1 - q))
        first = Law((1e-6 * right_1, right_1), (q, 1 - q))  # 1e-6 for 0: the step is continuous there
        step_1 = mean_normalized_step(first, self.beta1, self.beta2)
        step = mean_normalized_step(noisy, self.beta1, self.beta2)
        return float(clipped_drift(step_size, self.count, self.size_ratio, step, step_1))


def simulate(
    instance: ClippingDivergence,
    step_size: float,
    steps: int,
    start: float = 3.0,
    clip: bool = True,
    seed: int = 0,
) -> NDArray[np.float64]:
    """Run Adam (v_0 = 0) on the instance from a.w = ``start``; a.w after 0, 1, ..., ``steps`` steps.

    The n coordinates see the same event and so stay equal: two pairs (m, v) hold the whole state.
    """
    root, (right_1, right) = float(np.sqrt(instance.count)), instance.right_values
    weights = np.array([instance.size_ratio * root, instance.count])  # coordinate 1, and the n others together
    slopes = np.array([instance.size_ratio * root, 1.0])
    wrong = np.random.default_rng(seed).random(steps) < instance.wrong_probability
    momentum, second = np.zeros(2), np.zeros(2)
    path = np.empty(steps + 1)
    path[0] = value = start
    for k in range(steps):
        noise = np.array([0.0, -instance.delta]) if wrong[k] else np.array([right_1, right])
        gradient = min(1.0, max(-1.0, value)) * slopes * noise
        if clip:
            norm = np.sqrt(gradient[0] ** 2 + instance.count * gradient[1] ** 2)
            gradient = gradient * clip_factor(norm, instance.threshold)
        momentum = instance.beta1 * momentum + (1 - instance.beta1) * gradient
        second = instance.beta2 * second + (1 - instance.beta2) * gradient**2
        ratio = np.divide(momentum, np.sqrt(second), out=np.zeros(2), where=second > 0)
        value -= step_size * float(weights @ ratio)
        path[k + 1] = value
    return path
