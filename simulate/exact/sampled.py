"""Monte Carlo twins of the exact dynamics: gradients of batches of any size, drawn with their exact law.

With e = w - w*, a batch of b Gaussian samples has residuals r_j ~ N(0, v), v = <e, Lambda e> + sigma^2, and given
those the features have the mean Lambda e r_j / v and the covariance Lambda - Lambda e e' Lambda / v. So

    g = (1/b) sum_j r_j x_j = chi^2(b) Lambda e / b + sqrt(v chi^2(b)) / b (y - k (y . e) Lambda e),

y ~ N(0, Lambda), k = (1 - sigma / sqrt(v)) / <e, Lambda e>: d numbers per batch of any size.

Example:
    >>> rng = np.random.default_rng(0)
    >>> sampled_gradients(rng, np.ones(3), np.ones((2, 3)), np.array([0.0, 1.0]), np.array([4, 8]), groups=2).shape
    (2, 2, 3)
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from adabatch.moments.gradient_moments import GradientMoments
from simulate.exact.dynamics import Dynamics, Steps
from simulate.exact.tasks import Tasks

__all__ = ["Adam", "group_moments", "sampled_gradients", "sampled_risks"]

Array = NDArray[np.float64]


def sampled_gradients(
    rng: np.random.Generator, eigenvalues: Array, errors: Array, noise: Array, batch: Array, groups: int = 1
) -> Array:
    """Mean gradients of groups of samples, [rows, groups, d].

    Args:
        rng: source of randomness.
        eigenvalues: lambda, [d] or [rows, d].
        errors: e = w - w*, [rows, d].
        noise: sigma^2, [rows].
        batch: samples of all groups together, [rows]; a group has batch / groups, at least a half.
        groups: how many.
    """
    along = eigenvalues * errors
    risk = (along * errors).sum(axis=-1)
    level = risk + noise
    size = batch / groups
    chi: Array = rng.chisquare(np.broadcast_to(size[:, None], (len(errors), groups)))
    y = rng.standard_normal((len(errors), groups, errors.shape[1])) * np.sqrt(eigenvalues)[..., None, :]
    shrink = (1 - np.sqrt(noise / level)) / np.maximum(risk, 1e-300)
    y -= (shrink[:, None] * (y * errors[:, None]).sum(axis=-1))[..., None] * along[:, None]
    spread = np.sqrt(level[:, None] * chi) / size[:, None]
    return np.asarray((chi / size[:, None])[..., None] * along[:, None] + spread[..., None] * y)


def group_moments(gradients: Array, batch: float) -> GradientMoments:
    """What a run knows of a step's groups of gradients [groups, d]."""
    groups = len(gradients)
    mean = gradients.mean(axis=0)
    return GradientMoments(groups, batch / groups, float((gradients**2).sum()), float(mean @ mean))


class Adam:
    """Adam as it is trained with: both averages, bias corrections, epsilon; one row per run.

    Args:
        shape: of the weights, [rows, d].
        beta1: decay of the first average.
        beta2: decay of the second.
    """

    def __init__(self, shape: tuple[int, int], beta1: float = 0.9, beta2: float = 0.95) -> None:
        self.first, self.second = np.zeros(shape), np.zeros(shape)
        self.beta1, self.beta2, self.steps = beta1, beta2, 0

    def direction(self, gradients: Array) -> Array:
        """What the learning rate multiplies, from gradients [rows, d]."""
        self.steps += 1
        self.first += (1 - self.beta1) * (gradients - self.first)
        self.second += (1 - self.beta2) * (gradients**2 - self.second)
        corrected = self.second / (1 - self.beta2**self.steps)
        return self.first / (1 - self.beta1**self.steps) / (np.sqrt(corrected) + 1e-12)


def sampled_risks(method: Dynamics, tasks: Tasks, steps: Steps, replicas: int, rng: np.random.Generator) -> Array:
    """R at the end of sampled runs of the same steps, [rows, replicas]: their mean is what the dynamics say.

    The start is drawn with E(w_i - w*_i)^2 = c_i. The Adam-like step divides by sqrt(E g_i^2) of the dynamics.
    """
    found = np.empty((len(tasks), replicas))
    for row in range(len(tasks)):
        task = tasks.at([row])
        counts = np.asarray(task.problem.multiplicities)
        eigenvalues = np.repeat(task.problem.eigenvalues[0], counts)
        moments, noise = task.errors, np.full(replicas, task.problem.noise[0])
        errors = rng.standard_normal((replicas, len(eigenvalues))) * np.sqrt(np.repeat(moments[0], counts))
        for k in range(int(steps.counts[row])):
            batch, rate = steps.batch[k, row], steps.rate[k, row]
            gradient = sampled_gradients(rng, eigenvalues, errors, noise, np.full(replicas, batch))[:, 0]
            if method is Dynamics.ADAM_LIKE:
                second = task.problem.squared_gradients(moments) + task.problem.variances(moments) / batch
                gradient = gradient / np.sqrt(np.repeat(second[0], counts))
                moments = task.problem.adam_like(moments, rate, batch)
            errors = errors - rate * gradient
        found[row] = (eigenvalues * errors**2).sum(axis=1)
    return found
