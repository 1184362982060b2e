r"""The constants that every theorem on Adam shares, each written once.

Notation of the statements: r = beta1 / sqrt(beta2), c = 1 - beta2, rho = 1 / (1 - r), tau^2 = 1 + eta^2.

Differences such as 1 - r and 1 - sqrt(beta2) are formed without cancellation, so that beta2 up to 1 - 1e-8
costs no digits. Only kappa subtracts, so that its relative error grows where kappa tends to 0.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    >>> round(momentum_ratio(0.9, 0.95), 6), round(momentum_amplification(0.9, 0.95), 4)
    (0.923381, 13.0515)
    >>> round(alignment(0.9, 0.95, 0.2), 4)
    0.4596
"""

from __future__ import annotations

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, hypot, is_symbolic, sqrt
from theory.problem import AdamParameters, Problem

__all__ = [
    "alignment",
    "alignment_at",
    "descent_budget",
    "drift_budget",
    "drift_constant",
    "freezing_constant",
    "least_descent_budget",
    "momentum_amplification",
    "momentum_gap",
    "momentum_ratio",
    "normalized_step_bound",
    "preconditioner_growth",
    "preconditioner_start",
    "root_gap",
    "second_moment_weight",
    "solve_self_bounding",
    "squared_noise_growth",
    "step_variance",
]


def momentum_ratio(beta1: Value, beta2: Value) -> Value:
    """r = beta1 / sqrt(beta2), in [0, 1)."""
    return beta1 / sqrt(beta2)


def second_moment_weight(beta2: Value) -> Value:
    """c = 1 - beta2, the weight of a new squared gradient."""
    return 1 - beta2


def root_gap(beta2: Value) -> Value:
    """1 - sqrt(beta2), as c / (1 + sqrt(beta2))."""
    return (1 - beta2) / (1 + sqrt(beta2))


def _squared_gap(beta1: Value, beta2: Value) -> Value:
    """beta2 - beta1^2 with the square taken exactly (Dekker's product), so that beta1^2 may be close to beta2."""
    square = beta1 * beta1
    if is_symbolic(beta1, beta2):
        return beta2 - square
    shifted = 134217729.0 * beta1  # 2^27 + 1 splits a double into two halves of 26 bits
    high = shifted - (shifted - beta1)
    low = beta1 - high
    rounding = ((high * high - square) + 2 * high * low) + low * low
    return (beta2 - square) - rounding


def momentum_gap(beta1: Value, beta2: Value) -> Value:
    """1 - r, as (beta2 - beta1^2) / (sqrt(beta2) (sqrt(beta2) + beta1))."""
    return _squared_gap(beta1, beta2) / (sqrt(beta2) * (sqrt(beta2) + beta1))


def momentum_amplification(beta1: Value, beta2: Value) -> Value:
    """rho = 1 / (1 - r): what one gradient's momentum sums to, in units of its own denominator."""
    return 1 / momentum_gap(beta1, beta2)


def squared_noise_growth(eta: Value) -> Value:
    """tau^2 = 1 + eta^2: the coordinate-wise test gives E g_i^2 <= tau^2 G_i^2 (Proposition 1)."""
    return 1 + eta**2


def alignment_at(amplification: Value, eta: Value) -> Value:
    """kappa = (1 - rho eta^2) / (1 + eta^2) for any amplification rho >= 1 (lemma L5).

    >>> alignment_at(1.0, 0.5), alignment_at(4.0, 0.5)
    (0.6, 0.0)
    """
    return (1 - amplification * eta**2) / squared_noise_growth(eta)


def alignment(beta1: Value, beta2: Value, eta: Value) -> Value:
    """kappa at rho = 1 / (1 - r): the descent left under noise; positive iff eta^2 < 1 - r."""
    return alignment_at(momentum_amplification(beta1, beta2), eta)


def normalized_step_bound(beta1: Value, beta2: Value) -> Value:
    """C_m = (1 - beta1) / sqrt(c (1 - r^2)): |m_k| <= C_m sqrt(v_k), coordinate-wise (lemma L1)."""
    return (1 - beta1) * sqrt(beta2 / ((1 - beta2) * _squared_gap(beta1, beta2)))


