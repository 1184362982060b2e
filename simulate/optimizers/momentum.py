"""Relatives of Adam and SGD that no theorem here is about: momentum SGD, NAdam, AMSGrad."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np

from simulate.optimizers.base import OptimizerState, Setting
from simulate.optimizers.rules import SGD, Adam
from simulate.streams import Array
from theory.problem import Problem

__all__ = ["AMSGrad", "AMSGradState", "MomentumSGD", "NAdam"]


@dataclass(frozen=True)
class MomentumSGD(SGD):
    """Gradient descent with momentum, m_k = momentum m_{k-1} + g_k (Polyak 1964; Sutskever et al. 2013).

    Attributes:
        momentum: in [0, 1).
        nesterov: whether the step is along g_k + momentum m_k in place of m_k.
    """

    name: ClassVar[str] = "momentum"
    momentum: Setting = 0.9
    _: KW_ONLY
    nesterov: bool = False

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """One step; see :class:`~simulate.optimizers.Optimizer`."""
        state.first_moment *= self.momentum
        state.first_moment += g
        direction = g + self.momentum * state.first_moment if self.nesterov else state.first_moment
        return w - self.rate(step) * direction

    @classmethod
    def natural_step_size(cls, problem: Problem) -> float:
        """1 / (20 L): as far in all as SGD at 1 / (2 L), when the momentum is 0.9."""
        return 0.1 * super().natural_step_size(problem)


@dataclass(frozen=True)
class NAdam(Adam):
    """Adam that steps along (1 - beta1) g_k + beta1 m_k (Dozat, ICLR workshop 2016; beta1 constant).

    With bias correction along (1 - beta1) g_k / (1 - beta1^k) + beta1 m_k / (1 - beta1^(k+1)).
    """

    name: ClassVar[str] = "nadam"

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """One step; see :class:`~simulate.optimizers.Optimizer`."""
        self._update_moments(g, state)
        share = (1 - self.beta1**step) / (1 - self.beta1 ** (step + 1)) if self.bias_correction else 1.0
        ahead = (1 - self.beta1) * g + self.beta1 * share * state.first_moment
        return w - self._move(ahead, state.second_moment, step)

    def denominators(self, gradient: Array, state: OptimizerState) -> None:
        """None: no theorem here has one."""


@dataclass
class AMSGradState(OptimizerState):
    """Adam's state, with the largest v so far, shape [seeds, d]."""

    largest: Array


@dataclass(frozen=True)
class AMSGrad(Adam):
    """Adam whose denominators never fall, max_{j <= k} v_j in place of v_k (Reddi et al., ICLR 2018)."""

    name: ClassVar[str] = "amsgrad"

    def start(self, w: Array) -> AMSGradState:
        """See :class:`~simulate.optimizers.Optimizer`."""
        state = super().start(w)
        return AMSGradState(state.first_moment, state.second_moment, state.second_moment.copy())

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """One step; see :class:`~simulate.optimizers.Optimizer`."""
        assert isinstance(state, AMSGradState)
        self._update_moments(g, state)
        np.maximum(state.largest, state.second_moment, out=state.largest)
        return w - self._move(state.first_moment, state.largest, step)

    def denominators(self, gradient: Array, state: OptimizerState) -> None:
        """None: no theorem here has one."""
