"""A noise whose gradients are clipped at a norm."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from simulate.noise.base import Draw, Meets, Noise, Source
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

    meets: ClassVar[Meets] = "nothing"
    noise: Noise
    threshold: float

    @property
    def name(self) -> str:
        """The name of the noise, clipped."""
        return f"{self.noise.name}, clipped"

    @property
    def eta(self) -> float:
        """Before clipping."""
        return float(self.noise.eta)

    def begin(self, objective: Objective, optimizer: Optimizer, streams: SeedStreams) -> Source:
        """The noise's source, clipped."""
        return _ClippedSource(self.threshold, self.noise.begin(objective, optimizer, streams))


@dataclass
class _ClippedSource:
    threshold: float
    source: Source

    def draw(self, w: Array, gradient: Array, step: int, state: OptimizerState) -> Draw:
        drawn = self.source.draw(w, gradient, step, state).gradient
        norm = np.linalg.norm(drawn, axis=-1, keepdims=True)
        return Draw(drawn * clip_factor(np.where(norm > 0, norm, 1.0), self.threshold))
