r"""An idealised Adam on Gaussian linear regression: a batch below the noise scale costs at most a known factor.

Problem:
    :mod:`theory.schedules.second_moments`, the Adam-like step at lr, with the effective rates a = lr sqrt(b) of
    rule (R) on a path r(S) = sqrt(b) / lr (:mod:`theory.schedules.path`). With G_i^2 = lambda_i^2 c_i, V_i =
    lambda_i N + G_i^2 and B_i = V_i / G_i^2, a step is exactly

        c_i' = c_i - 2 a lambda_i c_i / sqrt(V_i + b G_i^2) + a^2 / b
             = c_i - 2 a sqrt(c_i / B_i) / sqrt(1 + b / B_i) + a^2 / b:

    the noise a^2 / b is the path's, and the batch enters only through the slow-down 1 / sqrt(1 + b / B_i). What
    does a larger batch cost?

Guarantee:
    Let sigma > 0, q = 2 sqrt(lambda_max) max_k a_k / sigma, kappa <= (1 + b_k / B_i)^{-1/2} in every mode at every
    step, and Q(theta, nu) the equation dC_i/dT = -2 theta lambda_i C_i / sqrt(V_i(C)) + nu rho from C = c(0).

    - upper: if q <= 1, then c_i(k) <= u_i(T_k), u the solution of Q(kappa e^{-q/2}, e^q);
    - lower, for any batches: if q < 1, then c_i(k) >= l_i(T_k), l the solution of
      Q(-e^{w_k/2} ln(1 - q_k) / q_k, chi_k) on step k, q_k = 2 sqrt(lambda_max) a_k / sigma and
      w_k = I_k (sum lambda + lambda_max) / sigma^2.

    Batches of at most min_i B_i / eta^2 have kappa = (1 + 1 / eta^2)^{-1/2} (eta = 1: .71, eta = 2: .89).
    Q(theta, nu) is Q(1, nu / theta) run for the time theta T: for small q such a ceiling costs at most the
    factor kappa in time and 1 / kappa in noise, and only modes that are far from their noise floor pay it. For
    batches that are fixed before the run only. Where a rises along the path (more than half of an Adam-like
    decay given to the batch), q is that of the end, and the statement ends where q > 1.

References:
    Malladi et al., arXiv 2205.10287 (sqrt(b) / lr as Adam's invariant where noise dominates).
    Proof: :mod:`proofs.schedules.sandwich_adam`.

Shapes:
    One problem: errors and eigenvalues of shape [modes].

Example:
    >>> from theory.schedules.shapes import Power
    >>> problem, errors = Regression(np.array([1.0, 0.25]), noise=16.0), np.array([1.0, 4.0])
    >>> path = LearningRatePath(shape=Power(1), samples=4096.0, initial_ratio=160.0)
    >>> steps = PathSteps.from_batches(path, np.full(256, 16.0))
    >>> end, kept = run(problem, steps, errors)
    >>> round(kept, 3), round(largest_move(problem, steps), 4)
    (0.737, 0.0499)
    >>> bound = risk_bound(problem, path, errors, largest_move=0.05, kept=0.73)
    >>> lower = lower_errors(problem, steps, errors)
    >>> [round(float(value), 3) for value in (problem.risk(lower), problem.risk(end), bound.value)]
    [0.05, 0.075, 0.134]
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, exp, log1p, sqrt
from theory.bound import Bound
from theory.schedules.path import ROUNDING, LearningRatePath, PathSteps
from theory.schedules.path_equation import solution, solution_over_steps
from theory.schedules.second_moments import Regression

__all__ = [
    "largest_move",
    "lower_contraction",
    "lower_errors",
    "move",
    "path_solution",
    "risk_bound",
    "run",
    "upper_errors",
    "upper_factors",
    "variance_growth",
]

Array = NDArray[np.float64]


def run(problem: Regression, steps: PathSteps, errors: Array) -> tuple[Array, float]:
    """c(n) by the exact recursion with lr_k = a_k / sqrt(b_k), and kappa = min_{k,i} (1 + b_k / B_i)^{-1/2}."""
    kept = 1.0
    for rate, batch in zip(steps.rates, steps.batches, strict=True):
        ratio = np.max(problem.squared_gradients(errors) / problem.variances(errors))
        kept = min(kept, float((1 + batch * ratio) ** -0.5))
        errors = problem.adam_like(errors, rate / np.sqrt(batch), batch)
    return errors, kept


def largest_move(problem: Regression, steps: PathSteps) -> float:
    """q = 2 sqrt(lambda_max) max_k a_k / sigma."""
    return float(np.max(_moves(problem, steps)))


def _moves(problem: Regression, steps: PathSteps) -> Array:
    require(problem.noise > 0, "sigma^2 > 0", describe("noise", problem.noise), "see adam_descent without noise")
    return np.asarray(move(problem.eigenvalues.max(), problem.noise, steps.rates))


def move(eigenvalue: Value, noise: Value, rate: Value) -> Value:
    """q_k = 2 sqrt(lambda_max) a_k / sigma, of lambda_max and sigma^2.

    >>> move(4.0, noise=16.0, rate=0.5)
    0.5
    """
    return 2 * sqrt(eigenvalue / noise) * rate


def upper_factors(largest_move: Value, kept: Value) -> tuple[Value, Value]:
    """theta = kappa e^{-q/2} and nu = e^q of the upper equation."""
    return kept * exp(-largest_move / 2), exp(largest_move)


def lower_contraction(move: Value, growth: Value) -> Value:
    """theta_k = -e^{w_k/2} ln(1 - q_k) / q_k of the lower equation.

    >>> round(lower_contraction(0.5, growth=0.0), 4)        # 2 ln 2
    1.3863
    """
    return -exp(growth / 2) * log1p(-move) / move


def variance_growth(largest_eigenvalue: Value, eigenvalues: Value, noise: Value) -> Value:
    """w_k / I_k = (sum_i lambda_i + lambda_max) / sigma^2, the rate at which variances grow at most."""
    return (eigenvalues + largest_eigenvalue) / noise


def upper_errors(
    problem: Regression, path: LearningRatePath, errors: Array, largest_move: float, kept: float
) -> Array:
    """u(T), which no schedule on the path with these q and kappa exceeds in any mode.

    Args:
        problem: one regression.
        path: what the schedules follow.
        errors: c(0), shape [modes].
        largest_move: q.
        kept: kappa.

    Raises:
        HypothesisError: unless 0 < q <= 1 and 0 < kappa <= 1.
    """
    given = f"{describe('q', largest_move)}, {describe('kappa', kept)}"
    hypothesis = "0 < q = 2 sqrt(lambda_max) max a_k / sigma <= 1 and 0 < kappa <= 1"
    require(0 < largest_move <= 1 + ROUNDING and 0 < kept <= 1, hypothesis, given, "take smaller rates")
    contraction, noise = upper_factors(largest_move, kept)
    return path_solution(problem, path, errors, contraction=contraction, noise=noise)


def risk_bound(
    problem: Regression, path: LearningRatePath, errors: Array, largest_move: float, kept: float
) -> Bound:
    """R at the end of any schedule on the path with these q and kappa; arguments as of :func:`upper_errors`."""
    upper = upper_errors(problem, path, errors, largest_move, kept)
    return Bound(
        value=float(problem.risk(upper)),
        quantity="R = sum_i lambda_i E(w_i - w*_i)^2 at the end",
        theorem="sandwich of an idealised Adam's schedules on one path",
        constants={"q": largest_move, "kappa": kept},
        terms={"errors": upper},
    )


def lower_errors(problem: Regression, steps: PathSteps, errors: Array) -> Array:
    """l(T), which these steps do not fall below in any mode.

    Raises:
        HypothesisError: unless sigma > 0 and q < 1.
    """
    moves = _moves(problem, steps)
    require(np.max(moves) < 1, "q < 1", describe("q", float(np.max(moves))), "take smaller rates")
    largest = problem.eigenvalues.max()
    trace = np.sum(problem.multiplicities * problem.eigenvalues)
    growth = steps.noises * variance_growth(largest, trace, problem.noise)
    contractions = lower_contraction(moves, growth)
    return solution_over_steps(_terms, problem, steps, errors, contractions, steps.noise_shares)


def _terms(problem: Regression, errors: Array) -> tuple[Array, Array]:
    """2 lambda_i C_i / sqrt(V_i(C)) and 1."""
    return 2 * problem.eigenvalues * errors / np.sqrt(problem.variances(errors)), np.ones_like(errors)


path_solution = partial(solution, _terms)
"""The solution of Q(theta, nu), see :func:`theory.schedules.path_equation.solution`."""
