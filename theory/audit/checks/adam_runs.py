"""A one-dimensional Adam of Eq. (6) with exact gradients, for counterexamples: no bias correction, no epsilon."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from theory.audit.published_adam import PublishedProblem
from theory.problem import AdamParameters, Problem

__all__ = ["AdamRun", "deterministic_adam", "far_away", "steep"]


@dataclass(frozen=True)
class AdamRun:
    """What a run leaves behind.

    Attributes:
        gradient_sum: sum_k |L'(w_k)|, k = 1..K.
        second_moments: v_0..v_K.
        position: w_{K+1}.
    """

    gradient_sum: float
    second_moments: tuple[float, ...]
    position: float


def deterministic_adam(
    derivative: Callable[[float], float],
    start: float,
    alpha: float,
    beta1: float,
    beta2: float,
    v0: float,
    steps: int,
) -> AdamRun:
    """Run K steps of Adam on a function of one variable, m_0 = 0; 0/0 counts as 0."""
    position, momentum, second, total = start, 0.0, v0, 0.0
    seconds = [v0]
    for _ in range(steps):
        gradient = derivative(position)
        total += abs(gradient)
        momentum = beta1 * momentum + (1 - beta1) * gradient
        second = beta2 * second + (1 - beta2) * gradient**2
        seconds.append(second)
        position -= alpha * momentum / math.sqrt(second) if second > 0 else 0.0
    return AdamRun(total, tuple(seconds), position)


def _run(
    scale: float, width: float, start: float, adam: AdamParameters, v0: float | None, steps: int
) -> tuple[PublishedProblem, float]:
    """scale (sqrt(width^2 + w^2) - width) from ``start``, v_0 = G_1^2 if None: the run, and its sum of |G_k|."""

    def derivative(w: float) -> float:
        return scale * w / math.hypot(width, w)

    gradient = derivative(start)
    second = gradient**2 if v0 is None else v0
    run = deterministic_adam(derivative, start, adam.alpha, adam.beta1, adam.beta2, second, steps)
    gap = scale * (math.hypot(width, start) - width)
    problem = Problem(smoothness=scale / width, dimension=1, initial_gap=gap, steps=steps)
    return PublishedProblem(problem, adam, np.array([second]), np.array([gradient])), run.gradient_sum


def far_away(steps: int) -> tuple[PublishedProblem, float]:
    """sqrt(D^2 + w^2) - D with D = 1e6 from w = 1e7, alpha = 1, v_0 = 1."""
    adam = AdamParameters(beta1=0.5, beta2=0.99, eta=0.5, step_size=1.0)
    return _run(1.0, 1e6, 1e7, adam, 1.0, steps)


def steep(steps: int) -> tuple[PublishedProblem, float]:
    """1e4 (sqrt(1 + w^2) - 1) from w = 10, alpha = 1e-4, v_0 = G_1^2."""
    adam = AdamParameters(beta1=0.1, beta2=0.99, eta=0.5, step_size=1e-4)
    return _run(1e4, 1.0, 10.0, adam, None, steps)
