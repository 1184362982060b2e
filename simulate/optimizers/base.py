"""What an optimizer offers: steps for all seeds at once, and the denominators that theorems precondition with."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np

from simulate.ranges import require
from simulate.streams import Array
from theory.problem import Problem

__all__ = ["Optimizer", "OptimizerState", "Schedule", "Setting", "zero_safe_ratio"]

Setting = float | Array
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


@dataclass(frozen=True)
class Optimizer(ABC):
    """A rule that turns stochastic gradients into steps, for all seeds at once.

    Attributes:
        name: its name in :data:`simulate.optimizers.OPTIMIZERS`.
        ranges: of its settings, by what :mod:`simulate.ranges` calls them.
        step_size: alpha >= 0; 0 where the natural one is, at a minimum.
        initial_second_moment: v_0 >= 0 (AdaGrad's theorem wants it positive); SGD has no use for it.
        schedule: h_k, or None for 1.
    """

    name: ClassVar[str]
    ranges: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "0 or more": ("step_size", "initial_second_moment", "epsilon", "weight_decay"),
        "in [0, 1)": ("beta1", "beta2", "momentum"),
    }
    step_size: Setting
    _: KW_ONLY
    initial_second_moment: Setting = 0.0
    schedule: Schedule | None = None

    def __post_init__(self) -> None:
        """Raise ValueError for a setting that is out of its range."""
        for allowed, names in self.ranges.items():
            require(allowed, **{name: getattr(self, name) for name in names if hasattr(self, name)})

    def start(self, w: Array) -> OptimizerState:
        """The state before the first step, m_0 = 0 and v_0, for points of shape [seeds, d]."""
        return OptimizerState(np.zeros_like(w), np.zeros_like(w) + self.initial_second_moment)

    def rate(self, step: int) -> Setting:
        """alpha h_k."""
        return self.step_size if self.schedule is None else self.step_size * self.schedule(step)

    @abstractmethod
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

        D_k = beta2 v_{k-1} + (1 - beta2) G_k^2 for Adam, v_{k-1} + G_k^2 for AdaGrad, None without a theorem.
        """
        return None

    @classmethod
    def natural_step_size(cls, problem: Problem) -> float:
        """A step size for K steps, for studies that are given none.

        sqrt(Delta / (L d K)), at which bounds on the average of ||G_k||_1 fall like K^-1/2, for optimizers whose
        steps do not scale with the gradient.
        """
        return float(np.sqrt(problem.initial_gap / (problem.smoothness * problem.dimension * problem.steps)))


def zero_safe_ratio(numerator: Array, denominator: Array) -> Array:
    """numerator / denominator, and 0 where the denominator is 0.

    In exact arithmetic v_k = 0 forces m_k = 0; in floating point g_k^2 may underflow before g_k does, and the
    coordinate then rests as well.

    >>> zero_safe_ratio(np.array([1.0, 0.0]), np.array([2.0, 0.0]))
    array([0.5, 0. ])
    """
    if denominator.all():  # nearly always, and then twice as fast
        return numerator / denominator
    shape = np.broadcast_shapes(numerator.shape, denominator.shape)
    ratio = np.zeros(shape, np.result_type(numerator, denominator))
    np.divide(numerator, denominator, out=ratio, where=denominator > 0)
    return ratio
