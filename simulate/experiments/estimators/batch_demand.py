"""What the norm tests cost on finite sums: the batch demanded along a run, without replacement.

Two runs on each problem. In the first the batch is what the coordinate-wise test on *exact* variances asks for,
shown next to what the norm-wise test would have asked for at the same points. In the second the batch is what
the coordinate-wise test on variances *estimated* from the batch before asks for, as training does it; every step
is checked against the exact condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result, Table
from simulate.experiments.settings import Settings
from simulate.noise import Draw, FiniteSumBatches, Noise, Source
from simulate.noise.exact_tests import Test, replacement_free_batch_size
from simulate.objectives import FiniteSum, NoisyRegression, Objective, Regression
from simulate.optimizers import Adam, Optimizer, OptimizerState
from simulate.outcomes import Assertion, Expectation, Outcome
from simulate.streams import SeedStreams
from simulate.text import counted
from simulate.trajectory import Trajectory
from simulate.trajectory import run as run_trajectory

__all__ = ["Observed", "run"]

Array = NDArray[np.float64]
PROBLEMS: dict[str, type[Regression]] = {"realizable": Regression, "noisy": NoisyRegression}
BETA1, BETA2, ETA = 0.9, 0.95, 0.5


@dataclass
class Observed:
    """A noise that notes, at chosen steps, the batch that a test asks for on exact variances.

    Attributes:
        noise: that the run uses; its eta is that of both tests.
        test: the one observed.
        steps: when.
        demanded: the batch sizes noted, one array [seeds] per step.
    """

    noise: FiniteSumBatches
    test: Test
    steps: Sequence[int]
    demanded: list[Array] = field(default_factory=list)

    def begin(self, objective: Objective, optimizer: Optimizer, streams: SeedStreams) -> Source:
        """The noise's source, observed."""
        source = self.noise.begin(objective, optimizer, streams)
        assert isinstance(objective, FiniteSum)  # else the noise has refused it

        def draw(w: Array, gradient: Array, step: int, state: OptimizerState) -> Draw:
            if step in self.steps:
                variance, n = objective.population_variance(w, gradient), objective.sample_count
                size = replacement_free_batch_size(self.test, variance, gradient, self.noise.eta, n)
                self.demanded.append(size)
            return source(w, gradient, step, state)

        return draw


def run(settings: Settings, pieces: Pieces) -> Result:
    """Both runs on both problems."""
    steps, seeds = settings.by_level(128, 512, 2048), settings.seeds or settings.by_level(4, 8, 16)
    population = settings.by_level(256, 512, 1024)
    chosen = settings.run_seeds(seeds)
    found = pieces.each(
        tuple(PROBLEMS), lambda label: _problem(PROBLEMS[label](sample_count=population), label, steps, chosen)
    )
    return Result(
        name="batch-demand",
        title="What the coordinate-wise test costs on finite sums",
        summary=(
            f"Robust regression, n = {population}, betas ({BETA1}, {BETA2}), eta = {ETA}, "
            f"K = {steps}, {counted(seeds, 'seed')}. Realizable: the noise vanishes with the gradient. "
            "Noisy: the gradient vanishes and the variance does not, so that the coordinate-wise test "
            "asks for nearly everything."
        ),
        outcomes=[outcome for _, outcomes in found for outcome in outcomes],
        theorems=("theory.estimators.exact_tests",),
        tables={"batch_demand": Table.of_rows(row for rows, _ in found for row in rows)},
    )


def _problem(
    objective: Regression, label: str, steps: int, seeds: Sequence[int]
) -> tuple[list[dict[str, object]], list[Outcome]]:
    alpha = Adam.natural_step_size(objective.problem(steps))
    recorded = sorted({int(k) for k in np.geomspace(1, steps, 40)})

    def trajectory(noise: Noise) -> Trajectory:
        return run_trajectory(objective, noise, Adam(alpha, BETA1, BETA2), steps, seeds, recorded)

    observed = Observed(FiniteSumBatches(ETA), "norm-wise", recorded)
    exact = trajectory(observed)
    estimated = trajectory(FiniteSumBatches(ETA, variance="estimated"))
    sizes = {
        "coordinate_wise": exact.batch_size,
        "norm_wise": np.array(observed.demanded),
        "estimated": estimated.batch_size,
    }
    population = objective.sample_count
    rows: list[dict[str, object]] = []
    for i, k in enumerate(exact.steps):
        row: dict[str, object] = {"problem": label, "K": k, "population": population}
        for test, demanded in sizes.items():
            low, median, high = np.quantile(demanded[i], [0.1, 0.5, 0.9])
            row |= {test: median, f"{test}_low": low, f"{test}_high": high}
        rows.append(row | {"miss_rate": float(estimated.miss_rate[i].mean())})
    return rows, _outcomes(label, sizes, exact, estimated, population)


def _outcomes(
    label: str, sizes: dict[str, Array], exact: Trajectory, estimated: Trajectory, population: int
) -> list[Outcome]:
    averages = [float(trajectory.average_batch[-1].mean()) for trajectory in (exact, estimated)]
    miss_rate = float(estimated.miss_rate[-1].mean())
    outcomes = [
        Outcome(
            name=f"Coordinate-wise against norm-wise, {label}",
            statement="The coordinate-wise test never asks for a smaller batch than the norm-wise test.",
            asserted=[
                Assertion(f"largest excess of the norm-wise test, K = {k}", float((b - a).max()), "<=", 0.0)
                for k, a, b in zip(exact.steps, sizes["coordinate_wise"], sizes["norm_wise"], strict=True)
            ],
            supporting=(Assertion("steps that violated the exact test", float(exact.misses.max()), "==", 0.0),),
            note=f"Mean batch {averages[0]:.1f} of {population} under the coordinate-wise test.",
        ),
        Outcome(
            name=f"Estimated test, {label}",
            statement="A batch chosen from estimated variances meets the exact coordinate-wise test.",
            expected=Expectation.REFUTED,
            asserted=(Assertion("share of steps that violate it", miss_rate, "<=", 0.0),),
            note=f"It misses in {100 * miss_rate:.1f}% of the steps, at a mean batch of {averages[1]:.1f}.",
        ),
    ]
    if label == "noisy":
        late = float(sizes["coordinate_wise"][-len(sizes["coordinate_wise"]) // 4 :].mean())
        outcomes.append(
            Outcome(
                name="Near-full batches, noisy",
                statement="On the noisy problem the coordinate-wise test ends at nearly the full batch.",
                asserted=(Assertion("mean batch late in the run / n", late / population, ">=", 0.9),),
            )
        )
    return outcomes
