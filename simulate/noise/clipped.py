"""A noise whose gradients are clipped at a norm."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulate.noise.base import Draw, Noise, Source
from simulate.objectives.base import Objective
from simulate.optimizers import Optimizer, OptimizerState
from simulate.streams import Array, SeedStreams
from theory.training.clipping import clip_factor

__all__ = ["Clipped"]


@dataclass(frozen=True)
class Clipped:
    """A noise whose gradients are clipped, so that they are biased and meet no test.

    Attributes:
        noise: before clipping.
        threshold: C.
    """

    noise: Noise
    threshold: float

    def begin(self, objective: Objective, optimizer: Optimizer, streams: SeedStreams) -> Source:
        """The noise's source, clipped."""
        source = self.noise.begin(objective, optimizer, streams)

        def draw(w: Array, gradient: Array, step: int, state: OptimizerState) -> Draw:
            drawn = source(w, gradient, step, state).gradient
            norm = np.linalg.norm(drawn, axis=-1, keepdims=True)
            return Draw(drawn * clip_factor(np.where(norm > 0, norm, 1.0), self.threshold))

        return draw
