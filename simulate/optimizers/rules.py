"""The optimizers: Adam as in (6), AdamW, RMSProp, coordinate AdaGrad, stochastic gradient descent."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from typing import ClassVar

import numpy as np

from simulate.optimizers.base import Optimizer, OptimizerState, Setting, zero_safe_ratio
from simulate.streams import Array
from theory.problem import Problem

__all__ = ["SGD", "AdaGrad", "Adam", "AdamW", "RMSProp"]


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam as in (6); bias correction and epsilon are off unless asked for.

    Attributes:
        beta1: decay of m.
        beta2: decay of v.
        epsilon: added to sqrt(v_k), outside the root.
        bias_correction: whether m_k and v_k are divided by 1 - beta^k.
    """

    name: ClassVar[str] = "adam"
    beta1: Setting = 0.9
    beta2: Setting = 0.95
    _: KW_ONLY
    epsilon: Setting = 0.0
    bias_correction: bool = False

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """One step; see :class:`Optimizer`."""
        self._update_moments(g, state)
        return w - self._move(state.first_moment, state.second_moment, step)

    def _update_moments(self, g: Array, state: OptimizerState) -> None:
        """m_k and v_k from m_{k-1} and v_{k-1}."""
        first, second = state.first_moment, state.second_moment
        first *= self.beta1
        first += (1 - self.beta1) * g
        second *= self.beta2
        second += (1 - self.beta2) * g * g

    def _move(self, first: Array, second: Array, step: int) -> Array:
        """alpha h_k s_k first / (sqrt(second) + eps_k)."""
        rate, epsilon = self.rate(step), self.epsilon
        if self.bias_correction:
            root = np.sqrt(1 - self.beta2**step)
            rate, epsilon = rate * root / (1 - self.beta1**step), epsilon * root
        denominators = np.sqrt(second)
        denominators += epsilon
        move = zero_safe_ratio(first, denominators)
        move *= rate
        return move

    def denominators(self, gradient: Array, state: OptimizerState) -> Array | None:
        """sqrt(beta2 v_{k-1} + (1 - beta2) G_k^2)."""
        return np.sqrt(self.beta2 * state.second_moment + (1 - self.beta2) * gradient * gradient)


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay.

    Attributes:
        weight_decay: lambda; w_k shrinks by alpha h_k lambda per step.
    """

    name: ClassVar[str] = "adamw"
    _: KW_ONLY
    weight_decay: Setting = 0.1

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """One step; see :class:`Optimizer`."""
        return super().step(w - self.rate(step) * self.weight_decay * w, g, state, step)


@dataclass(frozen=True)
class RMSProp(Adam):
    """Adam with beta1 = 0 and no bias correction."""

    name: ClassVar[str] = "rmsprop"
    beta1: Setting = field(default=0.0, init=False)
    bias_correction: bool = field(default=False, init=False)


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
        return w - self.rate(step) * zero_safe_ratio(g, np.sqrt(state.second_moment) + self.epsilon)

    def denominators(self, gradient: Array, state: OptimizerState) -> Array:
        """sqrt(v_{k-1} + G_k^2)."""
        return np.sqrt(state.second_moment + gradient * gradient)

    @classmethod
    def natural_step_size(cls, problem: Problem) -> float:
        """sqrt(Delta / (L d)): v adds up, so that steps shrink like K^-1/2 by themselves."""
        return float(np.sqrt(problem.initial_gap / (problem.smoothness * problem.dimension)))


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent: nothing is remembered."""

    name: ClassVar[str] = "sgd"

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """One step; see :class:`Optimizer`."""
        return w - self.rate(step) * g

    @classmethod
    def natural_step_size(cls, problem: Problem) -> float:
        """1 / (2 L)."""
        return float(0.5 / problem.smoothness)
