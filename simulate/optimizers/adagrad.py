"""AdaGrad, coordinate by coordinate."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np

from simulate.optimizers.base import Optimizer, OptimizerState, Setting, zero_safe_ratio
from simulate.streams import Array

__all__ = ["AdaGrad"]


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """Coordinate AdaGrad.

    Attributes:
        epsilon: added to sqrt(v_k), outside the root.
    """

    name: ClassVar[str] = "adagrad"
    _: KW_ONLY
    epsilon: Setting = 0.0

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """One step; see :class:`Optimizer`."""
        state.second_moment += g * g
        result: Array = w - self.rate(step) * zero_safe_ratio(g, np.sqrt(state.second_moment) + self.epsilon)
        return result

    def denominators(self, gradient: Array, state: OptimizerState) -> Array:
        """sqrt(v_{k-1} + G_k^2)."""
        result: Array = np.sqrt(state.second_moment + gradient * gradient)
        return result
