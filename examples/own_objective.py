"""An objective of your own: sum_i log cosh(c w_i), whose gradient, L and infimum are known.

From the command line: ``adabatch verify-bounds --objective examples/own_objective.py:LogCosh,slope=2
--noise gaussian,eta=0.2``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from simulate.laboratory import study
from simulate.objectives import Objective

Array = NDArray[np.float64]


@dataclass(frozen=True)
class LogCosh(Objective):
    """sum_i log cosh(c w_i), convex and linear far out."""

    name: ClassVar[str] = "log-cosh"
    slope: float = 1.0

    @property
    def smoothness(self) -> float:
        """The largest second derivative, c^2, at 0."""
        return self.slope**2

    def start(self) -> Array:
        """All coordinates 2."""
        return np.full(self.dimension, 2.0)

    def value(self, w: Array) -> Array:
        """Shape [seeds, d] -> [seeds]; log cosh x = |x| + log(1 + e^(-2|x|)) - log 2 does not overflow."""
        x = np.abs(self.slope * w)
        return np.asarray((x + np.log1p(np.exp(-2 * x)) - np.log(2)).sum(axis=-1))

    def gradient(self, w: Array) -> Array:
        """Shape [seeds, d] -> [seeds, d]."""
        return np.asarray(self.slope * np.tanh(self.slope * w))


if __name__ == "__main__":
    print(study(LogCosh(dimension=10, slope=2.0), "gaussian,eta=0.2", "adam", steps=256))
