"""Runs that end at a goal and count samples: the exact norm tests choose every batch, or it is constant."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulate.noise.exact_tests import Test, independent_batch_size
from simulate.optimizers import Optimizer
from simulate.streams import Array

__all__ = ["Cost", "run_until"]

MOST_STEPS = 100_000
"""A run that has not reached its goal by then counts as one that never does: its cost is infinite."""


@dataclass(frozen=True)
class Cost:
    """What runs took, each [seeds].

    Attributes:
        steps: taken before the goal; infinite if there is one that is not reached.
        samples: of these steps, likewise.
        gradients: sum of ||G_k||_1 over them.
        deviations: sum of sum_i sd_{k,i} over them.
    """

    steps: Array
    samples: Array
    gradients: Array
    deviations: Array


def run_until(
    gradient: Callable[[Array], Array],
    optimizer: Optimizer,
    start: Array,
    deviation: Array,
    *,
    seeds: int,
    generator: np.random.Generator,
    test: Test | None = None,
    eta: float = 1.0,
    batch: float = 1.0,
    floor: float = 0.0,
    goal: Callable[[Array, Array], NDArray[np.bool_]] | None = None,
    steps: int = MOST_STEPS,
) -> Cost:
    """Run until the goal, or for a number of steps, with Gaussian samples.

    Args:
        gradient: of the objective, [seeds, d] to [seeds, d].
        optimizer: whose steps are taken.
        start: w_1, [d].
        deviation: sigma_i of a sample, [d].
        seeds: how many runs.
        generator: of the noise.
        test: the exact norm test whose smallest batch is taken; None: ``batch``.
        eta: of the test.
        batch: the constant one.
        floor: of the test's norm (coordinate by coordinate for the coordinate-wise test).
        goal: whether w_k and G_k are good enough, [seeds]; None: never.
        steps: at most.
    """
    w, variance = np.tile(start, (seeds, 1)), np.tile(deviation**2, (seeds, 1))
    state, running = optimizer.start(w), np.ones(seeds, bool)
    taken, samples, gradients, deviations = np.zeros((4, seeds))
    for step in range(1, steps + 1):
        exact = gradient(w)
        if goal is not None:
            running &= ~goal(w, exact)
        if not running.any():
            break
        sizes = np.full(seeds, batch)
        if test is not None:
            sizes = np.minimum(
                independent_batch_size(test, variance, exact, eta), _largest(test, deviation, eta, floor)
            )
        noise = deviation / np.sqrt(sizes)[:, None]
        taken += running
        samples += running * sizes
        gradients += running * np.abs(exact).sum(axis=1)
        deviations += running * noise.sum(axis=1)
        moved = optimizer.step(w, exact + noise * generator.standard_normal(w.shape), state, step)
        w = np.where(running[:, None], moved, w)
    if goal is not None:
        taken, samples = np.where(running, np.inf, (taken, samples))
    return Cost(taken, samples, gradients, deviations)


def _largest(test: Test, deviation: Array, eta: float, floor: float) -> float:
    """The batch that the test asks for where the gradient's norm is the floor."""
    if floor == 0:
        return np.inf
    at_floor = np.full((1, len(deviation)), floor)
    if test != "coordinate-wise":
        at_floor[:, 1:] = 0.0
    return float(independent_batch_size(test, deviation[None] ** 2, at_floor, eta)[0])
