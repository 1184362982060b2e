"""The theorem on Adam as published, refuted: the measured sum of gradient norms exceeds its bound.

Two convex functions of one variable, exact gradients (so that the coordinate-wise test holds for every eta):

- L(w) = sqrt(D^2 + w^2) - D, D = 1e6, from w = 1e7. The published bound has lost the factor L(w_1) - inf L; the
  sum grows like K, and passes the bound as it is published.
- L(w) = 1e4 (sqrt(1 + w^2) - 1) from w = 10, where the sum is beyond the published bound for *every* sigma.

The corrected Theorem 1 holds on the same runs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import numpy as np

from simulate.experiments.result import Result, Table
from simulate.experiments.settings import Advance, Settings
from simulate.outcomes import Assertion, Expectation, Kind, Outcome, at_most
from theory.adam.theorem1 import gradient_norm_sum_bound
from theory.audit.checks.adam_runs import deterministic_adam
from theory.audit.corrected_adam import best_sigma
from theory.audit.published_adam import PublishedProblem, largest_published_beta1, published_bound
from theory.problem import AdamParameters, Problem

__all__ = ["FAR_AWAY", "STEEP", "Counterexample", "run"]


@dataclass(frozen=True)
class Counterexample:
    """A convex function scale (sqrt(width^2 + w^2) - width) of one variable, and a run of Adam on it.

    Attributes:
        label: for figures.
        width: D.
        scale: factor of the function.
        start: w_1.
        step_size: alpha.
        beta1: decay of m.
        beta2: decay of v.
        eta: of the coordinate-wise test, which exact gradients meet.
        v0: initial second moment; None for the first gradient squared.
        sigma: of the published bound; None for the one that makes the bound least.
    """

    label: str
    width: float
    scale: float
    start: float
    step_size: float
    beta1: float
    beta2: float
    eta: float
    v0: float | None
    sigma: float | None

    def derivative(self, w: float) -> float:
        """L'(w)."""
        return self.scale * w / math.hypot(self.width, w)

    @property
    def smoothness(self) -> float:
        """L = scale / width."""
        return self.scale / self.width

    @property
    def initial_gap(self) -> float:
        """L(w_1) - inf L."""
        return self.scale * (math.hypot(self.width, self.start) - self.width)

    @property
    def initial_second_moment(self) -> float:
        """v_0."""
        return self.derivative(self.start) ** 2 if self.v0 is None else self.v0

    def measured_sum(self, steps: int) -> float:
        """sum_{k<=K} |L'(w_k)| of the run, computed step by step."""
        betas, v0 = (self.beta1, self.beta2), self.initial_second_moment
        return deterministic_adam(self.derivative, self.start, self.step_size, *betas, v0, steps).gradient_sum

    def published_problem(self, steps: int) -> PublishedProblem:
        """What the bounds are told."""
        problem = Problem(smoothness=self.smoothness, dimension=1, initial_gap=self.initial_gap, steps=steps)
        adam = AdamParameters(
            beta1=self.beta1,
            beta2=self.beta2,
            eta=self.eta,
            step_size=self.step_size,
            sum_sqrt_v0=math.sqrt(self.initial_second_moment),
        )
        v0, gradient = np.array([self.initial_second_moment]), np.array([self.derivative(self.start)])
        return PublishedProblem(problem, adam, v0, gradient)

    def published(self, steps: int) -> float:
        """The bound as published."""
        bound = partial(published_bound, self.published_problem(steps))
        best = best_sigma(bound, low=1e-10, high=1e10, points=61) if self.sigma is None else bound(self.sigma)
        return float(best.value)

    def corrected(self, steps: int) -> float:
        """The corrected Theorem 1."""
        run = self.published_problem(steps)
        return float(gradient_norm_sum_bound(run.problem, run.adam).value)


FAR_AWAY = Counterexample(
    label="far from the minimiser",
    width=1e6,
    scale=1.0,
    start=1e7,
    step_size=1.0,
    beta1=0.5,
    beta2=0.99,
    eta=0.5,
    v0=1.0,
    sigma=1e-6,
)
STEEP = Counterexample(
    label="steep",
    width=1.0,
    scale=1e4,
    start=10.0,
    step_size=1e-4,
    beta1=0.1,
    beta2=0.99,
    eta=0.5,
    v0=None,
    sigma=None,
)


def run(settings: Settings, advance: Advance) -> Result:
    """Sums and bounds over K on both counterexamples."""
    far_steps = settings.by_level((300, 1000, 3000, 10_000), _decades(100, 100_000), _decades(100, 1_000_000))
    steep_steps = settings.by_level((10_000, 20_000), _decades(100, 20_000), _decades(100, 200_000))
    cases = [(FAR_AWAY, steps) for steps in far_steps] + [(STEEP, steps) for steps in steep_steps]
    total = sum(steps for _, steps in cases)
    rows = []
    for example, steps in cases:
        measured = example.measured_sum(steps)
        bounds = {"published_bound": example.published(steps), "corrected_bound": example.corrected(steps)}
        rows.append({"counterexample": example.label, "K": steps, "measured": measured, **bounds})
        advance(steps / total)
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
        tables={"published_theorem": table},
    )


def _decades(low: int, high: int) -> tuple[int, ...]:
    """1, 2 and 5 times powers of ten, from low to high."""
    grid = (m * 10**e for e in range(12) for m in (1, 2, 5))
    return tuple(steps for steps in grid if low <= steps <= high)


def _refutation(table: Table, example: Counterexample) -> Outcome:
    rows = table.where(counterexample=example.label).rows()
    limit = largest_published_beta1(example.beta2, example.eta)
    sigma = "its best sigma" if example.sigma is None else f"sigma = {example.sigma:g}"
    return Outcome(
        name=f"Theorem B.1 as published, {example.label}",
        statement="The sum of the gradient norms is at most the published bound (B.2), for any sigma > 0.",
        expected=Expectation.REFUTED,
        asserted=at_most(rows, f"K = {{K}}, {sigma}", "published_bound"),
        supporting=(
            Assertion("beta1 against the published condition", example.beta1, "<=", float(limit)),
            Assertion("v_0", example.initial_second_moment, ">", 0.0),
        ),
        kind=Kind.UPPER,
        note=f"betas ({example.beta1}, {example.beta2}), alpha = {example.step_size:g}, exact gradients.",
    )


def _corrected(table: Table) -> Outcome:
    return Outcome(
        name="Theorem 1 on the counterexamples",
        statement="The same sums are at most the corrected Theorem 1's bound.",
        expected=Expectation.HOLDS,
        asserted=at_most(table.rows(), "{counterexample}, K = {K}", "corrected_bound"),
        kind=Kind.UPPER,
    )
