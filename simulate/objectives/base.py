"""What an objective offers: values and gradients of many points at once, and the constants theorems need."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from simulate.ranges import require
from simulate.streams import Array
from theory.problem import Problem

__all__ = ["FiniteSum", "Objective", "rowwise_product"]


@dataclass(frozen=True)
class Objective(ABC):
    """A smooth function on R^d, bounded below, evaluated at one point for each seed.

    Attributes:
        name: its name in :data:`simulate.objectives.OBJECTIVES`.
        infimum: inf L, or a proven lower bound of it where the infimum is not known in closed form (so that
            Delta = L(w_1) - infimum is never too small).
        smallest_dimension: the least d.
        positive: which parameters must be positive.
        dimension: d.
    """

    name: ClassVar[str]
    infimum: ClassVar[float] = 0.0
    smallest_dimension: ClassVar[int] = 1
    positive: ClassVar[tuple[str, ...]] = ()
    dimension: int = 10

    def __post_init__(self) -> None:
        """Raise ValueError unless the dimension is an integer that is large enough, and ``positive`` is."""
        if int(self.dimension) != self.dimension or self.dimension < self.smallest_dimension:
            least = self.smallest_dimension
            raise ValueError(f"dimension must be an integer of at least {least}, not {self.dimension}")
        require("positive", **{name: getattr(self, name) for name in self.positive})

    @property
    @abstractmethod
    def smoothness(self) -> float:
        """L > 0, proven to hold on all of R^d in the l2 norm."""

    @abstractmethod
    def start(self) -> Array:
        """The deterministic starting point w_1, shape [d]."""

    @abstractmethod
    def value(self, w: Array) -> Array:
        """L(w), shape [seeds, d] -> [seeds]."""

    @abstractmethod
    def gradient(self, w: Array) -> Array:
        """grad L(w), shape [seeds, d] -> [seeds, d]."""

    def problem(self, steps: Any) -> Problem:
        """What the theorems are told of a run of this number (or array) of steps from :meth:`start`."""
        start = self.start()[None]
        return Problem(
            smoothness=self.smoothness,
            dimension=self.dimension,
            initial_gap=float(self.value(start)[0] - self.infimum),
            steps=steps,
            initial_gradient_norm=float(np.abs(self.gradient(start)).sum()),
        )


@dataclass(frozen=True)
class FiniteSum(Objective):
    """An average of n functions, whose gradients can be sampled.

    Attributes:
        sample_count: n >= 2.
        data_seed: of the inputs and labels.
    """

    sample_count: int = 128
    data_seed: int = 0

    _inputs: ClassVar[Array]
    _labels: ClassVar[Array]

    def __post_init__(self) -> None:
        """Raise ValueError for a single function."""
        super().__post_init__()
        if self.sample_count < 2:
            raise ValueError(f"sample_count must be at least 2, not {self.sample_count}")

    @abstractmethod
    def sample_gradients(self, w: Array) -> Array:
        """The gradients of all n functions, shape [seeds, d] -> [seeds, n, d]."""

    def batch_moments(self, w: Array, batch: Array) -> tuple[Array, Array]:
        """Mean and mean square of the sampled functions' gradients, coordinate by coordinate.

        Args:
            w: shape [seeds, d].
            batch: 1 for the functions in a seed's batch and 0 for the others, shape [seeds, n].

        Returns:
            Two arrays of shape [seeds, d].
        """
        gradients, size = self.sample_gradients(w), batch.sum(axis=-1, keepdims=True)
        return rowwise_product(batch, gradients) / size, rowwise_product(batch, gradients * gradients) / size

    def population_variance(self, w: Array, gradient: Array) -> Array:
        """sigma_i^2 = (1/n) sum_j (g_{j,i} - G_i)^2, shape [seeds, d]."""
        deviations = self.sample_gradients(w) - gradient[:, None, :]
        deviations *= deviations
        result: Array = deviations.mean(axis=1)
        return result

    def _keep(self, **data: Array) -> None:
        """Set attributes of this frozen object: _inputs, _labels, ..."""
        for name, values in data.items():
            object.__setattr__(self, name, values)

    def _largest_eigenvalue(self) -> float:
        """lambda_max(X'X / n)."""
        return float(np.linalg.eigvalsh(self._inputs.T @ self._inputs / self.sample_count)[-1])


def rowwise_product(rows: Array, matrix: Array) -> Array:
    """``rows @ matrix`` with one product per row, shape [seeds, p] and [p, q] or [seeds, p, q] -> [seeds, q].

    One matrix product for all rows would round a row differently depending on how many others there are.
    """
    result: Array = np.matmul(rows[:, None, :], matrix)[:, 0, :]
    return result
