"""A one-dimensional Adam of Eq. (6) with exact gradients, for counterexamples: no bias correction, no epsilon."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["AdamRun", "deterministic_adam"]


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
