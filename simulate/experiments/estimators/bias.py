"""What the published variance estimate measures: low by (J-1)/b, so that the published test saturates.

J workers, each with the mean gradient of b/J samples; Gaussian samples in a high dimension, noise far above the
gradient. Monte Carlo means next to the exact expectations of :mod:`theory.estimators.expectations`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.gradient_moments import GradientMoments
from adabatch.moments.noise_scale import noise_scale, saturation_level
from adabatch.moments.statistic import Estimator, norm_test_statistic
from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result, Table
from simulate.experiments.settings import Settings
from simulate.outcomes import Assertion, Expectation, Outcome
from theory.estimators.expectations import GaussianGroups, expected_statistic, moments

__all__ = ["Population", "run"]

ETA = 0.2
WORKERS = (2, 4, 8, 16)
SHOWN = 4
"""The number of workers whose statistic is shown."""


@dataclass(frozen=True)
class Population:
    """Gaussian per-sample gradients: G with ||G||^2 = ``squared_gradient`` and d unit variances."""

    dimension: int = 400
    squared_gradient: float = 0.004

    @property
    def gradient(self) -> NDArray[np.float64]:
        """G, shape [d]."""
        return np.full(self.dimension, np.sqrt(self.squared_gradient / self.dimension))

    def groups(self, workers: int, batch_size: int) -> GaussianGroups:
        """The exact law of the workers' means."""
        return GaussianGroups.from_spectrum(workers, batch_size // workers, np.ones(self.dimension), self.gradient)

    def sample(
        self, workers: int, batch_size: int, repeats: int, generator: np.random.Generator
    ) -> GradientMoments:
        """``repeats`` independent steps' moments."""
        group_size = batch_size // workers
        noise = generator.standard_normal((repeats, workers, self.dimension)) / np.sqrt(group_size)
        groups = self.gradient + noise
        squared_norm = (groups.mean(axis=1) ** 2).sum(axis=-1)
        return GradientMoments(workers, group_size, (groups**2).sum(axis=(1, 2)), squared_norm)


def run(settings: Settings, pieces: Pieces) -> Result:
    """Bias of both variance estimates over J and b, and the statistics they lead to."""
    population = Population()
    batches = [2**e for e in settings.by_level(range(4, 13, 2), range(4, 13), range(4, 17))]
    repeats = settings.by_level(100, 400, 1500)
    cases = [(workers, batch) for workers in WORKERS for batch in batches]

    def row(case: tuple[int, int]) -> dict[str, float]:
        return _case(population, *case, repeats, np.random.default_rng((settings.seed, *case)))

    table = Table.of_rows(pieces.each(cases, row))
    level = saturation_level(ETA, SHOWN)
    return Result(
        name="estimator-bias",
        title="The variance between workers is not the variance between samples",
        summary=(
            f"Gaussian samples, d = {population.dimension}, noise scale tr Sigma / ||G||^2 = "
            f"{noise_scale(population.dimension, population.squared_gradient):g}. The published variance is low "
            f"by (J-1)/b, and the statistic made from it never asks for more than about (J-1)/eta^2 = {level:g} "
            f"samples at J = {SHOWN}, eta = {ETA:g}."
        ),
        outcomes=(_published(table), _unbiased(table), _saturation(table, population, batches[-1])),
        theorems=("theory.estimators.expectations",),
        tables={"estimator_bias": table},
    )


def _case(
    population: Population, workers: int, batch: int, repeats: int, generator: np.random.Generator
) -> dict[str, float]:
    """Exact expectations, Monte Carlo means and their standard errors, in units of tr Sigma; statistics."""
    exact, trace = population.groups(workers, batch), population.dimension
    sampled = population.sample(workers, batch, repeats, generator)
    row: dict[str, float] = {"workers": workers, "batch_size": batch}
    for name, estimator in (("published", "paper_variance"), ("unbiased", "covariance_trace")):
        values = getattr(sampled, estimator)
        row[f"{name}_exact"] = float(moments(exact, estimator).expectation / trace)
        row[f"{name}_mean"] = float(np.mean(values) / trace)
        row[f"{name}_error"] = float(np.std(values, ddof=1) / np.sqrt(repeats) / trace)
    for estimator in Estimator:
        row[f"statistic_{estimator}"] = float(expected_statistic(exact, ETA, estimator))
        row[f"median_{estimator}"] = float(np.nanmedian(norm_test_statistic(sampled, ETA, estimator)))
    return row


def _within_five_errors(table: Table, name: str, exact: str = "") -> list[Assertion]:
    """Monte Carlo means within five standard errors of a column, or of 1 without one."""
    against = ": Monte Carlo against exact" if exact else ""
    return [
        Assertion(
            f"{name} variance / tr Sigma, J = {r['workers']}, b = {r['batch_size']}{against}",
            r[f"{name}_mean"],
            "~",
            r[exact] if exact else 1.0,
            5 * r[f"{name}_error"],
        )
        for r in table.rows()
    ]


def _published(table: Table) -> Outcome:
    return Outcome(
        name="Eq. 5",
        statement="The variance of the workers' gradients stands for the per-sample variance.",
        expected=Expectation.REFUTED,
        asserted=_within_five_errors(table, "published"),
        supporting=_within_five_errors(table, "published", "published_exact"),
        note="Its expectation is tr Sigma (J-1)/b.",
    )


def _unbiased(table: Table) -> Outcome:
    return Outcome(
        name="Eq. 5, corrected",
        statement="b/(J-1) times it is an unbiased estimate of the per-sample variance.",
        asserted=_within_five_errors(table, "unbiased", "unbiased_exact"),
        supporting=[
            Assertion("its exact expectation / tr Sigma", float(value), "==", 1.0)
            for value in (table["unbiased_exact"].min(), table["unbiased_exact"].max())
        ],
    )


def _saturation(table: Table, population: Population, batch: int) -> Outcome:
    row = table.where(workers=SHOWN, batch_size=batch).rows()[0]
    demanded = noise_scale(population.dimension, population.squared_gradient) / ETA**2
    return Outcome(
        name="Algorithm 1, growth",
        statement="While noise dominates, the statistic of the workers' variance asks for a larger batch.",
        expected=Expectation.REFUTED,
        asserted=(
            Assertion(f"median of the published T at b = {batch}, J = {SHOWN}", row["median_paper"], ">", batch),
        ),
        supporting=(
            Assertion("batch that the relative error eta takes: noise dominates", demanded, ">", batch),
            Assertion(
                "published T against (J-1)/eta^2", row["median_paper"], "<=", 1.25 * saturation_level(ETA, SHOWN)
            ),
            Assertion("median of the unbiased T", row["median_unbiased"], ">", batch),
        ),
        note=f"It saturates near (J-1)/eta^2 = {saturation_level(ETA, SHOWN):g}.",
    )
