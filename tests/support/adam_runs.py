"""Adam on a separable smooth objective with relative noise, batched over paths: what bounds are held against."""

from dataclasses import dataclass

import numpy as np


@dataclass
class Run:
    """Expected sums over the paths, and what the theorems need to know of the start and of the weights."""

    norms: np.ndarray  # E||G_k||_1 for k = 1..K
    gap: float
    initial_gradient: float
    largest_weight: float
    violated_gradient: float = 0.0
    excess_deviation: float = 0.0

    def weighted(self, multipliers, first=1):
        return float(np.sum((multipliers * self.norms)[first - 1 :]))


def run_adam(
    *,
    beta1,
    beta2,
    step_size,
    steps,
    deviation,
    multipliers=None,
    weight_decay=0.0,
    floor=1.0,
    start=3.0,
    dimension=4,
    paths=200,
    seed=0,
):
    """Adam (v_0 = 0) on sum_i sqrt(1 + w_i^2) - 1, L = 1, g = G X, X in {1 - s', 1 + s''} of mean 1.

    ``deviation(k)`` is the standard deviation of X at step k; X is the skewed two-point law that is low with
    probability 0.8 where the deviation is below 0.5, else rare and high. With ``floor`` below 1 the gradient is
    multiplied by a factor in [floor, 1] that is least where X is high (the worst clipping).
    """
    generator = np.random.default_rng(seed)
    w = np.full((paths, dimension), start)
    m, v = np.zeros_like(w), np.zeros_like(w)
    multipliers = np.ones(steps) if multipliers is None else multipliers
    gap = float(np.sum(np.sqrt(1 + w[0] ** 2) - 1))
    norms, largest = np.zeros(steps), 0.0
    for k in range(steps):
        true = w / np.sqrt(1 + w * w)
        norms[k] = np.abs(true).sum(axis=1).mean()
        s, high = deviation(k), 0.2
        x = np.where(
            generator.random(w.shape) < high,
            1 + s * np.sqrt((1 - high) / high),
            1 - s * np.sqrt(high / (1 - high)),
        )
        factor = np.where(x > 1, floor, 1.0)
        g = true * x * factor
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g * g
        ratio = np.divide(m, np.sqrt(v), out=np.zeros_like(m), where=v > 0)
        w = w - step_size * multipliers[k] * ratio - step_size * weight_decay * w
        largest = max(largest, float(np.abs(w).max()))
    return Run(norms, gap, float(dimension * start / np.sqrt(1 + start**2)), max(largest, abs(start)))
