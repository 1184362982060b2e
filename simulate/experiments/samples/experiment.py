"""The theorems on samples, measured: one figure, a panel per statement."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from simulate.experiments.pieces import Pieces
from simulate.experiments.result import Result, Table
from simulate.experiments.samples import bias, demand, goals, measured
from simulate.experiments.settings import Settings
from simulate.text import counted

__all__ = ["run"]


def run(settings: Settings, pieces: Pieces) -> Result:
    """All of them, with Gaussian samples and the exact tests."""
    seeds = settings.seeds or settings.by_level(16, 32, 256)
    steps = settings.by_level((64, 128, 256), (64, 128, 256, 512), (64, 128, 256, 512, 1024, 2048))
    ratios = (1e2, 1e4, 1e6)
    length = settings.by_level(256, 1024, 4096)
    draws, groups = settings.by_level((300_000, 16), (1_000_000, 32), (3_000_000, 64))
    parts: tuple[Callable[[np.random.Generator], demand.Found], ...] = (
        lambda generator: goals.sgd_to_goal(seeds, generator),
        lambda generator: goals.adam_to_goal(seeds, generator),
        lambda generator: demand.square_of_steps(seeds, generator, steps),
        lambda generator: goals.gain_over_constant_batches(seeds, generator, ratios),
        lambda generator: demand.tail_of_batches(draws, generator),
        lambda generator: measured.after_the_run(seeds, generator, length),
        lambda generator: measured.growing_curvature(seeds, generator, length),
        lambda generator: measured.one_run(),
        lambda generator: bias.bias_of_adam(groups, generator, 800),
    )
    found = pieces.each(
        range(len(parts)), lambda number: parts[number](np.random.default_rng((settings.seed, number)))
    )
    return Result(
        name="samples",
        title="Samples rather than steps",
        summary=(
            f"Gaussian samples, the exact tests' smallest batches, {counted(seeds, 'seed')}. SGD to a squared "
            "gradient norm on a quadratic; Adam at betas (0.5, 0.9) to an l1 norm on a pseudo-Huber function; "
            "Adam under the l1 test for a number of steps; quadratics of condition 1, 4 and 16 to a gap; the "
            "batch of the second step; constant batches judged after the run; Adam on w^2 / 2 with skewed noise."
        ),
        outcomes=[outcome for _, outcomes in found for outcome in outcomes],
        theorems=(
            "theory.samples.sgd",
            "theory.samples.adam",
            "theory.samples.growth",
            "theory.samples.contraction",
            "theory.samples.tails",
            "theory.samples.a_posteriori",
            "theory.samples.relaxed_smoothness",
        ),
        tables={"samples": Table.of_rows(row for rows, _ in found for row in rows)},
    )
