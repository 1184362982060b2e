"""Stochastic gradient descent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from simulate.optimizers.base import Optimizer, OptimizerState
from simulate.streams import Array

__all__ = ["SGD"]


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent: nothing is remembered."""

    name: ClassVar[str] = "sgd"

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """One step; see :class:`Optimizer`."""
        result: Array = w - self.rate(step) * g
        return result

    def denominators(self, gradient: Array, state: OptimizerState) -> None:
        """None: SGD does not precondition."""
