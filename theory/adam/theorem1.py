r"""Adam under the coordinate-wise norm test: the corrected Theorem 1.

Problem:
    Minimise L: R^d -> R, L-smooth and bounded below, Delta = L(w_1) - inf L, from gradients g_k with
    E_k g_k = G_k = grad L(w_k) that meet the coordinate-wise exact-variance norm test at every step,
    E_k (g_{k,i} - G_{k,i})^2 <= eta^2 G_{k,i}^2 for all i; the batch size is known before the step.

Algorithm (Adam, Eq. 6, without bias correction and epsilon; m_0 = 0, any v_0 >= 0, 0 / 0 := 0):
    m_k = beta1 m_{k-1} + (1 - beta1) g_k,  v_k = beta2 v_{k-1} + (1 - beta2) g_k^2,
    w_{k+1} = w_k - alpha m_k / sqrt(v_k),  with 0 <= beta1 < sqrt(beta2) < 1. RMSProp is beta1 = 0.

Guarantee:
    If eta^2 < 1 - beta1 / sqrt(beta2), then for every alpha > 0 and K >= 1, with
    D_{k,i} = beta2 v_{k-1,i} + (1 - beta2) G_{k,i}^2 and the constants of :mod:`theory.adam.constants`,

    (1) sum_{k,i} E[G_{k,i}^2 / sqrt(D_{k,i})] <= Qbar = (Delta / alpha + alpha K L d Gamma) / ((1 - beta1) kappa);
    (2) S = sum_k E||G_k||_1 <= (B Qbar + sqrt(B^2 Qbar^2 + 4 A Qbar)) / 2;
    (3) at alpha = sqrt(Delta / (K L d Gamma)),
        S / K <= (2 gamma / kappa) (1 + tau sqrt(beta2) / (1 - sqrt(beta2))) sqrt(L d Delta / K) + A / (B K).

    So the average gradient norm is O(K^-1/2) at fixed betas, without logarithms or a lower bound on v_0. At
    beta1 = 0, beta2 -> 0, eta = 0 (sign descent) bound (3) tends to sqrt(2 L d Delta / K), which is sharp.

References:
    A correction of Theorem 1 (Theorem B.1) of Lau et al., "Adaptive Batch Size Schedules for Distributed
    Training of Language Models with Data and Model Parallelism", CPAL 2025, arXiv 2412.21124. Proof:
    :mod:`proofs.adam`.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    >>> from dataclasses import replace
    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10**6)
    >>> adam = AdamParameters(beta1=0.9, beta2=0.95, eta=0.2)
    >>> alpha = best_step_size(problem, adam)
    >>> f"{alpha:.3g}"
    '3.48e-05'
    >>> summed = gradient_norm_sum_bound(problem, replace(adam, step_size=alpha))
    >>> average = average_gradient_norm_bound(problem, adam)
    >>> round(summed.value / 10**6, 4), round(average.value, 4)
    (11.2606, 11.2606)
    >>> average_gradient_norm_bound(problem, replace(adam, eta=0.3))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    adabatch.moments.hypotheses.HypothesisError: requires eta^2 < 1 - beta1 / ... is eta = 0.276802
"""

from __future__ import annotations

from adabatch.moments.numeric import Value, sqrt
from theory.adam.constants import (
    alignment,
    descent_budget,
    drift_budget,
    drift_constant,
    least_descent_budget,
    momentum_amplification,
    momentum_gap,
    preconditioner_growth,
    preconditioner_start,
    solve_self_bounding,
    squared_noise_growth,
)
from theory.bound import Bound
from theory.problem import AdamParameters, Problem, require_betas, require_eta

__all__ = [
    "average_gradient_norm_bound",
    "best_step_size",
    "gradient_norm_sum_bound",
    "largest_admissible_eta",
    "preconditioned_sum_bound",
    "require_condition",
    "theorem_constants",
]

NAME = "Theorem 1 (corrected)"


def largest_admissible_eta(beta1: Value, beta2: Value) -> Value:
    """sqrt(1 - beta1 / sqrt(beta2)), the supremum of the admissible eta (not admissible itself).

    Raises:
        HypothesisError: unless 0 <= beta1 < sqrt(beta2) < 1.

    >>> round(largest_admissible_eta(0.9, 0.95), 4), round(largest_admissible_eta(0.9, 0.999), 4)
    (0.2768, 0.3155)
    """
    require_betas(beta1, beta2)
    return sqrt(momentum_gap(beta1, beta2))


