"""The theorem on Adam as published, refuted: the measured sum of gradient norms exceeds its bound.

Two convex functions of one variable, exact gradients (so that the coordinate-wise test holds for every eta):

- L(w) = sqrt(D^2 + w^2) - D, D = 1e6, from w = 1e7. The published bound has lost the factor L(w_1) - inf L; the
  sum grows like K, and passes the bound as it is published.
- L(w) = 1e4 (sqrt(1 + w^2) - 1) from w = 10, where the sum is beyond the published bound for *every* sigma.

The corrected Theorem 1 holds on the same runs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result, Table
from simulate.experiments.settings import Settings
from simulate.outcomes import Assertion, Expectation, Kind, Outcome, at_most
from theory.adam.theorem1 import gradient_norm_sum_bound
from theory.audit.checks.adam_runs import far_away, steep
from theory.audit.corrected_adam import best_sigma
from theory.audit.published_adam import PublishedProblem, largest_published_beta1, published_bound

__all__ = ["FAR_AWAY", "STEEP", "Counterexample", "run"]


@dataclass(frozen=True)
class Counterexample:
    """A run of Adam on a convex function, and the bounds on its sum of gradient norms.

    Attributes:
        label: for figures.
        run: what the bounds are told of a run of K steps, and sum_{k<=K} |L'(w_k)|, computed step by step.
        sigma: of the published bound; None for the one that makes the bound least.
    """

    label: str
    run: Callable[[int], tuple[PublishedProblem, float]]
    sigma: float | None

    def published(self, problem: PublishedProblem) -> float:
        """The bound as published."""
        bound = partial(published_bound, problem)
        best = best_sigma(bound, low=1e-10, high=1e10, points=61) if self.sigma is None else bound(self.sigma)
        return float(best.value)

    def corrected(self, problem: PublishedProblem) -> float:
        """The corrected Theorem 1."""
        adam = replace(problem.adam, sum_sqrt_v0=float(np.sqrt(problem.v0).sum()))
        return float(gradient_norm_sum_bound(problem.problem, adam).value)


FAR_AWAY = Counterexample("far from the minimiser", far_away, sigma=1e-6)
STEEP = Counterexample("steep", steep, sigma=None)


def run(settings: Settings, pieces: Pieces) -> Result:
    """Sums and bounds over K on both counterexamples."""
    far_steps = settings.by_level((300, 1000, 3000, 10_000), _decades(100, 100_000), _decades(100, 1_000_000))
    steep_steps = settings.by_level((10_000, 20_000), _decades(100, 20_000), _decades(100, 200_000))
    cases = [(FAR_AWAY, steps) for steps in far_steps] + [(STEEP, steps) for steps in steep_steps]
    rows = pieces.each(cases, lambda case: _row(*case), weight=lambda case: case[1])
    table = Table.of_rows(rows)
    return Result(
        name="published-theorem",
        title="The published theorem is refuted",
        summary=(
            "Two convex functions of one variable with exact gradients, within the published hypotheses: the sum "
            "of the gradient norms exceeds the published bound (B.2), on the second function even at the sigma "
            "that makes the bound least. The corrected Theorem 1 holds on both."
        ),
        outcomes=(*(_refutation(table, e) for e in (FAR_AWAY, STEEP)), _corrected(table)),
        theorems=("theory.audit.published_adam", "theory.adam.theorem1"),
        tables={"published_theorem": table},
    )


def _row(example: Counterexample, steps: int) -> dict[str, object]:
    problem, measured = example.run(steps)
    bounds = {"published_bound": example.published(problem), "corrected_bound": example.corrected(problem)}
    return {"counterexample": example.label, "K": steps, "measured": measured, **bounds}


def _decades(low: int, high: int) -> tuple[int, ...]:
    """1, 2 and 5 times powers of ten, from low to high."""
    grid = (m * 10**e for e in range(12) for m in (1, 2, 5))
    return tuple(steps for steps in grid if low <= steps <= high)


def _refutation(table: Table, example: Counterexample) -> Outcome:
    rows = table.where(counterexample=example.label).rows()
    problem, _ = example.run(1)
    adam = problem.adam
    limit = largest_published_beta1(adam.beta2, adam.eta)
    sigma = "its best sigma" if example.sigma is None else f"sigma = {example.sigma:g}"
    return Outcome(
        name=f"Theorem B.1 as published, {example.label}",
        statement="The sum of the gradient norms is at most the published bound (B.2), for any sigma > 0.",
        expected=Expectation.REFUTED,
        asserted=at_most(rows, f"K = {{K}}, {sigma}", "published_bound"),
        supporting=(
            Assertion("beta1 against the published condition", adam.beta1, "<=", float(limit)),
            Assertion("v_0", float(problem.v0[0]), ">", 0.0),
        ),
        kind=Kind.UPPER,
        note=f"betas ({adam.beta1}, {adam.beta2}), alpha = {adam.alpha:g}, exact gradients.",
    )


def _corrected(table: Table) -> Outcome:
    return Outcome(
        name="Theorem 1 on the counterexamples",
        statement="The same sums are at most the corrected Theorem 1's bound.",
        asserted=at_most(table.rows(), "{counterexample}, K = {K}", "corrected_bound"),
        kind=Kind.UPPER,
    )
