"""Clipping can turn Adam uphill where the coordinate-wise norm test holds; without clipping it converges.

The instance is that of :mod:`theory.training.clipping`: one joint rare event in which the small coordinates'
gradients are wrong and pass unclipped, while the common, right gradients are large and get clipped.
"""

from __future__ import annotations

import numpy as np

from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result, Table, thinned
from simulate.experiments.settings import Settings
from simulate.outcomes import Assertion, Expectation, Outcome
from simulate.streams import Array
from theory.training.clipping import ClippingDivergence, reversing_factor, simulate

__all__ = ["run"]

INSTANCE = ClippingDivergence(beta1=0.9, beta2=0.999, eta=0.3, delta=0.1, size_ratio=200.0, count=4e8)
STEP_SIZE = 1e-11
START = 3.0


def run(settings: Settings, pieces: Pieces) -> Result:
    """The instance with and without clipping, over a few seeds."""
    steps = settings.by_level(2500, 5000, 20_000)
    seeds = settings.by_level(2, 3, 8)
    runs = [(clip, seed) for clip in (True, False) for seed in settings.run_seeds(seeds)]
    found = pieces.each(runs, lambda run: simulate(INSTANCE, STEP_SIZE, steps, START, clip=run[0], seed=run[1]))
    paths = dict(zip(runs, found, strict=True))
    return Result(
        name="clipping",
        title="Clipping without a floor on its factor",
        summary=(
            f"Betas ({INSTANCE.beta1}, {INSTANCE.beta2}), eta = {INSTANCE.eta}: the coordinate-wise test holds at "
            f"every step. Clipped at C = delta sqrt(n), Adam climbs from a.w = {START:g}; without clipping it "
            "converges."
        ),
        outcomes=(_climbs(paths, steps), _converges(paths)),
        theorems=("theory.training.clipping",),
        tables={
            "clipping": Table.of_rows(
                {"clipped": clip, "seed": seed, **point}
                for (clip, seed), path in paths.items()
                for point in thinned(path, 600)
            )
        },
    )


Paths = dict[tuple[bool, int], Array]


def _climbs(paths: Paths, steps: int) -> Outcome:
    q, (right_1, right) = INSTANCE.wrong_probability, INSTANCE.right_values
    delta, eta = INSTANCE.delta, INSTANCE.eta
    norm = float(np.sqrt(INSTANCE.count * ((INSTANCE.size_ratio * right_1) ** 2 + right**2)))
    means = [(1 - q) * right_1, (1 - q) * right - q * delta]
    variances = [(1 - q) * right_1**2 - 1, (1 - q) * right**2 + q * delta**2 - 1]
    return Outcome(
        name="Clipping",
        statement="Adam on clipped gradients descends where the coordinate-wise norm test holds at every step.",
        expected=Expectation.REFUTED,
        asserted=[
            Assertion(f"a.w after {steps} steps, seed {seed}", float(path[-1]), "<=", START)
            for (clip, seed), path in paths.items()
            if clip
        ],
        supporting=(
            *(Assertion(f"mean of X_{i + 1}", mean, "==", 1.0) for i, mean in enumerate(means)),
            *(
                Assertion(f"variance of X_{i + 1}: the test is met", variance, "<=", eta**2 * (1 + 1e-12))
                for i, variance in enumerate(variances)
            ),
            Assertion(
                "factor on the right gradients against the one that reverses their mean",
                INSTANCE.threshold / norm,
                "<",
                float(reversing_factor(eta, delta)),
            ),
        ),
        note="Only the common, right gradients are clipped; a floor phi0 > rho eta^2 on the factor excludes this.",
    )


def _converges(paths: Paths) -> Outcome:
    return Outcome(
        name="The same without clipping",
        statement="Without clipping the same runs converge.",
        asserted=[
            Assertion(f"|a.w| at the end, seed {seed}", abs(float(path[-1])), "<=", START / 100)
            for (clip, seed), path in paths.items()
            if not clip
        ],
    )
