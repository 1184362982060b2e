"""Theorem 3 after the run, on a curvature that grows, and what one run may do."""

from __future__ import annotations

from typing import Any

import numpy as np

from adabatch.moments.l1 import conservative_l1_norm, sum_of_standard_deviations
from simulate.experiments.samples.runs import run_until
from simulate.objectives import PseudoHuber
from simulate.optimizers import Adam
from simulate.outcomes import Assertion, Expectation, Kind, Outcome, at_most
from simulate.streams import Array
from theory.adam.constants import normalized_step_bound
from theory.l1.theorem3 import bound_terms, find_certificate
from theory.problem import Problem
from theory.samples import a_posteriori, growth
from theory.samples.relaxed_smoothness import relaxed_sum

__all__ = ["after_the_run", "estimated_ratio", "growing_curvature", "one_run"]

Found = tuple[list[dict[str, Any]], list[Outcome]]

CERTIFICATE = find_certificate(0.5, 0.9)
STEP = float(normalized_step_bound(0.5, 0.9))
GROWTH = 1.7632228343518968
"""L1 of cosh: e^(1 / L1) = L1, as |sinh x - sinh y| <= e^|x - y| (1 + |sinh x|) |x - y|."""


def after_the_run(seeds: int, generator: np.random.Generator, steps: int) -> Found:
    """Adam with constant batches: no test at all, and the bound of the deviations that there were."""
    objective, alpha, deviation = PseudoHuber(dimension=4, initial=3.0), 3e-3, np.full(4, 3.0)
    problem, start = objective.problem(steps), objective.start()
    right = float(sum(bound_terms(problem, alpha, CERTIFICATE.lipschitz_constant, STEP).values()))
    right += CERTIFICATE.initial_potential(objective.gradient(start[None])[0], np.zeros(4))
    rows, ratios = [], []
    for batch in (16.0, 64.0, 256.0, 1024.0):
        cost = run_until(
            objective.gradient,
            Adam(alpha, 0.5, 0.9),
            start,
            deviation,
            seeds=seeds,
            generator=generator,
            batch=batch,
            steps=steps,
        )
        noise = float(cost.deviations.mean())
        total = a_posteriori.measured_sum(right, noise, CERTIFICATE.gain, CERTIFICATE.noise_weight)
        row = {"panel": "measured", "curve": "mean l1 norm", "x": noise / float(cost.gradients.mean())}
        rows.append(row | {"measured": float(cost.gradients.mean()) / steps, "bound": float(total) / steps})
        estimate, true = estimated_ratio(objective.gradient(start[None])[0], deviation, batch, generator, 400)
        ratios.append(Assertion(f"batch {batch:g}: true ratio and the interval's end", true, "<=", estimate.high))
    return rows, [
        Outcome(
            "Theorem 3 after the run",
            "Without any test, the mean l1 norm is at most the bound at the ratio that the run had.",
            at_most(rows, "eta_eff {x:.3g}"),
            kind=Kind.UPPER,
        ),
        Outcome("Estimated ratio", "The estimate of eta_eff errs upwards, within its interval.", ratios),
    ]


def estimated_ratio(
    gradient: Array, deviation: Array, batch: float, generator: np.random.Generator, steps: int, groups: int = 4
) -> tuple[a_posteriori.EffectiveEta, float]:
    """eta_eff from groups, as a run records it, and the true one, at a gradient that stays.

    Args:
        gradient: G, [d].
        deviation: sigma_i of a sample, [d].
        batch: samples of a step.
        generator: of the noise.
        steps: measured.
        groups: J.
    """
    size = batch / groups
    noise = deviation / np.sqrt(size) * generator.standard_normal((groups, steps, len(gradient)))
    drawn = gradient + noise
    deviations = sum_of_standard_deviations(groups, size, np.square(drawn).sum(axis=0), drawn.mean(axis=0))
    found = a_posteriori.effective_eta(deviations / np.sqrt(batch), conservative_l1_norm(drawn))
    return found, float(deviation.sum() / np.sqrt(batch) / np.abs(gradient).sum())


def growing_curvature(seeds: int, generator: np.random.Generator, steps: int) -> Found:
    """cosh w - 1, whose curvature has no bound, under Adam with multiplicative noise by the l1 test."""
    eta, alpha, start = 0.5, 2e-3, np.array([2.0])
    problem = Problem(smoothness=GROWTH, dimension=1, initial_gap=float(np.cosh(2.0) - 1), steps=steps)
    cost = run_until(
        np.sinh,
        Adam(alpha, 0.5, 0.9),
        start,
        np.array([2.0]),
        seeds=seeds,
        generator=generator,
        test="l1",
        eta=eta,
        steps=steps,
    )
    bound = relaxed_sum(
        problem,
        GROWTH,
        alpha=alpha,
        step=STEP,
        lipschitz_constant=CERTIFICATE.lipschitz_constant,
        kept=CERTIFICATE.gain - CERTIFICATE.noise_weight * eta,
        initial_potential=CERTIFICATE.initial_potential(np.sinh(start), np.zeros(1)),
    )
    met = Assertion(f"cosh, K = {steps}", float(cost.gradients.mean()), "<=", float(bound))
    statement = "On an objective whose curvature grows with its gradient the sum of l1 norms is at most the bound."
    return [], [Outcome("Theorem 3, relaxed smoothness", statement, [met], kind=Kind.UPPER)]


def one_run() -> Found:
    """Two steps with one rare large value: what happens with probability delta, exactly."""
    eta, within, near, half = 1.0, [], [], []
    alpha = 1 / (1 + eta**2)
    for failure in (0.1, 0.01, 1e-4):
        rare = 1 + float(growth.gradient_after(eta, growth.large_value(eta, failure))) ** 2
        limit = float(growth.with_probability(2 - alpha, failure))
        within.append(Assertion(f"delta {failure:g}", rare, "<=", limit))
        half.append(Assertion(f"delta {failure:g}", rare, "<=", limit * np.sqrt(failure)))
        near.append(Assertion(f"delta {failure:g}", limit, "<=", rare * 8 * (2 - alpha) / (alpha * eta) ** 2))
    return [], [
        Outcome(
            "One run",
            "With probability 1 - delta a sum is at most its expectation's bound over delta.",
            within,
            supporting=near,
            kind=Kind.UPPER,
        ),
        Outcome(
            "One run, from second moments",
            "From second moments alone it would be at most the bound over sqrt(delta).",
            half,
            expected=Expectation.REFUTED,
        ),
    ]