def require_condition(beta1: Value, beta2: Value, eta: Value) -> None:
    """Raise :class:`~adabatch.moments.hypotheses.HypothesisError` unless 0 <= eta^2 < 1 - beta1 / sqrt(beta2)."""
    largest, meets = largest_admissible_eta(beta1, beta2), alignment(beta1, beta2, eta) > 0
    require_eta(eta, meets, "eta^2 < 1 - beta1 / sqrt(beta2)", largest, beta1=beta1, beta2=beta2)


def theorem_constants(adam: AdamParameters) -> dict[str, Value]:
    """The theorem's constants by name: rho, kappa, tau, Gamma, A and B.

    Raises:
        HypothesisError: if eta is not admissible, or for epsilon > 0.
    """
    require_condition(adam.beta1, adam.beta2, adam.eta)
    adam.require_no_epsilon("see theory.adam.variants")
    return {
        "rho": momentum_amplification(adam.beta1, adam.beta2),
        "kappa": alignment(adam.beta1, adam.beta2, adam.eta),
        "tau": sqrt(squared_noise_growth(adam.eta)),
        "Gamma": drift_constant(adam.beta1, adam.beta2),
        "A": preconditioner_start(adam.beta2, adam.sum_sqrt_v0),
        "B": preconditioner_growth(adam.beta2, adam.eta),
    }


def preconditioned_sum_bound(problem: Problem, adam: AdamParameters) -> Bound:
    """Bound (1): sum_{k,i} E[G_{k,i}^2 / sqrt(D_{k,i})] <= Qbar.

    Raises:
        HypothesisError: if a hypothesis of the theorem is violated.
    """
    constants = theorem_constants(adam)
    descent = (1 - adam.beta1) * constants["kappa"]
    return Bound(
        value=descent_budget(problem, adam, constants["Gamma"]) / descent,
        quantity="sum_{k,i} E[G_{k,i}^2 / sqrt(D_{k,i})]",
        theorem=f"{NAME}, bound (1)",
        constants=constants,
        terms={
            "gap": problem.initial_gap / adam.alpha / descent,
            "drift": drift_budget(problem, adam, constants["Gamma"]) / descent,
        },
    )


def gradient_norm_sum_bound(problem: Problem, adam: AdamParameters) -> Bound:
    """Bound (2): S = sum_k E||grad L(w_k)||_1 at any step size.

    Raises:
        HypothesisError: if a hypothesis of the theorem is violated.
    """
    first = preconditioned_sum_bound(problem, adam)
    return Bound(
        value=solve_self_bounding(first.constants["B"], first.constants["A"], first.value),
        theorem=f"{NAME}, bound (2)",
        constants=first.constants,
        terms={"Qbar": first.value},
    )


def best_step_size(problem: Problem, adam: AdamParameters) -> Value:
    """alpha = sqrt(Delta / (K L d Gamma)), which makes Qbar, hence bound (2), least; of Adam only the betas count.

    Raises:
        HypothesisError: at Delta = 0, where w_1 is a minimiser and the bounds only fall with the step size.
    """
    problem.require_gap()
    drift = drift_constant(adam.beta1, adam.beta2)
    return sqrt(problem.initial_gap / (drift * problem.smoothness * problem.dimension * problem.steps))


def average_gradient_norm_bound(problem: Problem, adam: AdamParameters) -> Bound:
    """Bound (3): S / K = (1 / K) sum_k E||grad L(w_k)||_1 at the best step size, which replaces the run's own.

    Its two terms are ``leading`` = B Qbar / K, of order K^-1/2, and ``start`` = A / (B K). At Delta = 0 it is
    the limit of small step sizes. Where ``start`` dominates, bound (2) at the best step size is much smaller; and
    only there may bound (3) fall with eta, since B grows.

    Raises:
        HypothesisError: if a hypothesis of the theorem is violated.
    """
    constants = theorem_constants(adam)
    budget = least_descent_budget(problem, constants["Gamma"])
    leading = constants["B"] * budget / ((1 - adam.beta1) * constants["kappa"]) / problem.steps
    start = constants["A"] / (constants["B"] * problem.steps)
    return Bound(
        value=leading + start,
        quantity="(1/K) sum_k E||grad L(w_k)||_1",
        theorem=f"{NAME}, bound (3)",
        constants=constants,
        terms={"leading": leading, "start": start},
    )
