r"""One step of SGD and of an idealised Adam on Gaussian linear regression, in second moments and in closed form.

Problem:
    Samples (x, y) with independent x_i ~ N(0, lambda_i) and y = <w*, x> + N(0, sigma^2), one pass, squared loss
    (y - <w, x>)^2 / 2. With c_i = E(w_i - w*_i)^2,

        R = sum_i lambda_i c_i      (twice the excess loss),        N = R + sigma^2.

    A step takes b samples and the rate a. What is c_i after it?

Guarantee (equalities):
    - the gradient: G_i^2 = lambda_i^2 c_i on average over the iterate, the variance of one sample's gradient is
      V_i = lambda_i N + lambda_i^2 c_i, so that tr Sigma = tr(Lambda) N + ||G||^2;
    - SGD: c_i' = c_i (1 - 2 a lambda_i + a^2 lambda_i^2 (1 + 1/b)) + (a^2 / b) lambda_i N;
    - Adam-like, w_i' = w_i - a g_i / sqrt(E g_i^2), without momentum: with E g_i^2 = G_i^2 + V_i / b,

          c_i' = c_i - 2 a lambda_i c_i / sqrt(E g_i^2) + a^2.

    Exact for SGD from any start, and for the Adam-like step with E g_i^2 the average over iterates as well as
    samples. A real Adam divides by a running average of g_i^2 on its own iterates, and keeps momentum: it is
    close, not equal.

References:
    The recursion of SGD is classical (for example Bach and Moulines, arXiv 1306.2119); Seesaw (arXiv 2510.14717)
    uses both.

Shapes:
    Of the functions, floats, numpy arrays (broadcast together) or SymPy expressions, coordinate by coordinate. Of
    :class:`Regression`, arrays whose last axis runs over the coordinates.

Example:
    >>> problem = Regression(np.array([1.0, 0.5]), noise=1.0)
    >>> errors = np.array([1.0, 4.0])
    >>> float(problem.risk(errors)), float(problem.squared_norm(errors)), float(problem.trace(errors))
    (3.0, 2.0, 8.0)
    >>> problem.sgd(errors, rate=0.1, batch=2.0)
    array([0.835, 3.625])
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.noise_scale import l1_noise_scale, noise_scale, weighted_noise_scale
from adabatch.moments.numeric import Value, sqrt

__all__ = [
    "Regression",
    "adam_like_step",
    "gradient_second_moment",
    "gradient_variance",
    "sgd_step",
    "squared_gradient",
]

Array = NDArray[np.float64]


def squared_gradient(eigenvalue: Value, error: Value) -> Value:
    """G_i^2 = lambda_i^2 c_i.

    >>> squared_gradient(0.5, 4.0)
    1.0
    """
    return eigenvalue**2 * error


def gradient_variance(eigenvalue: Value, error: Value, noise_level: Value) -> Value:
    """V_i = lambda_i N + lambda_i^2 c_i, of one sample's gradient.

    >>> gradient_variance(0.5, 4.0, noise_level=4.0)
    3.0
    """
    return eigenvalue * noise_level + squared_gradient(eigenvalue, error)


def gradient_second_moment(eigenvalue: Value, error: Value, noise_level: Value, batch: Value) -> Value:
    """E g_i^2 = G_i^2 + V_i / b, of the mean gradient of b samples.

    >>> gradient_second_moment(0.5, 4.0, noise_level=4.0, batch=3)
    2.0
    """
    variance = gradient_variance(eigenvalue, error, noise_level)
    return squared_gradient(eigenvalue, error) + variance / batch


def sgd_step(eigenvalue: Value, error: Value, noise_level: Value, rate: Value, batch: Value) -> Value:
    """c_i' = c_i (1 - 2 a lambda_i + a^2 lambda_i^2 (1 + 1/b)) + (a^2 / b) lambda_i N.

    >>> sgd_step(1.0, 1.0, noise_level=4.0, rate=0.5, batch=1)
    1.5
    """
    move = rate * eigenvalue
    return error * (1 - 2 * move + move**2 * (1 + 1 / batch)) + rate**2 / batch * eigenvalue * noise_level


def adam_like_step(eigenvalue: Value, error: Value, noise_level: Value, rate: Value, batch: Value) -> Value:
    """c_i' = c_i - 2 a lambda_i c_i / sqrt(E g_i^2) + a^2.

    >>> adam_like_step(0.5, 4.0, noise_level=7.0, rate=0.5, batch=1.5)  # E g^2 = 1 + 4.5 / 1.5 = 4
    3.25
    """
    second = gradient_second_moment(eigenvalue, error, noise_level, batch)
    return error - 2 * rate * eigenvalue * error / sqrt(second) + rate**2


@dataclass(frozen=True, eq=False)
class Regression:
    """Gaussian linear regression with a diagonal covariance; all methods take c_i of shape [..., modes].

    Attributes:
        eigenvalues: lambda_i > 0, shape [..., modes].
        noise: sigma^2 >= 0, a float or of shape [...].
        multiplicities: how many equal coordinates each mode stands for, broadcast with the eigenvalues.
    """

    eigenvalues: Array
    noise: Value
    multiplicities: Value = 1.0

    def risk(self, errors: Array) -> Array:
        """R = sum_i lambda_i c_i, shape [...]."""
        return self._sum(self.eigenvalues * errors)

    def noise_level(self, errors: Array) -> Array:
        """N = R + sigma^2, shape [...]."""
        return np.asarray(self.risk(errors) + self.noise)

    def squared_gradients(self, errors: Array) -> Array:
        """G_i^2, shape [..., modes]."""
        return np.asarray(squared_gradient(self.eigenvalues, errors))

    def variances(self, errors: Array) -> Array:
        """V_i, shape [..., modes]."""
        return np.asarray(gradient_variance(self.eigenvalues, errors, self.noise_level(errors)[..., None]))

    def squared_norm(self, errors: Array) -> Array:
        """||G||^2 = sum_i lambda_i^2 c_i, shape [...]."""
        return self._sum(self.squared_gradients(errors))

    def trace(self, errors: Array) -> Array:
        """tr Sigma = tr(Lambda) N + ||G||^2 of one sample's gradient, shape [...]."""
        return self._sum(self.eigenvalues + 0.0 * errors) * self.noise_level(errors) + self.squared_norm(errors)

    def noise_scales(self, errors: Array) -> dict[str, Array]:
        """B_noise by its three scales ``trace``, ``l1`` and ``weighted``, each of shape [...].

        :mod:`adabatch.moments.noise_scale` has the formulas.
        """
        coordinates = self.squared_gradients(errors), self.variances(errors), self.multiplicities
        return {
            "trace": noise_scale(self.trace(errors), self.squared_norm(errors)),
            "l1": l1_noise_scale(*coordinates),
            "weighted": weighted_noise_scale(*coordinates),
        }

    def sgd(self, errors: Array, rate: Value, batch: Value) -> Array:
        """c' after a step of SGD; rate and batch are floats or of shape [...]."""
        return np.asarray(sgd_step(*self._of_step(errors, rate, batch)))

    def adam_like(self, errors: Array, rate: Value, batch: Value) -> Array:
        """c' after an Adam-like step; rate and batch are floats or of shape [...]."""
        return np.asarray(adam_like_step(*self._of_step(errors, rate, batch)))

    def _of_step(self, errors: Array, rate: Value, batch: Value) -> tuple[Array, ...]:
        level = self.noise_level(errors)
        return (
            self.eigenvalues,
            errors,
            level[..., None],
            np.asarray(rate)[..., None],
            np.asarray(batch)[..., None],
        )

    def _sum(self, values: Array) -> Array:
        return np.asarray((self.multiplicities * values).sum(axis=-1))
