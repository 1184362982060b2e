r"""The l1 norm test: a test for Adam-like optimizers that is free of the dimension, and its theorem.

Problem:
    Minimise L, L-smooth and bounded below, by Adam with stochastic gradients g_k, E_k g_k = G_k = grad L(w_k).
    The scalar (l2) norm test E_k ||g_k - G_k||^2 <= eta^2 ||G_k||^2 cannot carry a theorem free of the dimension:
    Adam amplifies exactly the coordinates that the scalar test does not see. Which test can?

Algorithm:
    The **l1 norm test** asks at every step for

        sum_i sqrt(Var_k g_{k,i}) <= eta ||G_k||_1.

    Its statistic and its estimators are in :mod:`adabatch.moments.l1`.

Guarantee (Adam of Eq. 6, any v_0 >= 0, 0 <= beta1 < sqrt(beta2) < 1):
    With r = beta1/sqrt(beta2), c = 1 - beta2, rho = 1/(1 - r), T = 1 + eta, nu = eta,
    B = sqrt(c) (1 + T sqrt(beta2)/(1 - sqrt(beta2))), A = sqrt(beta2)/(1 - sqrt(beta2)) sum_i sqrt(v_{0,i}),
    P = Delta/alpha + alpha K L d Gamma and nu' = (1 + rho) nu / sqrt(c): if B nu' < 1, then S = sum_k E||G_k||_1
    satisfies S^2 <= (A + B S) (P/(1 - beta1) + nu' S), hence the bound that :func:`l1_test_bound` returns, and

        S <= [ P/(1 - beta1) + A/B^2 ] / [ 1/B - nu' ]          (the simpler, weaker form).

    The same holds for the scalar test with the l2 norm, nu = eta sqrt(d), T = sqrt(1 + eta^2) and
    sqrt(sum_i v_{0,i}) in A: there the condition is one on the dimension (:func:`scalar_test_bound`). The
    constants are weak (nu below .0018 at betas (.9, .95)); :mod:`theory.l1.theorem3` has usable ones.

References:
    Lau et al., CPAL 2025 (the tests); arXiv 2602.03001 (the l1 noise scale for sign-like optimizers);
    the theorem and its proof: :mod:`proofs.l1.theorem`.

Shapes:
    Floats, numpy arrays (broadcast together) or SymPy expressions.

Example:
    >>> problem = Problem(smoothness=1.0, dimension=10, initial_gap=1.0, steps=10_000)
    >>> adam = AdamParameters(beta1=0.0, beta2=0.5, eta=0.1, step_size=1e-3)
    >>> bound = l1_test_bound(problem, adam)
    >>> round(bound.value / 10_000, 3), round(bound.terms["simpler form"] / 10_000, 3)
    (1.058, 1.058)
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, is_symbolic, sqrt
from theory.adam.constants import (
    drift_budget,
    drift_constant,
    momentum_amplification,
    preconditioner_growth,
    preconditioner_start,
    second_moment_weight,
    solve_self_bounding,
)
from theory.bound import Bound
from theory.problem import AdamParameters, Problem, require_betas

__all__ = [
    "l1_noise_cost",
    "l1_test_bound",
    "largest_admissible_eta",
    "scalar_test_bound",
    "solve_with_noise",
]


def l1_noise_cost(beta1: Value, beta2: Value, noise: Value) -> Value:
    """nu' = (1 + rho) nu / sqrt(c): the descent that noise of relative size nu can destroy (key lemma).

    E_k[((Gg)^+ - rho (Gg)^-)/sqrt(v_k)] >= G^2/sqrt(beta2 v_{k-1} + c G^2) - (1 + rho) sd/sqrt(c), for any noise
    with standard deviation sd.
    """
    return (1 + momentum_amplification(beta1, beta2)) * noise / sqrt(second_moment_weight(beta2))


def l1_test_bound(problem: Problem, adam: AdamParameters) -> Bound:
    """Bound on sum_k E||grad L(w_k)||_1 for Adam under the l1 norm test with ``adam.eta``.

    Raises:
        HypothesisError: if eta is too large; it names the largest admissible eta. Or for epsilon > 0.
    """
    _require_small_noise(adam, _l1_noise)
    return _bound(problem, adam, _l1_noise, adam.sum_sqrt_v0, "||_1", "theorem of the l1 norm test")


def scalar_test_bound(problem: Problem, adam: AdamParameters, sum_v0: Value = 0.0) -> Bound:
    """Bound on sum_k E||grad L(w_k)||_2 for Adam under the scalar test: eta must be of the order of 1/sqrt(d).

    Args:
        problem: the condition is on eta sqrt(d).
        adam: eta is of the scalar test E_k||g - G||^2 <= eta^2 ||G||^2; ``sum_sqrt_v0`` is not used.
        sum_v0: sum_i v_{0,i}.

    Raises:
        HypothesisError: if eta sqrt(d) is too large, or for epsilon > 0.

    >>> problem = Problem(smoothness=1.0, dimension=4, initial_gap=1.0, steps=10_000)
    >>> bound = scalar_test_bound(problem, AdamParameters(beta1=0.0, beta2=0.5, eta=0.05, step_size=1e-3))
    >>> round(bound.value / 10_000, 3)
    0.794
    """
    dimension = problem.dimension
    _require_small_noise(adam, _scalar_noise(dimension if is_symbolic(dimension) else float(np.max(dimension))))
    theorem = "theorem of the scalar norm test (eta of the order of 1/sqrt(d))"
    return _bound(problem, adam, _scalar_noise(dimension), sqrt(sum_v0), "||_2", theorem)


def largest_admissible_eta(beta1: float, beta2: float, dimension: float | None = None) -> float:
    """The supremum of the eta that the theorem covers: of the l1 test, or of the scalar test in a dimension.

    >>> round(largest_admissible_eta(0.9, 0.95), 5), round(largest_admissible_eta(0.9, 0.95, dimension=100.0), 6)
    (0.0018, 0.00018)
    """
    require_betas(beta1, beta2)
    return _supremum(beta1, beta2, _l1_noise if dimension is None else _scalar_noise(dimension))


NoiseAndGrowth = Callable[[Value], tuple[Value, Value]]


def _l1_noise(eta: Value) -> tuple[Value, Value]:
    """nu = eta, and the x of B, which is written with tau = sqrt(1 + x^2): here T = 1 + eta."""
    return eta, sqrt(eta * (2 + eta))


def _scalar_noise(dimension: Value) -> NoiseAndGrowth:
    """nu = eta sqrt(d), and x = eta."""
    return lambda eta: (eta * sqrt(dimension), eta)


def _supremum(beta1: float, beta2: float, noise_and_growth: NoiseAndGrowth) -> float:
    """The largest eta with B nu' < 1, by bisection: B nu' increases with eta and exceeds 1 at eta = 1."""
    low, high = 0.0, 1.0
    for _ in range(80):
        middle = (low + high) / 2
        noise, growth = noise_and_growth(middle)
        fits = preconditioner_growth(beta2, growth) * l1_noise_cost(beta1, beta2, noise) < 1
        low, high = (middle, high) if fits else (low, middle)
    return low


def _require_small_noise(adam: AdamParameters, noise_and_growth: NoiseAndGrowth) -> None:
    """Raise unless B nu' < 1, naming the largest admissible eta (for arrays, of the worst entry)."""
    beta1, beta2, eta = adam.beta1, adam.beta2, adam.eta
    if is_symbolic(beta1, beta2, *noise_and_growth(eta)):
        return
    condition = "nu (1 + rho) (1 + T sqrt(beta2)/(1 - sqrt(beta2))) < 1"
    pairs = np.broadcast(beta1, beta2)
    limits = np.array([_supremum(float(b1), float(b2), noise_and_growth) for b1, b2 in pairs])
    given = f"{describe('eta', eta)} at {describe('beta1', beta1)}, {describe('beta2', beta2)}"
    require(eta <= limits.reshape(pairs.shape), condition, given, f"take eta below {limits.min():.4g}")


