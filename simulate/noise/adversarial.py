r"""A state-dependent adversary within the coordinate-wise test: the two-point law that hurts the next step most.

Algorithm:
    The adversary knows m_{k-1}, v_{k-1} and G_k. For every coordinate it picks, from a menu of two-point laws of X
    with mean 1 and variance eta^2, the one with the least expected progress of the next step,

        E[ G m_k / sqrt(v_k) ],  m_k = beta1 m_{k-1} + (1 - beta1) G X,  v_k = beta2 v_{k-1} + (1 - beta2) G^2 X^2

    (for AdaGrad m_k = g_k, v_k = v_{k-1} + g_k^2), and X is drawn from it. The menu holds laws with a rare low
    value, with a rare high value, and with a low value at or next to 0. With equality in the test and unbiased
    gradients given the past, the corrected theorems apply to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from simulate.noise.base import Draw, Source
from simulate.objectives.base import Objective
from simulate.optimizers import Optimizer, OptimizerState, zero_safe_ratio
from simulate.ranges import require
from simulate.streams import Array, SeedStreams
from theory.training.clipping import wrong_probability

__all__ = ["Adversarial", "expected_progress", "low_and_high"]


_NEAR_ZERO = 1e-3


def low_and_high(eta: Any, low_probability: Array) -> tuple[Array, Array]:
    """The two values of the law with mean 1, variance eta^2 and the low value's probability.

    >>> low_and_high(0.5, np.array(0.2))
    (np.float64(0.0), np.float64(1.25))
    """
    odds = np.sqrt((1.0 - low_probability) / low_probability)
    return 1.0 - eta * odds, 1.0 + eta / odds


def expected_progress(
    gradient: Array, state: OptimizerState, optimizer: Optimizer, values: tuple[Array, Array], low: Array
) -> Array:
    """E[G m_k / sqrt(v_k)] under each law, shape [laws, seeds, d].

    Args:
        gradient: G_k, [seeds, d].
        state: before step k.
        optimizer: one without a second moment (SGD) counts as sign descent.
        values: the low and the high value, each broadcasting to [laws, seeds, d].
        low: the low value's probability, broadcasting to [laws, seeds, d].
    """
    beta1 = getattr(optimizer, "beta1", 0.0)
    momentum = beta1 * state.first_moment
    total: Array = np.zeros(())
    for value, probability in zip(values, (low, 1.0 - low), strict=True):
        g = gradient * value
        root = optimizer.denominators(g, state)
        step = zero_safe_ratio(momentum + (1.0 - beta1) * g, np.abs(g) if root is None else root)
        total = total + probability * step
    return gradient * total


@dataclass(frozen=True)
class Adversarial:
    """The law of least expected progress, coordinate by coordinate.

    Attributes:
        eta: the standard deviation of X.
        probabilities: of the low value, one law each. The laws whose low value is 0 (Cantelli's), just above and
            just below it are added.
    """

    eta: Any
    probabilities: tuple[float, ...] = (0.002, 0.02, 0.1, 0.5, 0.9, 0.98, 0.998)

    def __post_init__(self) -> None:
        require("positive", eta=self.eta)
        require("in (0, 1)", probabilities=self.probabilities)

    def menu(self) -> Array:
        """Low probabilities, [laws, 1, 1] or [laws, seeds, 1]."""
        eta = np.asarray(self.eta, dtype=float)
        fixed = [np.full_like(eta, probability) for probability in self.probabilities]
        stacked = np.stack([*fixed, *(wrong_probability(eta, delta) for delta in (-_NEAR_ZERO, 0.0, _NEAR_ZERO))])
        return stacked.reshape(len(stacked), -1, 1)

    def begin(self, objective: Objective, optimizer: Optimizer, streams: SeedStreams) -> Source:
        """Bind to a run."""
        menu = self.menu()
        values = low_and_high(self.eta, menu)

        def draw(w: Array, gradient: Array, step: int, state: OptimizerState) -> Draw:
            least, worst = np.full(gradient.shape, np.inf), np.zeros((1, *gradient.shape), np.intp)
            for i, (probability, *law) in enumerate(
                zip(menu, *values, strict=True)
            ):  # one at a time: it stays cached
                progress = expected_progress(gradient, state, optimizer, (law[0], law[1]), probability)
                worse = progress < least
                np.copyto(least, progress, where=worse)
                np.copyto(worst, i, where=worse)
            low, below, above = (
                np.take_along_axis(np.broadcast_to(part, (len(menu), *gradient.shape)), worst, axis=0)[0]
                for part in (menu, *values)
            )
            numbers = streams.draw(0, gradient.shape[1:], "random")
            return Draw(gradient * np.where(numbers < low, below, above), deviations=self.eta * np.abs(gradient))

        return draw
