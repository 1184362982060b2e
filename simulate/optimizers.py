r"""Optimizers batched over seeds: Adam (6) and its variants, RMSProp, SGD, coordinate AdaGrad.

Algorithm (coordinate-wise, all seeds at once; s_k is 1 or bias correction's factor, h_k an optional schedule):
    =========  ==================================================================================
    Adam       m_k = beta1 m_{k-1} + (1 - beta1) g_k;  v_k = beta2 v_{k-1} + (1 - beta2) g_k^2;
               w_{k+1} = w_k - alpha h_k s_k m_k / (sqrt(v_k) + eps_k)
    AdamW      the same with w_k replaced by (1 - alpha h_k lambda) w_k
    RMSProp    Adam with beta1 = 0, no bias correction
    SGD        w_{k+1} = w_k - alpha h_k g_k
    AdaGrad    v_k = v_{k-1} + g_k^2;  w_{k+1} = w_k - alpha h_k g_k / (sqrt(v_k) + eps)
    =========  ==================================================================================

    Without bias correction s_k = 1 and eps_k = eps; with it s_k = sqrt(1 - beta2^k) / (1 - beta1^k) and
    eps_k = eps sqrt(1 - beta2^k). 0/0 := 0: where a denominator is 0 the coordinate does not move.

References:
    Lau et al., arXiv 2412.21124, Eq. (6). Kingma and Ba, arXiv 1412.6980. Loshchilov and Hutter, arXiv 1711.05101.

Shapes:
    w and g are [seeds, d]. Every hyperparameter is a float or an array that broadcasts against [seeds, d], for
    example [seeds, 1] to run a grid of settings as one batch.

Example:
    >>> import numpy as np
    >>> adam = Adam(step_size=0.5, beta1=0.0, beta2=0.75)
    >>> w = np.array([[1.0, 2.0]])
    >>> state = adam.start(w)
    >>> adam.step(w, np.array([[3.0, 0.0]]), state, 1)
    array([[0., 2.]])
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from simulate.registry import Registry
from simulate.streams import Array

__all__ = [
    "OPTIMIZERS",
    "SGD",
    "AdaGrad",
    "Adam",
    "AdamW",
    "Optimizer",
    "OptimizerState",
    "RMSProp",
    "zero_safe_ratio",
]

Setting = Any
"""A float, or an array that broadcasts against [seeds, d]."""

Schedule = Callable[[int], float]
"""h_k, the multiplier of the step size at step k = 1, 2, ...."""


@dataclass
class OptimizerState:
    """What an optimizer remembers, updated in place; arrays of shape [seeds, d].

    Attributes:
        first_moment: m_{k}, zeros for optimizers without momentum.
        second_moment: v_{k}, zeros for SGD.
    """

    first_moment: Array
    second_moment: Array


@runtime_checkable
class Optimizer(Protocol):
    """A rule that turns stochastic gradients into steps, for all seeds at once.

    Attributes:
        name: its name in :data:`OPTIMIZERS`.
        step_size: alpha > 0.
        schedule: h_k, or None for 1.
    """

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def step_size(self) -> Setting:
        """alpha."""

    @property
    def schedule(self) -> Schedule | None:
        """h_k, or None for 1."""

    def start(self, w: Array) -> OptimizerState:
        """The state before the first step, for points of shape [seeds, d]."""

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """w_{k+1} from w_k and g_k, shape [seeds, d]; updates the state in place and leaves w and g alone.

        Args:
            w: w_k, shape [seeds, d].
            g: the stochastic gradient g_k, shape [seeds, d].
            state: from :meth:`start` or the step before.
            step: k, from 1.
        """

    def denominators(self, gradient: Array, state: OptimizerState) -> Array | None:
        """sqrt(D_k), shape [seeds, d], before step k: what the theorems precondition G_k^2 with.

        D_k = beta2 v_{k-1} + (1 - beta2) G_k^2 for Adam, v_{k-1} + G_k^2 for AdaGrad, None for SGD.
        """


def zero_safe_ratio(numerator: Array, denominator: Array) -> Array:
    """numerator / denominator, and 0 where the denominator is 0.

    In exact arithmetic v_k = 0 forces m_k = 0; in floating point g_k^2 may underflow before g_k does, and the
    coordinate then rests as well.

    >>> zero_safe_ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
    array([0.5, 0. ])
    """
    if denominator.all():  # nearly always, and then twice as fast
        quotient: Array = numerator / denominator
        return quotient
    ratio = np.zeros(np.broadcast_shapes(numerator.shape, denominator.shape))
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio


def _start(w: Array, initial_second_moment: Setting) -> OptimizerState:
    return OptimizerState(np.zeros_like(w), np.zeros_like(w) + initial_second_moment)


def _rate(step_size: Setting, schedule: Schedule | None, step: int) -> Setting:
    return step_size if schedule is None else step_size * schedule(step)


@dataclass(frozen=True)
class Adam:
    """Adam as in (6); bias correction and epsilon are off unless asked for.

    Attributes:
        step_size: alpha.
        beta1: decay of m.
        beta2: decay of v.
        epsilon: added to sqrt(v_k), outside the root.
        bias_correction: whether m_k and v_k are divided by 1 - beta^k.
        initial_second_moment: v_0 >= 0.
        schedule: h_k.
    """

    step_size: Setting
    beta1: Setting = 0.9
    beta2: Setting = 0.95
    _: KW_ONLY
    epsilon: Setting = 0.0
    bias_correction: bool = False
    initial_second_moment: Setting = 0.0
    schedule: Schedule | None = None

    @property
    def name(self) -> str:
        """Its name in :data:`OPTIMIZERS`."""
        return "adam"

    def start(self, w: Array) -> OptimizerState:
        """m_0 = 0 and v_0."""
        return _start(w, self.initial_second_moment)

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """One step; see :class:`Optimizer`."""
        return w - self._move(g, state, step)

    def _move(self, g: Array, state: OptimizerState, step: int) -> Array:
        first, second = state.first_moment, state.second_moment
        first *= self.beta1
        first += (1 - self.beta1) * g
        second *= self.beta2
        second += (1 - self.beta2) * g * g
        rate, epsilon = _rate(self.step_size, self.schedule, step), self.epsilon
        if self.bias_correction:
            root = np.sqrt(1 - self.beta2**step)
            rate, epsilon = rate * root / (1 - self.beta1**step), epsilon * root
        denominators = np.sqrt(second)
        denominators += epsilon
        move = zero_safe_ratio(first, denominators)
        move *= rate
        return move

    def denominators(self, gradient: Array, state: OptimizerState) -> Array:
        """sqrt(beta2 v_{k-1} + (1 - beta2) G_k^2)."""
        result: Array = np.sqrt(self.beta2 * state.second_moment + (1 - self.beta2) * gradient * gradient)
        return result


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay.

    Attributes:
        weight_decay: lambda; w_k shrinks by alpha h_k lambda a step.
    """

    _: KW_ONLY
    weight_decay: Setting = 0.1

    @property
    def name(self) -> str:
        """Its name in :data:`OPTIMIZERS`."""
        return "adamw"

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """One step; see :class:`Optimizer`."""
        shrink = _rate(self.step_size, self.schedule, step) * self.weight_decay
        result: Array = w - shrink * w - self._move(g, state, step)
        return result


