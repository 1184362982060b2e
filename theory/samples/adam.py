r"""Steps and samples of Adam under the l1 test: the eta that samples want, and what a floor costs.

Problem:
    As :mod:`theory.l1.theorem3`, with samples whose coordinates have sum_i sigma_i <= s, until
    ||G_k||_1 <= epsilon for the first time, after T steps; or, under a test with a floor, for a fixed number of
    steps.

Algorithm:
    Adam as there, and at step k the smallest batch of independent samples that meets the l1 test,
    b_k = max(1, ceil((sum_i sigma_{k,i})^2 / (eta ||G_k||_1)^2)). Under a **floor** f the test is

        sum_i sd_{k,i} <= eta max(||G_k||_1, f).

Guarantee (given a certificate (J, lambda, Lambda, h); M = C_m^2 / 2 + Lambda C_m, P = the initial potential):
    - steps: if eps' = (J - lambda eta) epsilon - alpha L d M > 0, then E T <= (Delta / alpha + P) / eps'; at
      alpha = (J - lambda eta) epsilon / (2 L d M) that is

          4 L d M Delta / ((J - lambda eta) epsilon)^2 + 2 P / ((J - lambda eta) epsilon).

    - samples: E sum_{k<=T} b_k <= E T max(1, ceil(s^2 / (eta epsilon)^2)). Where noise dominates, this is least at

          eta = J / (2 lambda).

    - floor, any K: Theorem 3's bound on (1/K) sum_k E||G_k||_1 grows by lambda eta f / (J - lambda eta), and every
      batch is at most max(1, ceil(s^2 / (eta f)^2)), surely.

References:
    Proof: :mod:`proofs.samples.adam`.

Shapes:
    Floats.

Example:
    >>> from theory.l1.theorem3 import find_certificate
    >>> certificate = find_certificate(0.5, 0.9)
    >>> round(best_eta(certificate.gain, certificate.noise_weight), 3)
    0.587
    >>> problem = Problem(smoothness=1.0, dimension=1, initial_gap=1.0, steps=1)
    >>> found = steps_to_goal(certificate, problem, Goal(level=0.5, noise=10.0), eta=0.6, initial_potential=0.0)
    >>> round(found.value), round(found.parameters["alpha"], 6)
    (4315, 0.003141)
"""

from __future__ import annotations

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value
from theory.adam.constants import normalized_step_bound
from theory.bound import Bound
from theory.l1.theorem3 import Certificate
from theory.problem import Problem
from theory.samples.goal import Goal, largest_batch, require_positive

__all__ = [
    "best_eta",
    "best_step_size",
    "drift",
    "expected_steps",
    "floor_cost",
    "kept_descent",
    "samples_to_goal",
    "steps_to_goal",
]


def kept_descent(gain: Value, noise_weight: Value, eta: Value) -> Value:
    """J - lambda eta."""
    return gain - noise_weight * eta


def best_eta(gain: Value, noise_weight: Value) -> Value:
    """J / (2 lambda), where (eta (J - lambda eta))^-2 is least."""
    return gain / (2 * noise_weight)


def drift(problem: Problem, step: Value, lipschitz_constant: Value) -> Value:
    """L d (C_m^2 / 2 + Lambda C_m): what a step of size alpha costs, per alpha^2.

    Args:
        problem: L and d.
        step: C_m.
        lipschitz_constant: Lambda.
    """
    return problem.smoothness * problem.dimension * (step**2 / 2 + lipschitz_constant * step)


def best_step_size(kept: Value, level: Value, moved: Value) -> Value:
    """alpha = (J - lambda eta) epsilon / (2 L d M)."""
    return kept * level / (2 * moved)


def expected_steps(
    gap: Value, initial_potential: Value, step_size: Value, kept: Value, level: Value, moved: Value
) -> Value:
    """(Delta / alpha + P) / ((J - lambda eta) epsilon - alpha L d M)."""
    return (gap / step_size + initial_potential) / (kept * level - step_size * moved)


def floor_cost(gain: Value, noise_weight: Value, eta: Value, floor: Value) -> Value:
    """lambda eta f / (J - lambda eta): what a floor adds to the bound on the mean of E||G_k||_1.

    >>> floor_cost(1.0, 1.0, 0.5, 0.1)
    0.1
    """
    return noise_weight * eta * floor / kept_descent(gain, noise_weight, eta)


def steps_to_goal(
    certificate: Certificate,
    problem: Problem,
    goal: Goal,
    *,
    eta: float,
    initial_potential: float,
    step_size: float | None = None,
) -> Bound:
    """E T, the expected number of steps before ||G||_1 <= epsilon.

    Args:
        certificate: for the betas.
        problem: L, d and Delta.
        goal: epsilon.
        eta: of the l1 test.
        initial_potential: P, of :meth:`~theory.l1.theorem3.Certificate.initial_potential`.
        step_size: alpha; None: the best.

    Raises:
        HypothesisError: unless 0 <= eta < J / lambda and eps' > 0.
    """
    kept = kept_descent(certificate.gain, certificate.noise_weight, eta)
    advice = f"take eta below J / lambda = {certificate.largest_eta:.6g}"
    require(eta >= 0, "eta >= 0", describe("eta", eta), "take eta = 0 (no noise) or more")
    require(kept > 0, "lambda eta < J", describe("eta", eta), advice)
    step = normalized_step_bound(certificate.beta1, certificate.beta2)
    moved = drift(problem, step, certificate.lipschitz_constant)
    alpha = best_step_size(kept, goal.level, moved) if step_size is None else step_size
    require_positive("step_size", alpha)
    limit = kept * goal.level / moved
    require(alpha < limit, "alpha L d M < (J - lambda eta) epsilon", describe("step_size", alpha), f"< {limit:g}")
    return Bound(
        value=expected_steps(problem.initial_gap, initial_potential, alpha, kept, goal.level, moved),
        theorem=f"steps of Adam under the l1 test: {certificate.support}",
        quantity="E T",
        constants={"J - lambda eta": kept, "L d M": moved},
        parameters={"alpha": alpha},
    )


def samples_to_goal(
    certificate: Certificate,
    problem: Problem,
    goal: Goal,
    *,
    eta: float,
    initial_potential: float,
    step_size: float | None = None,
) -> Bound:
    """E sum_{k<=T} b_k; arguments as of :func:`steps_to_goal`.

    Raises:
        HypothesisError: see there; eta > 0.
    """
    require_positive("eta", eta)
    steps = steps_to_goal(
        certificate, problem, goal, eta=eta, initial_potential=initial_potential, step_size=step_size
    )
    batch = largest_batch(goal.noise**2, goal.level**2, eta)
    return Bound(
        value=steps.value * batch,
        theorem=f"samples of Adam under the l1 test: {certificate.support}",
        quantity="E sum_{k<=T} b_k",
        constants={**steps.constants, "E T": steps.value, "largest batch": batch},
        parameters=steps.parameters,
    )
