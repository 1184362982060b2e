"""Steps of one length: signSGD, Signum, Lion coordinate by coordinate, Muon on a matrix."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

import numpy as np

from simulate.optimizers.base import Optimizer, OptimizerState, Setting
from simulate.streams import Array
from theory.problem import Problem

__all__ = ["Lion", "Muon", "SignSGD", "Signum", "orthogonalized"]


@dataclass(frozen=True)
class SignSGD(Optimizer):
    """w_{k+1} = w_k - alpha h_k sign(g_k) (Bernstein et al., ICML 2018)."""

    name: ClassVar[str] = "signsgd"

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """One step; see :class:`Optimizer`."""
        return w - self.rate(step) * np.sign(g)


@dataclass(frozen=True)
class Signum(Optimizer):
    """signSGD of the momentum m_k = beta1 m_{k-1} + (1 - beta1) g_k (Bernstein et al., ICML 2018)."""

    name: ClassVar[str] = "signum"
    beta1: Setting = 0.9

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """One step; see :class:`Optimizer`."""
        state.first_moment *= self.beta1
        state.first_moment += (1 - self.beta1) * g
        return w - self.rate(step) * np.sign(state.first_moment)


@dataclass(frozen=True)
class Lion(Optimizer):
    """w_{k+1} = (1 - alpha h_k lambda) w_k - alpha h_k sign(beta1 m_{k-1} + (1 - beta1) g_k).

    Then m_k = beta2 m_{k-1} + (1 - beta2) g_k (Chen et al., arXiv 2302.06675).

    Attributes:
        beta1: of the step.
        beta2: of the momentum that is kept.
        weight_decay: lambda.
    """

    name: ClassVar[str] = "lion"
    beta1: Setting = 0.9
    beta2: Setting = 0.99
    _: KW_ONLY
    weight_decay: Setting = 0.0

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """One step; see :class:`Optimizer`."""
        direction = np.sign(self.beta1 * state.first_moment + (1 - self.beta1) * g)
        state.first_moment *= self.beta2
        state.first_moment += (1 - self.beta2) * g
        return w - self.rate(step) * (direction + self.weight_decay * w)


@dataclass(frozen=True)
class Muon(Optimizer):
    """Steps along the orthogonal factor of the momentum, the parameters taken as one matrix (Jordan et al. 2024).

    The singular values of momentum m_k + g_k are set to 1 by a singular value decomposition, of which Muon's
    Newton-Schulz iteration is an approximation.

    Attributes:
        momentum: of m_k = momentum m_{k-1} + g_k.
        rows: of the matrix, a divisor of d; None for the largest one up to sqrt(d).
    """

    name: ClassVar[str] = "muon"
    momentum: Setting = 0.95
    _: KW_ONLY
    rows: int | None = None

    def start(self, w: Array) -> OptimizerState:
        """See :class:`Optimizer`.

        Raises:
            ValueError: where ``rows`` does not divide d.
        """
        self._shape(w.shape[-1])
        return super().start(w)

    def step(self, w: Array, g: Array, state: OptimizerState, step: int) -> Array:
        """One step; see :class:`Optimizer`."""
        state.first_moment *= self.momentum
        state.first_moment += g
        ahead = (self.momentum * state.first_moment + g).reshape(len(w), *self._shape(w.shape[-1]))
        return w - self.rate(step) * orthogonalized(ahead).reshape(w.shape)

    def _shape(self, dimension: int) -> tuple[int, int]:
        rows = self.rows or max(n for n in range(1, int(dimension**0.5) + 1) if dimension % n == 0)
        if rows < 1 or dimension % rows:
            raise ValueError(f"rows must divide the dimension {dimension}, and {rows} does not")
        return rows, dimension // rows

    @classmethod
    def natural_step_size(cls, problem: Problem) -> float:
        """sqrt(2 Delta / (L r K)), r = sqrt(d) the rank at most: a step has the squared length alpha^2 r."""
        rank = float(problem.dimension) ** 0.5
        return float(np.sqrt(2 * problem.initial_gap / (problem.smoothness * rank * problem.steps)))


def orthogonalized(matrices: Array) -> Array:
    """U V^T of U S V^T, over the singular values that are not zero; shape [seeds, rows, columns].

    >>> orthogonalized(np.array([[[3.0, 0.0], [0.0, -2.0]]])).round(12)
    array([[[ 1.,  0.],
            [ 0., -1.]]])
    """
    left, sizes, right = np.linalg.svd(matrices, full_matrices=False)
    least = sizes[:, :1] * max(matrices.shape[1:]) * np.finfo(float).eps
    kept = (sizes > least).astype(float)
    result: Array = (left * kept[:, None, :]) @ right
    return result
