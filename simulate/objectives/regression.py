r"""Robust regression: (1/n) sum_i phi(x_i.w - y_i), phi(t) = t^2 / (1 + t^2), a nonconvex finite sum.

L = 2 lambda_max(X'X / n), as |phi''| <= 2.

Realizable (y = X w*): the infimum is 0 and the sampling noise vanishes at w*, with the gradient.
Noisy (y = X w* + noise, a tenth of the labels outliers): the gradient vanishes at a stationary point while the
variance does not, so that the coordinate-wise test asks for nearly all n samples. The infimum is not known in
closed form: 0 bounds it from below.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from simulate.objectives.base import FiniteSum, rowwise_product
from simulate.objectives.robust_loss import LARGEST_CURVATURE, loss, loss_derivative
from simulate.streams import Array

__all__ = ["NoisyRegression", "Regression"]

_OUTLIERS = 0.1
_OUTLIER_SCALE = 5.0


@dataclass(frozen=True)
class Regression(FiniteSum):
    """Realizable robust regression on Gaussian inputs.

    Attributes:
        dimension: d.
        sample_count: n.
        data_seed: of the inputs, the teacher and the label noise.
        label_noise: standard deviation of the label noise; a tenth of the labels get five times as much.
    """

    name: ClassVar[str] = "regression"
    label_noise: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        generator = np.random.default_rng(self.data_seed)
        inputs = generator.standard_normal((self.sample_count, self.dimension))
        teacher = generator.standard_normal(self.dimension) / np.sqrt(self.dimension)
        scale = np.where(generator.random(self.sample_count) < _OUTLIERS, _OUTLIER_SCALE, 1.0)
        noise = self.label_noise * scale * generator.standard_normal(self.sample_count)
        self._keep(_inputs=inputs, _labels=(inputs * teacher).sum(axis=-1) + noise)

    @cached_property
    def smoothness(self) -> float:
        """L = 2 lambda_max(X'X / n)."""
        return LARGEST_CURVATURE * self._largest_eigenvalue()

    def start(self) -> Array:
        """0."""
        return np.zeros(self.dimension)

    def value(self, w: Array) -> Array:
        """L(w), [seeds, d] -> [seeds]."""
        result: Array = loss(self._residuals(w)).mean(axis=-1)
        return result

    def gradient(self, w: Array) -> Array:
        """(1/n) sum_i phi'(x_i.w - y_i) x_i."""
        return rowwise_product(loss_derivative(self._residuals(w)), self._inputs) / self.sample_count

    def sample_gradients(self, w: Array) -> Array:
        """phi'(x_i.w - y_i) x_i, [seeds, d] -> [seeds, n, d]."""
        return loss_derivative(self._residuals(w))[:, :, None] * self._inputs

    def batch_moments(self, w: Array, batch: Array) -> tuple[Array, Array]:
        """Mean and mean square over a batch, without forming the [seeds, n, d] gradients."""
        slopes, size = loss_derivative(self._residuals(w)), batch.sum(axis=-1, keepdims=True)
        weighted = batch * slopes
        mean = rowwise_product(weighted, self._inputs) / size
        return mean, rowwise_product(weighted * slopes, self._inputs**2) / size

    def population_variance(self, w: Array, gradient: Array) -> Array:
        """sigma_i^2 with n in the denominator, [seeds, d].

        As mean square minus squared mean: the inputs have both signs, so that the gradients of the n functions are
        never nearly equal, and nothing cancels.
        """
        slopes = loss_derivative(self._residuals(w))
        mean_square = rowwise_product(slopes * slopes, self._inputs**2) / self.sample_count
        return np.maximum(mean_square - gradient * gradient, 0.0)

    def _residuals(self, w: Array) -> Array:
        return rowwise_product(w, self._inputs.T) - self._labels


@dataclass(frozen=True)
class NoisyRegression(Regression):
    """Robust regression with label noise and outliers: the hard case for the coordinate-wise test."""

    name: ClassVar[str] = "noisy-regression"
    positive: ClassVar[tuple[str, ...]] = ("label_noise",)
    label_noise: float = 0.5