def solve_with_noise(start: Value, growth: Value, descent: Value, noise_cost: Value) -> Value:
    """The largest S with S^2 <= (A + B S) (P + nu' S), where B nu' < 1.

    It is at most the simpler (P + A/B^2) / (1/B - nu').

    >>> solve_with_noise(start=0.0, growth=2.0, descent=3.0, noise_cost=0.25)
    12.0
    """
    kept = 1 - growth * noise_cost
    return solve_self_bounding((growth * descent + start * noise_cost) / kept, start * descent / kept, 1)


def _bound(
    problem: Problem,
    adam: AdamParameters,
    noise_and_growth: NoiseAndGrowth,
    sum_sqrt_v0: Value,
    norm: str,
    theorem: str,
) -> Bound:
    """The bound on the sum of gradient norms (``norm``) with this nu and this x, T = sqrt(1 + x^2)."""
    adam.require_no_epsilon()
    noise, growth = noise_and_growth(adam.eta)
    gap = problem.initial_gap / adam.alpha / (1 - adam.beta1)
    drift = drift_budget(problem, adam, drift_constant(adam.beta1, adam.beta2)) / (1 - adam.beta1)
    p, noise_cost = gap + drift, l1_noise_cost(adam.beta1, adam.beta2, noise)
    a, b = preconditioner_start(adam.beta2, sum_sqrt_v0), preconditioner_growth(adam.beta2, growth)
    return Bound(
        value=solve_with_noise(a, b, p, noise_cost),
        quantity=f"sum_k E||grad L(w_k){norm}",
        theorem=theorem,
        constants={"A": a, "B": b, "nu'": noise_cost},
        terms={"initial gap": gap, "drift": drift, "simpler form": (p + a / b**2) / (1 / b - noise_cost)},
    )
