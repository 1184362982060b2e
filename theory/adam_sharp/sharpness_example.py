r"""Why eta < 1 does not suffice once there is momentum: noise that meets the test and drives Adam uphill.

Problem:
    Theorem 2 covers every admissible pair of betas for eta <= .7071; without momentum eta < 1 does. Is there a
    theorem for all betas and all eta < 1?

Algorithm:
    No. At betas (.99e-4, 1e-8), r = .99, draw g = G X with X of two points and mean 1, variance eta^2: the low
    value l or the high value h = 1 + eta^2 / (1 - l), with P(X = l) = eta^2 / (eta^2 + (1 - l)^2). After n lows
    since the last high H,

        l = -s sqrt(beta2) H (sqrt(beta2) / r)^n,   s = 30 (the strength).

    The low values are negligible next to G, but v forgets the high as fast as they shrink: each is as large as
    what sqrt(v) still holds, and the momentum adds them up, since r is close to 1.

Guarantee:
    Where G hardly changes (small alpha), E[m / sqrt(v)] = +.0693 (eta = .85), -.0053 (.90), -.0791 (.95): at .9
    Adam moves uphill, for example on sqrt(1 + w^2) - 1, which is convex.

    As r -> 1, beta2 -> 0 and the strength grows, n lows have probability (1 - q) q^n, q = eta^2 / (1 + eta^2), and
    m / sqrt(v) tends to 1 for n = 0 and to -sqrt(n) else: the sign changes at sum_n sqrt(n) q^n = 1, eta = .8839.
    So the largest constant that is free of the betas lies in [.7071, .8839]. At the betas in use, such as
    (.9, .95), this adversary is harmless: nothing is claimed there.

References:
    Theorem 2 (:mod:`theory.adam_sharp.theorem2`) and the condition there; arXiv 2412.21124 (the coordinate-wise
    test).

Shapes:
    Floats and numpy arrays; :class:`RunLengthNoise` keeps one state an element.

Example:
    >>> [round(expected_direction(eta), 4) for eta in (0.85, 0.90, 0.95)]
    [0.0693, -0.0053, -0.0791]
    >>> round(critical_eta(), 3), round(limiting_eta(), 6)
    (0.896, 0.883886)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from adabatch.moments.hypotheses import describe, require
from adabatch.moments.numeric import Value, sqrt
from theory.adam.constants import momentum_ratio, second_moment_weight
from theory.problem import require_betas

__all__ = [
    "BETA1",
    "BETA2",
    "STRENGTH",
    "RunLengthNoise",
    "critical_eta",
    "expected_direction",
    "high_value",
    "limiting_eta",
    "low_probability",
    "low_value",
]

Array = NDArray[np.float64]
BETA1, BETA2 = 0.99e-4, 1e-8
STRENGTH = 30.0


def low_value(
    last_high: Value, lows: Value, beta1: Value = BETA1, beta2: Value = BETA2, strength: Value = STRENGTH
) -> Value:
    """l = -s sqrt(beta2) H (sqrt(beta2) / r)^n, n the number of lows since the last high H.

    >>> round(low_value(last_high=2.0, lows=0), 6)
    -0.006
    """
    root = sqrt(beta2)
    return -strength * root * last_high * (root / momentum_ratio(beta1, beta2)) ** lows


def high_value(low: Value, eta: Value) -> Value:
    """h = 1 + eta^2 / (1 - l), the other value of a two-point law with mean 1 and variance eta^2.

    >>> high_value(0.0, 0.5)
    1.25
    """
    return 1 + eta**2 / (1 - low)


def low_probability(low: Value, eta: Value) -> Value:
    """P(X = l) = eta^2 / (eta^2 + (1 - l)^2).

    >>> round(low_probability(0.0, 0.5), 4)
    0.2
    """
    return eta**2 / (eta**2 + (1 - low) ** 2)


@dataclass(frozen=True)
class _Cycle:
    """One high and the lows after it, n = 0..depth lows: probabilities and what Adam sees.

    Attributes:
        reached: P(at least n lows follow).
        ends: P(exactly n lows follow).
        direction: m / sqrt(v) after n lows.
        momentum: m after n lows, in units of sqrt(beta2)^n.
        second_moment: v after n lows, in units of beta2^n.
        next_high: the high that follows n lows.
    """

    reached: Array
    ends: Array
    direction: Array
    momentum: Array
    second_moment: Array
    next_high: Array


def _cycle(
    eta: float,
    high: Value,
    momentum: Value,
    second_moment: Value,
    betas: tuple[float, float],
    strength: float,
    depth: int,
) -> _Cycle:
    """The cycle from a high with the momentum and second moment just after it (arrays of starts: leading axes).

    Everything is kept in units of sqrt(beta2)^n, which underflow otherwise: l_n / sqrt(beta2)^(n+1) is
    -s H r^(-n).
    """
    beta1, beta2 = betas
    r, c, root = momentum_ratio(beta1, beta2), second_moment_weight(beta2), sqrt(beta2)
    age = np.arange(depth + 1)
    high, momentum, second_moment = (
        np.asarray(x, dtype=float)[..., None] for x in (high, momentum, second_moment)
    )
    lows = low_value(high, age, beta1, beta2, strength)
    probability = low_probability(lows, eta)
    reached = np.concatenate([np.ones_like(high), np.cumprod(probability, axis=-1)[..., :-1]], axis=-1)
    scaled = -strength * high * r ** (-age[:-1].astype(float))
    kept = momentum * r**age
    added = np.zeros_like(lows)
    squares = second_moment * np.ones_like(lows)
    for n in range(depth):
        added[..., n + 1] = r * added[..., n] + (1 - beta1) * scaled[..., n]
        squares[..., n + 1] = squares[..., n] + c * scaled[..., n] ** 2
    total = kept + added
    return _Cycle(
        reached=reached,
        ends=reached * (1 - probability),
        direction=total / np.sqrt(squares),
        momentum=total * root**age,
        second_moment=squares * root ** (2 * age),
        next_high=high_value(lows, eta),
    )


def expected_direction(
    eta: float, beta1: float = BETA1, beta2: float = BETA2, strength: float = STRENGTH, depth: int = 60
) -> float:
    """E[m / sqrt(v)] under the stationary noise, at a constant G > 0: Adam moves uphill where it is negative.

    By enumeration of the run lengths of two cycles; what is older enters with weight beta1^2 or beta2^2.
    Multiplied by -alpha it is the drift of w.

    Raises:
        HypothesisError: unless 0 < beta1 < sqrt(beta2) < 1 and 0 < eta <= 1.
    """
    require_betas(beta1, beta2)
    require(beta1 > 0, "beta1 > 0", describe("beta1", beta1), "without momentum eta < 1 suffices")
    require(0 < eta <= 1, "0 < eta <= 1", describe("eta", eta), "take eta in (0, 1]")
    betas = (beta1, beta2)
    first = 1 + eta**2
    fresh = (1 - beta1) * first, second_moment_weight(beta2) * first**2
    before = _cycle(eta, first, *fresh, betas, strength, depth)
    high = before.next_high
    momentum = beta1 * before.momentum + (1 - beta1) * high
    second_moment = beta2 * before.second_moment + second_moment_weight(beta2) * high**2
    now = _cycle(eta, high, momentum, second_moment, betas, strength, depth)
    weight = before.ends[..., None] * now.reached
    return float((weight * now.direction).sum() / weight.sum())


def critical_eta(beta1: float = BETA1, beta2: float = BETA2, strength: float = STRENGTH) -> float:
    """The eta at which E[m / sqrt(v)] = 0: above it this noise drives Adam uphill.

    Raises:
        HypothesisError: if it does not up to eta = 1.
    """
    at_one = expected_direction(1.0, beta1, beta2, strength)
    require(
        at_one < 0,
        "noise that drives Adam uphill at eta = 1",
        f"E[m / sqrt(v)] = {at_one:.4g} there",
        "take r = beta1 / sqrt(beta2) close to 1 and beta2 small",
    )
    return float(brentq(lambda eta: expected_direction(eta, beta1, beta2, strength), 0.05, 1.0, xtol=1e-10))


def limiting_eta() -> float:
    """The root of sum_n sqrt(n) q^n = 1, q = eta^2 / (1 + eta^2): what :func:`critical_eta` falls to at worst.

    No theorem for all betas can admit an eta above it.
    """
    runs = np.arange(1, 200)

    def excess(eta: float) -> float:
        return float((np.sqrt(runs) * (eta**2 / (1 + eta**2)) ** runs).sum()) - 1

    return float(brentq(excess, 0.5, 1.0, xtol=1e-13))


class RunLengthNoise:
    """The noise as a process: call it with uniform numbers in [0, 1), get X; it keeps H and n for each element.

    Attributes:
        last_high: H, an array.
        lows: n, an array.

    >>> noise = RunLengthNoise(eta=0.9, shape=(2,))
    >>> [float(round(x, 4)) for x in noise(np.array([0.0, 0.99]))]
    [-0.0054, 1.8056]
    """

    def __init__(
        self,
        eta: float,
        shape: tuple[int, ...],
        beta1: float = BETA1,
        beta2: float = BETA2,
        strength: float = STRENGTH,
    ) -> None:
        require_betas(beta1, beta2)
        self.eta, self.beta1, self.beta2, self.strength = eta, beta1, beta2, strength
        self.last_high: Array = np.full(shape, 1 + eta**2)
        self.lows: Array = np.zeros(shape)

    def support(self) -> tuple[Array, Array, Array]:
        """The two values of the next X and the probability of the lower one, given the past."""
        low = np.asarray(low_value(self.last_high, self.lows, self.beta1, self.beta2, self.strength))
        return low, np.asarray(high_value(low, self.eta)), np.asarray(low_probability(low, self.eta))

    def __call__(self, uniforms: Array) -> Array:
        """The next X, one an element."""
        low, high, probability = self.support()
        falls = uniforms < probability
        self.lows = np.where(falls, self.lows + 1, 0.0)
        self.last_high = np.where(falls, self.last_high, high)
        return np.where(falls, low, high)
