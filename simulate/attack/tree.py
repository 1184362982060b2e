"""Exact expectations: all paths of two-point noises, each with its probability; nothing is sampled.

A step without noise splits no path: of K steps, n with noise, there are P = 2^n.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulate.attack.instance import Instance
from simulate.optimizers import Optimizer, OptimizerState
from simulate.streams import Array

__all__ = ["Tree", "grow", "noisy_steps"]


@dataclass(frozen=True)
class Tree:
    """What an optimizer did on all paths.

    Attributes:
        probabilities: of the paths, shape [..., P].
        gradients: G_k, shape [..., K, P].
        deviations: sd_k, shape [..., K, P].
        denominators: sqrt(D_k) before step k, without epsilon, shape [..., K, P]; 0 for SGD.
        weights: w_1 to w_{K+1}, shape [..., K + 1, P].
        first_moment: m_K, shape [..., P].
        second_moment: v_K, shape [..., P].
    """

    probabilities: Array
    gradients: Array
    deviations: Array
    denominators: Array
    weights: Array
    first_moment: Array
    second_moment: Array

    def expected(self, values: Array) -> Array:
        """E of values on paths, shape [..., P] -> [...] or [..., K, P] -> [..., K]."""
        each = values.ndim > self.probabilities.ndim
        weights = self.probabilities[..., None, :] if each else self.probabilities
        result: Array = (values * weights).sum(-1)
        return result

    @property
    def gradient_norms(self) -> Array:
        """E|G_k|, shape [..., K]."""
        return self.expected(np.abs(self.gradients))


def noisy_steps(instance: Instance) -> NDArray[np.bool_]:
    """Which steps have noise, of a population for any candidate, shape [K]."""
    noise, steps = (instance.below + instance.above > 0).any(-1), instance.below.shape[-2]
    splits: NDArray[np.bool_] = np.zeros(instance.steps, bool)
    splits[:steps] = noise.reshape(-1, steps).any(0) if steps else False
    return splits


def grow(instance: Instance, optimizer: Optimizer) -> Tree:
    """Run the optimizer on every path.

    Args:
        instance: one, or a population.
        optimizer: coordinate-wise; its settings broadcast against [..., P].

    >>> import numpy as np
    >>> from simulate.optimizers import SGD
    >>> noise = [[1.0, 1.0]] * 2                          # X = 0 or 2, in both states
    >>> fair = Instance(bound="", width=1.0, first=1.0, slopes=[1.0, 1.0], below=noise, above=noise)
    >>> tree = grow(fair, SGD(0.5))                       # G_2 = G_1 (1 - X / 2)
    >>> tree.probabilities, tree.gradient_norms
    (array([0.25, 0.25, 0.25, 0.25]), array([1. , 0.5]))
    """
    steps, objective = instance.steps, instance.objective
    population = np.broadcast_shapes(instance.first.shape, instance.below.shape[:-2])
    splits = noisy_steps(instance)
    shape = (*population, 2 ** int(splits.sum()))
    later = splits.sum() - np.cumsum(splits)
    high = splits[:, None] & ((np.arange(shape[-1])[None] >> later[:, None]) % 2 == 1)
    start, floor = instance.start[..., None], instance.floor[..., None]
    kind = instance.first.dtype
    w, probabilities = np.zeros(shape, kind) + start, np.ones(shape, kind)
    state: OptimizerState = optimizer.start(w)
    gradients, deviations, denominators, weights = [], [], [], [w]
    for k in range(steps):
        gradient = objective.gradient(w - start)
        against = (state.first_moment * gradient < 0).astype(int)

        def chosen(table: Array, k: int = k, against: Any = against) -> Array:
            row = np.broadcast_to(table[..., k, :], (*population, 2))
            return np.take_along_axis(row, against, -1)

        drawn, deviation = gradient, np.zeros(shape, kind)
        if k < steps - instance.quiet:
            below, above = chosen(instance.below), chosen(instance.above)
            noisy = below + above > 0
            share = np.where(noisy, below / np.where(noisy, below + above, 1), 0.5 if splits[k] else 0)
            size = np.maximum(np.abs(gradient), floor)
            drawn = gradient + np.where(high[k], above, -below) * size * np.where(gradient < 0, -1, 1)
            deviation = np.sqrt(below * above) * size
            probabilities = probabilities * np.where(high[k], share, 1 - share)
            if instance.low_factors is not None and instance.high_factors is not None:
                drawn = drawn * np.where(high[k], chosen(instance.high_factors), chosen(instance.low_factors))
        before = optimizer.denominators(gradient, state)
        gradients.append(gradient)
        deviations.append(deviation)
        denominators.append(np.zeros(shape, kind) if before is None else before)
        w = optimizer.step(w, drawn, state, k + 1)
        weights.append(w)

    def stacked(values: list[Array]) -> Array:
        return np.stack(values, axis=-2)

    return Tree(
        probabilities,
        stacked(gradients),
        stacked(deviations),
        stacked(denominators),
        stacked(weights),
        state.first_moment,
        state.second_moment,
    )
