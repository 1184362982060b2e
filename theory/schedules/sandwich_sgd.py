r"""SGD on Gaussian linear regression: all schedules on a path lie between two solutions of one equation.

Problem:
    :mod:`theory.schedules.second_moments`, SGD with the rates a_k of rule (R) on a path r(S)
    (:mod:`theory.schedules.path`). With V_i(c) = lambda_i^2 c_i + lambda_i N(c), a step is exactly

        c_i' = c_i + b [-2 lambda_i c_i / r + V_i(c) / r^2] + b^2 lambda_i^2 c_i / r^2,    r = b / a:

    the batch enters only through the last term. How much can that be worth over a whole run?

Guarantee:
    Let P(theta, nu) be the path's equation dC_i/dT = -2 theta lambda_i C_i + nu rho V_i(C), rho = 1 / r, from
    C = c(0), and q = max_k a_k lambda_max.

    - upper: if q <= 1, then c_i(k) <= u_i(T_k) for all i and k, u the solution of P(1, e^{2q}): it depends on the
      path and on q only, and not on the batches;
    - lower: if q < 1, then c_i(k) >= l_i(T_k), l the solution of P(theta_k, chi_k e^{-w_k}) on step k, with
      q_k = a_k lambda_max, theta_k = -ln(1 - q_k) / q_k <= 1 / (1 - q_k), chi_k of the path, and
      w_k = I_k (2 lambda_max^2 + sum_i lambda_i^2).

    So two schedules on one path with small q end at nearly the same risk, R_l <= R_A, R_B <= R_u. With a decay
    split into rate and batch, lr = lr_0 p^{1-s} and b = b_0 p^{-s}, q = lr_0 lambda_max serves every share s in
    [0, 1]. There is no B_noise in it: for SGD the noise scale does not limit the exchange. q <= 1 is needed
    (near the edge of stability large batches lose), and e^{2q} is not the best constant.

    Batches may depend on the past in the upper half: if a_k lambda_max <= q always, E(w_i - w*_i)^2 <= u_i(T).

References:
    Seesaw, arXiv 2510.14717, compares two schedules with bounded constants; here they tend to 1 with q.
    Proof: :mod:`proofs.schedules.sandwich_sgd`.

Shapes:
    One problem: errors and eigenvalues of shape [modes].

Example:
    >>> from theory.schedules.shapes import Power
    >>> problem, errors = Regression(np.array([1.0, 0.25]), noise=1.0), np.array([1.0, 4.0])
    >>> path = LearningRatePath(shape=Power(1), samples=4096.0, initial_ratio=160.0)
    >>> rates_decay = PathSteps.from_batches(path, np.full(256, 16.0))
    >>> batches_grow = PathSteps.from_law(path, lambda seen: 16 / (1 - seen / 4096))
    >>> [round(float(problem.risk(run(problem, steps, errors))), 6) for steps in (rates_decay, batches_grow)]
    [0.002414, 0.002381]
    >>> round(risk_bound(problem, path, errors, largest_move=0.1).value, 6)
    0.002681
    >>> round(float(problem.risk(lower_errors(problem, rates_decay, errors))), 6)
    0.002143
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, exp, log1p
from theory.bound import Bound
from theory.schedules.path import ROUNDING, LearningRatePath, PathSteps
from theory.schedules.path_equation import solution, solution_over_steps
from theory.schedules.second_moments import Regression

__all__ = [
    "largest_move",
    "lower_contraction",
    "lower_errors",
    "path_solution",
    "risk_bound",
    "run",
    "upper_errors",
    "upper_noise",
    "variance_growth",
]

Array = NDArray[np.float64]


def run(problem: Regression, steps: PathSteps, errors: Array) -> Array:
    """c(n), by the exact recursion of :meth:`~theory.schedules.second_moments.Regression.sgd`."""
    for rate, batch in zip(steps.rates, steps.batches, strict=True):
        errors = problem.sgd(errors, rate, batch)
    return errors


def largest_move(problem: Regression, steps: PathSteps) -> float:
    """q = max_k a_k lambda_max."""
    return float(steps.rates.max() * problem.eigenvalues.max())


def upper_errors(problem: Regression, path: LearningRatePath, errors: Array, largest_move: float) -> Array:
    """u(T), which no schedule on the path with a_k lambda_max <= q exceeds in any mode.

    Args:
        problem: one regression.
        path: what the schedules follow.
        errors: c(0), shape [modes].
        largest_move: q.

    Raises:
        HypothesisError: unless 0 < q <= 1.
    """
    given = describe("q", largest_move)
    require(
        0 < largest_move <= 1 + ROUNDING,
        "0 < q = max a_k lambda_max <= 1",
        given,
        "take a smaller rate, or less growth",
    )
    return path_solution(problem, path, errors, noise=upper_noise(largest_move))


def risk_bound(problem: Regression, path: LearningRatePath, errors: Array, largest_move: float) -> Bound:
    """R at the end of any schedule on the path with a_k lambda_max <= q; arguments as of :func:`upper_errors`."""
    upper = upper_errors(problem, path, errors, largest_move)
    return Bound(
        value=float(problem.risk(upper)),
        quantity="R = sum_i lambda_i E(w_i - w*_i)^2 at the end",
        theorem="sandwich of SGD's schedules on one path",
        constants={"q": largest_move, "noise factor": upper_noise(largest_move)},
        terms={"errors": upper},
    )


def lower_errors(problem: Regression, steps: PathSteps, errors: Array) -> Array:
    """l(T), which these steps do not fall below in any mode.

    Raises:
        HypothesisError: unless q = max_k a_k lambda_max < 1.
    """
    moves = steps.rates * problem.eigenvalues.max()
    require(
        np.max(moves) < 1, "q = max a_k lambda_max < 1", describe("q", float(np.max(moves))), "take smaller rates"
    )
    squares = np.sum(problem.multiplicities * problem.eigenvalues**2)
    growth = steps.noises * variance_growth(problem.eigenvalues.max(), squares)
    shares = steps.noise_shares * np.exp(-growth)
    return solution_over_steps(_terms, problem, steps, errors, lower_contraction(moves), shares)


def upper_noise(largest_move: Value) -> Value:
    """e^{2q}, the factor of the noise in the upper equation."""
    return exp(2 * largest_move)


def lower_contraction(move: Value) -> Value:
    """theta_k = -ln(1 - q_k) / q_k, the factor of the decay in the lower equation.

    >>> round(lower_contraction(0.5), 4)        # 2 ln 2
    1.3863
    """
    return -log1p(-move) / move


def variance_growth(largest_eigenvalue: Value, squared_eigenvalues: Value) -> Value:
    """w_k / I_k = 2 lambda_max^2 + sum_i lambda_i^2, the rate at which variances grow at most."""
    return 2 * largest_eigenvalue**2 + squared_eigenvalues


def _terms(problem: Regression, errors: Array) -> tuple[Array, Array]:
    """2 lambda_i C_i and V_i(C)."""
    return 2 * problem.eigenvalues * errors, problem.variances(errors)


path_solution = partial(solution, _terms)
"""The solution of P(theta, nu), see :func:`theory.schedules.path_equation.solution`."""
