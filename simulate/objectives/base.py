"""What an objective offers: values and gradients of many points at once, and the constants theorems need."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from simulate.streams import Array

__all__ = ["FiniteSum", "Objective"]


@runtime_checkable
class Objective(Protocol):
    """A smooth function on R^d, bounded below, evaluated at one point for each seed.

    Attributes:
        name: its name in :data:`simulate.objectives.OBJECTIVES`.
        dimension: d.
        smoothness: L > 0, proven to hold on all of R^d in the l2 norm.
        infimum: inf L, or a proven lower bound of it where the infimum is not known in closed form (so that
            Delta = L(w_1) - infimum is never too small).
    """

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def dimension(self) -> int:
        """d."""

    @property
    def smoothness(self) -> float:
        """L."""

    @property
    def infimum(self) -> float:
        """inf L, or a lower bound of it."""

    def start(self) -> Array:
        """The deterministic starting point w_1, shape [d]."""

    def value(self, w: Array) -> Array:
        """L(w), shape [seeds, d] -> [seeds]."""

    def gradient(self, w: Array) -> Array:
        """grad L(w), shape [seeds, d] -> [seeds, d]."""


@runtime_checkable
class FiniteSum(Objective, Protocol):
    """An average of n functions, whose gradients can be sampled.

    Attributes:
        sample_count: n.
    """

    @property
    def sample_count(self) -> int:
        """n."""

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

    def population_variance(self, w: Array, gradient: Array) -> Array:
        """sigma_i^2 = (1/n) sum_j (g_{j,i} - G_i)^2, shape [seeds, d]."""