def step_variance(beta1: Value, beta2: Value) -> Value:
    """gamma^2 = 1 / (2 (1 - r^2)) + r / ((1 - r)^2 sqrt(1 - r^2))."""
    r, gap = momentum_ratio(beta1, beta2), momentum_gap(beta1, beta2)
    one_minus_r_squared = _squared_gap(beta1, beta2) / beta2
    return 1 / (2 * one_minus_r_squared) + r / (gap**2 * sqrt(one_minus_r_squared))


def drift_constant(beta1: Value, beta2: Value) -> Value:
    """Gamma = ((1 - beta1)^2 / c) gamma^2: the second-order cost of a step, per alpha^2 L d."""
    return (1 - beta1) ** 2 / second_moment_weight(beta2) * step_variance(beta1, beta2)


def freezing_constant(beta1: Value, beta2: Value) -> Value:
    """(1 - beta1) r / (sqrt(c) (1 - r)^2): the cost of reading old gradients in the momentum as new ones.

    Per alpha L d and per unit of the step bound C_m (lemma L3), so that Gamma = C_m^2 / 2 + C_m times this.
    """
    r, gap = momentum_ratio(beta1, beta2), momentum_gap(beta1, beta2)
    return (1 - beta1) * r / (sqrt(second_moment_weight(beta2)) * gap**2)


def drift_budget(problem: Problem, adam: AdamParameters, drift: Value) -> Value:
    """alpha K L d Gamma: what the steps can lose to the curvature and to old gradients, per alpha.

    Args:
        problem: L, d and K.
        adam: alpha.
        drift: Gamma, for example :func:`drift_constant`.
    """
    return adam.alpha * drift * problem.smoothness * problem.dimension * problem.steps


def descent_budget(problem: Problem, adam: AdamParameters, drift: Value) -> Value:
    """P = Delta / alpha + alpha K L d Gamma: what all steps together can descend, per alpha."""
    return problem.initial_gap / adam.alpha + drift_budget(problem, adam, drift)


def least_descent_budget(problem: Problem, drift: Value) -> Value:
    """2 sqrt(Delta K L d Gamma): :func:`descent_budget` at its best step size sqrt(Delta / (K L d Gamma))."""
    return 2 * sqrt(drift * problem.smoothness * problem.dimension * problem.initial_gap * problem.steps)


def preconditioner_start(beta2: Value, sum_sqrt_v0: Value) -> Value:
    """A = sqrt(beta2) / (1 - sqrt(beta2)) * sum_i sqrt(v_{0,i})."""
    return sqrt(beta2) / root_gap(beta2) * sum_sqrt_v0


def preconditioner_growth(beta2: Value, eta: Value) -> Value:
    """B = sqrt(c) (1 + tau sqrt(beta2) / (1 - sqrt(beta2)))."""
    tau = sqrt(squared_noise_growth(eta))
    return sqrt(second_moment_weight(beta2)) * (1 + tau * sqrt(beta2) / root_gap(beta2))


def solve_self_bounding(growth: Value, start: Value, q: Value) -> Value:
    """The largest S >= 0 with S^2 <= q (start + growth S): (B Q + sqrt(B^2 Q^2 + 4 A Q)) / 2 (lemma L8).

    All summands are nonnegative, and the root is formed as a hypotenuse, so that nothing cancels and no
    square over- or underflows.

    Args:
        growth: B >= 0, what the denominators grow by per unit of S.
        start: A >= 0, what they are without it.
        q: Q >= 0, the bound on the preconditioned sum.

    Raises:
        HypothesisError: if an argument is negative.

    >>> solve_self_bounding(growth=1.0, start=2.0, q=1.0)
    2.0
    """
    for name, value in (("growth", growth), ("start", start), ("q", q)):
        require(value >= 0, f"{name} >= 0", describe(name, value))
    return (growth * q + hypot(growth * q, 2 * sqrt(start) * sqrt(q))) / 2
