"""A template: all four parts, as short as they can be. Copy it, keep what you need, and fill in your own.

From the command line: ``adabatch verify-bounds --objective mine.py:MyObjective --noise mine.py:MyNoise,eta=0.2
--optimizer mine.py:MyOptimizer --bound mine.py:MyBound``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from simulate.laboratory import BoundRule, Run, study
from simulate.noise import Draw, Stateless
from simulate.objectives import Objective
from simulate.optimizers import Optimizer, OptimizerState
from simulate.streams import SeedStreams

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MyObjective(Objective):
    """sum_i w_i^2 / 2."""

    name: ClassVar[str] = "my-objective"
    infimum: ClassVar[float] = 0.0
    smoothness: ClassVar[float] = 1.0

    def start(self) -> Array:
        """w_1, shape [d]."""
        return np.ones(self.dimension)

    def value(self, w: Array) -> Array:
        """Shape [seeds, d] -> [seeds]."""
        return np.asarray(0.5 * (w * w).sum(axis=-1))

    def gradient(self, w: Array) -> Array:
        """Shape [seeds, d] -> [seeds, d]."""
        return w


@dataclass(frozen=True)
class MyNoise(Stateless):
    """Gaussian, of a standard deviation eta |G_i|."""

    eta: float = 0.2

    def sample(self, gradient: Array, streams: SeedStreams) -> Draw:
        """A step's gradients from true ones, [seeds, d]."""
        numbers = streams.draw(0, gradient.shape[1:], "standard_normal")
        return Draw(gradient * (1 + self.eta * numbers))


@dataclass(frozen=True)
class MyOptimizer(Optimizer):
    """Steps along the sign of the gradient."""

    name: ClassVar[str] = "my-optimizer"

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """w_{k+1} from w_k and g_k, [seeds, d]; what it remembers is in the state."""
        return np.asarray(w - self.rate(step) * np.sign(g))


class MyBound(BoundRule):
    """sum_k ||G_k||_1 is at most K ||G_1||_1."""

    name = "my-bound"

    def value(self, run: Run) -> float:
        """A positive number."""
        return float(run.problem.first_gradient_norm * run.steps)


if __name__ == "__main__":
    print(study(MyObjective(), MyNoise(), MyOptimizer, MyBound(), steps=64))