@dataclass(frozen=True)
class RMSProp:
    """Adam with beta1 = 0.

    Attributes:
        step_size: alpha.
        beta2: decay of v.
        epsilon: added to sqrt(v_k), outside the root.
        initial_second_moment: v_0 >= 0.
        schedule: h_k.
    """

    step_size: Setting
    beta2: Setting = 0.95
    _: KW_ONLY
    epsilon: Setting = 0.0
    initial_second_moment: Setting = 0.0
    schedule: Schedule | None = None

    @property
    def name(self) -> str:
        """Its name in :data:`OPTIMIZERS`."""
        return "rmsprop"

    @property
    def beta1(self) -> float:
        """0: there is no momentum."""
        return 0.0

    def start(self, w: Array) -> OptimizerState:
        """v_0."""
        return _start(w, self.initial_second_moment)

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """One step; see :class:`Optimizer`."""
        second = state.second_moment
        second *= self.beta2
        second += (1 - self.beta2) * g * g
        rate = _rate(self.step_size, self.schedule, step)
        result: Array = w - rate * zero_safe_ratio(g, np.sqrt(second) + self.epsilon)
        return result

    def denominators(self, gradient: Array, state: OptimizerState) -> Array:
        """sqrt(beta2 v_{k-1} + (1 - beta2) G_k^2)."""
        result: Array = np.sqrt(self.beta2 * state.second_moment + (1 - self.beta2) * gradient * gradient)
        return result


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent.

    Attributes:
        step_size: alpha.
        schedule: h_k.
    """

    step_size: Setting
    _: KW_ONLY
    schedule: Schedule | None = None

    @property
    def name(self) -> str:
        """Its name in :data:`OPTIMIZERS`."""
        return "sgd"

    def start(self, w: Array) -> OptimizerState:
        """Nothing is remembered."""
        return _start(w, 0.0)

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """One step; see :class:`Optimizer`."""
        result: Array = w - _rate(self.step_size, self.schedule, step) * g
        return result

    def denominators(self, gradient: Array, state: OptimizerState) -> None:
        """None: SGD does not precondition."""


@dataclass(frozen=True)
class AdaGrad:
    """Coordinate AdaGrad.

    Attributes:
        step_size: alpha.
        epsilon: added to sqrt(v_k), outside the root.
        initial_second_moment: v_0 >= 0 (the theorem wants it positive).
        schedule: h_k.
    """

    step_size: Setting
    _: KW_ONLY
    epsilon: Setting = 0.0
    initial_second_moment: Setting = 0.0
    schedule: Schedule | None = None

    @property
    def name(self) -> str:
        """Its name in :data:`OPTIMIZERS`."""
        return "adagrad"

    def start(self, w: Array) -> OptimizerState:
        """v_0."""
        return _start(w, self.initial_second_moment)

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """One step; see :class:`Optimizer`."""
        state.second_moment += g * g
        rate = _rate(self.step_size, self.schedule, step)
        result: Array = w - rate * zero_safe_ratio(g, np.sqrt(state.second_moment) + self.epsilon)
        return result

    def denominators(self, gradient: Array, state: OptimizerState) -> Array:
        """sqrt(v_{k-1} + G_k^2)."""
        result: Array = np.sqrt(state.second_moment + gradient * gradient)
        return result


OPTIMIZERS: Registry[Callable[..., Optimizer]] = Registry(
    "optimizer", {"adam": Adam, "adamw": AdamW, "rmsprop": RMSProp, "sgd": SGD, "adagrad": AdaGrad}
)
"""Optimizers by name; the values take ``step_size`` and their own settings."""
