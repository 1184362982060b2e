r"""Runs of an optimizer on an objective under a noise: all seeds at once, sums instead of paths.

Algorithm:
    For k = 1, ..., K: G_k = grad L(w_k), g_k drawn by the noise, w_{k+1} = step(w_k, g_k). What the theorems bound
    are sums over k <= K, so that only running sums and minima are kept: memory does not grow with K.

Guarantee:
    A run depends on its own seed and on nothing else in the batch, bit by bit.

Example:
    >>> from simulate.noise import NOISES
    >>> from simulate.objectives import OBJECTIVES
    >>> from simulate.optimizers import Adam
    >>> objective = OBJECTIVES["pseudo-huber"](dimension=2)
    >>> trajectory = run(objective, NOISES["gaussian"](eta=0.2), Adam(0.01), steps=64, seeds=3, record_at=[8, 64])
    >>> trajectory.steps, trajectory.average_l1.shape, bool((trajectory.average_l1[1] < 2).all())
    ((8, 64), (2, 3), True)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from simulate.noise.base import Noise
from simulate.objectives.base import Objective
from simulate.optimizers import Optimizer, OptimizerState
from simulate.running_sums import RunningSums
from simulate.streams import Array, SeedStreams

__all__ = ["Trajectory", "powers_of_two", "run"]


@dataclass(frozen=True)
class Trajectory:
    """What was recorded at K = ``steps[0], steps[1], ...``; arrays are [records, seeds] unless stated.

    Sums run over k = 1..K and gradients are those at w_1..w_K, the points the stochastic gradients were drawn at.

    Attributes:
        steps: the recorded K, ascending.
        l1_sum: sum_k ||G_k||_1.
        l2_sum: sum_k ||G_k||_2.
        squared_sum: sum_k ||G_k||_2^2.
        value: L(w_{K+1}), after K steps.
        preconditioned_sum: sum_k sum_i G_{k,i}^2 / sqrt(D_{k,i}); NaN unless asked for of an optimizer that
            preconditions.
        weighted_l1_sum: sum_k h_k ||G_k||_1, h_k the optimizer's schedule (equal to ``l1_sum`` without one).
        batch_sum: sum_k b_k, NaN where the noise has no batch, as is ``batch_size``.
        batch_size: b_K.
        misses: how many steps violated the test the noise aims at; 0 where it holds by construction.
        missed_l1_sum: sum_k ||G_k||_1 over those steps.
        deviation_sum: sum_k sum_i sd_{k,i}; NaN unless asked for of a noise that reports its deviations.
        final_w: w_{K+1} after the last step, [seeds, d].
        final_state: the optimizer's state then.
        first_gradient: G_1, [seeds, d].
    """

    steps: tuple[int, ...]
    l1_sum: Array
    l2_sum: Array
    squared_sum: Array
    value: Array
    preconditioned_sum: Array
    weighted_l1_sum: Array
    batch_sum: Array
    batch_size: Array
    misses: Array
    missed_l1_sum: Array
    deviation_sum: Array
    final_w: Array
    final_state: OptimizerState
    first_gradient: Array

    @property
    def average_l1(self) -> Array:
        """(1/K) sum_k ||G_k||_1."""
        return self.l1_sum / self._column

    @property
    def average_squared(self) -> Array:
        """(1/K) sum_k ||G_k||_2^2."""
        return self.squared_sum / self._column

    @property
    def average_batch(self) -> Array:
        """(1/K) sum_k b_k."""
        return self.batch_sum / self._column

    @property
    def miss_rate(self) -> Array:
        """The share of steps that violated the test."""
        return self.misses / self._column

    @property
    def _column(self) -> Array:
        return np.asarray(self.steps, dtype=float)[:, None]


def powers_of_two(steps: int) -> tuple[int, ...]:
    """1, 2, 4, ... up to ``steps``, and ``steps`` itself.

    >>> powers_of_two(10)
    (1, 2, 4, 8, 10)
    """
    powers = [1 << exponent for exponent in range(steps.bit_length()) if 1 << exponent < steps]
    return (*powers, steps)


def run(
    objective: Objective,
    noise: Noise,
    optimizer: Optimizer,
    steps: int,
    seeds: int | Sequence[int],
    record_at: Sequence[int] | None = None,
    *,
    preconditioned: bool = False,
    deviations: bool = False,
) -> Trajectory:
    """Run ``steps`` steps for every seed.

    Args:
        objective: from :data:`simulate.objectives.OBJECTIVES`.
        noise: from :data:`simulate.noise.NOISES`.
        optimizer: from :data:`simulate.optimizers.OPTIMIZERS`.
        steps: K >= 1.
        seeds: how many (then 0, 1, ...), or which. A seed may be repeated, for settings that differ by row.
        record_at: the K to record, each in 1..steps; powers of two and ``steps`` by default.
        preconditioned: whether sum_k sum_i G_{k,i}^2 / sqrt(D_{k,i}) is accumulated (costs about a tenth more).
        deviations: whether sum_k sum_i sd_{k,i} is accumulated, where the noise reports its deviations.

    Raises:
        ValueError: for no steps or seeds, records outside 1..steps, or a noise that does not fit the objective.
    """
    chosen = tuple(range(seeds)) if isinstance(seeds, int) else tuple(int(seed) for seed in seeds)
    records = _require_records(steps, chosen, record_at)
    w = np.tile(objective.start(), (len(chosen), 1))
    draw, state = noise.begin(objective, optimizer, SeedStreams(chosen, steps)), optimizer.start(w)
    sums = RunningSums(objective, optimizer, records, len(chosen), preconditioned, deviations)
    for step in range(1, steps + 1):
        # Rows in one piece: the order in which numpy adds up a row depends on its layout in memory.
        gradient = np.ascontiguousarray(objective.gradient(w))
        if step == 1:
            first_gradient = gradient.copy()
        sums.before_step(step, gradient, state)
        drawn = draw(w, gradient, step, state)
        w = optimizer.step(w, np.ascontiguousarray(drawn.gradient), state, step)
        sums.after_step(step, w, drawn)
    return Trajectory(
        steps=records, final_w=w, final_state=state, first_gradient=first_gradient, **sums.recorded()
    )


def _require_records(steps: int, seeds: tuple[int, ...], record_at: Sequence[int] | None) -> tuple[int, ...]:
    """The K to record, ascending."""
    if steps < 1:
        raise ValueError(f"steps must be at least 1, not {steps}")
    if not seeds:
        raise ValueError("at least one seed is needed")
    records = tuple(sorted({int(record) for record in record_at})) if record_at else powers_of_two(steps)
    if records[0] < 1 or records[-1] > steps:
        raise ValueError(f"record_at must lie in 1..{steps}, not in {records[0]}..{records[-1]}")
    return records
