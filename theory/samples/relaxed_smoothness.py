r"""Theorem 3 where smoothness grows with the gradient: (L0, L1)-smooth objectives.

Problem:
    Language models are not L-smooth with a useful L; near large gradients they curve more. Let

        ||grad L(x) - grad L(y)|| <= (L0 + L1 ||grad L(x)||) ||x - y||        for ||x - y|| <= 1 / L1.

Algorithm:
    Adam under the averaged l1 test, as in :mod:`theory.l1.theorem3`, given its certificate.

Guarantee:
    If L1 alpha sqrt(d) C_m <= 1 and lambda eta + alpha L1 d M < J, M = C_m^2 / 2 + Lambda C_m, then

        (J - lambda eta - alpha L1 d M) sum_k E||G_k||_1 <= Delta / alpha + alpha K L0 d M + P,

    P the initial potential: L1 costs nothing but a part of the descent, as the step is bounded for every
    gradient. L1 = 0 gives Theorem 3 with s_t = C_m.

References:
    Zhang, He, Sra, Jadbabaie (2020) for the condition. Proof: :mod:`proofs.samples.relaxed_smoothness`.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    >>> problem = Problem(smoothness=1.0, dimension=1, initial_gap=1.0, steps=10_000)
    >>> relaxed_sum(problem, 0.0, alpha=1e-3, step=1.0, lipschitz_constant=2.0, kept=0.5, initial_potential=0.0)
    2050.0
    >>> relaxed_sum(problem, 40.0, alpha=1e-3, step=1.0, lipschitz_constant=2.0, kept=0.5, initial_potential=0.0)
    2562.5
"""

from __future__ import annotations

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, sqrt
from theory.problem import Problem
from theory.samples.adam import drift
from theory.samples.goal import require_positive

__all__ = ["gradient_share", "relaxed_sum"]


def gradient_share(problem: Problem, relaxation: Value, alpha: Value, step: Value, lipschitz: Value) -> Value:
    """alpha L1 d M: the share of the descent that the growing curvature takes."""
    return alpha * relaxation / problem.smoothness * drift(problem, step, lipschitz)


def relaxed_sum(
    problem: Problem,
    relaxation: Value,
    *,
    alpha: Value,
    step: Value,
    lipschitz_constant: Value,
    kept: Value,
    initial_potential: Value,
) -> Value:
    """The bound on sum_k E||G_k||_1.

    Args:
        problem: L0 (as ``smoothness``), d, Delta and K.
        relaxation: L1 >= 0.
        alpha: step size.
        step: C_m.
        lipschitz_constant: Lambda.
        kept: J - lambda eta.
        initial_potential: P.

    Raises:
        HypothesisError: unless both conditions hold.
    """
    require_positive("alpha", alpha)
    require(relaxation >= 0, "L1 >= 0", describe("L1", relaxation), "take 0 for a smooth objective")
    reach = relaxation * alpha * sqrt(problem.dimension) * step
    require(reach <= 1, "L1 alpha sqrt(d) C_m <= 1", describe("L1 alpha sqrt(d) C_m", reach), "a smaller alpha")
    left = kept - gradient_share(problem, relaxation, alpha, step, lipschitz_constant)
    require(left > 0, "lambda eta + alpha L1 d M < J", describe("what is left of J", left), "a smaller alpha")
    moved = alpha * problem.steps * drift(problem, step, lipschitz_constant)
    return (problem.initial_gap / alpha + moved + initial_potential) / left
