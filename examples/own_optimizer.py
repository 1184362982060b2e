"""An optimizer of your own: Cautious Lion, which rests where its step would go against the gradient drawn.

From the command line: ``adabatch verify-bounds --optimizer examples/own_optimizer.py:CautiousLion,beta1=0.8
--noise gaussian,eta=0.5``.

No theorem is on it: its gradient norms are measured, and put next to what is guaranteed for Adam.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from simulate.laboratory import study
from simulate.optimizers import Optimizer, OptimizerState

Array = NDArray[np.float64]


@dataclass(frozen=True)
class CautiousLion(Optimizer):
    """Lion whose step is left out in coordinates where it disagrees with g_k (Liang et al., arXiv 2411.16085)."""

    name: ClassVar[str] = "cautious-lion"
    beta1: float = 0.9
    beta2: float = 0.99

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """w_{k+1} from w_k and g_k, [seeds, d]: the state changes in place, w and g must not."""
        direction = np.sign(self.beta1 * state.first_moment + (1 - self.beta1) * g)
        state.first_moment[:] = self.beta2 * state.first_moment + (1 - self.beta2) * g
        return np.asarray(w - self.rate(step) * direction * (direction * g > 0))


if __name__ == "__main__":
    result = study("rastrigin", "gaussian,eta=0.5", CautiousLion, steps=256)
    print(result)
    result.save("runs/cautious-lion")
