r"""A two-layer network with a proven smoothness constant: f(x) = (1/sqrt(h)) sum_j tanh(a_j) tanh(W_j.x).

Problem:
    L(a, W) = (1/n) sum_i phi(f(x_i) - y_i) with the robust loss phi(t) = t^2 / (1 + t^2), both layers trained.
    The output weights enter through tanh, which bounds them and keeps the whole function smooth on R^d.

Guarantee:
    With h hidden units and lambda = max(1, lambda_max(X'X / n)),

        L = lambda (2 + 3 sqrt(3) / (8 sqrt(h))).

    Proof. Write p = tanh(a_j), q = tanh(W_j.x), and a direction (alpha_j, v_j) with u = v_j.x.
    First derivative: df = (1/sqrt(h)) sum_j [ (1-p^2) q alpha + p (1-q^2) u ]. By Cauchy-Schwarz
    df^2 <= sum_j ((1-p^2)^2 q^2 + p^2 (1-q^2)^2)(alpha^2 + u^2), and the factor is convex in p^2, so that it is
    largest at p^2 in {0, 1}, where it is q^2 or (1-q^2)^2: at most 1.
    Second derivative: d^2 f = (1/sqrt(h)) sum_j (alpha, u) M (alpha, u)' with
    M = [[-2 p q (1-p^2), (1-p^2)(1-q^2)], [(1-p^2)(1-q^2), -2 p q (1-q^2)]]. Its first absolute row sum is
    (1-p^2)(2|pq| + 1 - q^2) <= (1-p^2)(1+p^2) <= 1 (largest at |q| = |p|), the second likewise, so |M| <= 1.
    Hence |d^2 phi(f - y)| <= (|phi''| + |phi'| / sqrt(h)) sum_j (alpha_j^2 + (v_j.x)^2); averaging over the x_i
    turns the sum into ||alpha||^2 + sum_j v_j'(X'X/n) v_j <= lambda ||(alpha, v)||^2.

The labels come from a network of the same shape, so that the infimum is 0 and attained.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import numpy as np

from simulate.objectives.base import FiniteSum
from simulate.objectives.robust_loss import LARGEST_CURVATURE, LARGEST_SLOPE, loss, loss_derivative
from simulate.streams import Array

__all__ = ["Network"]


@dataclass(frozen=True)
class Network(FiniteSum):
    """(1/n) sum_i phi(f(x_i; a, W) - y_i).

    Attributes:
        dimension: d = h (inputs + 1).
        sample_count: n.
        data_seed: of the inputs, the teacher and the start.
        inputs: the length of x_i; must make d a multiple of inputs + 1.
    """

    name: ClassVar[str] = "network"
    sample_count: int = 64
    inputs: int = 4

    _start: ClassVar[Array]

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dimension % (self.inputs + 1):
            raise ValueError(
                f"dimension must be a multiple of inputs + 1 = {self.inputs + 1} (one output weight and "
                f"{self.inputs} input weights a hidden unit), not {self.dimension}"
            )
        generator = np.random.default_rng(self.data_seed)
        self._keep(_inputs=generator.standard_normal((self.sample_count, self.inputs)))
        teacher = 2.0 * generator.standard_normal((1, self.dimension))
        self._keep(_labels=self._forward(teacher)[0][0], _start=0.5 * generator.standard_normal(self.dimension))

    @property
    def hidden(self) -> int:
        """The number of hidden units h."""
        return self.dimension // (self.inputs + 1)

    @cached_property
    def smoothness(self) -> float:
        """L = lambda (2 + 3 sqrt(3) / (8 sqrt(h)))."""
        return max(1.0, self._largest_eigenvalue()) * (LARGEST_CURVATURE + LARGEST_SLOPE / math.sqrt(self.hidden))

    def start(self) -> Array:
        """Small Gaussian weights."""
        return self._start.copy()

    def value(self, w: Array) -> Array:
        """L(w), [seeds, d] -> [seeds]."""
        result: Array = loss(self._forward(w)[0] - self._labels).mean(axis=-1)
        return result

    def gradient(self, w: Array) -> Array:
        """Back-propagation, [seeds, d] -> [seeds, d]."""
        output, outer, hidden = self._forward(w)
        slopes = loss_derivative(output - self._labels) / (self.sample_count * math.sqrt(self.hidden))
        outer_part = (1.0 - outer * outer) * np.matmul(hidden, slopes[:, :, None])[:, :, 0]
        signal = outer[:, :, None] * (1.0 - hidden * hidden) * slopes[:, None, :]
        inner_part = np.matmul(signal, self._inputs)
        return np.concatenate([outer_part, inner_part.reshape(len(w), -1)], axis=1)

    def sample_gradients(self, w: Array) -> Array:
        """[seeds, d] -> [seeds, n, d]."""
        output, outer, hidden = self._forward(w)
        slopes = (loss_derivative(output - self._labels) / math.sqrt(self.hidden))[:, :, None]
        transposed = hidden.transpose(0, 2, 1)  # [seeds, n, h]
        outer_part = slopes * transposed * (1.0 - outer * outer)[:, None, :]
        signal = slopes * outer[:, None, :] * (1.0 - transposed * transposed)
        inner_part = signal[:, :, :, None] * self._inputs[:, None, :]
        return np.concatenate([outer_part, inner_part.reshape(*signal.shape[:2], -1)], axis=2)

    def _forward(self, w: Array) -> tuple[Array, Array, Array]:
        """f(x_i) [seeds, n], tanh(a) [seeds, h] and tanh(W x_i) [seeds, h, n]."""
        outer = np.tanh(w[:, : self.hidden])
        weights = w[:, self.hidden :].reshape(len(w), self.hidden, self.inputs)
        hidden = np.tanh(np.matmul(weights, self._inputs.T))
        output = np.matmul(outer[:, None, :], hidden)[:, 0, :] / math.sqrt(self.hidden)
        return output, outer, hidden
